"""Sales and tickets over the API: the contracts, quarantine, reconciliation and ids of files."""

import csv
import json
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.live.worker import Worker
from cdp.store import keys
from cdp.store.connect import connect, owner_address
from identity.arrive import attach
from identity.ids import uuid7
from tests.conftest import NOW, api_key, cdp

pytestmark = pytest.mark.long

LATER = NOW + timedelta(hours=1)
PATHS = {"pos": "/v1/pos/sales", "service": "/v1/service/tickets"}


@pytest.fixture(scope="module")
def client(town):
    with TestClient(create_app(town.settings, clock=lambda: LATER), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def senders(town):
    with connect(owner_address(town)) as store:
        made = {
            name: keys.create(store, town.secrets["pepper"], f"send-{name}", ["events:write"], NOW, source=name)
            for name in PATHS
        }
    return {name: {"Authorization": f"Bearer {text}"} for name, text in made.items()}


@pytest.fixture(scope="module")
def card(town):
    with connect(owner_address(town)) as store:
        return store.execute(
            "select r.source_key, a.customer_id::text from contact_records r join assignment a using (record_id) where r.kind = 'card' order by 1 limit 1"
        ).fetchall()[0]


def sale(number, card, **more):
    line = {"line_no": 1, "sku": "MUG", "quantity": 2, "unit_price": "10.00", "description": 'Mug, "blue" 杯'}
    return {
        "transaction_id": number,
        "store_id": "S01",
        "sold_at": "2026-03-01T12:10:00Z",
        "loyalty_card": card,
        "currency": "GBP",
        "lines": [line],
        **more,
    }


def ticket(number, **more):
    return {"id": number, "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:20:00Z", "requester": {"name": "Mei Wang", "email": "mei@posted.example"},
            "subject": "Where is it", "status": "open", "via": {"channel": "wechat"}, **more}  # fmt: skip


def see(town):
    with connect(owner_address(town)) as store:
        worker = Worker(town, attach, uuid7, lambda: LATER)
        while worker.look(store):
            pass


@pytest.mark.parametrize(("path", "body"), [(PATHS["pos"], sale("T1", "1")), (PATHS["service"], ticket("1"))])
def test_401_and_403_first(client, town, path, body):
    assert client.post(path, json=body).status_code == 401
    assert client.post(path, json=body, headers=api_key(town, "profiles:read")).status_code == 403
    assert client.post(path, json=body, headers=api_key(town, "events:write")).status_code == 403, "a key of no source"


def test_a_sale_earns_at_once_and_the_run_takes_it_over(client, town, senders, card):
    number, customer = card
    reads = api_key(town, "loyalty:read")
    balance = lambda: client.get(f"/v1/customers/{customer}/loyalty/balance", headers=reads).json()["balance"]  # noqa: E731
    before = balance()
    posted = client.post(PATHS["pos"], json=sale("POSTED-1", number), headers=senders["pos"])
    assert (posted.status_code, posted.json()) == (202, {"rows": 1, "known": 0})
    again = client.post(
        PATHS["pos"], json={"sales": [sale("POSTED-1", number), sale("POSTED-2", number)]}, headers=senders["pos"]
    )
    assert again.json() == {"rows": 2, "known": 1}
    see(town)
    assert balance() == before + 40
    odd = client.post(
        PATHS["pos"], json=sale("POSTED-3", number, sold_at="1700-01-01T00:00:00Z"), headers=senders["pos"]
    )
    assert odd.status_code == 202
    landed = town.path("landing", "pos", "same.csv")
    columns = ["transaction_id", "line_no", "store_id", "till", "sold_at", "loyalty_card", "phone", "email", "customer_name", "marketing_opt_in", "sku",
               "description", "quantity", "unit_price", "discount", "currency", "tender", "points_redeemed", "original_transaction_id"]  # fmt: skip
    with landed.open("w", newline="", encoding="utf-8") as file:  # the till's own file of the evening
        rows = csv.DictWriter(file, columns)
        rows.writeheader()
        rows.writerow({"transaction_id": "POSTED-1", "line_no": 1, "store_id": "S01", "sold_at": "01/03/2026 12:10:00", "loyalty_card": number, "sku": "MUG",
                       "description": 'Mug, "blue" 杯', "quantity": 2, "unit_price": "10.00", "currency": "GBP"})  # fmt: skip
    cdp(town, "run", "--as-of", f"{NOW + timedelta(days=1):%Y-%m-%d}")
    assert balance() == before + 40
    query = "select file, lines, accepted, duplicates, quarantined from ops__reconciliation where source = 'pos' and (file like 'inbox%' or file = 'same.csv') order by file"
    counted = json.loads(cdp(town, "sql", query, "--format", "json").stdout)
    assert [(row["lines"], row["accepted"], row["duplicates"], row["quarantined"]) for row in counted] == [
        (3, 2, 0, 1),
        (1, 0, 1, 0),
    ]


def test_a_ticket_is_seen_and_its_update_goes_over_it(client, town, senders):
    reads = api_key(town, "profiles:read")

    def find():
        return client.post("/v1/customers/lookup", json={"value": "mei@posted.example"}, headers=reads).json()[
            "customers"
        ]

    client.post(PATHS["service"], json=ticket("77001"), headers=senders["service"])
    see(town)
    (found,) = find()

    def seen():
        return client.get(f"/v1/customers/{found['customer_id']}?include=tickets", headers=reads).json()["tickets"][
            "items"
        ]

    assert [(t["status"], t["channel"], t["is_open"]) for t in seen()] == [("open", "wechat", True)]
    closed = ticket("77001", status="closed", updated_at="2026-03-01T12:40:00Z")
    assert client.post(PATHS["service"], json={"tickets": [closed, closed]}, headers=senders["service"]).json() == {
        "rows": 2,
        "known": 1,
    }
    see(town)
    assert [(t["status"], t["is_open"]) for t in seen()] == [("closed", False)]


@pytest.mark.parametrize(
    "change",
    [{"lines": []}, {"lines": None}, {"sold_at": 5}, {"sold_at": "yesterday"}, {"currency": "pounds"}, {"shoe": 1}, {"points_redeemed": -1}, {"marketing_opt_in": 0}, {"marketing_opt_in": "yes"},
     {"lines": [{"line_no": 1, "sku": "A", "quantity": 1, "unit_price": 1.5}]}, {"lines": [{"line_no": 0, "sku": "A", "quantity": 1, "unit_price": "1"}]},
     {"lines": [{"line_no": 1, "sku": "A", "quantity": False, "unit_price": "1"}]}, {"lines": [{"line_no": 1, "sku": "A", "quantity": "1", "unit_price": "1"}]}],
)  # fmt: skip
def test_what_is_no_sale_is_refused_whole(client, town, senders, change):
    with connect(owner_address(town)) as store:
        count = lambda: store.execute("select count(*) from inbox").fetchall()  # noqa: E731
        before = count()
        both = {"sales": [sale("GOOD", "1"), sale("BAD", "1") | change]}
        assert client.post(PATHS["pos"], json=both, headers=senders["pos"]).status_code == 422
        assert count() == before
