"""Plans, circles, benefits, rewards and coupons over HTTP: keys first, retries answered once, secrets kept."""

from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp.loyalty.groups import Posting
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.store import assignment
from cdp.store.connect import connect, owner_address
from identity.ids import uuid7
from tests.api.test_loyalty_api import ANY, Clock, Shop
from tests.cdp.test_offers import programme as terms
from tests.conftest import NOW, api_key

CUSTOMER = f"/v1/customers/{ANY}/loyalty"
READS = [
    *(f"{CUSTOMER}/{what}" for what in ("entitlements", "rewards", "plans", "circle")),
    f"/v1/loyalty/tills/transactions/{ANY}",
]
WRITES = [
    (f"{CUSTOMER}/benefits", {"code": "lounge"}), (f"{CUSTOMER}/rewards", {"code": "mug"}), (f"{CUSTOMER}/coupons", {"code": "ten"}),
    ("/v1/loyalty/coupons/redeem", {"code": "7KQ2M9XD4T6W0ABC", "order_id": "pos:1"}), (f"/v1/loyalty/grants/{ANY}/undo", None),
    (f"{CUSTOMER}/plans", {"plan": "year", "paid": "60.00"}), (f"/v1/loyalty/plans/{ANY}/renew", {"paid": "60.00"}),
    (f"/v1/loyalty/plans/{ANY}/cancel", {"reason": "x"}), (f"/v1/loyalty/plans/{ANY}/refund", {"reason": "x"}),
    (f"{CUSTOMER}/allowances", {"till": "T1", "points": 1}), (f"{CUSTOMER}/referral-code", {}), (f"{CUSTOMER}/referrals", {"code": "ABC"}),
    (f"{CUSTOMER}/circle/invite", {"customer_id": ANY}), (f"{CUSTOMER}/circle/accept", {}), (f"{CUSTOMER}/circle/leave", {}),
]  # fmt: skip


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def client(workspace, clock):
    rules = terms(referral={"unit": "pt", "referrer": 50, "referred": 20})
    text = rules.model_dump_json(exclude_none=True)  # JSON is YAML
    (workspace.path("programmes") / "default.yaml").write_text(text, encoding="utf-8")
    with TestClient(create_app(workspace.settings, clock=clock)) as found:
        yield found


@pytest.fixture(scope="module")
def shop(workspace, client):
    return Shop(client, api_key(workspace, "loyalty:read", "loyalty:write"))


@pytest.fixture
def people(workspace, clock):
    """Makes customers with points."""
    with connect(owner_address(workspace)) as store:
        rules = load_programme(workspace)

        def make(points=0):
            record, customer = f"pos:till:{uuid4().hex[:12]}", uuid7(NOW)
            with store.transaction():
                assignment.apply(store, [assignment.Move(record, customer)], clock(), "test", "test")
                store.execute(
                    "insert into profiles (customer_id, kind, profile, row_hash) values (%s, 'known', '{}', '')",
                    [customer],
                )
                if points:
                    post(
                        store, [Posting(f"give|{uuid4()}", 0, record, "earn", points, clock(), "test")], rules, clock()
                    )
            return customer

        yield make


@pytest.mark.parametrize("path", READS)
def test_401_and_403_first_for_reads(client, workspace, path):
    assert client.get(path).status_code == 401
    assert client.get(path, headers=api_key(workspace, "profiles:read")).status_code == 403
    assert client.get(path, headers=api_key(workspace, "loyalty:read")).status_code == 404


@pytest.mark.parametrize(("path", "body"), WRITES)
def test_401_and_403_first_for_writes(client, workspace, path, body):
    key = {"Idempotency-Key": str(uuid4())}
    assert client.post(path, json=body, headers=key).status_code == 401
    assert client.post(path, json=body, headers=key | api_key(workspace, "loyalty:read")).status_code == 403
    writer = api_key(workspace, "loyalty:write")
    assert client.post(path, json=body, headers=writer).status_code == 400, "no Idempotency-Key"
    assert client.post(path, json=body, headers=key | writer).status_code == 404


