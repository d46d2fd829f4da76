"""Alerts that were told, and the figures that rules look at."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg

from cdp.alerts.rules import Message, Open

LASTS = timedelta(days=1)  # that something is over is no news any more


def still_open(store: psycopg.Connection) -> list[Open]:
    """Alerts that are not over."""
    rows = store.execute(
        "select rule, subject, text, sent_at from alerts where over_at is null order by 1, 2"
    ).fetchall()
    return [Open(*row) for row in rows]


def keep(store: psycopg.Connection, messages: list[Message], now: datetime, unsent: Sequence[str] = ()) -> None:
    """They were told, but not by the ways `unsent`; the delay is from when the pipeline knew."""
    for message in messages:
        of = [list(unsent), message.rule, message.subject]
        if message.kind == "over":
            store.execute("update alerts set over_at = %s, unsent = %s where rule = %s and subject = %s and over_at is null", [now, *of])  # fmt: skip
        elif message.kind == "still":
            store.execute("update alerts set sent_at = %s, times = times + 1, text = %s, unsent = %s where rule = %s and subject = %s and over_at is null", [now, message.text, *of])  # fmt: skip
        else:
            store.execute(
                "insert into alerts (unsent, rule, subject, text, since, first_sent_at, sent_at) values (%s, %s, %s, %s, %s, %s, %s)",
                [*of, message.text, message.since, now, now],
            )


def unsent(store: psycopg.Connection, way: str, now: datetime) -> list[tuple[int, Message]]:
    """The last message of each alert that a way could not take yet, with its number; no end that is older than a day."""
    query = """
        select alert_id, rule, subject, text, case when over_at is not null then 'over' when times > 1 then 'still' else 'new' end, since
        from alerts where %s = any(unsent) and (over_at is null or over_at > %s) order by alert_id
    """
    return [(row[0], Message(*row[1:])) for row in store.execute(query, [way, now - LASTS]).fetchall()]


def sent(store: psycopg.Connection, way: str, alerts: Sequence[int]) -> None:
    """What the way had missed of these alerts is sent."""
    store.execute("update alerts set unsent = array_remove(unsent, %s) where alert_id = any(%s)", [way, list(alerts)])


def delays(store: psycopg.Connection, now: datetime) -> tuple[int, float | None, float | None]:
    """(alerts told, seconds from known to told in the middle, the longest) of the last 30 days."""
    query = """
        select count(*), percentile_cont(0.5) within group (order by extract(epoch from first_sent_at - since)), max(extract(epoch from first_sent_at - since))
        from alerts where first_sent_at > %s - interval '30 days'
    """
    count, middle, longest = store.execute(query, [now]).fetchall()[0]
    return int(count), None if middle is None else float(middle), None if longest is None else float(longest)


def note(
    store: psycopg.Connection, figures: dict[str, float | None], now: datetime, unread: Sequence[str] = ()
) -> None:
    """The figures of a run, by rule; those of `unread` rules stay as they were last seen."""
    with store.transaction():
        store.execute("delete from kpis where name <> all(%s)", [list(unread)])
        for name, value in figures.items():
            store.execute("insert into kpis (name, value, at) values (%s, %s, %s)", [name, value, now])


def noted(store: psycopg.Connection) -> dict[str, tuple[float | None, datetime]]:
    """The figures of the last run, and when."""
    return {name: (value, at) for name, value, at in store.execute("select name, value, at from kpis").fetchall()}
