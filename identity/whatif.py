"""What another model or other rules would do, before they are promoted: nothing is written.

The lake's tables are shadowed: bare names read temporary tables first, so the pipeline's own selects and functions work over
whatever differs, and over the lake for the rest.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from cdp.consent import customers as consents
from cdp.identity_rules import IdentityRules
from cdp.lake import held, register
from cdp.lake.build import incoming, sql_file
from cdp.lake.delta import shadow
from cdp.lake.engine import Lake
from cdp.standard.dictionary import bound
from identity import edges, graph, ids, pairs, sharing
from identity.artefact import Model

STANDARD = ("core__record_identifiers", "core__record_names", "core__contact_records")
READS = ("core__contact_records", "core__payloads", "core__record_customers", "core__ledger_entries")
JURISDICTIONS = "core__customer_jurisdictions"
FLAGS = "create or replace temp table {} as select customer_id, purpose, contact_point, allowed from (\n{}\n)"
OTHERWISE = """
    with said as (
        select n.customer_id, n.purpose, n.contact_point, n.allowed, count(t.customer_id) as said,
            count(*) filter (where t.allowed <> n.allowed) as otherwise
        from flags_now as n
        join heirs as h on h.customer_id = n.customer_id
        left join flags_then as t on t.customer_id = h.heir and t.purpose = n.purpose
            and t.contact_point is not distinct from n.contact_point  -- a purpose of the person's has none
        group by all
    ), known as (
        select distinct h.heir, n.purpose, n.contact_point from flags_now as n join heirs as h on h.customer_id = n.customer_id
    )
    select
        (select count(*) from said where otherwise > 0 or (allowed and said = 0))
        + (
            select count(*) from flags_then as t
            where t.allowed and t.customer_id in (select heir from heirs) and not exists (
                select 1 from known as k
                where k.heir = t.customer_id and k.purpose = t.purpose and k.contact_point is not distinct from t.contact_point
            )
        )
