"""Checks of who is who: sizes, ids that moved, what the joins rest on, records that say too little."""

from datetime import datetime

import psycopg

from cdp.checks import Finding
from cdp.lake.build import is_empty
from cdp.lake.engine import Lake

LARGEST = 100  # records of one known customer; shops that share a till's card make more
MOVED = 0.02  # of all records in one run
WEAK = 0.5  # of the customers with several records that only similar values hold together
FEWEST_LABELS = 20  # that the model joins; fewer say nothing
PRECISION = 0.95  # of the labelled pairs that a model joins
SILENT = 0.1  # of the payloads with a full name


def sizes(lake: Lake) -> Finding:
    """Records of a known customer: the largest are shown by size, never by name."""
    if is_empty(lake, "core__customers"):
        return Finding(ok=True, facts={"known customers": 0})
    query = """
        select count(*) as records from core__record_customers join core__customers using (customer_id)
        where kind = 'known' group by customer_id order by 1 desc
    """
    found = [int(row[0]) for row in lake.rows(query)]
    over = [size for size in found if size > LARGEST]
    facts = {"known customers": len(found), "largest": found[0] if found else 0, f"over {LARGEST} records": len(over)}
    return Finding(not over, facts, [{"records": size} for size in over[:20]])


def precision(labels: int, joined: int, wrong: int) -> Finding:
    """A model against stewards' labels: of the pairs that it joins, those that people told apart.

    Args:
        labels: Decided pairs that could be compared.
        joined: Those that the model joins.
        wrong: Of these, pairs of two people.
    """
    facts = {"labels": labels, "joined": joined, "wrong": wrong}
    return Finding(joined < FEWEST_LABELS or wrong <= (1 - PRECISION) * joined, facts)


def churn(store: psycopg.Connection, since: datetime | None, now: datetime) -> Finding:
    """Records that went to another customer since the release before, in this run or by hand."""
    query = (
        "select count(distinct record_id) from assignment_history where previous_customer_id is not null and customer_id is not null "
        "and previous_customer_id <> customer_id and at > coalesce(%s::timestamptz, '-infinity') and at <= %s"
    )
    moved = int(store.execute(query, [since, now]).fetchall()[0][0])
    records = int(store.execute("select count(*) from assignment").fetchall()[0][0])
    facts = {"records": records, "moved since the last release": moved}
    return Finding(since is None or moved <= MOVED * records, facts)


def evidence(lake: Lake) -> Finding:
    """What joins: evidence by kind, and customers whom nothing but similar values holds together."""
    if is_empty(lake, "core__edges"):
        return Finding(ok=True, facts={"edges": 0})
    kinds = dict(lake.rows("select kind, count(*) from core__edges group by 1 order by 1"))
    query = """
        with held as (
            select a.customer_id, bool_or(e.kind <> 'probabilistic') as firm from core__edges e
            join core__record_customers a on a.record_id = e.left_id join core__record_customers b on b.record_id = e.right_id
            where a.customer_id = b.customer_id group by 1
        )
        select count(*), count(*) filter (where not firm) from held
    """
    held, weak = map(int, lake.rows(query)[0])
    edges = sum(kinds.values())
    facts: dict[str, int | str] = {f"{kind} edges": f"{count:,} ({count / edges:.1%})" for kind, count in kinds.items()}
    return Finding(weak <= WEAK * held, facts | {"customers with several records": held, "of them by similar values alone": weak})  # fmt: skip


def unlinkable(lake: Lake, threshold: float | None) -> Finding:
    """Payloads that say too little to be anybody's: even an identical one would not be joined."""
    if threshold is None:
        return Finding(ok=True, facts={"judged": "when there is a model"})
    query = "select count(*), count(*) filter (where weight < $threshold) from core__payload_worth"
    all_of, silent = map(int, lake.rows(query, {"threshold": threshold})[0])
    return Finding(silent <= SILENT * all_of, {"payloads with a full name": all_of, "that say too little": silent})
