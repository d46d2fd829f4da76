"""The served tables: what identifies a row, and whose row it is."""

from dataclasses import dataclass

from cdp.lake.build import Select, sql_file

STAGE = "publish"


@dataclass(frozen=True)
class Served:
    """One table of the store that the pipeline publishes by difference.

    Attributes:
        name: Table in the store and SQL file under `cdp/sql/publish`.
        key: Columns that identify a row.
        owner: Column with the customer, or with the record whose customer it is; rows without one belong to nobody.
        columns: All columns but the hash, in the store's order.
        watched: Further columns of the select that are not served, but whose change makes the row differ.
    """

    name: str
    key: tuple[str, ...]
    owner: str
    columns: tuple[str, ...]
    watched: tuple[str, ...] = ()

    @property
    def select(self) -> Select:
        """The select that makes the rows."""
        return sql_file(STAGE, self.name)


def hashed_rows(columns: str, select: str) -> str:
    """Rows of a served table with the fingerprint that tells whether the store has them."""
    return f"select {columns}, md5(cast(row({columns}) as varchar)) as row_hash from ({select}) as made"


def profile_row() -> str:
    """The select of profiles as served, with their fingerprints."""
    return hashed_rows("customer_id, kind, profile", sql_file(STAGE, "profiles").sql)


SERVED = (
    Served("contact_records", ("record_id",), "record_id",
           ("record_id", "source", "kind", "source_key", "first_seen", "last_seen", "link_weight", "fields")),
    Served("identifiers", ("record_id", "type", "value"), "record_id",
           ("record_id", "type", "value", "first_seen", "last_seen")),
    Served("edges", ("left_id", "right_id", "type"), "left_id",
           ("left_id", "right_id", "type", "kind", "weight", "model_version", "evidence")),
    Served("payloads", ("record_id",), "record_id", ("record_id", "compared", "keys")),
    Served("households", ("record_id",), "record_id", ("record_id", "household_id")),
    Served("profiles", ("customer_id",), "customer_id", ("customer_id", "kind", "profile")),
    Served("orders", ("order_id",), "record_id",
           ("order_id", "record_id", "source", "kind", "ordered_at", "currency", "total", "details"),
           watched=("lines_hash",)),
    Served("interactions", ("interaction_id",), "record_id",
           ("interaction_id", "record_id", "source", "kind", "occurred_at", "details")),
)  # fmt: skip
