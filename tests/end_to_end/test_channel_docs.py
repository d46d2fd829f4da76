"""The pages for channels: their examples run as they stand, against a server with `cdp live` beside it."""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest

from benchmarks.serving import Served
from cdp.loyalty.groups import Posting
from cdp.loyalty.posting import post
from cdp.loyalty.programme import load_programme
from cdp.store import changes, keys
from cdp.store.connect import connect, owner_address
from tests.cdp.test_webhooks import Receiver
from tests.conftest import ROOT

pytestmark = pytest.mark.long

PAGES = ROOT / "docs" / "channels"
KEYS = {
    "WRITE_KEY": (["events:write"], "web"),
    "SALES_KEY": (["events:write"], "pos"),
    "DESK_KEY": (["events:write"], "service"),
    "READ_KEY": (["profiles:read", "loyalty:read", "consent:read"], None),
    "APP_KEY": (["profiles:read", "loyalty:read", "loyalty:write"], None),
    "TILL_KEY": (["profiles:read", "loyalty:read", "loyalty:write"], None),
    "AGENT_KEY": (["profiles:read", "loyalty:read"], None),
    "FEED_KEY": (["changes:read", "loyalty:read"], None),
    "ADMIN_KEY": (["admin"], None),
    "MAILER_KEY": (["audiences:read", "profiles:reveal"], None),
}


@pytest.fixture(scope="module")
def given(town):
    """What the pages take as given: an address, keys, a customer and a card."""
    os.environ["CDP_WEBHOOK_NETWORKS"] = "127.0.0.0/8"
    server = Served(town)
    server.start()
    environment = os.environ | {"CDP_HOME": str(town.home)}
    live = subprocess.Popen(
        [sys.executable, "-m", "cdp", "live"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with connect(owner_address(town)) as store:
        made = {
            n: keys.create(
                store,
                town.secrets["pepper"],
                n,
                scopes,
                datetime.now(UTC),
                purposes=("service", "email_marketing"),
                source=source,
                rate_limit=1_000_000,
            )
            for n, (scopes, source) in KEYS.items()
        }
        card, customer = store.execute(
            "select r.source_key, a.customer_id::text from contact_records r join assignment a using (record_id) join ledger_accounts l using (record_id) "
            "where r.kind = 'card' group by 1, 2 having sum(l.balance) > 100 order by 1 limit 1"
        ).fetchall()[0]  # fmt: skip
    yield {"URL": f"http://127.0.0.1:{server.port}", "CARD": card, "CUSTOMER": customer, **made}
    live.send_signal(signal.SIGINT)
    live.wait(30)
    server.kill()
    del os.environ["CDP_WEBHOOK_NETWORKS"]


def examples(page):
    """The Python of a page that speaks HTTP itself."""
    found = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)
    return [code for code in found if "import httpx" in code]


def run(code, given, page):
    sys.modules.setdefault("httpx", httpx2)  # the maintained line of httpx goes by this name
    names = dict(given)
    exec(compile(code, page, "exec"), names)  # noqa: S102 - our own pages
    return names


@pytest.mark.parametrize("page", ["web.md", "app.md", "till.md", "helpdesk.md", "audiences.md"])
def test_the_example_of_a_page_runs(given, page):
    (code,) = examples(page)
    names = run(code, given, page)
    assert page != "audiences.md" or len(names["lines"]) > 10


def test_a_receiver_of_webhooks_stays_equal_to_the_ledger(town, given):
    receiver = Receiver()
    (code,) = examples("webhooks.md")
    names = run(code, {**given, "HOOK_URL": receiver.url}, "webhooks.md")
    with connect(owner_address(town)) as store:
        held = balances(store)
        customers = sorted(held)[:5]
        for customer in customers:
            changes.add(
                store, [("balance.changed", customer, {}), ("customer.updated", customer, {})], datetime.now(UTC)
            )
        deadline = time.monotonic() + 20
        while len(receiver.got) < len(customers) and time.monotonic() < deadline:
            time.sleep(0.05)
    for _ in range(2):  # at least once
        for _, headers, body in receiver.got:
            names["receive"](body, headers)
    assert names["balances"] == {customer: held[customer] for customer in customers}
    receiver.server.shutdown()


def balances(store):
    """What the ledger says, in plain SQL."""
    return dict(store.execute(
        "select a.customer_id::text, sum(l.balance)::bigint from ledger_accounts l join assignment a using (record_id) where l.unit = 'points' group by 1"
    ).fetchall())  # fmt: skip


def test_the_follower_stays_equal_to_the_ledger_under_random_traffic(town, given):
    (code,) = examples("README.md")
    names = run(code, given, "README.md")
    programme, ends = load_programme(town), time.monotonic() + 12

    def traffic():
        chosen = random.Random(3)
        with connect(owner_address(town)) as store:
            records = [
                row[0]
                for row in store.execute(
                    "select record_id from ledger_accounts join assignment using (record_id) order by 1"
                ).fetchall()
            ]
            while time.monotonic() < ends:
                with store.transaction():
                    one = Posting(
                        f"earn|{uuid4()}",
                        0,
                        chosen.choice(records),
                        "earn",
                        chosen.randint(1, 50),
                        datetime.now(UTC),
                        "docs",
                    )
                    post(store, [one], programme, datetime.now(UTC))
                    store.execute(
                        "insert into changes (type, customer_id, details, at) select 'balance.changed', customer_id, '{}', now() from assignment where record_id = %s",
                        [one.record_id],
                    )
                time.sleep(0.01)

    working = threading.Thread(target=traffic)
    working.start()
    while working.is_alive() or names["follow"](0):
        names["follow"](1)
    working.join()
    with connect(owner_address(town)) as store:
        held = balances(store)
    assert {customer: names["balances"].get(customer) for customer in held} == held
