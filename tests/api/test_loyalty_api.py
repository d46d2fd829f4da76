"""Loyalty over HTTP: keys first, one balance on every channel, retries answered once, races lost with a reason."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from benchmarks import api_kills
from cdp.loyalty import orders
from cdp.loyalty.groups import Posting
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from identity.ids import uuid7
from tests.conftest import NOW, api_key

ANY = "0197f3a2-7c1e-4b3a-9d55-2f6f0c1a4e77"
READS = [f"/v1/customers/{ANY}/loyalty/balance", f"/v1/customers/{ANY}/loyalty/entries", f"/v1/loyalty/holds/{ANY}"]
SALE = {"source": "pos", "order_key": "T1", "ordered_at": "2026-02-27T10:00:00Z", "currency": "GBP",
        "lines": [{"line_no": 1, "sku": "MUG", "quantity": 2, "amount": "20.50"}, {"line_no": 2, "sku": "POST", "quantity": 1, "amount": "5"}]}  # fmt: skip
WRITES = [
    (f"/v1/customers/{ANY}/loyalty/earn", SALE), (f"/v1/customers/{ANY}/loyalty/earn/preview", SALE),
    (f"/v1/customers/{ANY}/loyalty/redeem", {"points": 1}), (f"/v1/customers/{ANY}/loyalty/redeem/preview", {"points": 1}),
    (f"/v1/customers/{ANY}/loyalty/holds", {"points": 1}), (f"/v1/loyalty/holds/{ANY}/capture", {}), (f"/v1/loyalty/holds/{ANY}/void", None),
    (f"/v1/loyalty/transactions/{ANY}/reverse", {"reason": "x"}), (f"/v1/customers/{ANY}/loyalty/adjustments", {"points": 1, "reason": "x"}),
    (f"/v1/loyalty/approvals/{ANY}", {"approve": True}),
]  # fmt: skip


class Clock:
    """A clock that tests move."""

    def __init__(self):
        self.now = NOW

    def __call__(self):
        self.now += timedelta(milliseconds=1)
        return self.now


class Shop:
    """A channel with a key of its own."""

    def __init__(self, client, headers):
        self.client, self.headers = client, headers

    def get(self, path, status=200, **headers):
        response = self.client.get(path, headers={**self.headers, **headers})
        assert response.status_code == status, response.text
        return response

    def post(self, path, body=None, status=201, key=None):
        response = self.client.post(path, json=body, headers={**self.headers, "Idempotency-Key": key or str(uuid4())})
        assert response.status_code == status, response.text
        return response.json()

    def balance(self, customer):
        return self.get(f"/v1/customers/{customer}/loyalty/balance").json()


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def client(workspace, clock):
    with TestClient(create_app(workspace.settings, clock=clock), raise_server_exceptions=False) as found:
        yield found


@pytest.fixture(scope="module")
def store(workspace):
    with connect(owner_address(workspace)) as connection:
        yield connection


@pytest.fixture(scope="module")
def till(client, workspace):
    return Shop(client, api_key(workspace, "loyalty:read", "loyalty:write"))


@pytest.fixture(scope="module")
def app(client, workspace):
    return Shop(client, api_key(workspace, "loyalty:read", "loyalty:write"))


@pytest.fixture
def customer(store, workspace, clock):
    """A customer of two records with 100 points."""
    name = uuid7(NOW)
    records = [f"pos:card:{name[-6:]}{n}" for n in range(2)]
    with store.transaction():
        assignment.apply(store, [assignment.Move(r, name) for r in records], NOW, "test", "test")
        store.execute("insert into profiles values (%s, 'known', '{}', '')", [name])
        points = Posting(f"earn|{name}", 0, records[1], "earn", 100, clock() - timedelta(days=1), "test")
        post(store, [points], load_programme(workspace), clock())
    return name


@pytest.mark.parametrize("path", READS)
def test_401_and_403_first_to_read(client, workspace, path):
    assert client.get(path).status_code == 401
    assert client.get(path, headers=api_key(workspace, "profiles:read")).status_code == 403
    assert client.get(path, headers=api_key(workspace, "loyalty:read")).status_code == 404


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_401_and_403_first_to_write_then_the_key_of_the_request(client, workspace, path, body):
    assert client.post(path, json=body).status_code == 401
    assert client.post(path, json=body, headers=api_key(workspace, "loyalty:read")).status_code == 403
    headers = api_key(workspace, "loyalty:write")
    if not path.endswith("preview"):
        missing = client.post(path, json=body, headers=headers)
        assert (missing.status_code, missing.json()["title"]) == (400, "Idempotency-Key missing")
    assert client.post(path, json=body, headers={**headers, "Idempotency-Key": "k"}).status_code == 404


def test_spent_on_one_channel_is_seen_on_the_other_in_the_next_call(till, app, customer):
    done = till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 60})
    assert (done["points"], done["balance"], done["available"]) == (-60, 40, 40)
    assert app.balance(customer)["balance"] == 40
    assert app.balance(customer)["balance_version"] == done["balance_version"]
    refused = app.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 41}, status=409)
    assert refused["title"] == "Insufficient points"
    assert "40 are available, 41 are needed" in refused["detail"]


def test_a_retry_is_answered_not_done_again(till, customer, store):
    path, key = f"/v1/customers/{customer}/loyalty/redeem", str(uuid4())
    first, again = till.post(path, {"points": 10}, key=key), till.post(path, {"points": 10}, key=key)
    assert again == first
    assert till.balance(customer)["balance"] == 90
    reused = till.post(path, {"points": 11}, status=422, key=key)
    assert reused["title"] == "Idempotency-Key reused"
    store.execute("delete from idempotency_keys")
    assert till.post(path, {"points": 10}, key=key)["transaction_id"] == first["transaction_id"]
    assert till.balance(customer)["balance"] == 90, (
        "also when the answer was dropped: the id of the operation is the same"
    )


def test_a_request_that_is_in_progress_says_so(till, customer, store, workspace):
    from cdp.store import idempotency

    key = str(uuid4())
    with connect(owner_address(workspace)) as other, other.transaction():
        name = other.execute(
            "select key_id from api_keys where prefix = %s", [till.headers["Authorization"].split("_")[1]]
        ).fetchall()
        assert idempotency.claim(other, str(name[0][0]), key)
        busy = till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 1}, status=409, key=key)
    assert busy["title"] == "Request in progress"


def test_an_unchanged_balance_answers_304(till, customer):
    first = till.get(f"/v1/customers/{customer}/loyalty/balance")
    till.get(f"/v1/customers/{customer}/loyalty/balance", status=304, **{"If-None-Match": first.headers["ETag"]})
    till.post(f"/v1/customers/{customer}/loyalty/holds", {"points": 5})
    later = till.get(f"/v1/customers/{customer}/loyalty/balance", **{"If-None-Match": first.headers["ETag"]})
    assert later.headers["ETag"] != first.headers["ETag"]


def test_set_aside_captured_in_part_voided_and_ended_by_time(till, app, customer, clock):
    made = till.post(f"/v1/customers/{customer}/loyalty/holds", {"points": 80, "minutes": 10})
    assert (made["status"], made["held"], made["available"]) == ("open", 80, 20)
    app.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 21}, status=409)
    done = till.post(f"/v1/loyalty/holds/{made['hold_id']}/capture", {"points": 30}, status=200)
    assert (done["balance"], done["available"]) == (70, 70)
    assert till.get(f"/v1/loyalty/holds/{made['hold_id']}").json()["captured"] == 30
    till.post(f"/v1/loyalty/holds/{made['hold_id']}/void", status=409)
    other = till.post(f"/v1/customers/{customer}/loyalty/holds", {"points": 70})
    assert till.post(f"/v1/loyalty/holds/{other['hold_id']}/void", status=200)["status"] == "voided"
    third = till.post(f"/v1/customers/{customer}/loyalty/holds", {"points": 70, "minutes": 10})
    clock.now += timedelta(minutes=11)
    assert till.get(f"/v1/loyalty/holds/{third['hold_id']}").json()["status"] == "ended"
    assert app.balance(customer)["available"] == 70
    assert "ended at" in till.post(f"/v1/loyalty/holds/{third['hold_id']}/capture", {}, status=409)["detail"]


def test_a_transaction_is_reversed_once(till, customer):
    done = till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 60})
    back = till.post(f"/v1/loyalty/transactions/{done['transaction_id']}/reverse", {"reason": "wrong customer"})
    assert (back["points"], back["balance"]) == (60, 100)
    till.post(f"/v1/loyalty/transactions/{done['transaction_id']}/reverse", {"reason": "again"}, status=409)


def test_a_large_correction_waits_for_a_second_person(till, app, customer):
    path = f"/v1/customers/{customer}/loyalty/adjustments"
    assert till.post(path, {"points": 50, "reason": "goodwill"})["balance"] == 150
    assert till.post(path, {"points": 0, "reason": "x"}, status=422)["title"] == "Invalid request"
    waits = till.post(path, {"points": 5000, "reason": "lost card"}, status=202)
    assert waits["status"] == "waiting"
    assert waits["approval_id"] in {row["approval_id"] for row in app.get("/v1/loyalty/approvals").json()["approvals"]}
    own = till.post(f"/v1/loyalty/approvals/{waits['approval_id']}", {"approve": True}, status=409)
    assert "whoever asked cannot approve" in own["detail"]
    assert (
        app.post(f"/v1/loyalty/approvals/{waits['approval_id']}", {"approve": True}, status=200)["status"] == "approved"
    )
    app.post(f"/v1/loyalty/approvals/{waits['approval_id']}", {"approve": True}, status=409)
    assert till.balance(customer)["balance"] == 5150
    refused = till.post(path, {"points": -2000, "reason": "mistake"}, status=202)
    assert (
        app.post(f"/v1/loyalty/approvals/{refused['approval_id']}", {"approve": False}, status=200)["status"]
        == "refused"
    )
    assert till.balance(customer)["balance"] == 5150


def test_a_preview_is_what_posting_does_and_changes_nothing(till, customer):
    before = till.get(f"/v1/customers/{customer}/loyalty/balance").headers["ETag"]
    shown = till.client.post(
        f"/v1/customers/{customer}/loyalty/redeem/preview", json={"points": 33}, headers=till.headers
    ).json()
    assert till.get(f"/v1/customers/{customer}/loyalty/balance").headers["ETag"] == before
    done = till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 33})
    different = {"transaction_id"}
    assert {k: v for k, v in shown.items() if k not in different} == {
        k: v for k, v in done.items() if k not in different
    }
    too_many = till.client.post(
        f"/v1/customers/{customer}/loyalty/redeem/preview", json={"points": 68}, headers=till.headers
    )
    assert too_many.status_code == 409


def test_balance_as_of_any_date_and_when_points_end(till, customer, store, workspace, clock):
    ends = Posting(f"ends|{customer}", 0, store.execute("select record_id from assignment where customer_id = %s limit 1", [customer]).fetchall()[0][0],
                   "earn", 25, clock(), "test", expires_at=clock() + timedelta(days=3))  # fmt: skip
    with store.transaction():
        post(store, [ends], load_programme(workspace), clock())
    now = till.balance(customer)
    assert [row["points"] for row in now["expiring"]] == [25, 100]
    assert sum(row["points"] for row in now["expiring"]) - now["owed"] == now["balance"] == 125
    moment = (clock.now - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert till.get(f"/v1/customers/{customer}/loyalty/balance?as_of={moment}").json()["balance"] == 100
    clock.now += timedelta(days=4)
    assert till.balance(customer)["balance"] == 100
    after = (clock.now - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    assert till.get(f"/v1/customers/{customer}/loyalty/balance?as_of={after}").json()["balance"] == 100


def test_entries_page_by_page(till, customer):
    for _ in range(4):
        till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 1})
    found, cursor = [], ""
    while cursor is not None:
        page = till.get(f"/v1/customers/{customer}/loyalty/entries?limit=2{cursor and f'&cursor={cursor}'}").json()
        found += page["entries"]
        cursor = page["next"]
    assert [row["points"] for row in found] == [-1, -1, -1, -1, 100]
    assert len({row["entry_id"] for row in found}) == 5
    assert all(
        ("pos:card:" in row["record_id"] and "•" in row["record_id"]) or "*" in row["record_id"] for row in found
    )
    till.get(f"/v1/customers/{customer}/loyalty/entries?cursor=nonsense", status=422)


def test_of_many_who_race_for_one_balance_only_as_many_win_as_there_are_points_for(client, till, customer):
    answers = []

    def spends():
        response = client.post(
            f"/v1/customers/{customer}/loyalty/redeem",
            json={"points": 30},
            headers={**till.headers, "Idempotency-Key": str(uuid4())},
        )
        answers.append((response.status_code, response.json()))

    threads = [threading.Thread(target=spends) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _ in answers) == [201] * 3 + [409] * 9
    assert all("10 are available, 30 are needed" in body["detail"] for status, body in answers if status == 409)
    assert till.balance(customer)["balance"] == 10


def test_another_customers_record_does_not_ask(till, customer):
    till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 1, "record_id": "pos:card:nobody"}, status=404)
    till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 0}, status=422)
    till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 10**12}, status=422)


def test_what_was_done_is_in_the_audit_log(till, customer, store):
    done = till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 7})
    rows = store.execute(
        "select action, details from audit_log where customer_id = %s and action = 'loyalty.redeem'", [customer]
    ).fetchall()
    assert rows == [("loyalty.redeem", {"transaction": done["transaction_id"], "points": -7})]


def test_a_sale_earns_at_once_and_once(till, app, customer, workspace, store):
    path, sale = f"/v1/customers/{customer}/loyalty/earn", {**SALE, "order_key": uuid4().hex}
    shown = till.client.post(f"{path}/preview", json=sale, headers=till.headers).json()
    done = till.post(path, sale)
    assert {**shown, "balance_version": ""} == {**done, "balance_version": ""}, (
        "the version of what never was means nothing"
    )
    assert (done["points"], done["balance"], done["reason"]) == (20, 120, None)
    again = app.post(path, sale)
    assert (again["points"], again["balance"]) == (0, 120), "another key, the same order"
    programme = load_programme(workspace)
    record = store.execute(
        "select record_id from ledger_accounts join ledger_entries using (account_id) where order_id = %s",
        [done["order_id"]],
    ).fetchall()[0][0]
    key = f"{programme.programme}|{programme.unit}|{done['order_id']}|earn"
    with store.transaction():
        later = Posting(key, 0, record, "earn", 20, NOW - timedelta(days=2), "spend", order_id=done["order_id"])
        assert post(store, [later], programme, NOW + timedelta(days=9)) == 0, "the run that reads its file adds nothing"


def test_a_sale_paid_with_points_spends_them_first_come_first_served(till, customer):
    path, sale = f"/v1/customers/{customer}/loyalty/earn", {**SALE, "order_key": uuid4().hex, "points_redeemed": 90}
    assert till.post(path, sale)["balance"] == 30
    assert "are available" in till.post(path, {**sale, "order_key": uuid4().hex}, status=409)["detail"]


def test_a_sale_that_earns_nothing_says_why(till, customer):
    path = f"/v1/customers/{customer}/loyalty/earn"
    assert till.post(path, {**SALE, "order_key": uuid4().hex, "currency": "EUR"})["reason"] == "other_currency"
    till.post(path, {**SALE, "ordered_at": "2036-01-01T00:00:00Z"}, status=422)
    till.post(path, {**SALE, "lines": []}, status=422)


@pytest.mark.long
def test_no_acknowledged_operation_is_lost_or_done_twice_when_the_api_is_killed(workspace):
    """A small version of `python -m benchmarks.api_kills`."""
    done = api_kills.prove(workspace, kills=2, clients=3)
    assert done["acknowledged"] > 5
    assert (done["lost"], done["twice"], done["never answered"], done["refused"]) == (0, 0, 0, [])
    assert done["balance is right"]


def test_a_sale_whose_file_names_another_record_of_the_customer_earns_once(till, customer, store, workspace, clock):
    """The API put it on the oldest record, the file says the other: the points move, they do not double."""
    done = till.post(f"/v1/customers/{customer}/loyalty/earn", {**SALE, "order_key": uuid4().hex})
    programme, order = load_programme(workspace), done["order_id"]
    here = store.execute(
        "select record_id from ledger_accounts join ledger_entries using (account_id) where order_id = %s", [order]
    ).fetchall()[0][0]
    there = next(
        r
        for (r,) in store.execute("select record_id from assignment where customer_id = %s", [customer]).fetchall()
        if r != here
    )
    row = {"unit": programme.unit, "posting_key": f"{programme.programme}|{programme.unit}|{order}|earn", "revision": 1, "kind": "earn", "occurred_at": NOW - timedelta(days=2),
           "order_id": order, "original_order_id": None}  # fmt: skip
    moves = [
        {**row, "record_id": there, "difference": 20, "reason": "spend"},
        {**row, "record_id": here, "difference": -20, "reason": "order_moved"},
    ]
    with store.transaction():
        post(store, [orders.posting(move, programme) for move in moves], programme, clock())
    assert till.balance(customer)["balance"] == 120


@pytest.mark.parametrize("body", [{"reason": "a\u0000b"}, {"order_id": "a\u0000"}, {"record_id": "\u0000"}])
def test_control_characters_are_refused(till, customer, body):
    till.post(f"/v1/customers/{customer}/loyalty/redeem", {"points": 1, **body}, status=422)
