"""What of each table of evidence has to be made again when records changed: the rest is as it was.

A scope names the rows (`touched`) and, of every input, the rows that they are made from. Its claim, that the select over these
inputs gives for the touched rows what it gives over all, is what the tests of runs over new data prove.
"""

from cdp.lake.build import Increment
from cdp.lake.delta import Scoped, Since
from identity import nodes

RECORDS, IDENTIFIERS, LINKS = "core__contact_records", "core__record_identifiers", "core__record_links"
HOLDERS, PEOPLE, GROUPS = "core__identifier_holders", "core__identifier_people", "core__identifier_groups"
PAYLOADS = "core__payloads"
DICTIONARIES = ("core__name_words#rule", "core__city_keys#rule")


def _keep(since: Since, table: str, query: str) -> None:
    since.lake.rows(f"create or replace temp table {table} as {query}")


def holders(since: Since) -> Scoped | None:
    """Records of which anything changed, and those that stand at the other end of a link, an order or a ticket."""
    records = since.keys("told_records", f"{RECORDS}.record_id", f"{IDENTIFIERS}.record_id", f"{LINKS}.left_id", f"{LINKS}.right_id",
                         "core__orders.record_id", "core__interactions.record_id")  # fmt: skip
    orders = since.keys("told_orders", "core__orders.order_id", "core__orders.original_order_id", "core__interactions.order_id")  # fmt: skip
    if not (records and orders):
        return None
    _keep(since, "touched", f"""
        select key from told_records
        union select left_id from {LINKS} semi join told_records on right_id = key
        union select record_id from core__orders semi join told_orders on order_id = key where record_id is not null
        union select record_id from core__orders semi join told_orders on original_order_id = key where record_id is not null
        """)  # fmt: skip
    _keep(since, "linked", f"select left_id, right_id from {LINKS} where left_id in (from touched) or right_id in (from touched)")  # fmt: skip
    _keep(
        since,
        "held_orders",
        "select order_id, original_order_id from core__orders semi join touched on record_id = key",
    )
    return Scoped("record_id", {
        RECORDS: "record_id in (from touched)",
        IDENTIFIERS: "record_id in (select key from touched union select right_id from linked)",
        LINKS: "left_id in (from touched) or right_id in (from touched)",
        "core__orders": "record_id in (from touched) or order_id in (select original_order_id from held_orders) "
                        "or original_order_id in (select order_id from held_orders)",
        "core__interactions": "record_id in (from touched) or order_id in (select order_id from held_orders)",
    }, {RECORDS: "record_id, given_key, full_key, identifier", IDENTIFIERS: "record_id, type, value, blocked"})  # fmt: skip


def values(since: Since) -> Scoped | None:
    """Identifier values of which a holder changed."""
    if not since.keys("touched", f"{HOLDERS}.value"):
        return None
    held = "value in (from touched)"
    return Scoped("value", {HOLDERS: held})


def groups(since: Since) -> Scoped | None:
    """The same, with the people that were told apart of them."""
    if not since.keys("touched", f"{HOLDERS}.value", f"{PEOPLE}.value"):
        return None
    held = "value in (from touched)"
    return Scoped("value", {HOLDERS: held, PEOPLE: held})


def payloads(since: Since) -> Scoped | None:
    """Records of which anything changed, and holders of a value that became generic or is no longer."""
    if not (since.keys("told", f"{RECORDS}.record_id", f"{IDENTIFIERS}.record_id") and since.keys("told_values", f"{GROUPS}.value")):  # fmt: skip
        return None
    _keep(since, "touched", f"select key from told union select record_id from {RECORDS} "
          "where email in (from told_values) or phone in (from told_values)")  # fmt: skip
    changed = "record_id in (from touched)"
    return Scoped("record_id", {RECORDS: changed, IDENTIFIERS: changed}, {IDENTIFIERS: "record_id, blocked", RECORDS:
        "record_id, given_key, family_key, is_full_name, birth_date, email, phone, postal_code, city"})  # fmt: skip


