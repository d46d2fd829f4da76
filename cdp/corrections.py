"""What an agent corrects on the call: a contact record of its own, which the profile trusts most, at once and in every later run.

Nothing is overwritten: the other records keep what they say, and taking a correction back leaves no trace in the profile.
The pipeline learns of both through the inbox, as it learns of everything that channels send.
"""

import re
import uuid
from typing import Any
from uuid import UUID

import orjson
import psycopg

from cdp import stewardship
from cdp.errors import Conflict, Invalid, NotFound
from cdp.publish import preview
from cdp.standard import contact, names
from cdp.stewardship import Act, Outcome, Refused, carry_out, members_of
from cdp.store import arrivals, assignment, changes, customers, decisions, inbox
from cdp.store.decisions import ordered

SOURCE, KIND = "console", "edit"
FIELDS = ("given_name", "family_name", "email", "phone", "postal_code", "city")
LONGEST = 200


class NotRight(Invalid):
    """A correction that cannot be right."""


def read(said: dict[str, str], regions: tuple[str, ...]) -> dict[str, str]:
    """A correction in standard form; what was left empty is not corrected.

    Raises:
        NotRight: If nothing is corrected, or a value cannot be what it should be.
    """
    found = {name: " ".join(said.get(name, "").split())[:LONGEST] for name in FIELDS}
    found = {name: value for name, value in found.items() if value}
    if not found:
        raise NotRight("nothing is corrected", "fill in what is wrong")
    if ("given_name" in found) != ("family_name" in found):
        raise NotRight("a name is corrected as a whole", "give both the given name and the family name")
    for kind, standard in (("email", contact.email), ("phone", lambda text: contact.phone(text, regions))):
        if kind in found:
            value = standard(found[kind])
            if value is None:
                raise NotRight(f"this is no {kind}", "read it back to the person")
            found[kind] = value
    if "city" in found:  # as core__record_names writes them
        found["city"] = found["city"].lower()
    if "postal_code" in found:
        found["postal_code"] = re.sub("[^0-9A-Za-z]", "", found["postal_code"]).upper()
    return found


def correct(
    store: psycopg.Connection, customer_id: str, said: dict[str, str], regions: tuple[str, ...], act: Act
) -> Outcome:
    """Write a correction of a living customer, in the caller's transaction; undone by its change set.

    Raises:
        NotRight: If nothing is corrected, or a value cannot be right.
        NotFound: If the customer does not live.
    """
    found = read(said, regions)
    members_of(store, [customer_id])
    for kind in ("email", "phone"):
        holders = customers.lookup(store, [[(kind, found[kind])]], 2) if kind in found else []
        if any(row["customer_id"] != customer_id for row in holders):  # the next run would make them one
            raise Conflict(f"another customer holds this {kind}", "ask a steward whether they are one person")
    edit = str(uuid.uuid4())
    record = f"{SOURCE}:{KIND}:{edit}"
    anchor = customers.anchor(store, customer_id)
    if anchor is None:
        raise NotFound("no customer has this id")
    mark = _tell(store, edit, edit, {**found, "author": act.actor}, act)
    arrivals.keep_records(store, [_row(record, edit, found, act)], mark)
    held = [
        {"record_id": record, "type": kind, "value": found[kind], "first_seen": act.now, "last_seen": act.now}
        for kind in ("email", "phone")
        if kind in found
    ]
    arrivals.keep_identifiers(store, held, mark)
    moves = [assignment.Move(record, customer_id)]
    done = carry_out(store, KIND, moves, [ordered(record, anchor, "same")], act, [customer_id])
    arrivals.mark_profiles(store, [customer_id], mark)
    changes.add(store, [("customer.updated", customer_id, {})], act.now)
    return done


def undo(store: psycopg.Connection, changeset_id: UUID, act: Act) -> Outcome:
    """Take a change set back, in the caller's transaction; a correction goes from the store at once, from the lake by the next run.

    Raises:
        NotFound: If there is none of this id.
        Conflict: If it was undone before, or is itself an undo.
    """
    done = stewardship.undo(store, changeset_id, act)
    moves = (decisions.changeset(store, changeset_id) or {})["moves"]
    if records := corrected(moves):
        mark = [
            _tell(store, r.split(":", 2)[2], f"{r}-undone", {"undone": True, "author": act.actor}, act) for r in records
        ][-1]
        elsewhere = assignment.customers_of(store, records)  # merged since: it goes from there too
        assignment.apply(store, [assignment.Move(r, None) for r in elsewhere], act.now, "correction undone", "undo")
        store.execute("delete from identifiers where record_id = any(%s)", [records])
        store.execute("delete from contact_records where record_id = any(%s)", [records])
        store.execute("delete from review_pairs where left_id = any(%(r)s) or right_id = any(%(r)s)", {"r": records})
        if elsewhere:
            preview.rewrite(store, sorted({*elsewhere.values()}))
        concerned = sorted({*done.customers, *elsewhere.values()})
        living = [customer for customer in concerned if customers.exists(store, customer)]
        arrivals.mark_profiles(store, living, mark)
        changes.add(store, [("customer.updated", customer, {}) for customer in living], act.now)
    return done


def corrected(moves: list[dict[str, Any]]) -> list[str]:
    """The corrections among the records of a change set."""
    return [move["record_id"] for move in moves if move["record_id"].startswith(f"{SOURCE}:{KIND}:")]


def _tell(store: psycopg.Connection, edit: str, message: str, said: dict[str, Any], act: Act) -> str:
    """Put it into the inbox; the mark that keeps what is written ahead until a run has read it."""
    text = orjson.dumps({"edit_id": edit, "said_at": act.now, **said}).decode()
    inbox.add(store, SOURCE, [(message, text)], act.now)
    number = inbox.number(store, SOURCE, message)
    if number is None:
        raise Refused("this correction was not kept", "try again")
    return f"live:{number}:{number}"


def _row(record: str, edit: str, found: dict[str, str], act: Act) -> dict[str, Any]:
    """The contact record as the store keeps it."""
    name = names.name(found.get("given_name"), found.get("family_name"), None)
    fields = {
        **found, "given_name": name.given, "family_name": name.family, "full_name": name.full, "given_key": name.given_key,
        "family_key": name.family_key, "full_key": name.full_key, "is_full_name": name.is_full,
    }  # fmt: skip
    return {
        "record_id": record, "source": SOURCE, "kind": KIND, "source_key": edit, "first_seen": act.now, "last_seen": act.now,
        "link_weight": 99.0, "fields": orjson.dumps(fields).decode(),
    }  # fmt: skip
