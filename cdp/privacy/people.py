"""The people to be erased: their records, every identifier with whether somebody living holds it too, and how it is written."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from cdp.privacy.matching import place
from cdp.privacy.suppression import Suppression, composites
from cdp.standard import contact

PHONE = re.compile(r"\+\d{8,15}")
TOKEN = re.compile(r"[\w@.+-]+")
ADDRESS = re.compile(r"[^\s\"'<>,;:]+@[^\s\"'<>,;:]+")
NUMBER = re.compile(r"\+?[\d０-９][\d０-９ ().-]{6,20}[\d０-９]")
# corrections that were taken back belong to nobody any more, but what they said lies in landing files
TAKEN_BACK = """
    with recursive chain as (
        select customer_id from customers where customer_id = any(%s::uuid[])
        union select c.customer_id from chain join customers c on c.merged_into = chain.customer_id
    )
    select distinct h.record_id from assignment_history h join chain on chain.customer_id = h.previous_customer_id
    where h.customer_id is null and h.record_id like 'console:edit:%%' and not exists (select 1 from assignment a where a.record_id = h.record_id)
"""
ALONE = ("email", "phone", "account", "card", "wechat_openid", "wechat_unionid")


@dataclass
class People:
    """Who is erased together.

    Attributes:
        customers: Their ids.
        records: Their contact records.
        identifiers: (type, value in standard form, whether somebody living holds it too).
        alone: Identifiers that are theirs alone, by which a line that cannot be read as a row is known.
        named: Words of a name with a postcode, all of which such a line must hold.
    """

    customers: list[str]
    records: list[str] = field(default_factory=list)
    identifiers: set[tuple[str, str, bool]] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)
    named: set[frozenset[str]] = field(default_factory=set)


def of_customers(store: psycopg.Connection, customers: list[str]) -> People:
    """Collect what is known of these customers from the store."""
    held = "select record_id from assignment where customer_id = any(%s::uuid[])"
    found = _collected(store, customers, [str(row[0]) for row in store.execute(held, [customers])])
    taken_back = [str(row[0]) for row in store.execute(TAKEN_BACK, [customers])]
    found.records += taken_back
    found.identifiers |= {("record", record, False) for record in taken_back}
    return found


def suppressed(store: psycopg.Connection, suppression: Suppression) -> People:
    """Those in the store whom the list names: a backup from before their erasure was restored.

    A customer is erased with the records that are named; where others are left, the customer lives on with them.
    """
    entries = suppression.entries()
    rows = store.execute(
        "select r.record_id, a.customer_id::text from contact_records r left join assignment a using (record_id)"
    )
    held: dict[str | None, list[str]] = {}
    for record, customer in rows.fetchall():
        held.setdefault(customer, []).append(record)
    alone = {
        record
        for record, kind, value in store.execute(
            "select record_id, type, value from identifiers where type = any(%s)", [list(ALONE)]
        )
        if (entry := entries.get(suppression.hash(kind, value))) is not None and not entry.shared
    }
    named = {
        c: [r for r in records if r in alone or suppression.hash("record", r) in entries] for c, records in held.items()
    }
    whole = sorted(c for c, records in named.items() if c and records and len(records) == len(held[c]))
    return _collected(store, whole, [record for records in named.values() for record in records])


def _collected(store: psycopg.Connection, customers: list[str], records: list[str]) -> People:
    found = People(customers)
    rows = store.execute(
        "select record_id, fields from contact_records where record_id = any(%s) order by record_id", [records]
    ).fetchall()
    found.records = [record for record, _ in rows]
    found.identifiers |= {("record", record, False) for record in found.records}
    bought = store.execute("select order_id from orders where record_id = any(%s)", [found.records])
    found.identifiers |= {("order", order, False) for (order,) in bought.fetchall()}
    held = _identifiers(store, found.records)
    shared = _shared(store, held, found.records)
    for _, kind, value in held:
        found.identifiers.add((kind, value, (kind, value) in shared or kind not in ALONE))
        if kind in ALONE and (kind, value) not in shared:
            found.alone.add(value.casefold())
    keys = sorted({fields["full_key"] for _, fields in rows if fields["full_key"]})
    pairs = {(kind, value) for _, kind, value in held}
    for _, fields in rows:
        pairs |= {("postal_code", said) for said in (place(fields["postal_code"]),) if said}
        if fields["postal_code"] and fields["full_name"]:
            found.named.add(frozenset((*fields["full_name"].casefold().split(), str(place(fields["postal_code"])))))
    namesakes = _namesakes(store, keys, found.records)
    composed = {token for name in keys for kind, value in pairs for token in composites(kind, value, name)}
    found.identifiers |= {(kind, value, False) for kind, value in composed - namesakes}
    return found


def finder(who: People, regions: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a text that is no sound row holds what is theirs alone, in any usual writing."""
    tails = {value[-9:] for value in who.alone if PHONE.fullmatch(value)}

    def named(text: str) -> bool:
        folded = text.casefold()
        tokens = {*TOKEN.findall(folded), *(contact.email(m) or "" for m in ADDRESS.findall(folded))}
        if not tokens.isdisjoint(who.alone):
            return True
        for run in NUMBER.findall(folded):
            digits = re.sub(r"\D", "", run)
            if any(tail in digits for tail in tails) or contact.phone(run, regions) in who.alone:
                return True
        packed = "".join(folded.split())
        return any(all(word in packed for word in words) for words in who.named)

    return named


