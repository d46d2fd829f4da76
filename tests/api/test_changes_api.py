"""The change feed: an order without holes, whatever is written while it is read; cursors, types, waiting."""

import random
import threading
import time
from collections import defaultdict
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from benchmarks.feed import prove
from cdp.store import changes, feed
from cdp.store.connect import connect, owner_address
from tests.api.test_loyalty_api import Clock
from tests.conftest import NOW, api_key


@pytest.fixture(scope="module")
def client(workspace):
    with TestClient(create_app(workspace.settings, clock=Clock())) as found:
        yield found


@pytest.fixture(scope="module")
def headers(workspace):
    return api_key(workspace, "changes:read")


@pytest.fixture
def write(workspace):
    """Writes changes, each in a transaction of its own; returns whom they are about."""
    with connect(owner_address(workspace)) as store:

        def add(kind="balance.changed", customer=None):
            customer = customer or str(uuid4())
            with store.transaction():
                changes.add(store, [(kind, customer, {})], NOW)
            return customer

        yield add


def ask(client, headers, status=200, **query):
    response = client.get("/v1/changes", params=query, headers=headers)
    assert response.status_code == status, response.text
    return response.json()


def test_401_and_403_first(client, workspace):
    assert client.get("/v1/changes").status_code == 401
    assert client.get("/v1/changes", headers=api_key(workspace, "profiles:read")).status_code == 403


def test_changes_come_in_order_page_by_page_and_once(client, headers, write):
    start = ask(client, headers, cursor="now")["next"]
    written = [write() for _ in range(5)]
    found, cursor, more = [], start, True
    while more:
        page = ask(client, headers, cursor=cursor, limit=2)
        found += page["changes"]
        cursor, more = page["next"], page["more"]
    assert [change["customer_id"] for change in found] == written
    assert [change["position"] for change in found] == sorted(change["position"] for change in found)
    assert ask(client, headers, cursor=cursor)["changes"] == []
    assert [c["customer_id"] for c in ask(client, headers, cursor=start)["changes"]] == written, (
        "at least once, from any cursor"
    )


def test_types_are_chosen_and_the_cursor_passes_the_others(client, headers, write):
    start = ask(client, headers, cursor="now")["next"]
    write("consent.changed")
    wanted = write("customer.erased")
    write("consent.changed")
    page = ask(client, headers, cursor=start, types=["customer.erased", "customer.merged"])
    assert [change["customer_id"] for change in page["changes"]] == [wanted]
    assert ask(client, headers, cursor=page["next"])["changes"] == []
    assert ask(client, headers, status=422, types=["points"])["title"]


def test_whoever_waits_is_answered_when_something_changes(client, headers, write):
    start = ask(client, headers, cursor="now")["next"]
    threading.Timer(0.5, write).start()
    began = time.monotonic()
    page = ask(client, headers, cursor=start, wait=20)
    assert len(page["changes"]) == 1
    assert time.monotonic() - began < 15
    assert ask(client, headers, cursor=page["next"], wait=1)["changes"] == []


@pytest.mark.parametrize(
    "cursor", ["x", "bm90IGpzb24", feed.write_cursor(3, "another pepper"), "WyJhIiwgLTFd", "é", "W10"]
)
def test_a_cursor_of_nobody_or_of_another_deployment_is_refused(client, headers, cursor):
    problem = ask(client, headers, status=422, cursor=cursor)
    assert "cursor" in problem["detail"]


def test_no_reader_misses_what_slow_writers_commit_late(workspace, client, headers):
    """Eight writers that hold their transactions open for a while, three readers that begin anew from their cursor now and then."""
    start, written, dice = ask(client, headers, cursor="now")["next"], defaultdict(list), random.Random(4)
    customers = [str(uuid4()) for _ in range(8)]
    done = threading.Event()

    def writer(number):
        mine = random.Random(number)
        with connect(owner_address(workspace)) as store:
            for count in range(25):
                with (
                    store.transaction()
                ):  # each customer has its own writer: the order in which it was written is known
                    changes.add(store, [("balance.changed", customers[number], {"n": count})], NOW)
                    time.sleep(mine.random() / 200)
                written[customers[number]].append(count)

    def reader(found):
        cursor = start
        while True:
            last = done.is_set()
            page = ask(client, headers, cursor=cursor, limit=dice.choice((3, 50)))
            if dice.random() < 0.2:
                continue  # crashed before it kept the cursor: it reads the same again
            found += [(change["customer_id"], change["details"]["n"]) for change in page["changes"]]
            cursor = page["next"]
            if last and not page["more"]:
                return

    seen = [[] for _ in range(3)]
    readers = [threading.Thread(target=reader, args=(found,)) for found in seen]
    writers = [threading.Thread(target=writer, args=(number,)) for number in range(8)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    for found in seen:
        assert len(found) == 200
        by_customer = defaultdict(list)
        for customer, number in found:
            by_customer[customer].append(number)
        assert by_customer == written


@pytest.mark.long
def test_writers_and_readers_that_are_killed_miss_nothing(new_workspace):
    """The small version of `python -m benchmarks.feed`."""
    found = prove(new_workspace(), 4_000, 8, most=180)
    assert found["wrong"] == 0, found
    assert [one["read"] for one in found["readers"]] == [4_000] * 3
    assert found["other ends"] == 0
    assert found["kills"] > 2
