"""Names for records that say nothing: a record's id may hold a card number, its reference is a keyed hash."""

import hashlib
import hmac
from collections.abc import Iterable

from cdp.errors import NotFound


def ref(pepper: str, record_id: str) -> str:
    """The reference of a record."""
    return hmac.new(pepper.encode(), record_id.encode(), hashlib.sha256).hexdigest()[:24]


def record_of(pepper: str, named: str, records: Iterable[str]) -> str:
    """The record that a reference, or a record id, names among these.

    Raises:
        NotFound: If none of them.
    """
    for record in records:
        if named == record or hmac.compare_digest(named.encode("utf-8", "replace"), ref(pepper, record).encode()):
            return record
    raise NotFound("no record of this customer has this reference")
