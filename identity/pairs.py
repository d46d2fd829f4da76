"""Scored pairs of payloads, kept from run to run: only what is new, gone or newly generic is compared again.

Lake tables hold what a run needs to know of the runs before it: the blocking keys of every payload and how many may share
one, the weight of every scored pair, and what each payload is worth against itself. Under one model they are the same whether they were
made at once or run by run, because a key that crosses its block limit re-opens all payloads that hold it.
"""

from dataclasses import dataclass

import pyarrow as pa

from cdp.lake import build, register
from cdp.lake.engine import Lake
from identity import blocking, names, nodes, scoring
from identity.artefact import Model

KEYS, PAIRS, WORTH, LIMITS = "core__blocking_keys", "core__scored_pairs", "core__payload_worth", "core__key_limits"
INCREMENTAL_BELOW = 0.3  # share of payloads that changed, above which all are compared again
SHAPES = {
    KEYS: "node bigint, key bigint, rule smallint",
    PAIRS: "l bigint, r bigint, weight double",
    WORTH: "node bigint, weight double",
    LIMITS: "rule smallint, most bigint",
}


@dataclass(frozen=True)
class Compared:
    """What scoring did: payloads in all, new, gone, re-opened; pairs compared and kept."""

    built: tuple[build.Built, ...]
    nodes: int = 0
    fresh: int = 0
    gone: int = 0
    reopened: int = 0
    candidates: int = 0


def build_pairs(lake: Lake, trained: Model | None) -> Compared:
    """Bring the three tables to the present payloads under the model in use."""
    version = trained.version if trained else "none"
    mark = build.fingerprint(lake, ("core__payloads",), version, "pairs 2")
    if register.recorded(lake, PAIRS) == mark:
        return Compared(tuple(build.Built(t, build.rows(lake, t), changed=False) for t in SHAPES))
    count = nodes.create(lake)
    fresh = register.recorded(lake, f"{PAIRS}#model") != version or not all(lake.exists(t) for t in SHAPES)
    done = _stage(lake, trained, count, from_scratch=fresh)
    lake.write(lambda: _write(lake, mark, version, from_scratch=done[0]), "score pairs")
    built = tuple(build.Built(t, build.rows(lake, t), changed=True) for t in SHAPES)
    return Compared(built, count, *done[1:])


def stage(lake: Lake, trained: Model | None) -> int:
    """All pairs compared afresh in memory (`scored`, `worth`), nothing written; returns how many were compared."""
    return _stage(lake, trained, nodes.create(lake), from_scratch=True)[4]


def _stage(lake: Lake, trained: Model | None, count: int, *, from_scratch: bool) -> tuple[bool, int, int, int, int]:
    """Stage in memory what the tables lack; returns (from scratch, new, gone, re-opened, candidates)."""
    con = lake.connection
    if not from_scratch:
        con.execute(f"create or replace temp table fresh as select node from nodes anti join {WORTH} using (node)")
        con.execute(f"create or replace temp table gone as select node from {WORTH} anti join nodes using (node)")
        moved = int(lake.scalar("select (select count(*) from fresh) + (select count(*) from gone)"))
        from_scratch = moved > INCREMENTAL_BELOW * max(count, 1)
    if from_scratch:
        con.execute("create or replace temp table fresh as select node from nodes")
        con.execute("create or replace temp table gone as select node from nodes limit 0")
    _stage_keys(lake, trained, from_scratch=from_scratch)
    candidates = _candidates(lake, trained, from_scratch=from_scratch)
    if trained is None:
        for table in ("scored", "worth"):
            con.execute(f"create or replace temp table {table} (l bigint, r bigint, weight double)")
    else:
        scoring.score(con, trained, nodes.TABLE, "candidate_pairs", "scored", scoring.KEPT)
        con.execute("create or replace temp table itself as select node as l, node as r from fresh order by 1")
        scoring.score(con, trained, nodes.TABLE, "itself", "worth", -1000.0)
        _drop_incompatible(lake)
    numbers = [int(lake.scalar(f"select count(*) from {table}")) for table in ("fresh", "gone", "reopened")]
    return from_scratch, numbers[0], numbers[1], numbers[2], candidates


