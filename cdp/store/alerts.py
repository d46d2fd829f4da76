"""Alerts that were told, and the figures that rules look at."""

from datetime import datetime

import psycopg

from cdp.alerts.rules import Message, Open


def still_open(store: psycopg.Connection) -> list[Open]:
    """Alerts that are not over."""
    rows = store.execute(
        "select rule, subject, text, sent_at from alerts where over_at is null order by 1, 2"
    ).fetchall()
    return [Open(*row) for row in rows]


def keep(store: psycopg.Connection, messages: list[Message], now: datetime) -> None:
    """They were told; the delay is from when the pipeline knew."""
    for message in messages:
        if message.kind == "over":
            store.execute("update alerts set over_at = %s where rule = %s and subject = %s and over_at is null", [now, message.rule, message.subject])  # fmt: skip
        elif message.kind == "still":
            store.execute("update alerts set sent_at = %s, times = times + 1, text = %s where rule = %s and subject = %s and over_at is null", [now, message.text, message.rule, message.subject])  # fmt: skip
        else:
            store.execute(
                "insert into alerts (rule, subject, text, since, first_sent_at, sent_at) values (%s, %s, %s, %s, %s, %s)",
                [message.rule, message.subject, message.text, message.since, now, now],
            )


def delays(store: psycopg.Connection) -> tuple[int, float | None, float | None]:
    """(alerts told, seconds from known to told in the middle, the longest) of the last 30 days."""
    query = """
        select count(*), percentile_cont(0.5) within group (order by extract(epoch from first_sent_at - since)), max(extract(epoch from first_sent_at - since))
        from alerts where first_sent_at > (select max(first_sent_at) from alerts) - interval '30 days'
    """
    count, middle, longest = store.execute(query).fetchall()[0]
    return int(count), None if middle is None else float(middle), None if longest is None else float(longest)


def note(store: psycopg.Connection, figures: dict[str, float | None], now: datetime) -> None:
    """The figures of a run, by rule."""
    with store.transaction():
        store.execute("delete from kpis")
        for name, value in figures.items():
            store.execute("insert into kpis (name, value, at) values (%s, %s, %s)", [name, value, now])


def noted(store: psycopg.Connection) -> dict[str, tuple[float | None, datetime]]:
    """The figures of the last run, and when."""
    return {name: (value, at) for name, value, at in store.execute("select name, value, at from kpis").fetchall()}
