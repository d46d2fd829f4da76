"""The consent flags of every customer, by the pure function."""

from collections import defaultdict
from datetime import datetime
from typing import Any

import polars as pl

from cdp.consent.flags import customer_flags
from cdp.consent.policy import Policy
from cdp.consent.resolve import Decision, Link
from cdp.lake import build
from cdp.lake.engine import Lake

TABLE = "core__customer_consents"
INPUTS = ("core__consent_decisions", "core__record_customers", "core__record_identifiers", "core__clusters")
SCHEMA: dict[str, Any] = {
    "customer_id": pl.String, "purpose": pl.String, "contact_point": pl.String, "allowed": pl.Boolean, "status": pl.String,
    "basis": pl.String, "reason": pl.String, "decided_by": pl.String, "conflict": pl.Boolean, "conflicting": pl.List(pl.String),
}  # fmt: skip


def build_customer_consents(lake: Lake, policy: Policy, now: datetime) -> build.Built:
    """`core__customer_consents`: customer × purpose × contact point. Silence is not stored: no row means unknown."""
    future = lake.scalar("select count(*) from core__consent_decisions where captured_at > ?", [now])
    mark = build.fingerprint(lake, INPUTS, policy.model_dump_json(), now if future else "all in force", "consents 1")
    return build.build_table(lake, TABLE, mark, lambda: _flags(lake, policy, now).to_arrow())


def _flags(lake: Lake, policy: Policy, now: datetime) -> pl.DataFrame:
    decisions: dict[str, list[Decision]] = defaultdict(list)
    links: dict[str, list[Link]] = defaultdict(list)
    points: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    own: dict[str, set[str]] = defaultdict(set)
    asked = "select distinct customer_id from core__consent_decisions join core__record_customers using (record_id)"
    for customer, record, kind, value in lake.rows(
        "select customer_id, record_id, type, value from core__record_identifiers join core__record_customers using (record_id) "
        f"where type in ('email', 'phone') and not blocked and customer_id in ({asked})"
    ):
        points[customer][kind].add(value)
        own[record].add(value)
    for customer, record, weight in lake.rows(
        "select customer_id, record_id, link_weight from core__clusters join core__record_customers using (record_id) "
        f"where customer_id in ({asked})"
    ):
        links[customer].append(Link(record, weight, frozenset(own[record])))
    on_point: dict[str, list[Decision]] = defaultdict(list)
    owner: dict[str, str] = {}
    for row in lake.rows(
        "select customer_id, decision_id, record_id, subject_type, subject, purpose, status, captured_at, received_at, "
        "source, method from core__consent_decisions join core__record_customers using (record_id)"
    ):
        decision = Decision(*row[1:])
        decisions[row[0]].append(decision)
        owner[decision.decision_id] = row[0]
        if decision.subject_type != "record":
            on_point[decision.subject].append(decision)
    rows = []
    for customer, said in sorted(decisions.items()):
        held = {value for values in points[customer].values() for value in values}
        others = [d for value in held for d in on_point[value] if owner[d.decision_id] != customer]
        addresses = {kind: list(values) for kind, values in points[customer].items()}
        rows += [
            (
                customer,
                e.purpose,
                e.contact_point,
                e.allowed,
                e.status,
                e.basis,
                e.reason,
                e.decided_by,
                e.conflict,
                list(e.conflicting),
            )
            for e in customer_flags(said + others, links[customer], policy, now, addresses)
            if e.status != "unknown"
        ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
