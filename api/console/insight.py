"""Loyalty measured, for managers: figures that the last run published. No figure names a person."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.console import phrases, words
from api.console.manager import bar
from api.console.visit import Manager
from cdp.insight.dictionary import METRICS, Metric
from cdp.store import scores

router = APIRouter()
RATES = ("retention_rate", "repurchase_rate", "return_rate")


@router.get("/insight")
def insight(visit: Manager) -> Response:
    """All figures of the newest run."""
    with visit.app.store() as store:
        found = defaultdict[str, Any](list, scores.figures(store))
    language = visit.language
    translate = words.translations(language).gettext
    say = partial(phrases.say, translate=translate)
    currency = found["currency"][0]["currency"] if found["currency"] else "–"
    shares = {
        rule: [
            {"name": r["channel"], "share": round(100 * r["share"])} for r in found["attribution"] if r["rule"] == rule
        ]
        for rule in ("first", "removal effect")
    }
    months = sorted({r["period"] for r in found["months"]})
    by_month = {(r["metric"], r["period"]): r["value"] for r in found["months"]}
    newest = max((r["month"] for r in found["states"]), default="")
    return visit.page(
        "insight.html", bar=bar, currency=currency, horizon=found["horizon"][0]["days"] if found["horizon"] else "–",
        channels=_channels(found["metrics"]), metrics=_metrics(found["metrics"], currency, language, translate),
        rates=[(say(f"metric_{name}"), [(m[2:], by_month.get((name, m))) for m in months]) for name in RATES] if months else [],
        states=sorted(({"name": f"state_{r['state']}", "value": r["customers"]} for r in found["states"] if r["month"] == newest), key=lambda r: -r["value"]),
        retention=[(say(name), [(str(r["months"]), r[name]) for r in found["retention"]]) for name in ("observed", "projected")] if found["retention"] else [],
        loyalty=[{**r, "name": f"type_{r['name']}"} for r in found["loyalty"]], segments=[{**r, "name": phrases.segment(r["name"])} for r in found["segments"][:15]],
        funnel=[{"name": f"step_{r['step']}", "value": r["visits"]} for r in found["funnel"] if r["channel"] == "all"],
        acquisition=[{"name": r["channel"], "value": round(r["net_per_customer"])} for r in found["acquisition"] if r["channel"] != "all"],
        first=shares["first"], removal=shares["removal effect"], topics=[{**r, "name": f"topic_{r['name']}"} for r in found["topics"]],
        complaints=[{"name": f"topic_{r['name']}", "value": r["other"]} for r in found["topics"] if r["other"]],
        surveys=found["surveys"], causes=found["causes"], cards=found["cards"],
    )  # fmt: skip


def _channels(rows: list[dict[str, Any]]) -> list[str]:
    return ["all", *sorted({row["channel"] for row in rows} - {"all"})]


def _metrics(
    rows: list[dict[str, Any]], currency: str, language: str, translate: Callable[[str], str]
) -> dict[str, dict[str, Any]]:
    """Metric → what it means, and its value by channel as it is written."""
    shown: dict[str, dict[str, Any]] = {}
    for name, metric in METRICS.items():
        of = {
            row["channel"]: _written(metric, row["value"], currency, language) for row in rows if row["metric"] == name
        }
        if of:
            shown[name] = {
                "of": of,
                "says": " / ".join(translate(text) for text in (metric.numerator, metric.denominator) if text),
            }
    return shown


def _written(metric: Metric, value: float | None, currency: str, language: str) -> str:
    if value is None:
        return "–"
    if metric.unit == "share":
        return f"{100 * value:.1f}%"
    if metric.unit == "money":
        return words.money(value, currency, language)
    return words.number(round(value, 2 if metric.unit == "number" else 1 if metric.unit == "hours" else 0), language)
