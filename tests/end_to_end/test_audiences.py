"""Audiences over a town: exports in three forms, who comes and goes, tiers that change; consent asked every time."""

import csv
import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from psycopg.types.json import Jsonb
from pyarrow import parquet

from api.app import create_app
from cdp import stewardship
from cdp.derived import follower
from cdp.derived.follower import Follower
from cdp.loyalty.groups import Posting
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.store import assignment, changes, derived, feed
from cdp.store.connect import connect, owner_address
from cdp.store.erasure import erase
from tests.api.test_loyalty_api import Clock
from tests.conftest import api_key

RULES = """
version: "1"
sweep_hours: 24
audiences:
  newsletter: {purpose: email_marketing}
  desk: {purpose: service}
  buyers: {purpose: email_marketing, orders_at_least: 2}
  quiet: {purpose: service, not_seen_for_days: 200}
"""


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def store(town):
    town.path("audiences.yaml").write_text(RULES)
    with connect(owner_address(town)) as found:
        yield found


@pytest.fixture(scope="module")
def client(town, store, clock):
    with TestClient(create_app(town.settings, clock=clock)) as found:
        yield found


@pytest.fixture(scope="module")
def mailer(town):
    return api_key(
        town,
        "audiences:read",
        "profiles:reveal",
        "consent:write",
        "profiles:read",
        purposes=("email_marketing", "service"),
    )


@pytest.fixture(scope="module")
def told(town, store, clock, client):
    """Follows to the end; what was told meanwhile."""
    followed = Follower(town, clock)

    def follow():
        after = feed.newest(store)
        while followed.look(store):
            pass
        return [
            (c["type"], c["customer_id"], c["details"])
            for c in feed.page(store, after, list(follower.OWN), 100_000).changes
        ]

    follow()
    return follow


