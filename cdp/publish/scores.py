"""Publish scores: by difference, in transactions of a few thousand rows, never of somebody erased meanwhile."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import psycopg

from cdp.lake.build import find_inputs, fingerprint, reads_nothing
from cdp.lake.engine import Lake
from cdp.publish.difference import SETTINGS, stage_table
from cdp.publish.tables import Served
from cdp.store import scores

SCORES = Served("customer_scores", ("customer_id",), "customer_id", ("customer_id", "scores"))
BATCH = 5_000
MARK = "made from"  # beside the figures: what they were read from
FIGURES = {
    "metrics": "select metric, channel, value, numerator, denominator from mart__metrics where period = 'year' order by 1, 2",
    "months": "select metric, period, value from mart__metrics cross join core__insight_terms where channel = 'all' and period not in ('year', strftime(as_of_day, '%Y-%m')) order by 1, 2",
    "states": "select month, state, count(*) as customers from core__customer_months group by 1, 2 order by 1, 2",
    "loyalty": "select loyalty as name, count(*) as value from mart__loyalty_types group by 1 order by 2 desc, 1",
    "segments": "select segment as name, count(*) as value from mart__segments group by 1 order by 2 desc, 1",
    "funnel": "select channel, step, visits, share from mart__funnel order by channel, position",
    "acquisition": "select * from mart__acquisition_channels order by customers desc",
    "attribution": "select rule, channel, share from mart__attribution order by 1, 2",
    "surveys": "select question, channel, score, low, high, answers from mart__survey_scores where period = 'year' and state = 'all' order by 1, 2",
    "topics": "select topic as name, cast(sum(remarks) as bigint) as value, cast(sum(case when tone = 'negative' then remarks else 0 end) as bigint) as other, min(confidence) as confidence from mart__feedback_topics group by 1 order by 2 desc, 1",
    "causes": "select cause as name, lift, customers, excess from mart__churn_causes where customers >= 10 order by excess desc",
    "retention": "select months, observed, projected from mart__retention_projection order by 1",
    "cards": "select card from ops__model_cards order by model",
    "horizon": "select days from core__purchase_horizon",
    "currency": "select currency from core__insight_terms",
}  # fmt: skip
# what the figures read; and who is in a segment is released with since when
TABLES = sorted({"ops__segment_history", *(table for query in FIGURES.values() for table in find_inputs(query))})


def publish_scores(
    lake: Lake, store: psycopg.Connection, now: datetime, log: Callable[[str], None] | None = None
) -> int:
    """Bring the store to what the lake says; returns how many customers' scores were written or taken away."""
    changed = stage_table(lake, store, SCORES, set())
    if changed:
        _write(lake, store, now, log)
    mark = fingerprint(lake, tuple(TABLES), FIGURES)
    if scores.figures(store, MARK).get(MARK) != mark:
        scores.put_figures(store, figures(lake) | {MARK: mark}, now)
    return changed


def _write(lake: Lake, store: psycopg.Connection, now: datetime, log: Callable[[str], None] | None) -> None:
    """The scores that differ, in batches."""
    frame = pl.DataFrame(
        lake.connection.execute(
            "select customer_id, scores, row_hash, gone from changed_customer_scores order by 1"
        ).to_arrow_table()
    )
    for start in range(0, len(frame), BATCH):
        part = frame.slice(start, BATCH)
        with store.transaction():
            scores.forget(store, part.filter(pl.col("gone"))["customer_id"].to_list())
            scores.put(store, part.filter(~pl.col("gone")).select("customer_id", "scores", "row_hash").rows(), now)
        if log and start and start % (20 * BATCH) == 0:
            log(f"scores of {start:,} of {len(frame):,} customers are written")
    lake.rows("drop table memory.main.changed_customer_scores")


def figures(lake: Lake) -> dict[str, Any]:
    """Figures over everybody, by name."""
    found: dict[str, Any] = {
        name: [] if reads_nothing(lake, query, SETTINGS) else lake.records(query) for name, query in FIGURES.items()
    }
    found["cards"] = [json.loads(row["card"]) for row in found["cards"]]
    return found
