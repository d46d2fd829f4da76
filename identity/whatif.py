"""What another model or other rules would do, before they are promoted: nothing is written.

The lake's tables are shadowed: bare names read temporary tables first, so the pipeline's own selects and functions work over
whatever differs, and over the lake for the rest.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake import register
from cdp.lake.build import incoming, sql_file
from cdp.lake.delta import shadow
from cdp.lake.engine import Lake
from identity import edges, graph, ids, pairs, sharing
from identity.artefact import Model

STANDARD = ("core__record_identifiers", "core__record_names", "core__contact_records")
READS = ("core__contact_records", "core__payloads", "core__record_customers", "core__ledger_entries", "core__customer_consents")  # fmt: skip
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
        consents: Consent flags of customers that change.
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
        return [*counts, *balances, ("consent flags of those that merge or split", self.consents)]


def compare(lake: Lake, trained: Model | None, rules: IdentityRules, *, other_rules: bool) -> Difference:
    """Cluster as if this model and these rules were in use, and hold it against the present customers.

    Args:
        lake: Open, may be read-only.
        trained: The model to try.
        rules: The rules to try.
        other_rules: Whether the rules differ from those the lake was built with (costs reading every record again).
    """
    register.require(lake, READS)
    if other_rules:
        _shadow_rules(lake, rules)
    pairs.stage(lake, trained)
    for table, query in (
        (pairs.PAIRS, "from scored"),
        (pairs.WORTH, "from worth"),
    ):
        shadow(lake, table, query)
    threshold = trained.threshold if trained else 0.0
    version = trained.version if trained else "none"
    shadow(lake, edges.TABLE, edges.SELECT, {"version": version, "threshold": threshold})
    shadow(lake, "core__edges", sql_file("identity", "core__edges").sql)
    label = graph.resolve(lake, threshold, rules).label
    records = [str(row[0]) for row in lake.rows("select record_id from record_numbers order by no")]
    first: dict[int, str] = {}  # a cluster is named after its smallest record, as a run names it: names decide ties
    named = {record: first.setdefault(part, record) for record, part in zip(records, label.tolist(), strict=True)}
    return _difference(lake, named)


def _shadow_rules(lake: Lake, rules: IdentityRules) -> None:
    """Everything that the rules decide, made again in memory."""
    patterns = [(kind, pattern) for kind, found in sorted(rules.blocked.items()) for pattern in found]
    frame = pl.DataFrame(patterns, schema={"type": pl.String, "pattern": pl.String}, orient="row")
    with incoming(lake, frame.to_arrow()):
        shadow(lake, "core__blocked_patterns", "from incoming")
    for table in STANDARD:
        shadow(lake, table, sql_file("standardise", table).sql)
    shadow(lake, "core__identifier_holders", sql_file("identity", "core__identifier_holders").sql)
    with incoming(lake, sharing.limits_of(rules)):
        shadow(lake, sharing.LIMITS, "from incoming")
    for table, query in sharing.tables(lake):
        shadow(lake, table, query())
    for table in ("core__identifier_edges", "core__payloads"):
        shadow(lake, table, sql_file("identity", table).sql)


def _difference(lake: Lake, label: dict[str, str]) -> Difference:
    now = [(r, c) for r, c in lake.rows("select record_id, customer_id from core__record_customers") if r in label]
    parts: dict[str, Counter[str]] = defaultdict(Counter)
    holders: dict[str, set[str]] = defaultdict(set)
    for record, customer in now:
        parts[customer][label[record]] += 1
        holders[label[record]].add(customer)
    merged = sorted(c for c, found in parts.items() if any(len(holders[part]) > 1 for part in found))
    split = sorted(c for c, found in parts.items() if len(found) > 1)
    changed = sorted({*merged, *split})
    with incoming(lake, pl.DataFrame({"customer_id": changed}, schema={"customer_id": pl.String}).to_arrow()):
        consents = lake.scalar("select count(*) from core__customer_consents semi join incoming using (customer_id)")
    then = _ids(parts)
    moved = sum(then[label[record]] != customer for record, customer in now)
    return Difference(
        len(parts) - len(changed), len(merged), len(split), len(parts), len(holders), moved, _balances(lake, label, then), int(consents or 0),
        {"merged": merged[:SHOWN], "split": split[:SHOWN]},
    )  # fmt: skip


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
