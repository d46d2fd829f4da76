"""Whose unknown records are, by what a run accepts too: identifiers that one living customer alone holds, and no name against it."""

from typing import Any

import psycopg

from identity import live


def attach(store: psycopg.Connection, records: list[dict[str, Any]], identifiers: list[tuple[str, str]]) -> str | None:
    """The customer of records that a row names together.

    Args:
        store: The store.
        records: Contact records in standard form (`given_key`).
        identifiers: (type, value) of all of them; those of anonymous browsers and devices are left out.

    Returns:
        The one customer that the identifiers prove; None where they prove nobody, or several.
    """
    given = next((record["given_key"] for record in records if record["given_key"]), None)
    found = live.resolve(store, None, {"given_key": given}, identifiers)
    exact = {candidate.customer_id for candidate in found if candidate.tier == "exact"}
    others = {candidate.customer_id for candidate in found} - exact
    return exact.pop() if len(exact) == 1 and not others else None
