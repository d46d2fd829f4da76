"""What the programme and the service come to, counted in the store: for the manager's page."""

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

MONTHS = 12


def figures(store: psycopg.Connection, programme: str, unit: str, closed: list[str], now: datetime) -> dict[str, Any]:
    """All figures at a moment; lists run over time or from the largest to the smallest.

    Args:
        store: A connection.
        programme: Whose balances are counted.
        unit: In which unit.
        closed: States of a ticket in which nobody waits.
        now: The moment.
    """
    asked = {"programme": programme, "unit": unit, "closed": closed, "now": now, "months": MONTHS}

    def rows(query: str) -> list[dict[str, Any]]:
        with store.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, asked).fetchall()

    return {
        "customers": rows("select kind as name, count(*) as value from profiles group by kind order by kind desc"),
        "channels": rows(
            "select channel as name, count(*) as value from profiles, jsonb_array_elements_text(profile -> 'channels') channel "
            "where kind = 'known' group by 1 order by 2 desc, 1"
        ),
        "identity": rows(
            "select reason as name, count(*) as value from assignment_history where previous_customer_id is not null and customer_id is not null "
            "and previous_customer_id <> customer_id and at > %(now)s - interval '90 days' group by 1 order by 2 desc, 1 limit 8"
        ),
        "members": rows(
            "select count(distinct a.customer_id) as members, coalesce(sum(l.balance), 0)::bigint as balance from ledger_accounts l "
            "join assignment a using (record_id) where l.programme = %(programme)s and l.unit = %(unit)s"
        )[0],
        "tiers": rows("select tier as name, count(*) as value from customer_tiers group by tier order by 2 desc, 1"),
        "expiring": rows(
            "select to_char(date_trunc('month', o.expires_at), 'YYYY-MM') as name, sum(o.remaining)::bigint as value from ledger_lots o "
            "join ledger_accounts l using (account_id) where o.remaining > 0 and o.expires_at > %(now)s and l.programme = %(programme)s "
            "and l.unit = %(unit)s group by 1 order by 1 limit %(months)s"
        ),
        "moved": rows(
            "select to_char(date_trunc('month', e.occurred_at), 'YYYY-MM') as name, sum(greatest(e.amount, 0))::bigint as value, "
            "sum(greatest(-e.amount, 0))::bigint as other from ledger_entries e join ledger_accounts l using (account_id) "
            "where l.programme = %(programme)s and l.unit = %(unit)s and e.occurred_at > %(now)s - interval '12 months' and e.occurred_at <= %(now)s "
            "group by 1 order by 1"
        ),
        "consent": rows(
            "select purpose as name, count(*) filter (where status = 'granted') as value, count(*) as all from (select distinct on "
            "(subject_type, subject, purpose) purpose, status from consent_decisions order by subject_type, subject, purpose, "
            "coalesce(captured_at, received_at) desc) as latest group by purpose order by purpose"
        ),
        "tickets": rows(
            "select to_char(date_trunc('month', occurred_at), 'YYYY-MM') as name, count(*) as value, count(*) filter (where not "
            "lower(coalesce(details -> 'details' ->> 'status', 'open')) = any(%(closed)s)) as other from interactions where kind = 'ticket' "
            "and occurred_at > %(now)s - interval '12 months' and occurred_at <= %(now)s group by 1 order by 1"
        ),
    }