def identifier_edges(since: Since) -> Scoped | None:
    """All edges of the holders of a changed value: made from all values that these hold and everyone who holds those."""
    if not (since.keys("told_values", f"{HOLDERS}.value", f"{GROUPS}.value", f"{PEOPLE}.value") and since.keys("told", f"{HOLDERS}.record_id")):  # fmt: skip
        return None
    _keep(
        since,
        "touched",
        f"select key from told union select record_id from {HOLDERS} semi join told_values on value = key",
    )
    _keep(since, "shared", f"select distinct value from {HOLDERS} semi join touched on record_id = key")
    shared = "value in (from shared)"
    return Scoped("left_id", {HOLDERS: shared, GROUPS: shared, PEOPLE: shared})


def probabilistic_edges(since: Since) -> Scoped | None:
    """Edges of the records whose payload changed or was scored again, and of those it was paired with: an edge stands at the
    first record of a payload, which may be another now."""
    if not (_changed_nodes(since) and since.keys("told", f"{PAYLOADS}.record_id")):
        return None
    _keep(since, "near", """
        select node from changed_nodes
        union select r from core__scored_pairs semi join changed_nodes on l = node
        union select l from core__scored_pairs semi join changed_nodes on r = node
        """)  # fmt: skip
    _keep(since, "touched", f"select key from told union select record_id from {PAYLOADS} where node in (from near)")
    _keep(since, "scored_near", "select l, r from core__scored_pairs where l in (from near) or r in (from near)")
    _keep(since, "around", "from near union select l from scored_near union select r from scored_near")
    return Scoped("left_id", {
        PAYLOADS: "node in (from around)",
        "core__scored_pairs": "l in (from near) or r in (from near)",
        "core__payload_worth": "node in (from near)",
    }, {PAYLOADS: "record_id, node"})  # fmt: skip


def edges(since: Since) -> Scoped | None:
    """Edges from a record one of whose edges changed."""
    tables = ("core__identifier_edges", "core__probabilistic_edges", "core__steward_links")
    if not since.keys("touched", *(f"{table}.left_id" for table in tables)):
        return None
    return Scoped("left_id", dict.fromkeys(tables, "left_id in (from touched)"))


def clusters(since: Since) -> Scoped | None:
    """Records of the components in which anything changed, as these were before splitting."""
    records = since.keys("told", f"{RECORDS}.record_id", f"{IDENTIFIERS}.record_id", f"{PAYLOADS}.record_id", "core__edges.left_id",
                         "core__edges.right_id", "core__steward_links.left_id", "core__steward_links.right_id")  # fmt: skip
    if not (records and _changed_nodes(since)):
        return None
    _keep(
        since,
        "opened",
        f"select key from told union select record_id from {PAYLOADS} where node in (from changed_nodes)",
    )
    _keep(
        since,
        "components_opened",
        "select distinct component_id from core__clusters semi join opened on record_id = key",
    )
    _keep(
        since,
        "touched",
        "from opened union select record_id from core__clusters semi join components_opened using (component_id)",
    )
    return Scoped("record_id")


def _changed_nodes(since: Since) -> bool:
    """`changed_nodes(node)`: payloads that came, went, or were scored again."""
    scored = since.keys("told_nodes", "core__scored_pairs.l", "core__scored_pairs.r", "core__payload_worth.node")
    if not (scored and since.keys("told_payloads", f"{PAYLOADS}.payload_id")):
        return False
    _keep(
        since,
        "changed_nodes",
        f"select cast(key as bigint) as node from told_nodes union select {nodes.TOLD} from told_payloads",
    )
    return True


PARTS = {
    HOLDERS: Increment(holders),
    PAYLOADS: Increment(payloads, ("core__identifier_limits", *DICTIONARIES)),
    "core__identifier_edges": Increment(identifier_edges, ("core__identifier_limits",)),
    "core__edges": Increment(edges),
}