def _stage_keys(lake: Lake, trained: Model | None, *, from_scratch: bool) -> None:
    """`fresh_keys(node, key, rule)` of the new payloads and `reopened(node)`: holders of keys that crossed their limit."""
    con = lake.connection
    con.execute("create or replace temp table fresh_nodes as from nodes semi join fresh using (node)")
    rules = trained.plan.rules if trained else ()
    parts = [
        f"select node, key, {number}::smallint as rule from ({blocking.keys_sql(rule, number, 'fresh_nodes')})"
        for number, (rule, _) in enumerate(rules)
    ]
    empty = "select 0::bigint as node, 0::bigint as key, 0::smallint as rule limit 0"
    con.execute(f"create or replace temp table fresh_keys as {' union all '.join(parts) or empty}")
    con.register(
        "limits_read",
        pa.table(
            {"rule": pa.array(range(len(rules)), pa.int16()), "most": pa.array([m for _, m in rules], pa.int64())}
        ),
    )
    con.execute("create or replace temp table limits as from limits_read")
    con.unregister("limits_read")
    if from_scratch:
        con.execute("create or replace temp table reopened as select 0::bigint as node limit 0")
        return
    con.execute(f"create or replace temp table gone_keys as select k.* from {KEYS} k semi join gone using (node)")
    con.execute(
        f"""
        create or replace temp table crossed as
        with touched as (
            select key, rule, sum(n) as change from (
                select key, rule, 1 as n from fresh_keys union all select key, rule, -1 from gone_keys
            ) group by key, rule
        ), before as (select key, count(*) as n from {KEYS} semi join touched using (key) group by key)
        select t.key from touched t left join before b using (key) join limits using (rule)
        where (coalesce(b.n, 0) > most) <> (coalesce(b.n, 0) + t.change > most)
        """
    )
    con.execute(
        f"create or replace temp table reopened as select distinct node from {KEYS} semi join crossed using (key) anti join gone using (node)"
    )


def _candidates(lake: Lake, trained: Model | None, *, from_scratch: bool) -> int:
    """`candidate_pairs(l, r)`: pairs of a new or re-opened payload with any payload that shares a key within its limit."""
    con = lake.connection
    if from_scratch:
        held, ours = "fresh_keys", "true"
    else:
        con.execute("create or replace temp table affected as from fresh union from reopened")
        con.execute(
            f"""
            create or replace temp table held_keys as
            with own as (
                select * from fresh_keys union all select k.* from {KEYS} k semi join reopened using (node)
            )
            select k.* from (select * from {KEYS} anti join gone using (node) union all from fresh_keys) k
            semi join own using (key)
            """
        )
        held, ours = "held_keys", "a.node in (from affected) or b.node in (from affected)"
    con.execute(
        f"create or replace temp table valid_keys as select h.node, h.key from {held} h semi join ("
        f"select key from {held} join limits using (rule) group by key, rule, most having count(*) between 2 and most) using (key)"
    )
    con.execute(
        "create or replace temp table candidate_pairs as select distinct a.node as l, b.node as r "
        f"from valid_keys a join valid_keys b on a.key = b.key and a.node < b.node where {ours}"
    )
    return int(lake.scalar("select count(*) from candidate_pairs")) if trained else 0


def _drop_incompatible(lake: Lake) -> None:
    """Take out pairs whose given names are two people's: households share everything else (a negative rule)."""
    con = lake.connection
    con.execute(
        """
        create or replace temp table doubtful as
        select s.l, s.r, a.given_key as given_l, b.given_key as given_r
        from scored s join nodes a on a.node = s.l join nodes b on b.node = s.r
        where a.given_key <> b.given_key and a.root is distinct from b.root
            and not coalesce(a.first = b.family and a.family = b.first, false)
        """
    )
    pairs = lake.rows("select distinct given_l, given_r from doubtful")
    wrong = [(a, b) for a, b in pairs if not names.compatible(a, b)]
    table = pa.table(
        {
            "given_l": pa.array([a for a, _ in wrong], pa.string()),
            "given_r": pa.array([b for _, b in wrong], pa.string()),
        }
    )
    with build.incoming(lake, table):
        con.execute(
            "create or replace temp table refused as select l, r from doubtful semi join incoming using (given_l, given_r)"
        )
    con.execute("create or replace temp table scored as from scored anti join refused using (l, r)")


def _write(lake: Lake, mark: str, version: str, *, from_scratch: bool) -> None:
    con = lake.connection
    if from_scratch:
        for table, shape in SHAPES.items():
            con.execute(f"create or replace table lake.main.{table} ({shape})")
    else:
        con.execute(f"delete from lake.main.{KEYS} where node in (from gone)")
        con.execute(f"delete from lake.main.{WORTH} where node in (from gone)")
        con.execute(
            f"delete from lake.main.{PAIRS} where l in (from gone union from reopened) or r in (from gone union from reopened)"
        )
    con.execute(f"delete from lake.main.{LIMITS}")
    con.execute(f"insert into lake.main.{LIMITS} from limits")
    con.execute(f"insert into lake.main.{KEYS} from fresh_keys order by key")
    con.execute(f"insert into lake.main.{PAIRS} from scored order by l, r")
    con.execute(f"insert into lake.main.{WORTH} select l, weight from worth order by l")
    for table in SHAPES:
        register.record(lake, table, mark, content=mark)
    register.record(lake, f"{PAIRS}#model", version)
