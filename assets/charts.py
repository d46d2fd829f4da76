"""Charts in asset metadata: Vega-Lite drawn to SVG without a network."""

import base64
import json
from typing import Any

import dagster as dg

from assets.drawings import kept
from cdp.lake.engine import Lake
from cdp.loyalty.programme import Programme

SIZE = {"width": 560, "height": 220}
SHARE = {"format": "%"}


def drawn(title: str, spec: dict[str, Any], rows: list[dict[str, Any]], note: str = "") -> dg.MarkdownMetadataValue:
    """A Vega-Lite chart of these rows, as an image in markdown; a sentence where there is nothing to draw."""
    if not rows:
        return dg.MetadataValue.md(f"**{title}**: nothing to draw yet.")
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": title,
        **SIZE,
        "data": {"values": rows},
        **spec,
    }
    text = json.dumps(whole, sort_keys=True, default=str)
    image = base64.b64encode(kept(text, lambda: _svg(text)).encode()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{image})\n\n{note}")


def _svg(spec: str) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(json.loads(spec)))


def axis(field: str, kind: str, title: str, **more: Any) -> dict[str, Any]:
    """One channel of an encoding."""
    return {"field": field, "type": kind, "title": title, **more}


def liability(lake: Lake, programme: Programme) -> dg.MarkdownMetadataValue:
    """What became of the units of each month."""
    query = "select vintage, outstanding, redeemed, expired, taken_back, liability from mart__loyalty_liability where unit = $unit order by vintage"
    found = lake.records(query, {"unit": programme.spends})
    rows = [
        {"month": r["vintage"], "what": what, "units": int(r[what])}
        for r in found
        for what in ("outstanding", "redeemed", "expired", "taken_back")
    ]
    total = sum(float(r["liability"]) for r in found)
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis("month", "ordinal", "earned in"), "y": axis("units", "quantitative", programme.spends),
            "color": axis("what", "nominal", "what became of them"),
        },
    }  # fmt: skip
    return drawn(
        "Units by the month in which they were earned", spec, rows, f"Liability: {total:,.2f} {programme.currency}"
    )


def measures(lake: Lake, programme: Programme) -> dg.MarkdownMetadataValue:
    """The programme's shares, with its goal as a rule across its own."""
    found = {r["measure"]: r["value"] for r in lake.records("select * from mart__loyalty_measures")}
    shares = ("active_share", "repeat_rate", "redeemer_share", "tier_share", "burn_rate", "cost_rate")
    goal = programme.goal
    rows = [{"measure": name, "share": found[name], "target": float(goal.target) if goal and goal.measure == name else None} for name in shares if found.get(name) is not None]  # fmt: skip
    bars = {
        "mark": "bar",
        "encoding": {
            "y": axis("measure", "nominal", "", sort=list(shares)),
            "x": axis("share", "quantitative", "share", axis={"format": "%"}),
        },
    }
    rule = {"mark": {"type": "tick", "color": "crimson", "thickness": 3, "size": 22}, "encoding": {"y": axis("measure", "nominal", "", sort=list(shares)), "x": axis("target", "quantitative", "share")}}  # fmt: skip
    note = "No goal is set in the programme's YAML."
    if goal is not None:
        actual = found.get(goal.measure)
        note = f"Goal for {goal.audience}: {goal.measure} {goal.target:.0%}; now {'unknown' if actual is None else f'{actual:.1%}'}."
    return drawn("What members do, over the last year", {"layer": [bars, rule]}, rows, note)


def rewards(lake: Lake, programme: Programme) -> dg.MarkdownMetadataValue:
    """Who could take which reward now."""
    rows = lake.records("select reward, cast(share as double) as share from mart__loyalty_rewards order by cost")
    spec = {
        "mark": "bar",
        "encoding": {
            "y": axis("reward", "nominal", "reward", sort=[r["reward"] for r in rows]),
            "x": axis("share", "quantitative", "members who can afford it", axis={"format": "%"}),
        },
    }
    return drawn("Who can afford which reward", spec, rows, "A reward that nobody can afford is hollow.")


def levels(lake: Lake) -> dg.MarkdownMetadataValue:
    """How many hold which level."""
    rows = lake.records(
        "select level, height, count(*) as customers from core__customer_tiers group by all order by height"
    )
    spec = {
        "mark": "bar",
        "encoding": {
            "y": axis("level", "nominal", "level", sort=[r["level"] for r in rows]),
            "x": axis("customers", "quantitative", "customers"),
        },
    }
    return drawn("Customers by level", spec, rows)


def curve(lake: Lake) -> dg.MarkdownMetadataValue:
    """The share of units spent by age."""
    rows = lake.records("select unit, age_days, redeemed_share from mart__redemption_curve order by 1, 2")
    spec = {
        "mark": {"type": "line", "interpolate": "step-after"},
        "encoding": {
            "x": axis("age_days", "quantitative", "days since earned"), "y": axis("redeemed_share", "quantitative", "spent", axis={"format": "%"}),
            "color": axis("unit", "nominal", "unit"),
        },
    }  # fmt: skip
    return drawn("How long units live until they are spent", spec, rows, "What the curve never reaches is breakage.")
