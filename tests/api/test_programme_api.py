"""Other programmes over HTTP: rules that ask for the source, a programme that counts nothing, versions that begin later."""

from datetime import timedelta
from importlib import resources
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from identity.ids import uuid7
from tests.api.test_loyalty_api import Clock, Shop
from tests.conftest import NOW, api_key

SHIPPED = resources.files("cdp") / "defaults" / "programmes"


@pytest.fixture
def served(new_workspace):
    """Makes an API over a workspace with these programmes, and a customer."""
    opened = []

    def make(*texts):
        workspace, clock = new_workspace(), Clock()
        (workspace.path("programmes") / "default.yaml").unlink()
        for number, text in enumerate(texts):
            (workspace.path("programmes") / f"{number}.yaml").write_text(text, encoding="utf-8")
        client = TestClient(create_app(workspace.settings, clock=clock))
        opened.append(client)
        client.__enter__()
        record, customer = f"pos:till:{uuid4().hex[:12]}", uuid7(NOW)
        with connect(owner_address(workspace)) as store, store.transaction():
            assignment.apply(store, [assignment.Move(record, customer)], clock(), "test", "test")
            store.execute(
                "insert into profiles (customer_id, kind, profile, row_hash) values (%s, 'known', '{}', '')", [customer]
            )
        return (
            Shop(client, api_key(workspace, "loyalty:read", "loyalty:write")),
            f"/v1/customers/{customer}/loyalty",
            clock,
        )

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def sale(key, source, at, amount="20.50", currency="USD"):
    line = {"line_no": 1, "sku": "BRUSH", "quantity": 1, "amount": amount}
    return {"source": source, "order_key": key, "ordered_at": at.isoformat(), "currency": currency, "lines": [line]}


def test_a_sale_earns_by_its_source_as_its_file_will(served):
    text = (
        (SHIPPED / "sephora.yaml")
        .read_text(encoding="utf-8")
        .replace("2026-09-01", "2026-01-01")
        .replace("2026-09-03", "2026-12-31")
    )
    shop, path, clock = served(text)
    told = shop.post(f"{path}/earn/preview", sale("A", "app", clock()), status=200)
    done = shop.post(f"{path}/earn", sale("A", "app", clock()))
    assert done["units"] == told["units"] == {"pt": 82, "spend": 2050}
    assert shop.post(f"{path}/earn", sale("B", "help", clock()))["units"] == {"pt": 20, "spend": 2050}


def test_a_programme_that_counts_nothing_answers_and_says_so(served):
    shop, path, clock = served((SHIPPED / "prime.yaml").read_text(encoding="utf-8"))
    assert shop.get(f"{path}/balance").json()["balance"] == 0
    assert shop.get(path).json()["tier"] is None
    assert shop.get(f"{path}/rewards").json()["rewards"] == []
    assert shop.post(f"{path}/earn", sale("A", "pos", clock()))["reason"] == "no_plan"
    assert "counts no units" in shop.post(f"{path}/redeem", {"points": 1}, status=409)["detail"]
    assert shop.post(f"{path}/plans", {"plan": "annual", "paid": "139.00"})["status"] == "active"
    assert len(shop.get(f"{path}/entitlements").json()["entitlements"]) == 3


def test_a_version_holds_from_its_day_and_not_before(served):
    text = (SHIPPED / "default.yaml").read_text(encoding="utf-8")
    later = text.replace('version: "1"', f'version: "2"\nstarts: {(NOW + timedelta(days=10)).date()}').replace(
        "units: 1,", "units: 3,"
    )
    shop, path, clock = served(text, later)
    assert shop.post(f"{path}/earn", sale("A", "pos", clock(), "10", "GBP"))["points"] == 10
    assert shop.get(path).json()["programme_version"] == "1"
    clock.now += timedelta(days=11)
    assert shop.post(f"{path}/earn", sale("B", "pos", clock(), "10", "GBP"))["points"] == 30
    assert shop.get(path).json()["programme_version"] == "2"
