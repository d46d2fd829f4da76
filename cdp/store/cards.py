"""Whoever holds an identifier, with all that an answer about them needs, in one round trip."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from cdp.consent.resolve import Decision, Material
from cdp.store import consents
from cdp.store.customers import HOLDERS, asking

QUERY = f"""
    with {HOLDERS}
    select h.customer_id::text, h.matched, p.kind, p.profile,
        (select json_agg(json_build_array(a.record_id, r.link_weight, r.fields ->> 'country', i.type, i.value))
            from assignment a join contact_records r using (record_id)
            left join identifiers i on i.record_id = a.record_id and i.type in ('email', 'phone')
            where a.customer_id = h.customer_id) as held,
        (select json_agg(json_build_array(d.decision_id, d.record_id, d.subject_type, d.subject, d.purpose, d.status, d.captured_at,
                d.received_at, d.source, d.method, d.basis, d.expires_at, d.confirmed_at, d.separate_consent, d.is_explicit))
            from consent_decisions d where d.decision_id in (
                select c.decision_id from assignment a join consent_decisions c using (record_id) where a.customer_id = h.customer_id
                union
                select c.decision_id from assignment a join identifiers i using (record_id)
                    join consent_decisions c on c.subject_type = i.type and c.subject = i.value
                where a.customer_id = h.customer_id and i.type in ('email', 'phone'))) as decisions,
        (select json_agg(json_build_array(l.account_no, l.version, l.balance))
            from assignment a join ledger_accounts l using (record_id)
            where a.customer_id = h.customer_id and l.programme = %(programme)s and l.unit = %(unit)s) as accounts,
        (select coalesce(sum(o.remaining), 0)::bigint
            from assignment a join ledger_accounts l using (record_id) join ledger_lots o using (account_id)
            where a.customer_id = h.customer_id and l.programme = %(programme)s and l.unit = %(unit)s
                and o.remaining > 0 and o.expires_at <= %(now)s) as ended,
        (select coalesce(sum(o.amount), 0)::bigint from assignment a join ledger_holds o using (record_id)
            where a.customer_id = h.customer_id and o.programme = %(programme)s and o.unit = %(unit)s
                and o.resolved_at is null and o.expires_at > %(now)s) as set_aside
    from held h join profiles p using (customer_id) where h.nth <= %(limit)s order by h.customer_id
"""


@dataclass(frozen=True)
class Card:
    """A customer as an answer needs it.

    Attributes:
        matched: Types of the identifiers that were asked for and that it holds.
        held, decisions: Rows of the consent function, see `material`.
        accounts: (number, version, balance) of each account in the unit that was asked for.
        ended: Left of lots that have ended and are not written off yet.
        set_aside: By holds.
    """

    customer_id: str
    matched: list[str]
    kind: str
    profile: dict[str, Any]
    held: list[list[Any]] | None
    decisions: list[list[Any]] | None
    accounts: list[tuple[int, int, int]] | None
    ended: int
    set_aside: int

    @property
    def material(self) -> Material:
        """What is known of its consent."""
        names = ("record_id", "link_weight", "country", "type", "value")
        held = [{**dict(zip(names, row, strict=True)), "customer_id": self.customer_id} for row in self.held or ()]
        decisions = [Decision(*(_time(n, value) for n, value in enumerate(row))) for row in self.decisions or ()]
        return consents.gathered(held, decisions, [self.customer_id])[self.customer_id]


TIMES = (6, 7, 11, 12)  # captured_at, received_at, expires_at, confirmed_at


def _time(place: int, value: Any) -> Any:
    return datetime.fromisoformat(value) if value is not None and place in TIMES else value


async def of_holders(
    store: psycopg.AsyncConnection,
    pairs: list[tuple[str, str]],
    limit: int,
    now: datetime,
    unit: tuple[str, str] | None,
) -> list[Card]:
    """Cards of whoever holds one of these (type, value) pairs, by id; points of (programme, unit) where they are asked for."""
    programme, code = unit or (None, None)
    asked = {**asking([pairs]), "limit": limit, "programme": programme, "unit": code, "now": now}
    async with store.cursor(row_factory=class_row(Card)) as cursor:
        return await (await cursor.execute(QUERY, asked)).fetchall()
