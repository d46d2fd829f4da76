"""Loyalty through the whole pipeline: opening balances, orders paid with points that come back, a quarantined line corrected later."""

from collections import Counter
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from cdp.lake.engine import open_lake
from cdp.store.connect import connect, owner_address
from tests.conftest import cdp

pytestmark = pytest.mark.long

POS = "transaction_id,line_no,store_id,till,sold_at,loyalty_card,phone,email,customer_name,marketing_opt_in,sku,description,quantity,unit_price,discount,currency,tender,points_redeemed,original_transaction_id\n"
LINE = "{t},{n},ST1,1,{day}/01/2026 10:00:00,{card},,,,,{sku},x,{q},{p},0,GBP,card,{points},{original}\n"


def line(t, day, q, p, *, n=1, card="C1", sku="MUG", points="", original=""):
    return LINE.format(t=t, n=n, day=day, card=card, sku=sku, q=q, p=p, points=points, original=original)


def land(workspace, source, name, text):
    folder = workspace.path("landing", source)
    folder.mkdir(exist_ok=True)
    folder.joinpath(name).write_text(text, encoding="utf-8")


def run(workspace):
    cdp(workspace, "run", "--as-of", "2026-02-01")


def points(workspace):
    query = "select c.customer_id, sum(a.balance)::bigint from ledger_accounts a join assignment c using (record_id) group by 1 having sum(a.balance) <> 0"
    with connect(owner_address(workspace)) as store:
        return sorted(amount for _, amount in store.execute(query).fetchall())


def test_a_card_with_a_past_spends_returns_and_earns_exactly_once(new_workspace):
    workspace = new_workspace()
    land(
        workspace,
        "balances",
        "before.csv",
        "card,points,as_of\nC1,500,2026-01-01T00:00:00Z\nC2,40,2026-01-01T00:00:00Z\nC1,900,2026-01-02T00:00:00Z\n",
    )
    sale = line("S1", "05", 2, 50, points=120) + line("S2", "06", "two", 30, card="C2")
    land(workspace, "pos", "a.csv", POS + sale + "".join(line(f"F{n}", "05", 1, 1, card="C9") for n in range(8)))
    run(workspace)
    assert points(workspace) == [8, 40, 480], "500 before, 100 earned, 120 spent; a broken line earns nothing"
    land(workspace, "pos", "b.csv", POS + line("R1", "10", -1, 50, original="S1") + line("S2", "06", 2, 30, card="C2"))
    run(workspace)
    assert points(workspace) == [8, 100, 490], (
        "half came back: 50 taken back, 60 given back; the corrected line earns, once"
    )
    with connect(owner_address(workspace)) as store:
        kinds = dict(store.execute("select kind, sum(amount)::bigint from ledger_entries group by 1").fetchall())
        lots = store.execute("select count(*) from ledger_lots where origin is not null").fetchall()
        entries = store.execute("select count(*) from ledger_entries").fetchall()
    assert kinds == {"opening": 540, "earn": 168, "redeem": -120, "clawback": -50, "restore": 60}
    assert lots == [(1,)]
    land(workspace, "pos", "again.csv", POS + sale + line("R1", "10", -1, 50, original="S1"))
    land(workspace, "balances", "again.csv", "card,points,as_of\nC1,700,2026-01-09T00:00:00Z\n")
    run(workspace)
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from ledger_entries").fetchall() == entries
    with open_lake(workspace, read_only=True) as lake:
        books = lake.rows("select measure, ok from ops__loyalty_reconciliation")
    assert len(books) == 4
    assert all(ok for _, ok in books)
    assert points(workspace) == [8, 100, 490]


@pytest.mark.parametrize(
    "text", ["card,points,as_of\nC1,lots,2026-01-01T00:00:00Z\n", "card,points,as_of\nC1,-5,2026-01-01T00:00:00Z\n"]
)
def test_an_opening_balance_that_is_no_number_of_points_is_quarantined(workspace, text):
    from cdp.clock import system_now
    from cdp.sources.ingest import ingest
    from cdp.sources.load import load_sources
    from tests.conftest import opened

    source = next(s for s in load_sources(workspace) if s.source == "balances")
    land(workspace, "balances", f"{abs(hash(text))}.csv", text + "C5,1,2026-01-01T00:00:00Z\n" * 9)
    with opened(workspace) as found:
        report = ingest(found.lake, source, workspace.path("landing"), system_now(), print)
    assert report.files[-1].quarantined == 1


