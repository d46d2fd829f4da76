"""Plots of insight in asset metadata: titled, with units on the axes."""

import json
from typing import Any

import dagster as dg

from assets.charts import SHARE, axis, drawn
from assets.drawings import kept
from cdp.insight.card import Card
from cdp.insight.projected import STATES
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake
from cdp.lake.register import entries

MOST = 30  # rows of a bar chart


def bars(
    title: str, rows: list[dict[str, Any]], label: str, value: str, unit: str, note: str = "", **more: Any
) -> dg.MarkdownMetadataValue:
    """Horizontal bars, in the order of the rows."""
    spec = {
        "mark": "bar", "height": {"step": 18},
        "encoding": {"y": axis(label, "nominal", "", sort=[r[label] for r in rows], axis={"labelLimit": 320}), "x": axis(value, "quantitative", unit, **more)},
    }  # fmt: skip
    return drawn(title, spec, rows[:MOST], note)


def horizon(lake: Lake) -> dg.MarkdownMetadataValue:
    """How long customers wait between two purchases."""
    query = """
        with days as (select distinct customer_id, day from core__purchase_days where orders > 0),
        gaps as (select date_diff('day', lag(day) over (partition by customer_id order by day), day) as gap from days)
        select cast(least(floor(gap / 7) * 7, 364) as integer) as gap, count(*) as gaps from gaps where gap is not null group by 1 order by 1
    """
    rows = [] if is_empty(lake, "core__purchase_days") else lake.records(query)
    days = lake.scalar("select days from core__purchase_horizon") if rows else None
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis(
                "gap", "quantitative", "days between two purchases, by week (364: that or more)", bin={"step": 7}
            ),
            "y": axis("gaps", "quantitative", "gaps"),
        },
    }
    return drawn("How long customers wait", spec, rows, f"Silence of {days} days counts as churn.")


def rfm(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by recency and frequency, coloured by what they spend."""
    rows = lake.records(
        "select r, f, count(*) as customers, avg(cast(monetary as double)) as net from mart__rfm where channel = 'all' group by 1, 2 order by 1, 2"
    )
    edges = lake.records(
        "select r, min(recency_days) as low, max(recency_days) as high from mart__rfm where channel = 'all' group by 1 order by 1"
    )
    spec = {
        "width": 320,
        "encoding": {"x": axis("r", "ordinal", "recency (5: bought lately)"), "y": axis("f", "ordinal", "frequency (5: bought often)", sort="descending")},
        "layer": [
            {"mark": "rect", "encoding": {"color": axis("net", "quantitative", "mean net spend", scale={"scheme": "blues"})}},
            {"mark": "text", "encoding": {"text": axis("customers", "quantitative", "customers", format=",")}},
        ],
    }  # fmt: skip
    note = (
        "Days since the last purchase by quintile: "
        + ", ".join(f"{e['r']}: {e['low']} to {e['high']}" for e in edges)
        + "."
    )
    return drawn("Customers by recency and frequency", spec, rows, note)


def metrics(lake: Lake) -> dg.MarkdownMetadataValue:
    """The rates of the last year, month by month."""
    rows = lake.records("""
        select period as month, metric, value from mart__metrics cross join core__insight_terms
        where channel = 'all' and period not in ('year', strftime(as_of_day, '%Y-%m')) and metric in ('retention_rate', 'repurchase_rate', 'return_rate', 'answered_on_time') order by 1, 2
    """)
    year = {
        r["metric"]: r
        for r in lake.records("select metric, value from mart__metrics where channel = 'all' and period = 'year'")
    }
    note = (
        "Over the year: "
        + ", ".join(
            f"{name.replace('_', ' ')} {row['value']:,.3g}"
            for name, row in sorted(year.items())
            if row["value"] is not None
        )
        + "."
    )
    spec = {
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": axis("month", "ordinal", "month"), "y": axis("value", "quantitative", "share", axis=SHARE),
            "color": axis("metric", "nominal", "metric"),
        },
    }  # fmt: skip
    return drawn("Rates by month, all channels", spec, rows, note)


def states(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by loyalty state, month by month."""
    rows = lake.records(
        "select month, state, count(*) as customers from core__customer_months group by 1, 2 order by 1, 2"
    )
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis("month", "ordinal", "month's end"), "y": axis("customers", "quantitative", "customers"),
            "color": axis("state", "nominal", "state", sort=list(STATES)),
        },
    }  # fmt: skip
    return drawn("Customers by loyalty state", spec, rows)


def moves(lake: Lake) -> dg.MarkdownMetadataValue:
    """Where customers go from a state within a month."""
    rows = lake.records("""
        select state_before as before, state as after, sum(customers) / sum(sum(customers)) over (partition by state_before) as share
        from mart__state_moves where state_before <> 'prospect' group by 1, 2 order by 1, 2
    """)
    names = [s for s in STATES if any(r["before"] == s for r in rows)]
    spec = {
        "width": 360, "height": 260,
        "encoding": {"x": axis("after", "ordinal", "state a month later", sort=list(STATES)), "y": axis("before", "ordinal", "state", sort=names)},
        "layer": [
            {"mark": "rect", "encoding": {"color": axis("share", "quantitative", "share", scale={"scheme": "greens"}, legend={"format": "%"})}},
            {"mark": "text", "encoding": {"text": axis("share", "quantitative", "share", format=".0%")}},
        ],
    }  # fmt: skip
    return drawn("Where customers go within a month", spec, [{**r, "share": float(r["share"])} for r in rows])


