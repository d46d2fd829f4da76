"""Payloads as numbered nodes: what is blocked, scored and clustered. A node's number is a hash of its content, for ever."""

from cdp.errors import LakeError
from cdp.lake.engine import Lake
from identity import fields

TABLE = "nodes"
TOLD = "cast('0x' || left(key, 15) as bigint)"  # the node of a payload that changed, by its id in `key`


def create(lake: Lake, where: str = "true", *, ordered: bool = False) -> int:
    """`nodes(node, records, given_key, …)` in memory, one row a payload; returns how many.

    Args:
        lake: Holds `core__payloads`.
        where: Condition on `node`: only these payloads.
        ordered: By number, which whoever draws samples needs.

    Raises:
        LakeError: If the payloads were made before they had numbers.
    """
    there = {row[0] for row in lake.rows("describe core__payloads")}
    if "node" not in there:
        raise LakeError("core__payloads was made by an older version", "run the pipeline once: 'cdp run'")
    named = [c for c in (*fields.COLUMNS, "given_key") if c in there]
    values = ", ".join(f"any_value({c}) as {c}" for c in named)
    lake.rows(
        f"create or replace temp table {TABLE} as select node, count(*) as records, {values} "
        f"from core__payloads where {where} group by node{' order by node' if ordered else ''}"
    )
    return int(lake.scalar(f"select count(*) from {TABLE}"))
