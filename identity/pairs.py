"""Scored pairs of payloads, kept from run to run: only what is new, gone or newly generic is compared again.

Lake tables hold what a run needs to know of the runs before it: the blocking keys of every payload and how many may share
one, the weight of every scored pair, and what each payload that several records hold is worth against itself. Under one model they
are the same whether they were made at once or run by run.
"""

from dataclasses import dataclass

import pyarrow as pa

from cdp.lake import build, delta, register
from cdp.lake.engine import Lake
from identity import candidates, names, nodes, scopes, scoring
from identity.artefact import Model
from identity.candidates import KEYS

PAYLOADS, PAIRS, WORTH, LIMITS = "core__payloads", "core__scored_pairs", "core__payload_worth", "core__key_limits"
SHAPES = {
    KEYS: "node bigint, key bigint, rule smallint",
    PAIRS: "l bigint, r bigint, weight double",
    WORTH: "node bigint, weight double",
    LIMITS: "rule smallint, most bigint",
}
# the rows that are made for each, and the order in which they are looked up
STAGED = {LIMITS: ("limits", "rule"), KEYS: ("fresh_keys", "key"), PAIRS: ("scored", "l, r"), WORTH: ("worth", "node")}


@dataclass(frozen=True)
class Compared:
    """What scoring did: payloads in all, new, gone, re-opened; pairs compared and kept."""

    built: tuple[build.Built, ...]
    nodes: int = 0
    fresh: int = 0
    gone: int = 0
    reopened: int = 0
    candidates: int = 0


@build.timed
def build_pairs(lake: Lake, trained: Model | None) -> Compared:
    """Bring the four tables to the present payloads under the model in use."""
    version = trained.version if trained else "none"
    mark = build.fingerprint(lake, (PAYLOADS,), version, "pairs 4")
    if register.recorded(lake, PAIRS) == mark:
        return Compared(tuple(build.Built(t, build.rows(lake, t), changed=False) for t in SHAPES))
    # a payload's number is made of the keys of names: what these are read as has a rule of its own
    read_by = [register.recorded(lake, rule) for rule in scopes.DICTIONARIES]
    depends, turn = build.fingerprint(lake, (), version, read_by, "pairs 4"), delta.newest(lake)
    since = delta.last_read(lake, PAIRS, depends) if all(register.recorded(lake, t) for t in SHAPES) else None
    from_scratch = not _stage_changed(lake, since)
    compared = _stage(lake, trained, from_scratch=from_scratch)
    numbers = [int(lake.scalar(f"select count(*) from {table}")) for table in ("fresh", "gone", "reopened")]

    def write() -> None:
        _write(lake, from_scratch=from_scratch)
        for table in SHAPES:
            register.record(lake, table, mark, content=mark, read=(depends, turn))

    lake.write(write, "score pairs")
    made = {t: int(lake.scalar(f"select count(*) from {rows}")) for t, (rows, _) in STAGED.items()}
    built = tuple(build.Built(t, build.rows(lake, t), changed=True, made=made[t]) for t in SHAPES)
    return Compared(built, build.rows(lake, WORTH), numbers[0], numbers[1], numbers[2], compared)


def stage(lake: Lake, trained: Model | None) -> int:
    """All pairs compared afresh in memory (`scored`, `worth`), nothing written; returns how many were compared."""
    _stage_changed(lake, None)
    return _stage(lake, trained, from_scratch=True)


def _stage_changed(lake: Lake, since: delta.Since | None) -> bool:
    """`nodes`, `fresh(node)`, `gone(node)` and `revalued(node)` in memory; False where all payloads are compared again."""
    if since and since.keys("told_payloads", f"{PAYLOADS}.payload_id"):
        lake.rows(f"create or replace temp table told_nodes as select {nodes.TOLD} as node from told_payloads")
        nodes.create(lake, "node in (from told_nodes)")
        lake.rows(f"create or replace temp table known as from {WORTH} semi join told_nodes using (node)")
        lake.rows("create or replace temp table fresh as select node from nodes anti join known using (node)")
        lake.rows("create or replace temp table gone as select node from known anti join nodes using (node)")
        # how much a payload is worth matters once several records hold it
        lake.rows("create or replace temp table revalued as select node from nodes join known using (node) where records > 1 and weight is null")  # fmt: skip
        moved = int(lake.scalar("select (select count(*) from fresh) + (select count(*) from gone)"))
        if moved <= delta.MOST * max(build.rows(lake, WORTH), 1):
            return True
    nodes.create(lake)
    lake.rows("create or replace temp table fresh as select node from nodes")
    for table in ("gone", "revalued"):
        lake.rows(f"create or replace temp table {table} as select node from nodes limit 0")
    return False


def _stage(lake: Lake, trained: Model | None, *, from_scratch: bool) -> int:
    """`scored(l, r, weight)` and `worth(node, weight)` of what changed; returns the pairs that were compared."""
    con = lake.connection
    compared = candidates.stage(lake, trained, from_scratch=from_scratch)
    lake.rows("create or replace temp table valued as from fresh union from revalued")
    if not from_scratch:
        nodes.create(
            lake, "node in (select l from candidate_pairs union select r from candidate_pairs union from valued)"
        )
    lake.rows("create or replace temp table to_score as select l, r from candidate_pairs union all "
              "select node, node from nodes semi join valued using (node) where records > 1")  # fmt: skip
    if trained is None:
        con.execute("create or replace temp table scored (l bigint, r bigint, weight double)")
    else:
        scoring.score(con, trained, nodes.TABLE, "to_score", "scored", scoring.KEPT)
    lake.rows(
        "create or replace temp table worth as select node, "
        f"case when records > 1 then coalesce(weight, {scoring.KEPT}) end as weight "
        "from (from nodes semi join valued using (node)) left join scored on l = node and r = node"
    )
    lake.rows("delete from scored where l = r")
    _drop_incompatible(lake)
    return compared if trained else 0


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


def _write(lake: Lake, *, from_scratch: bool) -> None:
    con = lake.connection
    if from_scratch:
        for table, shape in SHAPES.items():
            con.execute(f"create or replace table lake.main.{table} ({shape})")
    else:
        again = "(from gone union from reopened)"
        con.execute(f"create or replace temp table pairs_gone as from {PAIRS} where l in {again} or r in {again}")
        for table, condition in (
            (KEYS, "node in (from gone)"),
            (WORTH, "node in (from gone union from revalued)"),
            (PAIRS, f"l in {again} or r in {again}"),
        ):
            if lake.scalar(f"select count(*) from lake.main.{table} where {condition}"):
                con.execute(f"delete from lake.main.{table} where {condition}")
    con.execute(f"delete from lake.main.{LIMITS}")
    for table, (rows, order) in STAGED.items():
        con.execute(f"insert into lake.main.{table} from {rows} order by {order}")
    if from_scratch:
        for table in (PAIRS, WORTH):
            delta.tell_everything(lake, table)
    else:
        moved = "select l, r from scored union all select l, r from pairs_gone"
        delta.tell(lake, PAIRS, {"l": moved, "r": moved})
        delta.tell(lake, WORTH, {"node": "select node from worth union all from gone"})
