"""Which rows of a source are an erased person's: by their records, their identifiers, or their name with a shared one.

The rows stand in a table with the contract's columns and two that number them; the source's own party expressions say whom
a row names. Everything is set-based; only distinct values are read in Python.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cdp.lake.build import incoming
from cdp.lake.engine import Lake
from cdp.privacy.suppression import HASH, Suppression, composites
from cdp.sources.canonical import row_grants, row_orders, row_parties
from cdp.sources.model import Source
from cdp.standard import contact, names

Living = Callable[[list[str]], set[str]]
TEXT = "type || '|' || value"
VALUES = pl.Schema({"type": pl.String, "raw": pl.String, "value": pl.String})
# A row is an erased person's if it names one of their records (a browser's only where it names nobody else), an identifier
# that nobody living held, or their name with one that somebody did (unless it names a record of somebody living); and so is every
# row of an order of theirs: once redacted it would name a guest of that order, whom a ticket could join to somebody.
VERDICTS = """
    create or replace table memory.main.row_verdicts as
    with hits as (
        select t.*, s.shared, s.erased_at from memory.main.row_tokens as t join memory.main.suppressed as s using (hash)
    ), named as (
        select _order, _line, bool_or(not is_device) as names_somebody from memory.main.row_tokens
        where type = 'record' group by _order, _line
    )
    select h._order, h._line, list(distinct h.hash) as hashes, max(h.erased_at) as erased_at
    from hits as h left join named as n using (_order, _line)
    left join (
        select distinct p._order, p._line from memory.main.row_parties as p join memory.main.living as v using (record_id)
    ) as l using (_order, _line)
    where not h.shared and (h.type <> 'record' or not h.is_device or not coalesce(n.names_somebody, false))
        and (h.type not like 'name+%' or l._order is null)
    group by h._order, h._line
