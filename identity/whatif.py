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
SHOWN = 5


@dataclass
class Difference:
    """What would change for the customers there are.

    Attributes:
        unchanged: Customers that keep exactly their records.
        merged: Customers that would be one with another.
        split: Customers that would be several.
        customers_after: Customers there would be.
        moved: Records that would go to another id.
        points: Points on the accounts of customers that change.
        consents: Consent flags of customers that change.
        examples: Customers to look at, by kind of change.
    """

    unchanged: int = 0
    merged: int = 0
    split: int = 0
    customers_before: int = 0
    customers_after: int = 0
    moved: int = 0
    points: int = 0
    consents: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)


def compare(lake: Lake, trained: Model | None, rules: IdentityRules, *, other_rules: bool) -> Difference:
    """Cluster as if this model and these rules were in use, and hold it against the present customers.

    Args:
        lake: Open, may be read-only.
        trained: The model to try.
        rules: The rules to try.
        other_rules: Whether the rules differ from those the lake was built with (costs reading every record again).
    """
    register.require(lake, ("core__contact_records", "core__payloads", "core__record_customers"))
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
    records = [row[0] for row in lake.rows("select record_id from record_numbers order by no")]
    return _difference(lake, dict(zip(records, label.tolist(), strict=True)))


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


def _difference(lake: Lake, label: dict[str, int]) -> Difference:
    parts: dict[str, set[int]] = defaultdict(set)
    holders: dict[int, set[str]] = defaultdict(set)
    for record, customer in lake.rows("select record_id, customer_id from core__record_customers"):
        if record in label:
            parts[customer].add(label[record])
            holders[label[record]].add(customer)
    merged = sorted(c for c, found in parts.items() if any(len(holders[part]) > 1 for part in found))
    split = sorted(c for c, found in parts.items() if len(found) > 1)
    changed = sorted({*merged, *split})
    with incoming(lake, pl.DataFrame({"customer_id": changed}, schema={"customer_id": pl.String}).to_arrow()):
        points = lake.scalar(
            "select coalesce(sum(balance), 0) from core__loyalty_balances semi join incoming using (customer_id)"
        )
        consents = lake.scalar("select count(*) from core__customer_consents semi join incoming using (customer_id)")
    return Difference(
        len(parts) - len(changed), len(merged), len(split), len(parts), len(holders), _moved(lake, label), int(points or 0), int(consents or 0),
        {"merged": merged[:SHOWN], "split": split[:SHOWN]},
    )  # fmt: skip


def _moved(lake: Lake, label: dict[str, int]) -> int:
    """Records whose id would be another one, as ids go by the largest overlap."""
    now = [(r, c) for r, c in lake.rows("select record_id, customer_id from core__record_customers") if r in label]
    overlap = Counter((str(label[record]), str(customer)) for record, customer in now)
    parts = sorted({str(part) for part in label.values()})
    chosen = ids.assign(parts, [(part, customer, n) for (part, customer), n in overlap.items()], [], lambda: "new")
    return sum(chosen[str(label[record])] != customer for record, customer in now)
