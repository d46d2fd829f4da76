"""Decisions that were recorded online, as a lake table: the store is their authority, the pipeline reads them back."""

from typing import Any

import polars as pl
import psycopg

from cdp.lake import build
from cdp.lake.engine import Lake
from cdp.store import consents

TABLE = "core__recorded_decisions"
TIME = pl.Datetime("us", "UTC")
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("decision_id", "record_id", "subject_type", "subject", "purpose", "status"), pl.String),
    "captured_at": TIME, "received_at": TIME,
    **dict.fromkeys(("source", "method", "notice_version", "basis", "jurisdiction"), pl.String),
    "expires_at": TIME, "confirmed_at": TIME, "separate_consent": pl.String, "is_explicit": pl.Boolean,
    "evidence": pl.String, "actor": pl.String,
}  # fmt: skip


def build_recorded_decisions(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__recorded_decisions`: every decision that did not come by a file, in the columns of all decisions."""
    rows = consents.recorded(store, tuple(SCHEMA))
    mark = build.fingerprint(lake, (), sorted(row[0] for row in rows), tuple(SCHEMA))
    return build.build_table(lake, TABLE, mark, lambda: pl.DataFrame(rows, schema=SCHEMA, orient="row").to_arrow())
