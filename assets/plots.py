"""Plots of identity and of what arrives, in asset metadata."""

import math
from collections import Counter
from datetime import datetime

import dagster as dg

from assets.charts import SHARE, axis, drawn
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake
from identity.artefact import Model
from identity.scorer import Part, Scorer, complete
from identity.surprise import strongest


def match_weights(model: Model | None) -> dg.MarkdownMetadataValue:
    """What each level of each comparison adds to a match weight, or takes from it."""
    rows = [
        {"field": c.name, "level": f"{c.name}: {test.label}", "weight": math.log2(m / u)}
        for c in (model.comparisons if model else [])
        for test, (m, u) in zip(c.tests[1:], model.parameters[c.name] if model else (), strict=True)
    ]
    spec = {
        "mark": "bar", "height": {"step": 13},
        "encoding": {
            "y": axis("level", "nominal", "", sort=None, axis={"labelLimit": 320}), "x": axis("weight", "quantitative", "match weight (log2 m/u)"),
            "color": axis("field", "nominal", "field", legend=None),
        },
    }  # fmt: skip
    return drawn(
        "What each agreement weighs", spec, rows, "One more doubles the odds that two records are one person's."
    )


def m_and_u(model: Model | None) -> dg.MarkdownMetadataValue:
    """How often each level holds among matches (m) and among others (u)."""
    rows = [
        {"level": f"{c.name}: {test.label}", "among": among, "share": value}
        for c in (model.comparisons if model else [])
        for test, pair in zip(c.tests[1:], model.parameters[c.name] if model else (), strict=True)
        for among, value in zip(("matches (m)", "others (u)"), pair, strict=True)
    ]
    spec = {
        "mark": "bar", "width": 200, "height": {"step": 13},
        "encoding": {
            "y": axis("level", "nominal", "", sort=None, axis={"labelLimit": 320}), "x": axis("share", "quantitative", "share", axis=SHARE),
            "column": axis("among", "nominal", ""), "color": axis("among", "nominal", "", legend=None),
        },
    }  # fmt: skip
    return drawn("How often each level holds", spec, rows)


def surprise(lake: Lake, model: Model | None) -> dg.MarkdownMetadataValue:
    """Of the pairs joined by the smallest margin the one with the strongest evidence against it: what each field says, never the values."""
    parts = _parts(lake, model)
    at, rows = model.prior_weight if model else 0.0, []
    rows.append({"field": "before anything is known", "from": 0.0, "to": at, "says": "against" if at < 0 else "for"})
    for part in parts:
        rows.append({"field": f"{part.comparison}: {part.label}", "from": at, "to": at + part.weight, "says": "for" if part.weight > 0 else "against"})  # fmt: skip
        at += part.weight
    spec = {
        "mark": "bar", "height": {"step": 20},
        "encoding": {
            "y": axis("field", "nominal", "", sort=None, axis={"labelLimit": 320}), "x": axis("from", "quantitative", "match weight so far"),
            "x2": {"field": "to"}, "color": axis("says", "nominal", "says", scale={"domain": ["for", "against"], "range": ["#2a7f4f", "#b3392f"]}),
        },
    }  # fmt: skip
    note = f"Joined at {at:.1f}; the threshold is {model.threshold:.1f}." if model else ""
    return drawn("The strongest surprise among what was joined by the smallest margin", spec, rows if parts else [], note)


def _parts(lake: Lake, model: Model | None) -> list[Part]:
    if model is None:
        return []
    scorer, found = Scorer(model), []
    for left, right in strongest(lake):
        found.append([p for p in scorer.parts(complete(left, model), complete(right, model)) if p.weight])
    return min(found, key=lambda parts: sum(min(0.0, p.weight) for p in parts), default=[])


def cluster_sizes(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by their number of records."""
    sizes = "select count(*) as n from core__record_customers group by customer_id"
    rows = lake.records(f"select least(n, 20) as records, count(*) as customers from ({sizes}) group by 1 order by 1")  # noqa: S608
    spec = {
        "mark": "bar",
        "encoding": {
            "x": axis("records", "ordinal", "records of a customer (20: that many or more)"),
            "y": axis("customers", "quantitative", "customers (log scale)", scale={"type": "symlog"}),
        },
    }
    return drawn("Customers by size", spec, rows)


def overlap(lake: Lake) -> dg.MarkdownMetadataValue:
    """Customers by the sources that know them."""
    query = """
        select string_agg(distinct r.source, ' + ' order by r.source) as sources from core__record_customers
        join core__contact_records r using (record_id) group by customer_id
    """
    counted = Counter(str(row[0]) for row in lake.rows(query)).most_common(15)
    rows = [{"sources": names, "customers": count} for names, count in counted]
    spec = {
        "mark": "bar", "height": {"step": 18},
        "encoding": {"y": axis("sources", "nominal", "", sort=[n for n, _ in counted], axis={"labelLimit": 280}), "x": axis("customers", "quantitative", "customers")},
    }  # fmt: skip
    return drawn("Which sources know the same customers", spec, rows)


def freshness(lake: Lake, tables: dict[str, str], now: datetime) -> dg.MarkdownMetadataValue:
    """Rows by landing day of each source, up to now: a source that went silent is seen at once."""
    rows = [
        {"source": source, "day": f"{day}", "rows": int(count)}
        for source, table in tables.items()
        if not is_empty(lake, table)
        for day, count in lake.rows(f"select cast(timezone('UTC', _landed_at) as date) as day, count(*) from {table} group by 1 order by 1 desc limit 60")  # noqa: S608
    ]  # fmt: skip
    spec = {
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": axis("day", "temporal", "landing day (UTC)"), "y": axis("rows", "quantitative", "rows accepted (log scale)", scale={"type": "symlog"}),
            "color": axis("source", "nominal", "source"),
        },
    }  # fmt: skip
    return drawn("What arrived, by landing day", spec, rows, f"As of {now:%Y-%m-%d %H:%M} UTC.")


def quarantine(reasons: list[dict[str, object]]) -> dg.MarkdownMetadataValue:
    """Lines that wait in the quarantine, by source and reason."""
    rows = [
        {"why": f"{r['source']}: {r['column'] or 'line'} {r['check']}", "lines": r["waiting"], "source": r["source"]}
        for r in reasons
        if r["waiting"]
    ][:25]
    spec = {
        "mark": "bar", "height": {"step": 18},
        "encoding": {
            "y": axis("why", "nominal", "", sort=None, axis={"labelLimit": 320}), "x": axis("lines", "quantitative", "lines that wait"),
            "color": axis("source", "nominal", "source"),
        },
    }  # fmt: skip
    return drawn("Why lines wait in the quarantine", spec, rows)
