"""Which customer id a cluster keeps: ids live longer than clusterings.

A cluster takes the id with which it shares most records; a part left without one takes back the retired id it
last held; only then is an id made. Ids are UUIDv7 and never change their meaning.
"""

import secrets
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime


def uuid7(now: datetime) -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random."""
    milliseconds = int(now.timestamp() * 1000) & (2**48 - 1)
    value = (milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def assign(
    clusters: Iterable[str],
    present: Iterable[tuple[str, str, int]],
    past: Iterable[tuple[str, str, int]],
    new_id: Callable[[], str],
) -> dict[str, str]:
    """Customer id of every cluster.

    Args:
        clusters: All cluster names.
        present: (cluster, customer, records in common) under the present assignment.
        past: (cluster, retired customer, records in common) under earlier assignments.
        new_id: Makes an id.

    Returns:
        Cluster → customer; no id twice. Ties go to the older id (UUIDv7 sort by age), then the smaller cluster name.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for overlaps in (present, past):
        for cluster, customer, _ in sorted(overlaps, key=lambda item: (-item[2], item[1], item[0])):
            if cluster not in chosen and customer not in taken:
                chosen[cluster] = customer
                taken.add(customer)
    for cluster in sorted(clusters):
        if cluster not in chosen:
            chosen[cluster] = new_id()
    return chosen
