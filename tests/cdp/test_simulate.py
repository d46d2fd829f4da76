"""The simulator: same seed, same bytes; every trap is in it; its formats are those of the reference case."""

import csv
import gzip
import hashlib
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdp.simulate.write import simulate

UNTIL = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    simulate(4000, "7", folder, UNTIL)
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def events(folder: Path, channel: str) -> list[dict]:
    found = []
    for path in sorted((folder / "landing" / channel).iterdir()):
        for line in gzip.open(path, "rt", encoding="utf-8"):
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                found.append({"type": "broken", "raw": line})
    return found


@pytest.fixture(scope="module")
def web(case):
    return events(case, "web")


@pytest.fixture(scope="module")
def sales(case):
    return [
        row
        for path in sorted((case / "landing" / "pos").iterdir())
        for row in csv.DictReader(gzip.open(path, "rt", encoding="utf-8"))
    ]


@pytest.fixture(scope="module")
def tickets(case):
    return events(case, "service")


@pytest.fixture(scope="module")
def truth(case):
    return {row["record_id"]: row for row in csv.DictReader((case / "truth" / "records.csv").open(encoding="utf-8"))}


def test_same_seed_same_bytes_another_seed_others(tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        simulate(300, seed, tmp_path / name, UNTIL)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a") != digest(tmp_path / "c")


def test_expected_counts_are_those_of_the_files(case):
    expected = json.loads((case / "truth" / "expected.json").read_text())["rows"]
    for channel, counts in expected.items():
        lines = sum(sum(1 for _ in gzip.open(path)) for path in (case / "landing" / channel).iterdir())
        assert counts["lines"] == lines - (2 if channel == "pos" else 0)
        assert counts["lines"] == counts["accepted"] + counts["duplicates"] + counts["quarantined"]
        assert min(counts.values()) > 0


def users_by_browser(web):
    found = defaultdict(set)
    for event in web:
        if event.get("userId"):
            found[event["anonymousId"]].add(event["userId"])
    return found


def test_kiosks_where_many_log_in_are_in_nobodys_truth(web, truth):
    kiosks = [browser for browser, users in users_by_browser(web).items() if len(users) > 5]
    assert kiosks
    assert not any(f"web:anon:{kiosk}" in truth for kiosk in kiosks)


def test_households_share_phone_postcode_and_surname(truth, web):
    phones = defaultdict(set)
    for event in web:
        traits = event.get("traits") or {}
        if traits.get("phone") and traits.get("address") and event.get("type") == "identify":
            digits = "".join(c for c in traits["phone"] if c.isdigit())[-9:]
            person = truth.get(f"web:user:{event['userId']}")
            if person:
                phones[digits, traits["address"]["postalCode"]].add(person["person_id"])
    assert any(len(people) > 1 for people in phones.values())


def test_siblings_share_a_birth_date(web, truth):
    born = defaultdict(set)
    for event in web:
        traits = event.get("traits") or {}
        if traits.get("birthday") and traits.get("address"):
            born[traits["birthday"], traits["address"]["postalCode"]].add(event["userId"])
    people = [
        {truth[f"web:user:{u}"]["person_id"] for u in users if f"web:user:{u}" in truth} for users in born.values()
    ]
    assert any(len(p) > 1 for p in people)


def test_partners_use_each_others_card(sales):
    names = defaultdict(set)
    for row in sales:
        if row["loyalty_card"] and ", " in (row["customer_name"] or ""):
            names[row["loyalty_card"]].add(row["customer_name"].split(", ")[1].lower()[:1])
    assert any(len(given) > 1 for given in names.values())


def test_a_card_is_passed_on(web, truth):
    owners = defaultdict(set)
    for event in web:
        if event.get("event") == "Loyalty Enrolled":
            owners[event["properties"]["card_no"]].add(truth.get(f"web:user:{event['userId']}", {}).get("person_id"))
    passed = [card for card, users in owners.items() if len(users) > 1]
    assert passed
    assert not any(f"pos:card:{card}" in truth for card in passed)


def test_some_people_have_two_web_accounts(truth):
    accounts = defaultdict(set)
    for record, row in truth.items():
        if record.startswith("web:user:"):
            accounts[row["person_id"]].add(record)
    assert any(len(records) > 1 for records in accounts.values())


def test_emails_change(web):
    emails = defaultdict(set)
    for event in web:
        if event.get("type") == "identify" and event.get("userId"):
            emails[event["userId"]].add(event["traits"]["email"].lower())
    assert any(len(found) > 1 for found in emails.values())


def test_letters_are_transposed(web):
    names = defaultdict(set)
    for event in web:
        if event.get("type") == "identify" and event.get("userId"):
            names[event["userId"]].add(event["traits"]["lastName"].lower())
    assert any(len(f) > 1 and any(sorted(a) == sorted(b) for a in f for b in f if a != b) for f in names.values())


def test_chinese_names_come_in_simplified_traditional_and_pinyin(web):
    given = {e["traits"]["lastName"] for e in web if (e.get("traits") or {}).get("address", {}).get("country") == "CN"}
    assert given & {"张", "陈", "刘"}
    assert given & {"張", "陳", "劉"}
    assert given & {"Zhang", "Chen", "Liu"}


def test_placeholder_birthdays(web):
    assert any((e.get("traits") or {}).get("birthday", "").endswith("-01-01") for e in web)


def test_contradictory_consent_on_different_channels(web, sales, truth):
    yes = {truth[f"web:user:{e['userId']}"]["person_id"] for e in web if e.get("userId") and f"web:user:{e['userId']}" in truth
           and e.get("context", {}).get("consent", {}).get("categoryPreferences", {}).get("email_marketing")}  # fmt: skip
    no = {
        truth[f"pos:card:{r['loyalty_card']}"]["person_id"]
        for r in sales
        if r["marketing_opt_in"] == "N" and f"pos:card:{r['loyalty_card']}" in truth
    }
    assert yes & no


def test_global_privacy_control(web):
    assert any(e.get("context", {}).get("globalPrivacyControl") is True for e in web)


def test_the_long_tail_of_anonymous_visitors_is_unlinkable(truth):
    alone = [r for r, row in truth.items() if row["linkable"] == "0"]
    assert len(alone) > 500
    assert all(":anon:" in record for record in alone)


def test_refunds_without_order_beyond_the_bought_of_other_articles_and_before_their_order(web):
    orders = {e["properties"]["order_id"]: e for e in web if e.get("event") == "Order Completed"}
    refunds = [e for e in web if e.get("event") == "Order Refunded" and "timestamp" in e]
    assert any(r["properties"]["original_order_id"] is None for r in refunds)
    assert all(
        r["properties"]["total"] >= 0 and all(p["quantity"] < 0 for p in r["properties"]["products"]) for r in refunds
    )
    pairs = [
        (r, orders[o])
        for r in refunds
        if (o := r["properties"]["original_order_id"]) in orders and "timestamp" in orders[o]
    ]
    bought = lambda order, sku: sum(p["quantity"] for p in order["properties"]["products"] if p["sku"] == sku)  # noqa: E731
    assert any(-p["quantity"] > bought(o, p["sku"]) > 0 for r, o in pairs for p in r["properties"]["products"])
    assert any(bought(o, p["sku"]) == 0 for r, o in pairs for p in r["properties"]["products"])
    assert any(r["timestamp"] < o["timestamp"] for r, o in pairs)


def test_tills_type_dummies_and_split_transactions_across_files(case, sales):
    assert {r["phone"] for r in sales} >= {"00000000000", "0123456789"}
    assert "noemail@shop.example" in {r["email"] for r in sales}
    parts = [
        {row["transaction_id"] for row in csv.DictReader(gzip.open(p, "rt"))} - {""}
        for p in sorted((case / "landing" / "pos").iterdir())
    ]
    assert parts[0] & parts[1]
    assert any(r["points_redeemed"] for r in sales)
    assert any(int(r["quantity"]) < 0 and not r["original_transaction_id"] for r in sales)


def test_damage_of_every_kind(web, sales, tickets):
    assert any(e["type"] == "broken" for e in web)
    assert any("timestamp" not in e for e in web if e["type"] != "broken")
    assert any(e["type"] == "teleport" for e in web)
    assert any(r["sold_at"].startswith("31/02") for r in sales)
    assert any(r["unit_price"] == "free" for r in sales)
    assert any(r["currency"] == "POUNDS" for r in sales)
    assert any(r["transaction_id"] == "" for r in sales)
    assert any(t.get("requester", 0) is None for t in tickets)


def test_tickets_are_updated_tagged_and_sometimes_about_the_partners_order(tickets, web, truth):
    ids = [t["id"] for t in tickets if t.get("requester")]
    assert len(ids) > len(set(ids))
    assert any("unsubscribe" in t["tags"] for t in tickets if t.get("tags"))
    owner = {e["properties"]["order_id"]: e.get("userId") for e in web if e.get("event") == "Order Completed"}
    asked = [
        (truth.get(f"service:ticket:{t['id']}"), truth.get(f"web:user:{owner.get(t['order_ref'])}"))
        for t in tickets
        if t.get("order_ref")
    ]
    assert any(a and b and a["person_id"] != b["person_id"] for a, b in asked)


def test_keys_are_those_of_the_reference_case(case, reference, web, sales):
    real = events(reference / "retail_case", "web")
    for kind in ("identify", "page"):
        ours, theirs = next(e for e in web if e["type"] == kind), next(e for e in real if e["type"] == kind)
        assert set(ours) - {"timestamp"} == set(theirs) - {"timestamp"}
    for event in ("Order Completed", "Order Refunded", "Loyalty Enrolled", "Consent Updated"):
        keys = lambda es: {frozenset(e["properties"]) for e in es if e.get("event") == event and e["type"] == "track"}  # noqa: E731, B023
        assert keys(web) == keys(real)
    path = next((reference / "retail_case" / "landing" / "pos").iterdir())
    assert list(sales[0]) == next(csv.reader(gzip.open(path, "rt", encoding="utf-8")))
