"""Sources that ship: exports as Shopify and Zendesk write them, through the whole pipeline."""

import json
from decimal import Decimal

import pytest

from tests.conftest import cdp

pytestmark = pytest.mark.long

SHOPIFY = """Name,Email,Financial Status,Paid at,Fulfillment Status,Accepts Marketing,Currency,Subtotal,Total,Discount Amount,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Lineitem discount,Billing Name,Billing Zip,Billing City,Billing Country,Billing Phone,Phone
#1001,mei@shop.example,paid,2026-01-05 10:00:00 +0800,fulfilled,yes,CNY,300.00,290.00,10.00,2026-01-05 10:00:00 +0800,2,"Tea, green",100.00,TEA-G,10.00,王梅,200000,上海,CN,'+86 138 0013 8000,
#1001,mei@shop.example,,,,,,,,,2026-01-05 10:00:00 +0800,1,Pot,100.00,,,,,,,,
#1002,,paid,2026-01-06 09:00:00 +0000,,no,GBP,5.00,5.00,,2026-01-06 09:00:00 +0000,1,Mug,5.00,MUG,,Ann Clark,SW1A 1AA,London,GB,,+447700900123
"""
ZENDESK = [
    {"id": 35436, "created_at": "2026-01-07T08:00:00Z", "updated_at": "2026-01-07T08:00:00Z", "via": {"channel": "email"}, "status": "open", "subject": "Where is #1001",
     "description": "It is late.", "tags": ["vip"], "satisfaction_rating": {"score": "unoffered"}, "requester": {"id": 1, "name": "Wang Mei", "email": "MEI@shop.example"}},
    {"id": 35436, "created_at": "2026-01-07T08:00:00Z", "updated_at": "2026-01-08T08:00:00Z", "via": {"channel": "email"}, "status": "solved", "subject": "Where is #1001",
     "description": "It is late.", "tags": ["vip"], "satisfaction_rating": {"score": "good"}, "requester": {"id": 1, "name": "Wang Mei", "email": "MEI@shop.example"}},
]  # fmt: skip


@pytest.fixture(scope="module")
def exported(workspace):
    for name in ("shopify", "zendesk"):
        cdp(workspace, "source", "use", name)
    landing = workspace.path("landing")
    (landing / "shopify" / "orders_export_1.csv").write_text(SHOPIFY, encoding="utf-8")
    (landing / "shopify" / "orders_export_2.csv").write_text(
        SHOPIFY, encoding="utf-8-sig"
    )  # exported again, by another tool
    (landing / "zendesk" / "tickets.jsonl").write_text("".join(json.dumps(t) + "\n" for t in ZENDESK), encoding="utf-8")
    cdp(workspace, "run", "--as-of", "2026-02-01")
    return workspace


def rows(workspace, query):
    return json.loads(cdp(workspace, "sql", query, "--format", "json").stdout)


def test_shopify_orders_count_once_with_their_lines(exported):
    found = rows(
        exported,
        "select order_id, currency, cast(total as varchar) as total, lines, record_id from core__orders where source = 'shopify' order by 1",
    )
    assert [(r["order_id"], r["currency"], Decimal(r["total"]), r["lines"]) for r in found] == [
        ("shopify:#1001", "CNY", Decimal(290), 2), ("shopify:#1002", "GBP", Decimal(5), 1),
    ]  # fmt: skip
    assert [r["record_id"] for r in found] == ["shopify:customer:mei@shop.example", "shopify:customer:+447700900123"]
    counted = rows(
        exported,
        "select accepted, duplicates, quarantined from ops__reconciliation where source = 'shopify' order by file",
    )
    assert [(r["accepted"], r["duplicates"], r["quarantined"]) for r in counted] == [(3, 0, 0), (0, 3, 0)]


def test_a_zendesk_ticket_has_its_newest_state_and_its_requester_is_the_shops_customer(exported):
    (found,) = rows(exported, "select details, record_id from core__interactions where source = 'zendesk'")
    details = json.loads(found["details"])
    assert (details["status"], details["satisfaction"]) == ("solved", "good")
    people = rows(
        exported,
        "select distinct customer_id from core__record_customers where record_id in ('zendesk:ticket:35436', 'shopify:customer:mei@shop.example')",
    )
    assert len(people) == 1


def test_consent_at_the_checkout_is_a_decision(exported):
    found = rows(exported, "select status, subject from core__consent_decisions where source = 'shopify'")
    assert [(r["status"], r["subject"]) for r in found] == [("granted", "mei@shop.example")]


def test_what_ships_is_listed_and_an_unknown_name_says_what_there_is(workspace):
    assert cdp(workspace, "source", "use").stdout.split() == ["shopify", "zendesk"]
    assert "shopify" in cdp(workspace, "source", "use", "etsy", check=False).stderr
