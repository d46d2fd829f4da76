"""What channels send is seen before the next run, and the next run takes it over without a second time."""

from datetime import timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from cdp import mask
from cdp.live.worker import Worker
from cdp.publish.publish import publish
from cdp.store import assignment, keys
from cdp.store.connect import connect, owner_address
from identity.arrive import attach
from identity.ids import uuid7
from tests.conftest import NOW, api_key, cdp, opened

LATER = NOW + timedelta(hours=1)
AS_OF = f"{NOW + timedelta(days=1):%Y-%m-%d}"


class Channel:
    """An app that sends, and a desk that looks."""

    def __init__(self, workspace, client, store):
        self.workspace, self.client, self.store = workspace, client, store
        text = keys.create(store, workspace.secrets["pepper"], "channel", ["events:write"], NOW, source="web")
        self.sends = {"Authorization": f"Bearer {text}"}
        self.reads = api_key(workspace, "profiles:read", "loyalty:read", "consent:read")
        self.run_began = assignment.position(store)  # what came before it is in the lake
        self.worker = Worker(workspace, attach, uuid7, lambda: LATER)

    def send(self, *events):
        batch = [{"messageId": str(uuid4()), "timestamp": "2026-03-01T12:30:00.000Z", **event} for event in events]
        assert self.client.post("/v1/batch", json={"batch": batch}, headers=self.sends).status_code == 200
        while self.worker.look(self.store):
            pass
        return [event["messageId"] for event in batch]

    def get(self, path):
        answer = self.client.get(path, headers=self.reads)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def found(self, value):
        return [
            c["customer_id"]
            for c in self.client.post("/v1/customers/lookup", json={"value": value}, headers=self.reads).json()[
                "customers"
            ]
        ]

    def story(self, customer):
        return {item["id"] for item in self.get(f"/v1/customers/{customer}/timeline?limit=200")["items"]}

    def balance(self, customer):
        return self.get(f"/v1/customers/{customer}/loyalty/balance")["balance"]


@pytest.fixture(scope="module")
def channel(town):
    app = create_app(town.settings, clock=lambda: LATER)
    with TestClient(app, raise_server_exceptions=False) as client, connect(owner_address(town)) as store:
        yield Channel(town, client, store)


@pytest.fixture(scope="module")
def member(channel):
    """(customer, account) of somebody who shops on the web."""
    row = channel.store.execute(
        "select a.customer_id::text, r.source_key from assignment a join contact_records r using (record_id) join profiles p using (customer_id) "
        "where r.source = 'web' and r.kind = 'user' and p.profile -> 'email' ->> 'value' is not null order by 2 limit 1"
    ).fetchall()
    return row[0]


def review(user, **more):
    return {
        "type": "track",
        "event": "Product Reviewed",
        "userId": user,
        "properties": {"product_id": "MUG", "rating": 5},
        **more,
    }


def order(user, number, total, **more):
    products = [{"sku": "MUG", "name": "Mug", "price": total, "quantity": 1}]
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": user,
        "properties": {"order_id": number, "currency": "GBP", "total": total, "products": products},
        **more,
    }


def test_an_event_and_an_order_of_a_known_person_are_seen_and_the_sale_earns(channel, member):
    customer, user = member
    before = channel.balance(customer)
    (name, _) = channel.send(review(user), order(user, "LIVE-1", 40.0))
    assert {f"interaction:web:{name}", "order:web:LIVE-1"} <= channel.story(customer)
    assert channel.balance(customer) == before + 40
    assert channel.found("LIVE-1") == [customer]
    channel.send(order(user, "LIVE-1", 40.0))
    assert channel.balance(customer) == before + 40, "the same order by another message earns nothing"


def test_an_unknown_person_gets_a_customer_at_once_and_a_known_address_is_its_holders(channel, member):
    traits = {"firstName": "Mei", "lastName": "Wang", "email": "mei.wang@new.example"}
    channel.send(
        {"type": "identify", "userId": "new-1", "anonymousId": "b-new", "traits": traits},
        order("new-1", "LIVE-2", 10.0),
    )
    (provisional,) = channel.found("mei.wang@new.example")
    assert channel.balance(provisional) == 10
    assert channel.get(f"/v1/customers/{provisional}")["email"]["value"].endswith("new.example")
    customer, _ = member
    address, given = channel.store.execute(
        "select profile -> 'email' ->> 'value', profile -> 'name' ->> 'given_name' from profiles where customer_id = %s",
        [customer],
    ).fetchall()[0]
    assert channel.found(address) == [customer]
    channel.send({"type": "identify", "userId": "new-2", "traits": {"firstName": given, "email": address}})
    assert channel.found(address) == [customer]
    channel.send({"type": "identify", "userId": "new-3", "traits": {"firstName": "Zyx", "email": address}})
    assert len(channel.found(address)) == 2, "another given name is no proof: a customer of its own until the run looks"


