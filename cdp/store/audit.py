"""The audit log: who did or saw what, never the values themselves, sealed in batches into a chain of hashes.

A writer holds a shared lock until it commits; the sealer takes it alone, so that no row with a smaller number can still
come. A seal covers every number since the one before it: a row that is changed, taken out or slipped in later shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

LOCK = 7_201_010
START = "0" * 64
FIRST = -(2**63)  # a seal leaves no number out, also none below those the database gives
# One row as text. jsonb writes the same value always alike.
CANONICAL = """
    jsonb_build_array(audit_id, to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), key_id, actor, action, customer_id,
        purpose, reason, details)::text
"""
CHAIN = "encode(sha256(convert_to({previous} || E'\\n' || coalesce(string_agg({row}, E'\\n' order by audit_id), ''), 'UTF8')), 'hex')"


@dataclass(frozen=True)
class Event:
    """One thing that happened: an action in a few words, by a key or another actor, about a customer or nobody."""

    action: str
    actor: str
    key_id: str | None = None
    customer_id: str | None = None
    purpose: str | None = None
    reason: str | None = None
    details: dict[str, Any] | None = None


@dataclass(frozen=True)
class Seal:
    """A sealed range of rows."""

    seal_id: int
    first_id: int
    last_id: int
    rows: int
    previous: str
    hash: str


def add(connection: psycopg.Connection, events: Iterable[tuple[datetime, Event]]) -> None:
    """Write rows in one transaction."""
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock_shared(%s)", [LOCK])
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "copy audit_log (at, key_id, actor, action, customer_id, purpose, reason, details) from stdin"
            ) as copy,
        ):
            for at, e in events:
                details = Jsonb(e.details) if e.details is not None else None
                copy.write_row((at, e.key_id, e.actor, e.action, e.customer_id, e.purpose, e.reason, details))


def seal(connection: psycopg.Connection, now: datetime) -> Seal | None:
    """Seal what is not sealed yet; None where there is nothing, or somebody is writing: the next time will do."""
    with connection.transaction():
        if not _one(connection, "select pg_try_advisory_xact_lock(%s)", [LOCK]):
            return None
        last = newest(connection)
        first, previous = (last.last_id + 1, last.hash) if last else (FIRST, START)
        query = f"select max(audit_id), count(*), {CHAIN.format(previous='%s::text', row=CANONICAL)} from audit_log where audit_id >= %s"
        row = connection.execute(query, [previous, first]).fetchone()
        if row is None or not row[1]:
            return None
        made = Seal((last.seal_id if last else 0) + 1, first, int(row[0]), int(row[1]), previous, str(row[2]))
        connection.execute(
            "insert into audit_seals (seal_id, first_id, last_id, rows, previous, hash, sealed_at) values (%s, %s, %s, %s, %s, %s, %s)",
            [made.seal_id, made.first_id, made.last_id, made.rows, made.previous, made.hash, now],
        )
    return made


def newest(connection: psycopg.Connection) -> Seal | None:
    """The last seal."""
    with connection.cursor(row_factory=class_row(Seal)) as cursor:
        return cursor.execute(
            "select seal_id, first_id, last_id, rows, previous, hash from audit_seals order by seal_id desc limit 1"
        ).fetchone()


def holds(connection: psycopg.Connection, head: Seal) -> bool:
    """Whether the chain still has this seal."""
    return bool(
        _one(connection, "select 1 from audit_seals where seal_id = %s and hash = %s", [head.seal_id, head.hash])
    )


def checked(connection: psycopg.Connection) -> list[tuple[Seal, int, str]]:
    """Every seal in order, with the rows and the hash that its range gives now."""
    query = f"""
        select s.seal_id, s.first_id, s.last_id, s.rows, s.previous, s.hash, r.rows, r.hash from audit_seals s,
        lateral (select count(*) as rows, {CHAIN.format(previous="s.previous", row=CANONICAL)} as hash
            from audit_log where audit_id between s.first_id and s.last_id) r
        order by s.seal_id
    """
    return [(Seal(*row[:6]), int(row[6]), str(row[7])) for row in connection.execute(query)]


def unsealed(connection: psycopg.Connection) -> int:
    """Rows that no seal covers yet."""
    return int(
        _one(
            connection,
            "select count(*) from audit_log where audit_id > (select coalesce(max(last_id), 0) from audit_seals)",
            [],
        )
    )


def newest_rows(connection: psycopg.Connection, customer_id: str | None, limit: int) -> list[tuple[str, ...]]:
    """The newest rows as text, about one customer or all."""
    query = (
        "select to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'), actor, action, coalesce(customer_id::text, ''), "
        "coalesce(purpose, ''), coalesce(reason, '') from audit_log where %(c)s::uuid is null or customer_id = %(c)s "
        "order by audit_id desc limit %(n)s"
    )
    return connection.execute(query, {"c": customer_id, "n": limit}).fetchall()


def _one(connection: psycopg.Connection, query: str, parameters: list[Any]) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def by_month(connection: psycopg.Connection) -> list[tuple[str, str, int]]:
    """(month, measure, count) of disclosures, reveals, consent decisions, merges and refusals, without numbers of reads."""
    query = """
        select to_char(at at time zone 'UTC', 'YYYY-MM') as month, measure, count(*) from (
            select at, case
                when action like '%.reveal' then 'reveals'
                when action in ('privacy.export', 'audience.export') then 'disclosures: ' || split_part(action, '.', 1)
                when action in ('consent.decision', 'consent.one_click') then 'consent decisions'
                when action like 'customer.%' then 'merges and splits'
                when action like 'refused %' then 'refused calls'
                when action like 'backup.%' then 'backups' end as measure
            from audit_log) as t
        where measure is not null group by 1, 2 order by 1, 2
    """
    return connection.execute(query).fetchall()
