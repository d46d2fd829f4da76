"""Tables kept by difference: a run over new data writes, and tells those that read the table, only the rows that changed.

Every write gets a turn. `ops__changed_keys` holds, for the columns a table tells by, the values of the rows that changed at
each turn; a reader asks for those since it was last made. A table made anew tells "everything". So cost follows what changed,
no reader depends on snapshots that expire, and a run that died in between is caught up by the next.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cdp.lake import held, register
from cdp.lake.engine import Lake
from cdp.lake.fill import fill

LOG = "ops__changed_keys"
EVERYTHING = "*"
MOST = 0.3  # share of rows that changed, above which a table is made anew
FEW = 1_000  # told values that are kept however small the table


@dataclass(frozen=True)
class Scoped:
    """What has to be made again.

    Attributes:
        key: The column by which rows are made again; their values stand in `touched(key)`.
        inputs: Condition on the rows that this takes, by input table; the others are read whole.
        columns: Those that the select reads of an input, where it reads few; all of the others'.
    """

    key: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Since:
    """What the lake's tables told since a turn."""

    lake: Lake
    turn: int

    def keys(self, into: str, *told: str) -> bool:
        """`into(key)` in memory: values of the changed rows' columns, as `table.column`; False where all may have changed."""
        anew = {f"{name.split('.')[0]}.{EVERYTHING}" for name in told}
        known = {f"{table}.{column}" for (table, column), (_, turn) in _told(self.lake).items() if turn > self.turn}
        if known & anew:
            return False
        if known & set(told):
            self.lake.rows(
                f"create or replace temp table {into} as select distinct key from {LOG} where turn > $turn "
                "and table_name || '.' || told in (select unnest($told)) and key is not null",
                {"turn": self.turn, "told": list(told)},
            )
        else:
            self.lake.rows(f"create or replace temp table {into} (key varchar)")
        return True


Scope = Callable[[Since], Scoped | None]


def otherwise(table: str, key: str, inputs: Mapping[str, str]) -> Scope:
    """The rows that rest on something else than when they were made, where no input tells what changed.

    The table keeps in its column `rests_on` a hash of all that goes into a row or a group of them; the temporary table
    `rests(key, rests_on)` says what it is now.

    Args:
        table: Its name.
        key: Its column by which the hashes stand.
        inputs: Condition on the rows of its inputs that take the keys in `touched(key)`.
    """

    def scope(since: Since) -> Scoped | None:
        since.lake.rows(
            f"create or replace temp table touched as with before as (select distinct {key}, rests_on from {table}) "
            f"select {key} as key from rests anti join before using ({key}, rests_on) "
            f"union select {key} from before anti join rests using ({key})"
        )
        touched, there = since.lake.rows("select (select count(*) from touched), (select count(*) from rests)")[0]
        return Scoped(key, inputs) if touched <= MOST * there else None

    return scope


def newest(lake: Lake) -> int:
    """The last turn that was taken."""
    return max((turn for _, turn in _told(lake).values()), default=0)


def _told(lake: Lake) -> dict[tuple[str, str], tuple[int, int]]:
    """(table, column) → how many values are kept of it and when the last was told; read once a connection, kept in step."""
    if lake.told is None:
        query = f"select table_name, told, count(*), max(turn) from {LOG} group by all"
        lake.told = {(table, column): (count, turn) for table, column, count, turn in lake.rows(query)}
    found: dict[tuple[str, str], tuple[int, int]] = lake.told
    return found


def last_read(lake: Lake, table: str, depends: str) -> Since | None:
    """What changed since `table` was last made; None where it must be made anew."""
    read = register.entries(lake).get(f"{table}#read")
    if read is None or read.fingerprint != depends or register.recorded(lake, table) is None:
        return None
    return Since(lake, read.rows)


def shadow(lake: Lake, table: str, query: str, parameters: dict[str, Any] | None = None) -> None:
    """Put a select's rows in the place of a lake table for bare names, which read temporary tables first; nothing is written."""
    lake.rows(f"create or replace temp table shadow_made as {query}", parameters)
    held.hold(lake, table, "shadow_made")


@contextmanager
def shadowed(lake: Lake, conditions: Mapping[str, str], columns: Mapping[str, str] | None = None) -> Iterator[None]:
    """Bare names read only these rows for the length of the block: a select of the pipeline works over a part of its inputs."""
    try:
        for table, condition in conditions.items():
            select = f"select {(columns or {}).get(table, '*')} from {table} where {condition}"
            lake.rows(f"create or replace temp table part_of_{table} as {select}")
            lake.rows(f"alter table if exists temp.main.{table} rename to whole_{table}")
            lake.rows(f"alter table part_of_{table} rename to {table}")
        yield
    finally:
        for table in conditions:
            lake.rows(f"drop table if exists temp.main.{table}")
            lake.rows(f"alter table if exists temp.main.whole_{table} rename to {table}")


