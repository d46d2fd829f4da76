"""What stewards decided, as evidence in the lake."""

import polars as pl
import psycopg

from cdp.lake import build, register
from cdp.lake.engine import Lake
from cdp.store import decisions

TABLE = "core__steward_links"
SCHEMA = {
    "left_id": pl.String, "right_id": pl.String, "verdict": pl.String, "weight": pl.Float64, "evidence": pl.String,
}  # fmt: skip


@build.timed
def build_steward_links(lake: Lake, store: psycopg.Connection) -> build.Built:
    """`core__steward_links`: the standing decision on every pair; a revoked one is gone."""
    rows = [(a, b, v, w, f'{{"changeset": "{c}"}}') for a, b, v, w, c in decisions.standing(store)]
    mark = build.fingerprint(lake, (), rows, "steward 1")
    if register.recorded(lake, TABLE) == mark:
        return build.Built(TABLE, build.rows(lake, TABLE), changed=False)
    with build.incoming(lake, pl.DataFrame(rows, schema=SCHEMA, orient="row").to_arrow()):
        return build.refresh(lake, TABLE, mark, "steward 1", ("left_id", "right_id"), lambda: "from incoming")