def listed(suppression: Suppression, regions: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a text that is no sound row holds an identifier that suppresses alone; the list knows hashes only."""
    alone = {entry.hash for entry in suppression.entries().values() if entry.kind in ALONE and not entry.shared}
    keys = [kind for kind in ALONE if kind not in ("email", "phone")]

    def named(text: str) -> bool:
        said = {("email", found) for m in ADDRESS.findall(text) if (found := contact.email(m))}
        said |= {("phone", found) for m in NUMBER.findall(text) if (found := contact.phone(m, regions))}
        said |= {(kind, token) for token in TOKEN.findall(text) for kind in keys}
        return any(suppression.hash(kind, value) in alone for kind, value in said)

    return named


def _identifiers(store: psycopg.Connection, records: list[str]) -> list[tuple[str, str, str]]:
    query = "select record_id, type, value from identifiers where record_id = any(%s) order by 1, 2, 3"
    return list(store.execute(query, [records]).fetchall())


def _shared(store: psycopg.Connection, held: list[tuple[str, str, str]], records: list[str]) -> set[tuple[str, str]]:
    """Identifiers among these that somebody who is not erased holds too."""
    kinds, values = [kind for _, kind, _ in held], [value for _, _, value in held]
    query = (
        "select distinct i.type, i.value from identifiers i join (select distinct * from unnest(%s::text[], %s::text[]) as t(type, value)) t "
        "using (type, value) where i.record_id <> all(%s)"
    )
    return set(store.execute(query, [kinds, values, records]).fetchall())


def _namesakes(store: psycopg.Connection, keys: list[str], records: list[str]) -> set[tuple[str, str]]:
    """Names with an identifier that somebody living of the same name has: they must not suppress that person's rows."""
    query = r"""
        with living as (
            select r.record_id, a.customer_id, r.fields from contact_records r join assignment a using (record_id)
            where r.record_id <> all(%(records)s)
        ), named as (
            select distinct customer_id, fields ->> 'full_key' as name from living where fields ->> 'full_key' = any(%(keys)s)
        )
        select n.name, i.type, i.value from named n join living l using (customer_id) join identifiers i using (record_id)
        union
        select n.name, 'postal_code', lower(regexp_replace(l.fields ->> 'postal_code', '\s', '', 'g'))
        from named n join living l using (customer_id) where l.fields ->> 'postal_code' is not null
    """
    rows = store.execute(query, {"records": records, "keys": keys}).fetchall()
    return {token for name, kind, value in rows for token in composites(kind, value, name)}
