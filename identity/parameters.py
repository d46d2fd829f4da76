"""m and u as a model keeps them: bounded, and complete where the data did not show a level."""

from typing import Any

from identity import fields, usual

LEAST_M = 0.005  # what data of a few thousand matches cannot show to be rarer: evidence is strong, never absolute
LEAST_U, MOST = 1e-5, 0.999


def complete(
    settings: dict[str, Any], comparisons: list[fields.Comparison]
) -> tuple[dict[str, tuple[tuple[float, float], ...]], list[str]]:
    """(m, u) of every level, and the levels whose probability the data did not show.

    What matches did not show is worth what it usually is: its m stands to u as in `usual`. Guessed alone, one small number over
    another would make of what nobody ever saw the strongest evidence there is.
    """
    parameters, imputed, by_name = {}, [], {comparison.name: comparison for comparison in comparisons}
    for comparison in settings["comparisons"]:
        name = comparison["output_column_name"]
        levels = [level for level in comparison["comparison_levels"] if not level.get("is_null_level")]
        pairs = []
        for level, usual_m, usual_u in zip(levels, *usual.shares(by_name[name]), strict=True):
            m, u = (number(level.get(f"{which}_probability")) for which in "mu")
            imputed += [
                f"{name}: {level['label_for_charts']} ({which})"
                for which, value in (("m", m), ("u", u))
                if value is None
            ]
            if m is None:
                u = usual_u if u is None else max(u, LEAST_U)
                m = u * usual_m / usual_u
            pairs.append(bounded(m, u or 0.0))
        parameters[name] = tuple(pairs)
    return parameters, imputed


def number(value: Any) -> float | None:
    """A probability that was learnt, else None: Splink writes a text in its place."""
    return float(value) if isinstance(value, int | float) else None


def bounded(m: float, u: float) -> tuple[float, float]:
    """Evidence is never absolute; a level that hardly a match shows is no evidence for one."""
    u = min(max(u, LEAST_U), MOST)
    return round(min(max(m, min(LEAST_M, u)), MOST), 9), round(u, 9)


def unlearnt_comparisons(settings: dict[str, Any], names: list[str]) -> list[str]:
    """Comparisons of these names of which no session learnt a single m (Splink may leave such a one out altogether)."""
    learnt = {
        comparison["output_column_name"]
        for comparison in settings["comparisons"]
        if any(
            number(level.get("m_probability")) is not None
            for level in comparison["comparison_levels"]
            if not level.get("is_null_level")
        )
    }
    return [name for name in names if name not in learnt]
