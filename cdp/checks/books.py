"""Checks of what must never be wrong: consent, the ledger, and who holds which record."""

import psycopg

from cdp.checks import Finding
from cdp.consent.resolve import DENIALS
from cdp.lake.build import incoming, is_empty
from cdp.lake.engine import Lake
from cdp.loyalty.programme import Programme
from cdp.store import books
from cdp.store.copied import PAIR, PRESENT, copied


def consents(lake: Lake) -> Finding:
    """Flags against the decisions they name: none is allowed by a denial, by another's decision than a grant, or by nobody's word."""
    if is_empty(lake, "core__customer_consents"):
        return Finding(ok=True, facts={"flags": 0})
    query = """
        select
            count(*) filter (where f.allowed and list_contains($denials, f.status)) as "allowed though denied",
            count(*) filter (where f.decided_by is not null and d.decision_id is null) as "decided by a decision that is not there",
            count(*) filter (where f.allowed and f.status = 'granted' and f.decided_by is null) as "granted by nobody",
            count(*) filter (where f.allowed and f.status = 'granted' and d.status <> 'granted') as "granted by what is no grant",
            count(*) filter (where customer is null) as "of a customer that is not there"
        from core__customer_consents f
        left join core__consent_decisions d on d.decision_id = f.decided_by
        left join (select customer_id as customer from core__customers) c on c.customer = f.customer_id
    """
    facts = {name: int(count) for name, count in lake.records(query, {"denials": sorted(DENIALS)})[0].items()}
    return Finding(not any(facts.values()), facts)


def ledger(store: psycopg.Connection, programme: Programme) -> Finding:
    """Σ open lots − Σ deficits = balance = Σ entries in every account, of every unit."""
    facts = {
        f"accounts of {unit.code} that do not add up": len(books.unbalanced(store, programme.programme, unit.code))
        for unit in programme.units
    }
    return Finding(not any(facts.values()), facts)


def holders(lake: Lake, store: psycopg.Connection) -> Finding:
    """The lake's assignment against the store's, which is the authority; what changed online during the run comes with the next."""
    held = copied(store, PRESENT, PAIR)
    if is_empty(lake, "core__record_customers"):
        return Finding(not len(held), {"only in the lake": 0, "only in the store": len(held), "at another customer": 0})
    with incoming(lake, held):
        query = """
            select count(*) filter (where i.record_id is null), count(*) filter (where n.record_id is null),
                count(*) filter (where n.customer_id <> i.customer_id)
            from core__record_customers n full join incoming i on i.record_id = n.record_id
        """
        lacking, extra, other = map(int, lake.rows(query)[0])
    facts = {"only in the lake": lacking, "only in the store": extra, "at another customer": other}
    return Finding(not lacking + extra + other, facts)