def test_a_shared_browser_and_somebody_elses_card_prove_nothing(channel, member):
    customer, user = member
    channel.send({"type": "identify", "userId": user, "anonymousId": "b-shared"})
    channel.send(
        {
            "type": "identify",
            "userId": "bob-1",
            "anonymousId": "b-shared",
            "traits": {"firstName": "Bob", "email": "bob@new.example"},
        }
    )
    (bob,) = channel.found("bob@new.example")
    assert bob != customer
    card = channel.store.execute(
        "select source_key from contact_records join assignment using (record_id) where kind = 'card' and customer_id <> %s order by 1 limit 1",
        [customer],
    ).fetchall()[0][0]
    (owner,) = channel.found(card)
    enrolled = {"type": "track", "event": "Loyalty Enrolled", "userId": "eve-1", "properties": {"card_no": card}}
    channel.send(
        {"type": "identify", "userId": "eve-1", "traits": {"firstName": "Eve", "email": "eve@new.example"}}, enrolled
    )
    assert channel.found("eve@new.example") != [owner]


def test_one_poison_event_stops_nothing(channel, member):
    customer, user = member
    channel.send(
        {
            "type": "identify",
            "userId": "".join(str(uuid4()) for _ in range(200)),
            "traits": {"email": "poison@new.example"},
        }
    )
    (name,) = channel.send(review(user))
    assert f"interaction:web:{name}" in channel.story(customer)


def test_an_anonymous_visitor_stays_nobody(channel):
    before = channel.store.execute("select count(*) from customers").fetchall()
    channel.send({"type": "page", "anonymousId": "stranger", "name": "Home"})
    assert channel.store.execute("select count(*) from customers").fetchall() == before
    assert assignment.customers_of(channel.store, ["web:anon:stranger"]) == {}


def test_a_withdrawal_holds_at_once(channel, member):
    customer, user = member
    address = channel.store.execute(
        "select profile -> 'email' ->> 'value' from profiles where customer_id = %s", [customer]
    ).fetchall()[0][0]
    consent = {
        "context": {
            "consent": {"categoryPreferences": {"email_marketing": False}, "capturedAt": "2026-03-01T12:31:00.000Z"}
        }
    }
    channel.send({"type": "identify", "userId": user, "traits": {"email": address}, **consent})
    flags = channel.get(f"/v1/customers/{customer}/consents")["consents"]
    mine = [
        f
        for f in flags
        if f["purpose"] == "email_marketing" and f["decided"] and f["decided"]["captured_at"] == "2026-03-01T12:31:00Z"
    ]
    assert [(f["allowed"], f["status"], f["contact_point"]) for f in mine] == [(False, "denied", mask.email(address))]


def test_what_breaks_the_contract_is_left_to_the_run(channel, member):
    customer, user = member
    before = channel.story(customer)
    channel.send(review(user, type="dance"), review(user, properties={"rating": "many"}))
    assert channel.story(customer) == before


def test_a_run_that_has_not_read_an_event_leaves_it_where_it_is(channel, member):
    customer, user = member
    began = assignment.position(channel.store)
    (name, _) = channel.send(
        review(user), {"type": "identify", "userId": "new-4", "traits": {"email": "new4@new.example"}}
    )
    with opened(channel.workspace) as platform:
        publish(platform.lake, platform.store, LATER, min(began, channel.run_began))
    assert channel.found("new4@new.example")
    assert f"interaction:web:{name}" in channel.story(customer)


@pytest.mark.long
def test_the_next_run_takes_all_of_it_over_and_adds_nothing(channel, member):
    customer, _ = member
    (provisional,) = channel.found("mei.wang@new.example")
    state = "select (select count(*) from ledger_entries), (select sum(balance) from ledger_accounts), (select count(*) from orders), (select count(*) from interactions)"
    before, story = channel.store.execute(state).fetchall(), channel.story(customer)
    cdp(channel.workspace, "run", "--as-of", AS_OF)
    assert channel.store.execute(state).fetchall() == before
    assert channel.story(customer) >= story
    living = assignment.resolve(channel.store, provisional)
    assert channel.found("mei.wang@new.example") == [living]
    for table in ("contact_records", "identifiers", "orders", "interactions", "profiles"):
        left = channel.store.execute(f"select count(*) from {table} where row_hash like 'live:%%'", []).fetchall()
        assert left == [(0,)], table


def test_who_was_erased_is_not_seen_again(channel):
    from cdp.privacy.suppression import Suppression

    Suppression(channel.workspace).add([("email", "gone@new.example", False)], NOW)
    channel.send({"type": "identify", "userId": "gone-1", "traits": {"firstName": "Gone", "email": "gone@new.example"}})
    assert channel.found("gone@new.example") == []