STARS = """
programme: stars
version: "1"
timezone: Europe/London
currency: GBP
units:
  - {code: star, expiry: {mode: after, after: P2M, round_to: month, extend_by: P1M, activities: [spend, redeem]}}
  - {code: growth, redeemable: false}
measures: [{code: grown, unit: growth, window: rolling, length: P12M}]
ladders:
  - code: status
    measure: grown
    valid: duration
    duration: P12M
    levels: [{code: green, enter_at: 0}, {code: gold, enter_at: 100, earn_multiplier: "1.2", expiry: {star: {mode: never, binding: live}}}]
rules:
  - {code: spend, unit: star, per_money: {units: 1, amount: "1.00"}, by_tier: true}
  - {code: grow, unit: growth, per_money: {units: 1, amount: "1.00"}}
  - {code: review, event: Product Reviewed, unit: star, fixed: 5, limit: {times: 1, per: day}}
  - {code: refer, event: Friend Referred, unit: growth, fixed: 50, limit: {times: 3, per: year}}
"""
SALES = """
    select c.customer_id, o.order_id, o.ordered_at, floor(sum(l.amount)) as whole, sum(l.amount) as total
    from core__orders o join core__order_lines l using (order_id) join core__record_customers c on c.record_id = o.record_id
    join core__customers k on k.customer_id = c.customer_id
    where o.kind = 'sale' and o.currency = 'GBP' and k.kind = 'known' group by all
"""


def test_two_units_a_ladder_and_events_post_what_plain_sql_says_once(new_workspace):
    """Another programme over simulated channels: growth decides the level, the level the stars, events earn within their limits."""
    workspace = new_workspace()
    (workspace.path("programmes") / "default.yaml").write_text(STARS, encoding="utf-8")
    cdp(workspace, "simulate", "--people", "150", "--until", "2026-01-31", "--out", str(workspace.home))
    cdp(workspace, "run", "--as-of", "2026-02-01")
    with open_lake(workspace, read_only=True) as lake:
        sales, entries = lake.records(SALES), lake.records("select * from core__ledger_entries")
        events = lake.records(
            "select i.*, c.customer_id from core__interactions i join core__record_customers c using (record_id) join core__customers k on k.customer_id = c.customer_id "
            "where i.kind in ('Product Reviewed', 'Friend Referred') and k.kind = 'known' order by occurred_at, interaction_id"
        )  # fmt: skip
        returned = {row[0] for row in lake.rows("select distinct c.customer_id from core__orders o join core__orders s on s.order_id = o.original_order_id join core__record_customers c on c.record_id = s.record_id")}  # fmt: skip
        assert all(ok for _, ok in lake.rows("select measure, ok from ops__loyalty_reconciliation"))
    earned = {(e["unit"], e["order_id"]): e["amount"] for e in entries if e["kind"] == "earn" and e["order_id"]}
    assert {order: n for (unit, order), n in earned.items() if unit == "growth"} == {
        s["order_id"]: int(s["whole"]) for s in sales if s["whole"] > 0
    }

    days, referrals, reviews = set(), Counter(), 0
    for event in events:
        local = event["occurred_at"].astimezone(ZoneInfo("Europe/London"))
        if event["kind"] == "Product Reviewed":
            reviews += (event["customer_id"], local.date()) not in days
            days.add((event["customer_id"], local.date()))
        else:
            referrals[event["customer_id"], local.year] += 1
    assert reviews == sum(e["amount"] for e in entries if e["reason"] == "review") / 5 > 5
    assert (
        sum(min(3, n) for n in referrals.values())
        == sum(e["amount"] for e in entries if e["reason"] == "refer") / 50
        > 5
    )

    grown, gold, checked = Counter(), set(), Counter()
    happened = [(s["ordered_at"], 0, s["order_id"], s) for s in sales] + [
        (e["occurred_at"], 1, e["interaction_id"], e) for e in events if e["kind"] == "Friend Referred"
    ]
    for _, what, _, row in sorted(happened, key=lambda h: h[:3]):
        who = row["customer_id"]
        if who in returned:  # a level that a return takes is for the ladder's own tests
            continue
        if what == 0:
            rate = Fraction(6, 5) if who in gold else 1
            assert earned.get(("star", row["order_id"]), 0) == int(Fraction(row["total"]) * rate), row["order_id"]
            checked[rate] += 1
        grown[who] += int(row["whole"]) if what == 0 else 50
        if grown[who] >= 100:
            gold.add(who)
    assert min(checked.values()) > 20

    cdp(workspace, "run", "--force", "--as-of", "2026-02-01")
    cdp(workspace, "run", "--full", "--as-of", "2026-02-01")
    with open_lake(workspace, read_only=True) as lake:
        assert lake.rows("select count(*) from core__ledger_entries") == [(len(entries),)], (
            "again and from scratch post nothing"
        )
