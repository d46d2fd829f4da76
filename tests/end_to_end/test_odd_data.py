"""Data that is sound by contract and odd in fact goes through the whole pipeline, and corrections post once."""

import json
import random
import socket

import dagster as dg
import pytest

from assets.alive import PROCESS, bury_dead_runs
from assets.definitions import JOB, defs
from cdp.lake.engine import open_lake
from cdp.store.connect import connect, owner_address
from tests.conftest import cdp
from tests.identity.test_files import odd_value

pytestmark = pytest.mark.long

HEADER = "transaction_id,line_no,store_id,till,sold_at,loyalty_card,phone,email,customer_name,marketing_opt_in,sku,description,quantity,unit_price,discount,currency,tender,points_redeemed,original_transaction_id\n"


def event(number, **parts):
    return json.dumps(
        {"messageId": f"m{number}", "anonymousId": f"b{number}", "timestamp": "2026-01-05T10:00:00Z", "type": "track"}
        | parts
    )


def order(number, **properties):
    products = [{"sku": "A", "price": 10, "quantity": 2}]
    return event(
        number,
        event="Order Completed",
        userId=f"u{number}",
        properties={"order_id": f"W{number}", "currency": "GBP", "products": products} | properties,
    )


def run(workspace, web="", pos=""):
    number = len(list(workspace.path("landing", "web").iterdir())) + len(
        list(workspace.path("landing", "pos").iterdir())
    )
    if web:
        workspace.path("landing", "web", f"{number}.jsonl").write_text(web, encoding="utf-8")
    if pos:
        workspace.path("landing", "pos", f"{number}.csv").write_text(HEADER + pos, encoding="utf-8")
    return cdp(workspace, "run", "--as-of", "2026-02-01")


def points(workspace):
    with connect(owner_address(workspace)) as store:
        return dict(
            store.execute(
                "select l.record_id, sum(e.amount)::bigint from ledger_entries e join ledger_accounts l using (account_id) group by 1 having sum(e.amount) <> 0"
            ).fetchall()
        )


@pytest.fixture(scope="module")
def odd(new_workspace):
    workspace = new_workspace()
    lines = [
        order(1, currency=None),
        order(2, products=[{"sku": "A", "price": 85.0, "quantity": 4006381333931}]),
        order(3, products=[]),
        order(4, currency="USD"),
        event(5, type="identify", userId="u5", traits={"firstName": "<script>", "email": "x@y.org", "birthday": "0000-00-00"},
              context={"consent": {"categoryPreferences": {"email_marketing": True, "a\x00b": False, "personalisation": None}}}),
        event(6, type="identify", userId="null", traits={"firstName": "\u202eevil\u202c", "lastName": "😀" * 50, "phone": "00000000000"}),
        event(7, type="page", timestamp="2026-01-05T10:00:00+14:00"),
        order(8),
    ]  # fmt: skip
    log = run(workspace, web="\n".join(lines) + "\n").stderr
    return workspace, log


def test_odd_rows_are_served_and_lose_nothing(odd):
    workspace, log = odd
    assert "left out" not in log
    with connect(owner_address(workspace)) as store:
        orders = dict(store.execute("select order_id, currency from orders").fetchall())
        consents = store.execute("select purpose, status, method from consent_decisions order by 1").fetchall()
    assert orders == {"web:W1": "XXX", "web:W2": "GBP", "web:W4": "USD", "web:W8": "GBP"}
    assert ("email_marketing", "granted", "unspecified") in consents
    assert ("ab", "denied", "unspecified") in consents


def test_only_the_programmes_currency_earns(odd):
    workspace, _ = odd
    assert points(workspace) == {"web:user:u2": 4006381333931 * 85, "web:user:u8": 20}


def test_data_without_pairs_trains_no_model_and_still_runs(new_workspace):
    workspace = new_workspace()
    lines = [
        event(n, type="identify", userId=f"u{n}", traits={"firstName": f"Given{n}", "lastName": f"Family{n}"})
        for n in range(80)
    ]
    run(workspace, web="\n".join(lines) + "\n")
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from profiles").fetchall()[0][0] >= 80


