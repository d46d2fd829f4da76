"""Events that a client library sent, through the whole pipeline: with the contracts, quarantine and counts of files."""

import json

import pytest

from cdp.lake.engine import open_lake
from cdp.sources import intake
from cdp.store import inbox
from cdp.store.connect import connect, owner_address
from tests.conftest import NOW, cdp

EVENTS = [
    {"messageId": "m1", "type": "identify", "userId": "u1", "traits": {"firstName": "Mei", "lastName": "Wang", "email": "mei@example.org"}, "timestamp": "2026-02-01T10:00:00Z"},
    {"messageId": "m2", "type": "track", "event": "Product Reviewed", "userId": "u1", "properties": {"product_id": "MUG", "rating": 5}, "timestamp": "2026-02-01T10:05:00Z"},
    {"messageId": "m3", "type": "dance", "userId": "u1", "timestamp": "2026-02-01T10:06:00Z"},
    *({"messageId": f"p{n}", "type": "page", "anonymousId": "a1", "name": "Home", "timestamp": "2026-02-01T10:07:00Z"} for n in range(9)),
]  # fmt: skip


@pytest.mark.long
def test_sent_events_are_ingested_once_and_what_breaks_the_contract_is_quarantined(new_workspace):
    workspace = new_workspace()
    for _ in range(2):  # the second time nothing is new
        with connect(owner_address(workspace)) as store, store.transaction():
            inbox.add(store, "web", intake.events("batch", {"batch": EVENTS}, NOW), NOW)
        cdp(workspace, "run", "--as-of", "2026-03-02")
        with open_lake(workspace, read_only=True) as lake:
            counts = lake.rows(
                "select sum(lines), sum(accepted), sum(quarantined), sum(duplicates) from ops__reconciliation where source = 'web'"
            )
            rejected = lake.rows("select payload, reason from ops__rejected_rows where source = 'web'")
            kinds = dict(lake.rows("select kind, count(*) from core__interactions group by 1"))
        assert counts == [(12, 11, 1, 0)]
        assert "m3" in rejected[0][0]
        assert kinds["Product Reviewed"] == 1
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from inbox where payload is not null").fetchall() == [(0,)]
    lines = [
        json.loads(line)
        for path in workspace.path("landing").glob("web/inbox-*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert len(lines) == 12
