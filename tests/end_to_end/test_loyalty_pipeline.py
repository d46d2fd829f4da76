"""Loyalty through the whole pipeline: opening balances, orders paid with points that come back, a quarantined line corrected later."""

import pytest

from cdp.lake.engine import open_lake
from cdp.store.connect import connect, owner_address
from tests.conftest import cdp

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