def write(lake: Lake, table: str, tells: tuple[str, ...], scoped: Scoped | None) -> str | None:
    """Inside a transaction: bring `table` to the rows of the temp table `made`, and tell what changed.

    Args:
        lake: Where.
        table: Its name.
        tells: Its columns by whose values readers learn what changed.
        scoped: The part that `made` holds; all of the table where None.

    Returns:
        The version of the content, None where it has to be summed because the table was made anew.
    """
    before = register.entries(lake).get(table)
    if (
        before is None
        or before.fingerprint == register.NOT_BUILT
        or register.described(lake, f"lake.main.{table}") != register.described(lake, "made")
    ):
        make_anew(lake, table)
        return None
    within = f"where cast(o.{scoped.key} as varchar) in (from touched)" if scoped else ""
    changed = _differences(lake, table, tells, within)
    if changed > max(MOST * before.rows, FEW) and not scoped:  # of few rows the difference costs nothing, and its readers much
        make_anew(lake, table)
        return None
    if not changed:
        return before.version
    lake.rows(f"delete from lake.main.{table} where rowid in (select r from rows_gone)")
    lake.rows(f"insert into lake.main.{table} select * exclude (h) from rows_new")
    moved = "select {0} from rows_new union all select {0} from rows_gone"
    tell(lake, table, {column: moved.format(column) for column in tells})
    count, total = map(int, before.version.replace("None", "0").split(":"))
    more, added = lake.rows("select count(*), coalesce(sum(h), 0) from rows_new")[0]
    less, taken = lake.rows("select count(*), coalesce(sum(h), 0) from rows_gone")[0]
    return f"{count + more - less}:{total + int(added) - int(taken)}"


def make_anew(lake: Lake, table: str) -> None:
    """Put `made` in the place of the table and tell that everything may have changed."""
    fill(lake, table, "made")
    tell_everything(lake, table)


def tell(lake: Lake, table: str, told: Mapping[str, str]) -> None:
    """Tell the values of changed rows; once they are many, that everything changed.

    Args:
        lake: In a transaction.
        table: Whose rows.
        told: Select of the values, by column.
    """
    turn, kept = newest(lake) + 1, _told(lake)
    for column, query in told.items():
        ((more,),) = lake.rows(
            f"insert into lake.main.{LOG} select distinct '{table}', '{column}', cast({column} as varchar), {turn} "
            f"from ({query}) where {column} is not null"
        )
        if more:
            kept[table, column] = (kept.get((table, column), (0, 0))[0] + more, turn)
    entry = register.entries(lake).get(table)
    most = max(MOST * (entry.rows if entry else 0), FEW)
    if any(count > most for (name, _), (count, _) in kept.items() if name == table):
        tell_everything(lake, table)


def tell_everything(lake: Lake, table: str) -> None:
    """Have every reader of the table made anew."""
    turn, kept = newest(lake) + 1, _told(lake)
    told = [name for name in kept if name[0] == table]
    if told:
        lake.rows(f"delete from lake.main.{LOG} where table_name = ?", [table])
    lake.rows(f"insert into lake.main.{LOG} values (?, ?, null, ?)", [table, EVERYTHING, turn])
    for name in told:
        del kept[name]
    kept[table, EVERYTHING] = (1, turn)


def _differences(lake: Lake, table: str, tells: tuple[str, ...], within: str) -> int:
    """`rows_gone(r, h, …)` and `rows_new(…, h)`; returns how many. Rows are told apart by a hash of 64 bits."""
    told = "".join(f", o.{column}" for column in tells)
    lake.rows(
        f"create or replace temp table rows_old as select o.rowid as r, hash(o) as h{told} from lake.main.{table} as o {within}"
    )
    lake.rows("create or replace temp table rows_made as select m.*, hash(m) as h from made as m")
    lake.rows("create or replace temp table rows_gone as from rows_old anti join rows_made using (h)")
    lake.rows("create or replace temp table rows_new as from rows_made anti join rows_old using (h)")
    stays = lake.rows(
        "select "
        + ", ".join(
            f"(select coalesce(sum(h), 0) from {all_rows}) - (select coalesce(sum(h), 0) from {changed})"
            for all_rows, changed in (("rows_old", "rows_gone"), ("rows_made", "rows_new"))
        )
    )[0]
    if stays[0] != stays[1]:  # equal rows that now stand more or less often: all of them are written again
        lake.rows("create or replace temp table rows_gone as from rows_old")
        lake.rows("create or replace temp table rows_new as from rows_made")
    lake.rows("drop table rows_made")
    return int(lake.scalar("select (select count(*) from rows_gone) + (select count(*) from rows_new)"))