def exported(client, headers, name, form="ndjson", **more):
    answer = client.get(
        f"/v1/audiences/{name}/export", params={"format": form, "reveal": True, **more}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return answer


def lines(client, headers, name, **more):
    return [json.loads(line) for line in exported(client, headers, name, **more).text.splitlines()]


def test_401_403_404_first(client, town, mailer):
    path = "/v1/audiences/newsletter/export"
    assert client.get(path).status_code == client.get("/v1/audiences").status_code == 401
    for wrong in (api_key(town, "profiles:read", purposes=("email_marketing",)), api_key(town, "audiences:read")):
        assert client.get(path, headers=wrong).status_code == 403, (
            "without the scope, and for another purpose than the audience's"
        )
    narrow = api_key(town, "audiences:read", purposes=("email_marketing",))
    assert client.get(path, params={"reveal": True}, headers=narrow).status_code == 403
    assert client.get("/v1/audiences/nobody/export", headers=mailer).status_code == 404
    assert client.get("/v1/audiences/..%2Fx/export", headers=mailer).status_code in (404, 422)
    assert client.get(path, params={"format": "xls"}, headers=mailer).status_code == 422


def test_the_three_forms_hold_the_same_people(client, store, mailer, monkeypatch):
    monkeypatch.setattr("api.routers.audiences.PAGE", 37)  # many pages
    plain = lines(client, mailer, "newsletter")
    assert len(plain) > 40
    assert plain == sorted(plain, key=lambda one: one["customer_id"])
    assert len({one["customer_id"] for one in plain}) == len(plain)
    table = list(csv.DictReader(io.StringIO(exported(client, mailer, "newsletter", "csv").text)))
    assert list(table[0]) == ["customer_id", "contact_points", "name", "email", "country", "language"]
    columns = parquet.read_table(io.BytesIO(exported(client, mailer, "newsletter", "parquet").content)).to_pylist()
    for one, row, column in zip(plain, table, columns, strict=True):
        assert one["customer_id"] == row["customer_id"] == column["customer_id"]
        assert one["contact_points"] == row["contact_points"].split(";") == column["contact_points"]
        for field in ("name", "email", "country", "language"):
            assert (one["fields"].get(field) or "") == row[field] == (column[field] or "")
    masked = json.loads(client.get("/v1/audiences/newsletter/export", headers=mailer).text.splitlines()[0])
    assert "•" in masked["contact_points"][0]


def test_an_export_is_a_file_and_audited_before_it_is_read(client, store, mailer):
    answer = exported(client, mailer, "buyers", "csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="buyers.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
    [details] = store.execute(
        "select details from audit_log where details ->> 'audience' = 'buyers' order by audit_id desc limit 1"
    ).fetchall()[0]
    assert details["revealed"] is True
    assert sorted(details["members"]) == sorted(row["customer_id"] for row in csv.DictReader(io.StringIO(answer.text)))


def test_rules_narrow_down_as_plain_sql_says(client, store, mailer):
    newsletter = {one["customer_id"] for one in lines(client, mailer, "newsletter")}
    twice = {
        row[0]
        for row in store.execute(
            "select customer_id::text from profiles, jsonb_each(profile -> 'orders') as o where kind = 'known' "
            "group by 1 having sum((o.value ->> 'orders')::int) >= 2"
        ).fetchall()
    }
    assert {one["customer_id"] for one in lines(client, mailer, "buyers")} == newsletter & twice
    assert newsletter & twice < newsletter


def test_members_that_were_told_are_those_of_an_export(client, store, mailer, told):
    told()
    for name, purpose in (("newsletter", "email_marketing"), ("desk", "service")):
        exported_now = {one["customer_id"] for one in lines(client, mailer, name, purpose=purpose)}
        assert {c for a, c in derived.memberships(store, None) if a == name} == exported_now
    listed = {one["audience"]: one["members"] for one in client.get("/v1/audiences", headers=mailer).json()}
    assert listed["newsletter"] == len(lines(client, mailer, "newsletter"))


def test_whoever_takes_consent_back_leaves_and_comes_again_with_it(client, mailer, told, clock):
    person = lines(client, mailer, "newsletter")[0]
    customer, email = person["customer_id"], person["contact_points"][0]
    clock.now += timedelta(seconds=1)
    for point in person["contact_points"]:
        body = {"purpose": "email_marketing", "contact_point": point}
        assert client.post(f"/v1/customers/{customer}/consents/withdraw", json=body, headers=mailer).status_code == 201
    assert customer not in {one["customer_id"] for one in lines(client, mailer, "newsletter")}, "an export asks again"
    assert ("audience.left", customer, {"audience": "newsletter"}) in told()
    clock.now += timedelta(seconds=1)
    body = {"purpose": "email_marketing", "status": "granted", "contact_point": email}
    assert client.post(f"/v1/customers/{customer}/consents", json=body, headers=mailer).status_code == 201
    assert ("audience.entered", customer, {"audience": "newsletter"}) in told()
    assert told() == []


def test_a_tier_that_changes_is_told_once(town, store, told):
    programme, now = load_programme(town), datetime.now(UTC)
    customer, tier, record = store.execute(
        "select t.customer_id::text, t.tier, l.record_id from customer_tiers t join assignment a using (customer_id) join ledger_accounts l using (record_id) "
        "where l.unit = 'points' order by l.balance, 1 limit 1"
    ).fetchall()[0]  # fmt: skip
    with store.transaction():
        post(
            store,
            [Posting(f"earn|{uuid4()}", 0, record, "earn", 1_000_000, now - timedelta(days=300), "test")],
            programme,
            now,
        )
        changes.add(store, [("balance.changed", customer, {})], now)
    found = [one for one in told() if one[0] == "tier.changed"]
    assert [(c, details["from"]) for _, c, details in found] == [(customer, tier)]
    assert found[0][2]["to"] != tier
    assert told() == []


def test_what_changes_with_time_alone_is_found_by_a_sweep(store, told, clock):
    assert not [one for one in told() if one[2].get("audience") == "quiet"]
    clock.now += timedelta(days=400)
    entered = [one for one in told() if one[0] == "audience.entered" and one[2]["audience"] == "quiet"]
    assert len(entered) > 50
    assert told() == []


def test_a_kill_before_the_commit_tells_nothing_and_two_followers_tell_once(town, store, clock, told, monkeypatch):
    told()
    store.execute(
        "delete from audience_members where audience = 'desk' and customer_id in (select customer_id from audience_members limit 5)"
    )
    customers = [
        row[0] for row in store.execute("select customer_id::text from profiles where kind = 'known'").fetchall()
    ]
    changes.add(store, [("customer.updated", customer, {}) for customer in customers], clock())

    after, before = feed.newest(store), derived.memberships(store, None)
    with monkeypatch.context() as killed, connect(owner_address(town)) as other:
        # all is written, nothing committed
        killed.setattr(derived, "keep", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Follower(town, clock).look(other)
    assert (feed.newest(store), derived.memberships(store, None)) == (after, before)

    def follow():
        one = Follower(town, clock)
        with connect(owner_address(town)) as own:
            while one.look(own):
                pass

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entered = [c["customer_id"] for c in feed.page(store, after, ["audience.entered"], 1000).changes]
    assert len(entered) == len(set(entered)) > 0


def test_a_merge_and_its_undo_are_heard_for_everybody_concerned(client, town, store, clock, told, mailer):
    """The survivor of a merge has no consent any more where the other one withdrew; the undo gives it back."""
    told()
    members = sorted(c for a, c in derived.memberships(store, None) if a == "newsletter")
    phone = store.execute(
        "select a.customer_id::text, min(a.record_id) from assignment a join profiles p using (customer_id) where p.kind = 'known' "
        "and not exists (select from assignment b join identifiers i using (record_id) where b.customer_id = a.customer_id and i.type = 'email') "
        "group by 1 order by 1 limit 1"
    ).fetchall()  # fmt: skip
    assert phone, "somebody without an e-mail"
    other, record = phone[0]
    store.execute(
        "insert into consent_decisions (decision_id, record_id, subject_type, subject, purpose, status, captured_at, received_at, source, method, "
        "recorded_at) values (%s, %s, 'record', %s, 'email_marketing', 'withdrawn', %s, %s, 'pos', 'test', %s)",
        [str(uuid4()), record, record, clock(), clock(), clock()],
    )
    clock.now += timedelta(seconds=1)
    with store.transaction():
        done = stewardship.merge(store, [members[0], other], stewardship.Act("test", "test", clock()))
    survivor = done.customers[0]
    assert derived.memberships(store, [members[0], other]) - {("desk", members[0]), ("desk", other)}
    told()
    assert ("newsletter", survivor) not in derived.memberships(store, [survivor])
    with store.transaction():
        stewardship.undo(store, done.changeset_id, stewardship.Act("test", "test", clock()))
    assert ("audience.entered", members[0], {"audience": "newsletter"}) in told()


def test_a_withdrawal_on_a_shared_address_is_told_for_everybody_who_holds_it(client, store, mailer, told, clock):
    told()
    shared = lines(client, mailer, "newsletter")[:2]
    address = shared[0]["contact_points"][0]
    record = store.execute(
        "select min(record_id) from assignment where customer_id = %s", [shared[1]["customer_id"]]
    ).fetchone()[0]
    store.execute("insert into identifiers select %s, 'email', %s, %s, %s, 'test'", [record, address, clock(), clock()])
    clock.now += timedelta(seconds=1)
    after = feed.newest(store)
    body = {"purpose": "email_marketing", "contact_point": address}
    assert (
        client.post(
            f"/v1/customers/{shared[0]['customer_id']}/consents/withdraw", json=body, headers=mailer
        ).status_code
        == 201
    )
    said = {change["customer_id"] for change in feed.page(store, after, ["consent.changed"], 100).changes}
    assert said == {one["customer_id"] for one in shared}
    told()


def test_a_sweep_goes_on_under_steady_traffic_and_one_odd_profile_holds_nobody_back(town, store, clock, told):
    told()
    odd, *others = (
        row[0]
        for row in store.execute(
            "select customer_id::text from profiles where kind = 'known' order by md5(customer_id::text) limit 8"
        ).fetchall()
    )
    kept = store.execute("select profile from profiles where customer_id = %s", [odd]).fetchone()[0]
    store.execute(
        "update profiles set profile = profile - 'country' - 'orders' - 'last_seen' where customer_id = %s", [odd]
    )
    store.execute("delete from audience_members where audience = 'desk'")
    clock.now += timedelta(hours=25)
    one = Follower(town, clock)
    for number in range(40):
        changes.add(store, [("customer.updated", [odd, *others][number % 8], {})], clock())
        one.look(store)
    entered = {c for a, c in derived.memberships(store, None) if a == "desk"}
    assert odd not in entered
    assert len(entered) > 200
    store.execute("update profiles set profile = %s where customer_id = %s", [Jsonb(kept), odd])
    told()


def test_one_of_several_followers_leads(town, store):
    with connect(owner_address(town)) as first, connect(owner_address(town)) as second:
        assert derived.lead(first)
        assert not derived.lead(second)
    deadline = time.monotonic() + 10  # the server notices the end of a connection in its own time
    while not derived.lead(store):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    store.execute("select pg_advisory_unlock_all()")


def test_followers_run_beside_each_other_and_tell_within_seconds(client, town, store, mailer, told, clock):
    told()
    person = lines(client, mailer, "newsletter")[1]
    stop, after = threading.Event(), feed.newest(store)
    running = [threading.Thread(target=Follower(town, clock).run, args=[stop]) for _ in range(2)]
    for thread in running:
        thread.start()
    clock.now += timedelta(seconds=1)
    for point in person["contact_points"]:
        body = {"purpose": "email_marketing", "contact_point": point}
        client.post(f"/v1/customers/{person['customer_id']}/consents/withdraw", json=body, headers=mailer)
    deadline, left = time.monotonic() + 15, []
    while not left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [
            c["details"]
            for c in feed.page(store, after, ["audience.left"], 100).changes
            if c["customer_id"] == person["customer_id"]
        ]
    stop.set()
    for thread in running:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert {"audience": "newsletter"} in left


def test_whom_was_told_is_where_a_subscriber_begins(client, store, mailer, told):
    told()
    person = lines(client, mailer, "newsletter")[0]["customer_id"]
    store.execute("delete from audience_members where audience = 'newsletter' and customer_id = %s", [person])
    begun = {one["customer_id"] for one in lines(client, mailer, "newsletter", told=True)}
    assert person not in begun
    assert begun == {c for a, c in derived.memberships(store, None) if a == "newsletter"}


def test_an_audience_that_is_gone_is_left_by_all_and_who_is_erased_is_told_of_no_more(town, store, clock, told):
    told()
    gone = {c for a, c in derived.memberships(store, None) if a == "quiet"}
    assert gone
    town.path("audiences.yaml").write_text(RULES.replace("  quiet: {purpose: service, not_seen_for_days: 200}\n", ""))
    fresh, after = Follower(town, clock), feed.newest(store)
    while fresh.look(store):
        pass
    left = [
        c for c in feed.page(store, after, ["audience.left"], 10_000).changes if c["details"] == {"audience": "quiet"}
    ]
    assert {c["customer_id"] for c in left} == gone
    customer, other = sorted(gone)[:2]
    assert derived.memberships(store, [customer, other])
    with store.transaction():
        erase(
            store,
            [customer],
            assignment.records(store, [customer]),
            lambda kind, value: f"{kind}:{value[::-1]}",
            "test",
            clock(),
        )
    assert derived.memberships(store, [customer]) == set(), "at once, whoever follows"
    gone_too = feed.page(store, after, ["audience.left"], 10_000).changes[-1]
    assert (gone_too["customer_id"], gone_too["details"]) == (customer, {"audience": "desk"})
    assert derived.tiers(store, [customer]) == {}
    store.execute("delete from profiles where customer_id = %s", [other])  # as a merge leaves it
    changes.add(store, [("customer.merged", other, {})], clock())
    while fresh.look(store):
        pass
    assert derived.memberships(store, [other]) == set()
    assert derived.tiers(store, [other]) == {}