def test_a_reward_is_taken_once_by_a_retried_request_and_given_back(shop, people):
    customer, key = people(100), str(uuid4())
    path = f"/v1/customers/{customer}/loyalty"
    offered = {row["code"]: row for row in shop.get(f"{path}/rewards").json()["rewards"]}
    assert (offered["mug"]["affordable"], offered["mug"]["cost"], offered["mug"]["left"]) == (True, {"pt": 40}, 3)
    taken = shop.post(f"{path}/rewards", {"code": "mug", "order_id": "pos:9"}, key=key)
    assert shop.post(f"{path}/rewards", {"code": "mug", "order_id": "pos:9"}, key=key) == taken
    assert shop.get(f"{path}/balance").json()["available"] == 60
    shop.post(f"/v1/loyalty/grants/{taken['grant_id']}/undo", status=200)
    assert shop.get(f"{path}/balance").json()["available"] == 100
    refused = shop.post(f"{path}/rewards", {"code": "both"}, status=409)
    assert refused["title"] == "Insufficient points"


def test_a_coupons_secret_is_told_once_asked_and_never_in_the_audit_log(shop, people, workspace):
    made = shop.post(f"/v1/customers/{people()}/loyalty/coupons", {"code": "ten"})
    used = shop.post("/v1/loyalty/coupons/redeem", {"code": made["secret"].lower(), "order_id": "pos:1"}, status=200)
    assert used["order_id"] == "pos:1"
    assert (
        "used before"
        in shop.post("/v1/loyalty/coupons/redeem", {"code": made["secret"], "order_id": "pos:2"}, status=409)["detail"]
    )
    with connect(owner_address(workspace)) as store:
        log = store.execute("select details::text from audit_log where action like 'loyalty.coupon%'").fetchall()
    assert log
    assert made["secret"] not in str(log)


def test_what_a_customer_may_use_says_why_until_when_and_how_often(shop, people):
    customer = people(100)
    path = f"/v1/customers/{customer}/loyalty"
    found = {row["benefit"]: row for row in shop.get(f"{path}/entitlements").json()["entitlements"]}
    assert (found["lounge"]["because"], found["lounge"]["left"], found["lounge"]["available"]) == (
        "level high",
        2,
        True,
    )
    assert (found["bday"]["available"], found["bday"]["withheld"], found["bday"]["until"]) == (
        False,
        "not_within_the_window",
        None,
    )
    for status in (201, 201, 409):
        shop.post(f"{path}/benefits", {"code": "lounge"}, status=status)


def test_a_plan_is_begun_shared_and_given_back(shop, people, clock):
    owner, friend = people(), people()
    mine, theirs = (f"/v1/customers/{c}/loyalty" for c in (owner, friend))
    begun = shop.post(f"{mine}/plans", {"plan": "year"})
    assert begun["status"] == "trial"
    clock.now += timedelta(days=14)
    assert shop.get(f"{mine}/plans").json()["subscriptions"][0]["status"] == "lapsed"
    paid = shop.post(f"/v1/loyalty/plans/{begun['subscription_id']}/renew", {"paid": "60.00"}, status=200)
    assert paid["status"] == "active"
    shop.post(f"{mine}/circle/invite", {"customer_id": friend})
    assert shop.get(f"{theirs}/circle").json()["invited"] == [friend]
    joined = shop.post(f"{theirs}/circle/accept", {}, status=200)
    assert set(joined["members"]) == {owner, friend}
    assert "ship" in {row["benefit"] for row in shop.get(f"{theirs}/entitlements").json()["entitlements"]}
    cancelled = shop.post(f"/v1/loyalty/plans/{begun['subscription_id']}/cancel", {"reason": "moved"}, status=200)
    assert (cancelled["status"], cancelled["renews"]) == ("active", False)
    back = shop.post(f"/v1/loyalty/plans/{begun['subscription_id']}/refund", {"reason": "moved"}, status=200)
    assert (back["status"], back["refunded"]) == ("refunded", "60.00")
    assert "ship" not in {row["benefit"] for row in shop.get(f"{theirs}/entitlements").json()["entitlements"]}
    assert shop.post(f"{theirs}/circle/leave", {}, status=200)["members"] == []