"""


@dataclass(frozen=True)
class Rows:
    """Rows to judge: a table and the SQL of the two columns that number its rows."""

    table: str
    order: str = "_order"
    line: str = "_line"


def load(lake: Lake, suppression: Suppression) -> int:
    """`memory.main.suppressed(hash, kind, shared, erased_at)`; returns how many there are."""
    entries = list(suppression.entries().values())
    rows = [(e.hash, e.kind, e.shared, e.at) for e in entries]
    schema = {"hash": pl.String, "kind": pl.String, "shared": pl.Boolean, "since": pl.String}
    with incoming(lake, pl.DataFrame(rows, schema=schema, orient="row").to_arrow()):
        lake.rows(
            "create or replace table memory.main.suppressed as select hash, kind, shared, cast(since as timestamptz) as erased_at from incoming"
        )
    return len(entries)


def match(
    lake: Lake,
    source: Source,
    rows: Rows,
    suppression: Suppression,
    regions: tuple[str, ...],
    living: Living,
    now: datetime | None = None,
) -> int:
    """`memory.main.row_verdicts(_order, _line, hashes, erased_at)`: the rows that are an erased person's; returns how many.

    Args:
        lake: Where; `suppressed` is loaded.
        source: Whose rows.
        rows: Which.
        suppression: The list.
        regions: Countries in which to read a bare phone number.
    """
    lake.rows(
        f"create or replace table memory.main.row_parties as {row_parties(source, rows.table, rows.order, rows.line)}"
    )
    lake.rows(
        f"create or replace table memory.main.row_orders as {row_orders(source, rows.table, rows.order, rows.line)}"
    )
    _standard(lake, regions)
    inner, outer = suppression.pads
    lake.rows(
        f"create or replace table memory.main.row_tokens as select *, {HASH.format(text=TEXT)} as hash "
        f"from ({_tokens()})",
        {"inner": inner, "outer": outer},
    )
    _composites(lake, suppression)
    _living(lake, suppression, living)
    lake.rows(VERDICTS)
    if now is not None:
        _lift(lake, source, rows, suppression, now)
    return int(lake.scalar("select count(*) from memory.main.row_verdicts"))


def _tokens() -> str:
    """Grain: row × identifier it names. Records, contact points and keys, each in standard form."""
    return """
        select _order, _line, 'record' as type, record_id as value, is_device from memory.main.row_parties
        union
        select p._order, p._line, v.type, v.value, p.is_device from memory.main.row_parties as p
        join memory.main.row_values as v on (v.type = 'email' and v.raw = p.email) or (v.type = 'phone' and v.raw = p.phone)
        where v.value is not null
        union
        select _order, _line, identifier, source_key, is_device from memory.main.row_parties where identifier is not null
        union
        select _order, _line, 'order', order_id, false from memory.main.row_orders where order_id is not null
    """


def _standard(lake: Lake, regions: tuple[str, ...]) -> None:
    """`row_values(type, raw, value)`: e-mails and phones as written with what they stand for."""
    read: dict[str, Callable[[str], str | None]] = {
        "email": contact.email,
        "phone": lambda raw: contact.phone(raw, regions),
    }
    rows = [
        (kind, raw, reader(raw))
        for kind, reader in read.items()
        for (raw,) in lake.rows(f"select distinct {kind} from memory.main.row_parties where {kind} is not null")
    ]
    with incoming(lake, pl.DataFrame(rows, schema=VALUES, orient="row").to_arrow()):
        lake.rows("create or replace table memory.main.row_values as from incoming")


def _composites(lake: Lake, suppression: Suppression) -> None:
    """Add the name with each shared identifier and postcode to the tokens of rows that could match."""
    candidates = lake.rows(
        "select distinct p.given_name, p.family_name, p.full_name, p.postal_code, t.type, t.value, p._order, p._line "
        "from memory.main.row_parties as p left join (select t.* from memory.main.row_tokens as t join memory.main.suppressed as s "
        "using (hash) where s.shared) as t using (_order, _line) "
        "where coalesce(p.given_name, p.family_name, p.full_name) is not null "
        "and (t.value is not null or p.postal_code is not null)"
    )
    rows = []
    for given, family, full, postcode, kind, value, order, line in candidates:
        name = names.name(given, family, full).full_key
        found = [(kind, value), ("postal_code", place(postcode))]
        tokens = [token for k, v in found if k and v for token in composites(k, v, name)]
        rows += [(order, line, k, v, False, suppression.hash(k, v)) for k, v in tokens]
    schema = {
        "_order": pl.Int64,
        "_line": pl.Int64,
        "type": pl.String,
        "value": pl.String,
        "is_device": pl.Boolean,
        "hash": pl.String,
    }
    with incoming(lake, pl.DataFrame(rows, schema=schema, orient="row").to_arrow()):
        lake.rows("insert into memory.main.row_tokens by name select distinct * from incoming")


def _living(lake: Lake, suppression: Suppression, living: Living) -> None:
    """`living(record_id)`: records of rows that match by name which are somebody's, and not those of the erased."""
    asked = lake.rows(
        "select distinct p.record_id from memory.main.row_parties as p where not p.is_device and (p._order, p._line) in (select "
        "(t._order, t._line) from memory.main.row_tokens as t join memory.main.suppressed as s using (hash) where t.type like 'name+%')"
    )
    erased = suppression.entries()
    named = [record for (record,) in asked if suppression.hash("record", record) not in erased]
    found = sorted(living(named)) if named else []
    with incoming(lake, pl.DataFrame({"record_id": found}, schema={"record_id": pl.String}).to_arrow()):
        lake.rows("create or replace table memory.main.living as from incoming")


def place(postcode: str | None) -> str | None:
    """A postcode as it is compared."""
    return "".join(postcode.split()).lower() or None if postcode else None


def _lift(lake: Lake, source: Source, rows: Rows, suppression: Suppression, now: datetime) -> None:
    """A row with a grant captured after the erasure is the person coming back: it counts, and so do those after it."""
    grants = row_grants(source, rows.table, rows.order, rows.line)
    if grants is None:
        return
    back = lake.rows(
        f"with granted as ({grants}) select v._order, v._line, v.hashes, g.captured_at from memory.main.row_verdicts as v "
        "join granted as g using (_order, _line) where g.captured_at > v.erased_at and g.captured_at <= $now",
        {"now": now},
    )
    for _, _, hashes, _ in back:
        suppression.lift(hashes, now)
    if back:
        load(lake, suppression)
        lake.rows(VERDICTS)
