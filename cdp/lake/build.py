"""Make a lake table from one select: inputs found in its text, nothing made again when nothing changed."""

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from importlib import resources
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.scope import traverse_scope

from cdp.lake import delta, register
from cdp.lake.engine import Lake
from cdp.lake.fill import make as make_table
from cdp.lake.lineage import DIALECT, TRACING, column_lineage
from cdp.lake.register import Traced, entries, record, recorded

TELLS = "Changes are told by: "


@dataclass(frozen=True)
class Select:
    """One select of the pipeline: the table it makes, its text, what its header comment says of it.

    A table that tells by some of its columns is kept by difference (see `cdp.lake.delta`).
    """

    table: str
    sql: str
    description: str
    tells: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The lake tables it reads, sorted."""
        return find_inputs(self.sql)


@dataclass(frozen=True)
class Built:
    """What building a table did, how long it took and how much it wrote.

    Attributes:
        table: Its name.
        rows: Those it has now.
        changed: Whether anything was written.
        seconds: How long it took.
        bytes: Of the files that were written.
        made: Rows that were made for it, where it was made again in part; None where all of them were.
    """

    table: str
    rows: int
    changed: bool
    seconds: float = field(default=0.0, compare=False)
    bytes: int = field(default=0, compare=False)
    made: int | None = field(default=None, compare=False)


P = ParamSpec("P")
R = TypeVar("R")


def timed(make: Callable[Concatenate[Lake, P], R]) -> Callable[Concatenate[Lake, P], R]:
    """Builders say how long they took and how much they wrote, and while they work the lake is busy.

    Both stand in the `Built` that a builder returns, in those of its `built`, or in the first of a tuple.
    """

    @wraps(make)
    def measured(lake: Lake, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with lake.busy() as began:
            return cast("R", _stamped(lake, make(lake, *args, **kwargs), time.monotonic() - began))

    return measured


def _stamped(lake: Lake, made: Any, seconds: float) -> Any:
    if isinstance(made, Built):
        written = lake.written(made.table, time.time() - seconds) if made.changed else 0
        return replace(made, seconds=seconds, bytes=written)
    if isinstance(made, tuple):
        return (_stamped(lake, made[0], seconds), *made[1:])
    return replace(made, built=tuple(_stamped(lake, built, seconds) for built in made.built))


@cache
def find_inputs(query: str) -> tuple[str, ...]:
    """The tables a query reads, without its own CTEs, sorted."""
    found = {
        source.name
        for scope in traverse_scope(sqlglot.parse_one(query, dialect=DIALECT))
        for source in scope.sources.values()
        if isinstance(source, exp.Table) and source.name
    }
    return tuple(sorted(found))


@cache
def sql_file(stage: str, table: str) -> Select:
    """The select in `cdp/sql/<stage>/<table>.sql`; its leading comment is the table's description, and what it tells by."""
    query = (resources.files("cdp") / "sql" / stage / f"{table}.sql").read_text(encoding="utf-8")
    comment = [line.removeprefix("--").strip() for line in query.splitlines() if line.startswith("--")]
    told = [line.removeprefix(TELLS) for line in comment if line.startswith(TELLS)]
    described = " ".join(line for line in comment if not line.startswith(TELLS))
    return Select(table, query, described, tuple(name.strip() for line in told for name in line.split(",")))


def sql_tables(stage: str) -> list[str]:
    """The tables that a stage's files make, by name."""
    folder = resources.files("cdp") / "sql" / stage
    return sorted(item.name.removesuffix(".sql") for item in folder.iterdir() if item.name.endswith(".sql"))


@dataclass(frozen=True)
class Increment:
    """How a table is made again in part.

    Attributes:
        scope: What of it has to be made again.
        whole: Inputs of which any change makes it anew.
    """

    scope: delta.Scope
    whole: tuple[str, ...] = ()


@timed
def build(lake: Lake, select: Select, parameters: dict[str, Any] | None = None, part: Increment | None = None) -> Built:
    """Make a table from its select, unless its text, parameters and inputs are as they were.

    Args:
        lake: Where.
        select: Its select.
        parameters: Bound into it.
        part: How it is made again in part, where it can be.

    Raises:
        LakeError: If an input was never made.
    """
    mark = fingerprint(lake, select.inputs, select.sql, parameters)
    if recorded(lake, select.table) == mark:
        return Built(select.table, rows(lake, select.table), changed=False)
    if select.tells:
        whole = fingerprint(lake, part.whole if part else (), select.sql, parameters)
        scope = part.scope if part else None
        return refresh(
            lake, select.table, mark, whole, select.tells, lambda: select.sql, scope, parameters, lambda: traced(lake, select)
        )  # fmt: skip

    largest = max((rows(lake, table) for table in select.inputs), default=0)
    lake.write(
        lambda: make_table(lake, select.table, select.sql, mark, parameters, lambda: traced(lake, select), largest),
        f"build {select.table}",
    )
    return Built(select.table, rows(lake, select.table), changed=True)