def forecast(lake: Lake) -> dg.MarkdownMetadataValue:
    """Where today's customers are expected to be."""
    rows = lake.records("select step, state, share from mart__state_forecast order by 1, 2")
    worth = lake.records("select state, value from mart__state_forecast where step = 0 order by value desc")
    spec = {
        "mark": "area",
        "encoding": {
            "x": axis("step", "quantitative", "months ahead"), "y": axis("share", "quantitative", "share of today's customers", axis=SHARE, stack="zero"),
            "color": axis("state", "nominal", "state", sort=list(STATES)),
        },
    }  # fmt: skip
    note = (
        "What a customer in a state is worth from now on: "
        + ", ".join(f"{w['state']} {w['value']:,.0f}" for w in worth)
        + "."
        if worth
        else ""
    )
    return drawn("Loyalty states in the months to come", spec, rows, note)


def survival(lake: Lake) -> dg.MarkdownMetadataValue:
    """How long customers keep buying, by the channel of their first order."""
    rows = lake.records("select channel, days, survival, low, high from mart__survival_curves order by 1, 2")
    x = axis("days", "quantitative", "days since the first purchase")
    spec = {
        "encoding": {"color": axis("channel", "nominal", "first channel")},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.12, "interpolate": "step-after"}, "encoding": {"x": x, "y": axis("low", "quantitative", ""), "y2": {"field": "high"}}},
            {"mark": {"type": "line", "interpolate": "step-after"}, "encoding": {"x": x, "y": axis("survival", "quantitative", "still buying", axis=SHARE)}},
        ],
    }  # fmt: skip
    return drawn("How long customers keep buying", spec, rows, "Kaplan–Meier; shaded is the 95 % interval.")


def retention(lake: Lake) -> dg.MarkdownMetadataValue:
    """Retention of cohorts, seen and projected."""
    found = lake.records("select * from mart__retention_projection order by months")
    rows = [
        {"months": r["months"], "what": what, "share": r[what]}
        for r in found
        for what in ("observed", "projected")
        if r[what] is not None
    ]
    spec = {
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": axis("months", "quantitative", "months since the first purchase"), "y": axis("share", "quantitative", "still there", axis=SHARE, scale={"domain": [0, 1]}),
            "color": axis("what", "nominal", "what"),
        },
    }  # fmt: skip
    return drawn("How many of a cohort stay", spec, rows)


def card(lake: Lake, table: str) -> dg.MarkdownMetadataValue:
    """A model's card; with its reliability where it predicts chances."""
    return dg.MetadataValue.md(kept(f"card 1 {table} {entries(lake)[table].version}", lambda: _card(lake, table)))


def _card(lake: Lake, table: str) -> str:
    found = [json.loads(row[0]) for row in lake.rows(f"select card from {table}")]  # noqa: S608
    if not found:
        return "no card yet"
    said = found[0]
    said.pop("is_trusted")
    text = Card(**{**said, "doubts": tuple(said["doubts"])}).markdown()
    if not said["curve"]:
        return text
    rows = [{"predicted": p, "observed": o, "customers": n} for p, o, n in said["curve"]]
    spec = {
        "encoding": {
            "x": axis("predicted", "quantitative", "predicted share", axis=SHARE, scale={"domain": [0, 1]}),
            "y": axis("observed", "quantitative", "observed share", axis=SHARE, scale={"domain": [0, 1]}),
        },
        "layer": [
            {"mark": {"type": "line", "point": True}},
            {"mark": {"type": "rule", "strokeDash": [4, 4], "color": "grey"}, "data": {"values": [{"a": 0, "b": 1}]},
             "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "a", "type": "quantitative"}, "x2": {"field": "b"}, "y2": {"field": "b"}}},
        ],
    }  # fmt: skip
    plot = drawn("Is a chance what it says? (holdout)", spec, rows)
    return f"{text}\n\n{plot.value}"


def chances(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by their chance to stay silent."""
    rows = lake.records(
        "select floor(churn * 20) / 20 as churn, count(*) as customers from mart__churn group by 1 order by 1"
    )
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis("churn", "quantitative", "P(no purchase within the horizon)", bin={"step": 0.05}, axis=SHARE),
            "y": axis("customers", "quantitative", "customers"),
        },
    }
    return drawn("Customers by their chance to stay silent", spec, rows)


def values(lake: Lake) -> dg.MarkdownMetadataValue:
    """How much of the expected value lies with how many customers."""
    rows = lake.records("""
        with tenths as (select ntile(10) over (order by value desc, customer_id) as tenth, value from mart__customer_value where value is not null)
        select cast(tenth as varchar) as tenth, sum(value) as value from tenths group by tenths.tenth order by tenths.tenth
    """)
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis("tenth", "ordinal", "tenths of customers, most valuable first", sort=None),
            "y": axis("value", "quantitative", "expected value of a year, currency of reports"),
        },
    }
    return drawn("Where the expected value lies", spec, rows)


def loyalty(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by type of loyalty."""
    rows = lake.records("select loyalty, count(*) as customers from mart__loyalty_types group by 1 order by 2 desc")
    return bars(
        "Customers by type of loyalty",
        rows,
        "loyalty",
        "customers",
        "customers",
        "Unknown: buys little, and never said what they think.",
    )


def clusters(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by group of alike ones."""
    rows = lake.records("select cluster, count(*) as customers from mart__clusters group by 1 order by 2 desc")
    return bars("Groups of alike customers", rows, "cluster", "customers", "customers")


def segments(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by segment."""
    rows = lake.records("select segment, count(*) as customers from mart__segments group by 1 order by 2 desc")
    return bars("Customers by segment", rows, "segment", "customers", "customers; one may be in several")