def test_a_return_that_a_late_line_makes_a_sale_is_settled_again(new_workspace):
    """An exchange split over two files: first only the returned article is known, then the bought one."""
    workspace = new_workspace()
    line = "{t},{n},ST1,1,{day}/01/2026 10:00:00,C1,,,,,{sku},x,{q},{p},0,GBP,card,{points},{original}\n"
    bought = line.format(t="S1", n=1, day="05", sku="A", q=2, p=50, points="", original="")
    back = line.format(t="S2", n=1, day="06", sku="A", q=-1, p=50, points="", original="S1")
    run(workspace, pos=bought + back)
    assert points(workspace) == {"pos:card:C1": 50}
    run(workspace, pos=line.format(t="S2", n=2, day="06", sku="CUP", q=1, p=80, points="", original="S1"))
    assert points(workspace) == {"pos:card:C1": 130}
    run(workspace, pos=line.format(t="S1", n=2, day="05", sku="HAT", q=1, p=7, points=40, original=""))
    assert points(workspace) == {"pos:card:C1": 97}
    with connect(owner_address(workspace)) as store:
        told = store.execute("select count(*) from changes where type = 'balance.changed'").fetchall()
    assert told == [(3,)]


def test_a_denial_given_with_a_dummy_denies_the_person(new_workspace):
    workspace = new_workspace()
    line = "{t},1,ST1,1,{day}/01/2026 10:00:00,C1,,{email},,{opt},A,x,1,5,0,GBP,card,,\n"
    run(
        workspace,
        pos=line.format(t="S1", day="05", email="jo@real.org", opt="Y")
        + line.format(t="S2", day="06", email="noemail@shop.example", opt="N"),
    )
    with open_lake(workspace, read_only=True) as lake:
        flags = dict(
            lake.rows("select contact_point, allowed from core__customer_consents where purpose = 'email_marketing'")
        )
    assert flags == {"jo@real.org": False}


def test_a_killed_run_does_not_block_the_queue_of_the_ui(odd):
    workspace, _ = odd
    with dg.DagsterInstance.from_config(str(workspace.path("dagster"))) as instance:
        done = instance.get_runs()[0]
        dead = instance.create_run_for_job(defs().resolve_job_def(JOB))
        instance.add_run_tags(dead.run_id, {PROCESS: f"{dead.run_id}|999999|1.00|{socket.gethostname()}"})
        dead = instance.get_run_by_id(dead.run_id)
        child = instance.create_run_for_job(
            defs().resolve_job_def(JOB), tags=dead.tags, parent_run_id=dead.run_id, root_run_id=dead.run_id
        )
        assert bury_dead_runs(instance) == 1
        assert instance.get_run_by_id(child.run_id).status != dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(done.run_id).status == dg.DagsterRunStatus.SUCCESS


def test_malformed_people_go_through_the_whole_pipeline_and_each_links_or_stays_alone(new_workspace):
    """As many odd values as 1,450 people have fields: every record has a customer at the end, or its line a reason in quarantine."""
    workspace, rng = new_workspace(), random.Random(13)
    fields = ("firstName", "lastName", "birthday", "email", "phone", "postalCode", "city")

    def person(number):
        traits = {name: odd_value(rng) if rng.random() < 0.8 else "Ann" for name in fields}
        place = {"address": {"postalCode": traits.pop("postalCode"), "city": traits.pop("city")}}
        return event(number, type="identify", userId=f"u{number}", traits=traits | place)

    run(workspace, web="\n".join(person(number) for number in range(1_450)) + "\n")
    with open_lake(workspace, read_only=True) as lake:
        ((lines, accepted, quarantined),) = lake.rows(
            "select sum(lines), sum(accepted), sum(quarantined) from ops__reconciliation where source = 'web'"
        )
        assert (lines, accepted + quarantined) == (1_450, 1_450)
        assert accepted > 700, "most odd values are odd, not wrong"
        records = "select count(distinct record_id) from core__contact_records where kind = 'user'"
        assert lake.scalar(records) == accepted
        assert lake.scalar(f"{records} and record_id in (select record_id from core__record_customers)") == accepted