"""  # silence is no grant, and one that ends it is news
SHOWN = 5
NEW = "new"  # an id that would be made


@dataclass(frozen=True)
class Balances:
    """What becomes of the balances in one unit; units are never added up.

    Attributes:
        programme: The programme.
        unit: Its unit: points, coins, money spent.
        customers: Ids under which another balance would stand, by the entries there are: what the next run posts for it comes on
            top. An id that is retired hands its balance on.
        held: What stands under those now, in the unit.
    """

    programme: str
    unit: str
    customers: int
    held: float


@dataclass
class Difference:
    """What would change for the customers there are.

    Attributes:
        unchanged: Customers that keep exactly their records.
        merged: Customers that would be one with another.
        split: Customers that would be several.
        customers_after: Customers there would be.
        moved: Records that would go to another id.
        balances: Balances that would be other ones, by programme and unit.
        consents: Consent flags that would say otherwise, each looked up under the ids that its customer's records would have.
        examples: Customers to look at, by kind of change.
    """

    unchanged: int = 0
    merged: int = 0
    split: int = 0
    customers_before: int = 0
    customers_after: int = 0
    moved: int = 0
    balances: list[Balances] = field(default_factory=list)
    consents: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, float]]:
        """What changes, in words, a line each."""
        counts = [
            ("customers now", self.customers_before), ("customers then", self.customers_after), ("unchanged", self.unchanged),
            ("merged with another", self.merged), ("split", self.split), ("records whose id moves", self.moved),
        ]  # fmt: skip
        balances = [
            row
            for each in self.balances
            for row in (
                (f"balances that change ({each.programme}, {each.unit})", each.customers),
                (f"{each.unit} held by those now ({each.programme})", each.held),
            )
        ]
        return [*counts, *balances, ("consent flags that change", self.consents)]


def compare(lake: Lake, trained: Model | None, rules: IdentityRules, now: datetime, *, other_rules: bool) -> Difference:
    """Cluster as if this model and these rules were in use, and hold it against the present customers.

    Args:
        lake: Open, may be read-only.
        trained: The model to try.
        rules: The rules to try.
        now: As of when consents are told.
        other_rules: Whether the rules differ from those the lake was built with (costs reading every record again).
    """
    held.let_go(lake)
    register.require(lake, (*READS, *consents.flags().inputs))
    lake.rows(FLAGS.format("flags_now", consents.flags().sql), {"now": now})
    if other_rules:
        _shadow_rules(lake, rules)
    found = clustered(lake, trained, rules)
    label = found.label
    weak = float(lake.scalar("select max(weak_link_weight) from core__consent_rules") or 0)
    graph.stage(lake, found, trained.threshold if trained else 0.0, weak)
    records = [str(row[0]) for row in lake.rows("select record_id from record_numbers order by no")]
    first: dict[int, str] = {}  # a cluster is named after its smallest record, as a run names it: names decide ties
    named = {record: first.setdefault(part, record) for record, part in zip(records, label.tolist(), strict=True)}
    return _difference(lake, named, now)


def clustered(lake: Lake, trained: Model | None, rules: IdentityRules) -> graph.Resolved:
    """All payloads as bare names read them, compared and clustered anew in memory."""
    pairs.stage(lake, trained)
    shadow(lake, pairs.PAIRS, "from scored")
    shadow(lake, pairs.WORTH, "from worth")
    threshold = trained.threshold if trained else 0.0
    version = trained.version if trained else "none"
    shadow(lake, edges.TABLE, edges.SELECT, {"version": version, "threshold": threshold})
    shadow(lake, "core__edges", sql_file("identity", "core__edges").sql)
    return graph.resolve(lake, threshold, rules)


def _shadow_rules(lake: Lake, rules: IdentityRules) -> None:
    """Everything that the rules decide, made again in memory."""
    patterns = [(kind, pattern) for kind, found in sorted(rules.blocked.items()) for pattern in found]
    frame = pl.DataFrame(patterns, schema={"type": pl.String, "pattern": pl.String}, orient="row")
    with incoming(lake, frame.to_arrow()):
        shadow(lake, "core__blocked_patterns", "from incoming")
    for table in STANDARD:
        query = sql_file("standardise", table).sql
        shadow(lake, table, query, bound(lake, query))
    with incoming(lake, sharing.limits_of(rules)):
        shadow(lake, sharing.LIMITS, "from incoming")
    shadow_evidence(lake)


def shadow_evidence(lake: Lake) -> None:
    """What records have in common, made again in memory from the records as bare names read them."""
    shadow(lake, "core__identifier_holders", sql_file("identity", "core__identifier_holders").sql)
    for table, query in sharing.tables(lake):
        shadow(lake, table, query())
    for table in ("core__identifier_edges", "core__payloads"):
        shadow(lake, table, sql_file("identity", table).sql)


def _difference(lake: Lake, label: dict[str, str], now: datetime) -> Difference:
    placed = [(r, c) for r, c in lake.rows("select record_id, customer_id from core__record_customers") if r in label]
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    holders: dict[str, set[str]] = defaultdict(set)
    for record, customer in placed:
        parts[customer][label[record]] += 1
        holders[label[record]].add(customer)
    merged = sorted(c for c, found in parts.items() if any(len(holders[part]) > 1 for part in found))
    split = sorted(c for c, found in parts.items() if len(found) > 1)
    changed = sorted({*merged, *split})
    then = _ids(parts)
    moved = sum(then[label[record]] != customer for record, customer in placed)
    return Difference(
        len(parts) - len(changed), len(merged), len(split), len(parts), len(holders), moved, _balances(lake, label, then),
        _consents(lake, then, now),
        {"merged": merged[:SHOWN], "split": split[:SHOWN]},
    )  # fmt: skip


def _consents(lake: Lake, then: dict[str, str], now: datetime) -> int:
    """Flags that would say otherwise, or be news; `then`: cluster → the id that it would have."""
    heirs = [part if customer == NEW else customer for part, customer in then.items()]
    frame = pl.DataFrame({"cluster_id": list(then), "heir": heirs}, schema={"cluster_id": pl.String, "heir": pl.String})
    with incoming(lake, frame.to_arrow()):
        lake.rows(
            "create or replace temp table placed_then as select record_id, c.customer_id, i.heir from core__record_customers c "
            "join clusters_found f using (record_id) join incoming i using (cluster_id)"
        )
    lake.rows("create or replace temp table heirs as select distinct customer_id, heir from placed_then")
    shadow(lake, "core__record_customers", "select record_id, heir as customer_id from placed_then")
    shadow(lake, "core__clusters", "from clusters_found")
    shadow(lake, JURISDICTIONS, sql_file("consent", JURISDICTIONS).sql)
    lake.rows(FLAGS.format("flags_then", consents.flags().sql), {"now": now})
    return int(lake.scalar(OTHERWISE))


def _ids(parts: dict[str, Counter[str]]) -> dict[str, str]:
    """The id that each part would have, as ids go by the largest overlap."""
    overlap = [(part, customer, n) for customer, found in parts.items() for part, n in found.items()]
    return ids.assign({part for part, _, _ in overlap}, overlap, [], lambda: NEW)


def _balances(lake: Lake, label: dict[str, str], then: dict[str, str]) -> list[Balances]:
    """Balances under the ids there are, now and then."""
    before: Counter[tuple[str, str, str]] = Counter()
    after: Counter[tuple[str, str, str]] = Counter()
    query = """
        select e.record_id, c.customer_id, e.programme, e.unit, sum(e.amount)
        from core__ledger_entries as e
        join core__record_customers as c using (record_id)
        group by e.record_id, c.customer_id, e.programme, e.unit
    """
    for record, customer, programme, unit, amount in lake.rows(query):
        if record in label:
            before[customer, programme, unit] += int(amount)
            after[then[label[record]], programme, unit] += int(amount)
    other: dict[tuple[str, str], list[int]] = defaultdict(list)
    for customer, programme, unit in before.keys() | after.keys():
        held = before[customer, programme, unit]
        if customer != NEW and after[customer, programme, unit] != held:
            other[programme, unit].append(held)
    terms = lake.rows("select programme, unit, parts from core__loyalty_terms")
    parts = {(programme, unit): int(parts) for programme, unit, parts in terms}
    return [
        Balances(*key, len(held), sum(held) if parts.get(key, 1) == 1 else sum(held) / parts[key])
        for key, held in sorted(other.items())
    ]