def test_a_unit_is_chosen_by_name(shop, people):
    customer = people(100)
    path = f"/v1/customers/{customer}/loyalty"
    assert shop.get(f"{path}/balance?unit=gem").json()["balance"] == 0
    assert shop.get(f"{path}/balance").json()["unit"] == "pt"
    assert "no unit coin, only pt, gem" in shop.get(f"{path}/balance?unit=coin", status=422).text
    shop.post(f"{path}/adjustments", {"points": 7, "unit": "gem", "reason": "goodwill"})
    spent = shop.post(f"{path}/redeem", {"points": 5, "unit": "gem"})
    assert shop.get(f"{path}/balance?unit=gem").json()["balance"] == 2
    shop.post(f"/v1/loyalty/transactions/{spent['transaction_id']}/reverse", {"reason": "wrong"})
    assert shop.get(f"{path}/balance?unit=gem").json()["balance"] == 7
    assert {row["unit"] for row in shop.get(f"{path}/entries").json()["entries"]} == {"pt", "gem"}
    held = shop.post(f"{path}/holds", {"points": 7, "unit": "gem"})
    shop.post(f"/v1/loyalty/holds/{held['hold_id']}/capture", {}, status=200)
    balances = {row["unit"]: row["balance"] for row in shop.get(f"/v1/customers/{customer}/loyalty").json()["balances"]}
    assert balances == {"pt": 100, "gem": 0}


def test_settling_a_till_needs_its_scope(client, workspace):
    body = {
        "till": "T1",
        "transactions": [{"transaction_id": ANY, "allowance": "x", "points": 1, "at": "2026-02-27T10:00:00Z"}],
    }
    key = {"Idempotency-Key": str(uuid4())}
    assert client.post("/v1/loyalty/tills/settle", json=body, headers=key).status_code == 401
    assert (
        client.post("/v1/loyalty/tills/settle", json=body, headers=key | api_key(workspace, "loyalty:read")).status_code
        == 403
    )


def test_a_till_that_was_offline_settles_and_is_told_what_became_of_it(shop, people, clock):
    customer = people(100)
    path = f"/v1/customers/{customer}/loyalty"
    allowed = [shop.post(f"{path}/allowances", {"till": till, "points": 80}) for till in ("T1", "T2")]
    clock.now += timedelta(hours=2)
    names = [str(uuid4()), str(uuid4())]
    at = clock.now - timedelta(hours=1)

    def back(n, minutes):
        one = {
            "transaction_id": names[n],
            "allowance": allowed[n]["signed"],
            "points": 80,
            "at": (at + timedelta(minutes=minutes)).isoformat(),
        }
        bad = {**one, "transaction_id": str(uuid4()), "allowance": "forged"}
        return shop.post("/v1/loyalty/tills/settle", {"till": f"T{n + 1}", "transactions": [one, bad]}, status=200)[
            "transactions"
        ]

    later = back(1, 10)
    assert [(t["status"], t["owed"]) for t in later] == [("settled", 0), ("refused", 0)]
    assert [t["status"] for t in back(0, 5)] == ["settled", "refused"]
    told = shop.get(f"/v1/loyalty/tills/transactions/{names[1]}").json()
    assert (told["status"], told["owed"], told["because"]) == ("owed", 60, [names[0]])
    assert shop.get(f"{path}/balance").json()["balance"] == -60


def test_a_referral_code_is_claimed_by_somebody_else(shop, people):
    inviter, invited = people(), people()
    code = shop.post(f"/v1/customers/{inviter}/loyalty/referral-code", {}, status=200)["code"]
    refused = shop.post(f"/v1/customers/{inviter}/loyalty/referrals", {"code": code}, status=409)
    assert refused["title"] == "Self-referral"
    claimed = shop.post(f"/v1/customers/{invited}/loyalty/referrals", {"code": code})
    assert claimed["customer_id"] == invited
