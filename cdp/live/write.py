"""What new rows mean for the store: records with their customers, orders, interactions, consent, profiles, points."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

from cdp.lake.build import sql_file
from cdp.lake.engine import Lake
from cdp.loyalty import operations
from cdp.loyalty.operations import Act, Insufficient
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line
from cdp.publish import preview
from cdp.store import arrivals, assignment, changes, consents

ANONYMOUS = ("browser", "device")  # identifiers that name no person
Attach = Callable[[psycopg.Connection, list[dict[str, Any]], list[tuple[str, str]]], str | None]


@dataclass(frozen=True)
class Seen:
    """On whose behalf new rows are written.

    Attributes:
        attach: The customer that unknown records belong to by what the next run accepts too; None where that is nobody.
        new_id: A new customer's id.
        mark: What the rows carry until the run that reads them has published: `live:<newest inbox id>`.
    """

    programme: Programme
    attach: Attach
    new_id: Callable[[], str]
    now: datetime
    mark: str


def write(lake: Lake, store: psycopg.Connection, seen: Seen) -> list[str]:
    """Write what a small lake holds, in the caller's transaction; returns the customers concerned.

    The next run says the same of these rows and takes them over: ids of orders, interactions, decisions and postings follow
    from the rows themselves, and an assignment made here is what it starts from.
    """
    held = _assign(lake, store, seen)
    if not held:
        return []
    lake.rows("create table core__record_customers (record_id varchar, customer_id varchar)")
    lake.connection.executemany("insert into core__record_customers values (?, ?)", list(held.items()))
    lake.rows(
        "create table core__customers as select distinct customer_id, 'known' as kind from core__record_customers"
    )
    lake.rows("create table core__clusters as select record_id, 99.0 as link_weight from core__record_customers")
    records = _rows(lake, "contact_records")
    arrivals.keep_records(store, [row for row in records if row["record_id"] in held], seen.mark)
    arrivals.keep_identifiers(store, [row for row in _rows(lake, "identifiers") if row["record_id"] in held], seen.mark)
    arrivals.keep_interactions(store, _rows(lake, "interactions"), seen.mark)
    orders = [_with_lines(lake, row) for row in _rows(lake, "orders") if row["record_id"] in held]
    fresh = arrivals.keep_orders(store, orders, seen.mark)
    decided = [row for row in lake.records("select * from core__consent_decisions") if row["record_id"] in held]
    decided = arrivals.keep_decisions(store, decided, seen.now)
    customers = sorted(set(held.values()))
    preview.rewrite(store, customers)
    arrivals.mark_profiles(store, customers, seen.mark)
    changes.add(store, [("customer.updated", customer, {}) for customer in customers], seen.now)
    said = [(row["subject_type"], row["subject"]) for row in decided]
    consents.tell(store, {held[row["record_id"]] for row in decided}, said, seen.now)
    _earn(lake, store, {row["order_id"] for row in fresh}, held, seen)
    return customers


def _assign(lake: Lake, store: psycopg.Connection, seen: Seen) -> dict[str, str]:
    """The customer of each record: its own, that of a record its row names beside it, whom its identifiers name, or a new one."""
    records = {row["record_id"]: row for row in lake.records("select * from core__contact_records")}
    linked = lake.rows("select left_id, right_id from core__record_links order by 1, 2")
    named: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for record, kind, value in lake.rows(
        "select record_id, type, value from core__record_identifiers where not blocked order by 2, 3"
    ):
        named[record].append((kind, value))
    every = sorted({*records, *(record for pair in linked for record in pair)})
    held, moves = assignment.held_still(store, every), list[assignment.Move]()
    for group in _groups(every, linked):
        unknown = [record for record in group if record not in held and record in records]
        known = sorted({held[record] for record in group if record in held})
        pairs = [pair for record in unknown for pair in named[record] if pair[0] not in ANONYMOUS]
        if unknown and not pairs and len(known) == 1:  # a new browser or device of somebody who is known
            moves += [assignment.Move(record, known[0]) for record in unknown]
        elif pairs:
            # a record that a row names beside it proves nothing: browsers are shared, a card's number can be anybody's
            customer = seen.attach(store, [records[record] for record in unknown], pairs) or seen.new_id()
            moves += [assignment.Move(record, customer) for record in unknown]
    assignment.apply(store, moves, seen.now, "live", "live")
    held |= {move.record_id: move.customer_id for move in moves if move.customer_id}
    return {record: customer for record, customer in held.items() if record in records}


def _groups(records: Iterable[str], linked: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Records that rows name together."""
    parent = {record: record for record in records}

    def root(record: str) -> str:
        while parent[record] != record:
            record = parent[record]
        return record

    for left, right in linked:
        parent[max(root(left), root(right))] = min(root(left), root(right))
    found: dict[str, list[str]] = defaultdict(list)
    for record in parent:
        found[root(record)].append(record)
    return list(found.values())


def _rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    """What the pipeline would publish of these rows, by its own select."""
    return lake.records(sql_file("publish", table).sql)


def _with_lines(lake: Lake, row: dict[str, Any]) -> dict[str, Any]:
    query = (
        "select to_json({'line_no': line_no, 'sku': sku, 'name': name, 'quantity': quantity, 'unit_price': cast(unit_price as varchar), "
        "'amount': cast(amount as varchar)}) from core__order_lines where order_id = ? order by line_no"
    )
    lines = ", ".join(str(line) for (line,) in lake.rows(query, [row["order_id"]]))
    return {**row, "details": f'{row["details"][:-1]}, "lines": [{lines}]}}'}


def _earn(lake: Lake, store: psycopg.Connection, fresh: set[str], held: dict[str, str], seen: Seen) -> None:
    """Sales that were not known earn at once; returns, and what lacks the points it was paid with, wait for the run."""
    lines: dict[str, list[Line]] = defaultdict(list)
    for order, number, sku, quantity, amount in lake.rows(
        "select order_id, line_no, sku, quantity, amount from core__order_lines order by 1, 2"
    ):
        lines[order].append(Line(number, sku, quantity, Decimal(amount)))
    act = Act(seen.programme.at(seen.now), "live", seen.now, "spend")
    for row in lake.records("select * from core__orders where kind = 'sale' order by ordered_at, order_id"):
        if row["order_id"] not in fresh or row["ordered_at"] > seen.now:
            continue
        order = {name: row[name] for name in ("order_id", "record_id", "ordered_at", "currency", "source")}
        order |= {"points_redeemed": row["points_redeemed"], "is_member": True, "customer_id": held[row["record_id"]]}
        try:
            with store.transaction():
                operations.earn(store, order, lines[row["order_id"]], act)
        except Insufficient:
            continue  # a till's facts always post: into deficit, by the run