def traced(lake: Lake, select: Select) -> Traced:
    """Where the columns of a select come from, found once for its text and the columns that it reads."""
    known = entries(lake)
    columns = {table: known[table].columns for table in select.inputs}
    by = hashlib.sha256(repr((select.sql, columns, TRACING)).encode()).hexdigest()
    if recorded(lake, select.table) and recorded(lake, f"{select.table}#lineage") == by:
        return Traced(known[select.table].lineage, by)
    return Traced(column_lineage(select.sql, columns), by)


@timed
def refresh(
    lake: Lake,
    table: str,
    mark: str,
    depends: str,
    tells: tuple[str, ...],
    query: Callable[[], str],
    scope: delta.Scope | None = None,
    parameters: dict[str, Any] | None = None,
    lineage: Callable[[], Traced] = Traced,
) -> Built:
    """Bring a table to what its inputs say now, writing only rows that changed.

    Args:
        lake: Where.
        table: Its name.
        mark: Fingerprint of all that it depends on; nothing is done where it is as it was.
        depends: Fingerprint of what makes it anew when it changes.
        tells: Columns by which its readers learn what changed.
        query: Gives the select that makes the rows, called when the inputs show what has to be made again.
        scope: What has to be made again; all of it where None.
        parameters: Bound into the select.
        lineage: Gives where its columns come from.
    """
    if recorded(lake, table) == mark:
        return Built(table, rows(lake, table), changed=False)
    since, turn = delta.last_read(lake, table, depends), delta.newest(lake)
    scoped = scope(since) if scope and since else None
    with delta.shadowed(lake, scoped.inputs if scoped else {}, scoped.columns if scoped else {}):
        lake.connection.execute(f"create or replace temp table made as {query()}", parameters)
    if scoped:
        lake.rows(f"delete from made where cast({scoped.key} as varchar) not in (from touched)")
    part = int(lake.scalar("select count(*) from made")) if scoped else None
    before = entries(lake)[table] if since else None
    found = lineage()

    def make() -> str | None:
        version = delta.write(lake, table, tells, scoped)
        record(lake, table, mark, found, version, (depends, turn), made="made", whole=not scoped)
        return version

    version = lake.write(make, f"build {table}")
    lake.rows("drop table if exists temp.main.made")
    changed = version is None or before is None or version != before.version
    return Built(table, rows(lake, table), changed, made=part)


def rows(lake: Lake, table: str) -> int:
    """Rows of a table."""
    return entries(lake)[table].rows


def is_empty(lake: Lake, table: str) -> bool:
    """Whether a table has no rows, or is not there; the lake is asked only where the register does not know."""
    built = entries(lake).get(table)
    return not built.rows if built else not (lake.exists(table) and lake.remembered(f"select 1 from {table} limit 1"))


def reads_nothing(lake: Lake, query: str, beside: Collection[str] = ()) -> bool:
    """Whether every table that a select reads is empty: asking them all would cost the catalog a look at each.

    Args:
        lake: Where.
        query: Gives no row where its tables have none.
        beside: Tables of settings, which add columns and never rows.
    """
    read = [table for table in find_inputs(query) if table not in beside]
    return bool(read) and all(is_empty(lake, table) for table in read)


@timed
def build_table(lake: Lake, table: str, mark: str, make: Callable[[], pa.Table]) -> Built:
    """Make a table from rows computed outside SQL, unless its fingerprint `mark` is as it was."""
    if recorded(lake, table) == mark:
        return Built(table, rows(lake, table), changed=False)
    made = make()

    def write() -> None:
        with incoming(lake, made):
            make_table(lake, table, "from incoming", mark, largest=made.num_rows)

    lake.write(write, f"build {table}")
    return Built(table, made.num_rows, changed=True)


@contextmanager
def incoming(lake: Lake, table: pa.Table) -> Iterator[None]:
    """Let queries read these rows as `incoming` for the length of the block."""
    lake.connection.register("incoming", table)
    try:
        yield
    finally:
        lake.connection.unregister("incoming")


def fingerprint(lake: Lake, inputs: tuple[str, ...], *parts: Any) -> str:
    """What a table's content depends on: the state of its inputs and whatever else is given."""
    register.require(lake, inputs)
    known = entries(lake)
    text = repr((parts, [(table, known[table].version) for table in inputs]))
    return hashlib.sha256(text.encode()).hexdigest()
