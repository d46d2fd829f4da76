"""Everything that is held about one customer, machine-readable, with sources and recipients."""

from datetime import datetime
from typing import Any

import psycopg

from cdp.consent.flags import customer_flags
from cdp.consent.policy import Policy
from cdp.store import consents, customers, requests, scores

FORMAT = "cdp-export-1"


def export(store: psycopg.Connection, policy: Policy, customer_id: str, now: datetime) -> dict[str, Any]:
    """The whole export of a living customer: unmasked, complete, in JSON types.

    Args:
        store: Where it is read.
        policy: For the purposes and what is allowed now.
        customer_id: A living customer.
        now: When.
    """
    profile = customers.profile(store, customer_id)
    known = consents.material(store, customer_id)
    accounts, entries = customers.loyalty(store, customer_id)
    return {
        "format": FORMAT,
        "customer_id": customer_id,
        "exported_at": now,
        "profile": profile and profile["profile"],
        "records": customers.all_of(store, "contact_records", customer_id),
        "identifiers": customers.all_of(store, "identifiers", customer_id),
        "orders": customers.all_of(store, "orders", customer_id),
        "interactions": customers.all_of(store, "interactions", customer_id),
        "consent_decisions": customers.all_of(store, "consent_decisions", customer_id),
        "consents": [vars(flag) for flag in customer_flags(known, policy, now)],
        "loyalty": {
            "accounts": accounts,
            "entries": entries,
            "holds": customers.all_of(store, "ledger_holds", customer_id),
            "corrections": customers.all_of(store, "ledger_approvals", customer_id),
            "plans": customers.all_of(store, "plan_events", customer_id),
            "circles": customers.all_of(store, "circle_events", customer_id),
            "grants": customers.all_of(store, "grants", customer_id),
            "referral_codes": customers.all_of(store, "referral_codes", customer_id),
            "till_allowances": customers.all_of(store, "till_allowances", customer_id),
            "referrals": customers.referrals(store, customer_id),
            "till_spends": customers.till_spends(store, customer_id),
        },
        "scores": scores.of_customers(store, [customer_id]).get(customer_id),
        "notes": customers.all_of(store, "notes", customer_id),
        "identity_history": customers.all_of(store, "assignment_history", customer_id),
        "privacy_requests": requests.of_customer(store, customer_id),
        "sources": sorted({row["source"] for row in customers.records(store, customer_id)}),
        "purposes": {name: purpose.concept for name, purpose in policy.purposes.items()},
        "recipients": requests.recipients(store, customer_id),
    }
