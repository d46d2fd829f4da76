"""Payloads as numbered nodes: what is blocked, scored and clustered. A node's number is a hash of its content, for ever."""

from cdp.lake.engine import Lake
from identity import fields

TABLE = "nodes"
NODE = "cast('0x' || left(payload_id, 15) as bigint)"


def create(lake: Lake) -> int:
    """`nodes(node, first_record, records, given_key, …)` in memory, one row a payload; returns how many."""
    there = {row[0] for row in lake.rows("describe core__payloads")}
    named = [c for c in (*fields.COLUMNS, "given_key") if c in there]
    values = ", ".join(f"any_value({c}) as {c}" for c in named)
    lake.rows(
        f"create or replace temp table {TABLE} as select {NODE} as node, min(record_id) as first_record, "
        f"count(*) as records, {values} from core__payloads group by payload_id order by node"
    )
    return int(lake.scalar(f"select count(*) from {TABLE}"))
