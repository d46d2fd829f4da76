"""Which payloads are compared: those that share a blocking key with a new one, while the key is not too common.

A key's limit counts all payloads that hold it, so a key that crosses it, either way, re-opens everyone who does: what is
compared is then the same whether payloads came at once or run by run.
"""

import pyarrow as pa

from cdp.lake.engine import Lake
from identity import blocking
from identity.artefact import Model

KEYS = "core__blocking_keys"


def stage(lake: Lake, trained: Model | None, *, from_scratch: bool) -> int:
    """`fresh_keys(node, key, rule)`, `limits(rule, most)`, `reopened(node)` and `candidate_pairs(l, r)`; returns the pairs.

    Args:
        lake: Holds `nodes` with the new payloads, `fresh(node)` and `gone(node)` in memory, and the keys of the old ones.
        trained: The model with its blocking plan.
        from_scratch: Whether the keys of the lake count for nothing.
    """
    _fresh(lake, trained, from_scratch=from_scratch)
    if from_scratch:
        lake.rows("create or replace temp table reopened as select 0::bigint as node limit 0")
        return _pairs(lake, "fresh_keys", "true") if trained else _pairs(lake, "fresh_keys", "false")
    _near(lake)
    lake.rows("create or replace temp table affected as from fresh union from reopened")
    return _pairs(lake, "held_keys", "a.node in (from affected) or b.node in (from affected)")


def _fresh(lake: Lake, trained: Model | None, *, from_scratch: bool) -> None:
    table = "nodes"
    if not from_scratch:
        table = "fresh_nodes"
        lake.rows(f"create or replace temp table {table} as from nodes semi join fresh using (node)")
    rules = trained.plan.rules if trained else ()
    parts = [
        f"select node, key, {number}::smallint as rule from ({blocking.keys_sql(rule, number, table)})"
        for number, (rule, _) in enumerate(rules)
    ]
    empty = "select 0::bigint as node, 0::bigint as key, 0::smallint as rule limit 0"
    lake.rows(f"create or replace temp table fresh_keys as {' union all '.join(parts) or empty}")
    most = {"rule": pa.array(range(len(rules)), pa.int16()), "most": pa.array([m for _, m in rules], pa.int64())}
    lake.connection.register("limits_read", pa.table(most))
    lake.rows("create or replace temp table limits as from limits_read")
    lake.connection.unregister("limits_read")


def _near(lake: Lake) -> None:
    """`held_keys`: everyone who holds a key of a new or re-opened payload, as things stand now."""
    lake.rows(f"create or replace temp table gone_keys as select k.* from {KEYS} k semi join gone using (node)")
    lake.rows("create or replace temp table touched_keys as select key from fresh_keys union select key from gone_keys")
    lake.rows(f"create or replace temp table near_keys as from {KEYS} semi join touched_keys using (key)")
    lake.rows(
        """
        create or replace temp table crossed as
        with change as (
            select key, rule, sum(n) as n from (
                select key, rule, 1 as n from fresh_keys union all select key, rule, -1 from gone_keys
            ) group by key, rule
        ), before as (select key, count(*) as n from near_keys group by key)
        select t.key from change t left join before b using (key) join limits using (rule)
        where (coalesce(b.n, 0) > most) <> (coalesce(b.n, 0) + t.n > most)
        """
    )
    lake.rows(
        "create or replace temp table reopened as select distinct node from near_keys semi join crossed using (key) anti join gone using (node)"
    )
    if lake.scalar("select count(*) from reopened"):
        lake.rows(
            f"create or replace temp table near_keys as select k.* from {KEYS} k where key in ("
            f"select key from fresh_keys union select r.key from {KEYS} r semi join reopened using (node))"
        )
    lake.rows(
        "create or replace temp table held_keys as select * from near_keys anti join gone using (node) union all from fresh_keys"
    )


def _pairs(lake: Lake, held: str, ours: str) -> int:
    lake.rows(
        f"create or replace temp table valid_keys as select h.node, h.key from {held} h semi join ("
        f"select key from {held} join limits using (rule) group by key, rule, most having count(*) between 2 and most) using (key)"
    )
    lake.rows(
        "create or replace temp table candidate_pairs as select distinct a.node as l, b.node as r "
        f"from valid_keys a join valid_keys b on a.key = b.key and a.node < b.node where {ours}"
    )
    return int(lake.scalar("select count(*) from candidate_pairs"))
