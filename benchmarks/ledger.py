"""The ledger under fire: a race for one balance, a long random life, and its speed against bare transactions.

    python -m benchmarks.ledger race  [--rounds 50] [--processes 8] [--threads 25]
    python -m benchmarks.ledger life  [--operations 1000000] [--seed 1]
    python -m benchmarks.ledger speed [--seconds 10]

Each makes a workspace of its own with the embedded PostgreSQL (fsync on) and writes results/ledger_<part>.json. `make
test` runs small versions of the same code.
"""

import argparse
import json
import multiprocessing
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from cdp.cli.pipeline import initialise
from cdp.loyalty import holding, operations
from cdp.loyalty.groups import Posting
from cdp.loyalty.operations import Act, Insufficient, Refused
from cdp.loyalty.posting import post
from cdp.loyalty.programme import Programme, load_programme
from cdp.settings import Settings
from cdp.store import assignment
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace
from identity.ids import uuid7

RESULTS = Path(__file__).parent / "results"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIFE = (
    1000  # operations of one population: a late fact derives all that its customer did, so long lives cost the square
)
UNBALANCED = """
    select count(*) from ledger_accounts a where a.record_id = any(%s) and not (
        balance = (select coalesce(sum(amount), 0) from ledger_entries e where e.account_id = a.account_id)
        and balance = (select coalesce(sum(remaining), 0) from ledger_lots l where l.account_id = a.account_id)
            - (select coalesce(sum(amount), 0) from ledger_deficits d where d.account_id = a.account_id)
        and not exists (select 1 from ledger_lots l where l.account_id = a.account_id
            and l.amount <> l.remaining + (select coalesce(sum(amount), 0) from ledger_allocations x where x.lot_id = l.lot_id)))
"""


@contextmanager
def workspace() -> Iterator[Workspace]:
    """A new one, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        made = initialise(Settings(home=Path(folder) / "home"))
        with database(made):
            yield made


def customer(store: psycopg.Connection, accounts: int = 1) -> list[str]:
    """Records of a new customer."""
    name = uuid7(NOW)
    records = [f"pos:card:{uuid4().hex[:12]}" for _ in range(accounts)]
    with store.transaction():
        assignment.apply(store, [assignment.Move(r, name) for r in records], NOW, "benchmark", "benchmark")
    return records


def give(store: psycopg.Connection, programme: Programme, record: str, amount: int, at: datetime) -> None:
    """Points out of nothing."""
    with store.transaction():
        post(store, [Posting(f"earn|{uuid4()}", 0, record, "earn", amount, at, "benchmark")], programme, at)


# --- race -----------------------------------------------------------------------------------------------------------------


def _racer(home: str, records: list[str], amount: int, threads: int, start: Any, answers: Any) -> None:
    """One process: so many threads that each spend once, over a few connections."""
    made = open_workspace(Settings(home=Path(home)))
    programme, found, turn = load_programme(made), Counter[str](), threading.Semaphore(5)

    def spend(record: str) -> None:
        with turn, connect(owner_address(made)) as store:
            try:
                with store.transaction():
                    operations.redeem(
                        store, record, amount, Act(programme, "race", datetime.now(UTC), "race"), str(uuid4())
                    )
                found["won"] += 1
            except Insufficient as error:
                found["told why" if "are available" in error.message else "told nothing"] += 1

    racing = [threading.Thread(target=spend, args=[records[n % len(records)]]) for n in range(threads)]
    start.wait()
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join()
    answers.put(found)


def race(made: Workspace, rounds: int, processes: int, threads: int) -> dict[str, Any]:
    """Everybody spends one balance at once, round after round; what is left and who won must be as the rules say."""
    programme, context = load_programme(made), multiprocessing.get_context("spawn")
    wrong = won = told = 0
    for _ in range(rounds):
        with connect(owner_address(made)) as store:
            records = customer(store, 3)
            for record in records:
                give(store, programme, record, 100, datetime.now(UTC))
        start, answers = context.Event(), context.Queue()
        racers = [
            context.Process(target=_racer, args=[str(made.home), records, 7, threads, start, answers])
            for _ in range(processes)
        ]
        for racer in racers:
            racer.start()
        start.set()
        found = sum((answers.get() for _ in racers), Counter[str]())
        for racer in racers:
            racer.join()
        with connect(owner_address(made)) as store:
            left = store.execute(
                "select sum(balance)::bigint, min(balance) from ledger_accounts where record_id = any(%s)", [records]
            ).fetchall()[0]
            bad = store.execute(UNBALANCED, [records]).fetchall()[0][0]
        wanted = min(300 // 7, processes * threads)
        wrong += bool(bad) + (found["won"] != wanted) + (left[0] != 300 - 7 * wanted) + (left[1] < 0)
        wrong += found["told nothing"] + (found["told why"] != processes * threads - wanted)
        won, told = won + found["won"], told + found["told why"]
    return {
        "rounds": rounds,
        "processes": processes,
        "threads": processes * threads,
        "won": won,
        "told why": told,
        "wrong": wrong,
    }


# --- life -----------------------------------------------------------------------------------------------------------------


class Life:
    """Ten customers of thirty records live through everything; the books are checked at every step."""

    def __init__(self, made: Workspace, store: psycopg.Connection, seed: int) -> None:
        """A new population."""
        self.store, self.programme, self.random = store, load_programme(made), random.Random(seed)
        self.now, self.done = NOW, Counter[str]()
        self.records = [record for _ in range(10) for record in customer(store, 3)]
        self.homes = sorted(
            {
                str(row[0])
                for row in store.execute("select customer_id from assignment where record_id = any(%s)", [self.records])
            }
        )
        self.spent: list[str] = []
        self.holds: list[str] = []
        self.total = 0

    def step(self) -> int:
        """One operation at random; returns how many accounts do not add up after it."""
        self.now += timedelta(minutes=self.random.choice((0, 1, 30, 600)))
        record = self.random.choice(self.records)
        name = self.random.choices(
            ("earn", "late", "redeem", "give back", "take back", "hold", "capture", "void", "move", "crash"),
            (30, 6, 22, 8, 2, 8, 6, 3, 6, 2),
        )[0]
        try:
            with self.store.transaction():
                touched = getattr(self, f"_{name.replace(' ', '_')}")(record)
            self.done[name] += 1
        except (Insufficient, Refused):
            touched, self.done[f"{name} refused"] = [record], self.done[f"{name} refused"] + 1
        except ZeroDivisionError:
            touched, self.done["crash"] = [record], self.done["crash"] + 1
        return int(self.store.execute(UNBALANCED, [touched]).fetchall()[0][0])

    def _act(self) -> Act:
        return Act(self.programme, "life", self.now, "life")

    def _siblings(self, record: str) -> list[str]:
        query = "select record_id from assignment where customer_id = (select customer_id from assignment where record_id = %s)"
        return [row[0] for row in self.store.execute(query, [record])]

    def _post(self, posting: Posting) -> list[str]:
        post(self.store, [posting], self.programme, self.now)
        return self._siblings(posting.record_id)

    def _earn(self, record: str) -> list[str]:
        ends = self.random.choice((None, None, timedelta(days=2), timedelta(days=20)))
        return self._post(Posting(f"earn|{uuid4()}", 0, record, "earn", self.random.randint(1, 200), self.now, "life", f"o{self.random.randint(1, 99)}",
                                  expires_at=ends and self.now + ends))  # fmt: skip

    def _late(self, record: str) -> list[str]:
        amount = self.random.choice((-1, 1)) * self.random.randint(1, 90)
        at = self.now - timedelta(hours=self.random.randint(1, 100))
        return self._post(
            Posting(
                f"late|{uuid4()}",
                0,
                record,
                "clawback" if amount < 0 else "earn",
                amount,
                at,
                "life",
                f"o{self.random.randint(1, 99)}",
            )
        )

    def _redeem(self, record: str) -> list[str]:
        self.spent.append(
            operations.redeem(self.store, record, self.random.randint(1, 150), self._act(), str(uuid4())).transaction_id
        )
        return self._siblings(record)

    def _give_back(self, record: str) -> list[str]:
        """A return in part, with a minimum life."""
        if not self.spent:
            return [record]
        name = self.random.choice(self.spent)
        row = self.store.execute(
            "select posting_key, record_id from ledger_entries join ledger_accounts using (account_id) where transaction_id = %s limit 1",
            [name],
        ).fetchall()[0]
        return self._post(Posting(f"back|{uuid4()}", 0, row[1], "restore", self.random.randint(1, 40), self.now, "life", reverses=row[0],
                                  expires_at=self.now + timedelta(days=3)))  # fmt: skip

    def _take_back(self, record: str) -> list[str]:
        if not self.spent:
            return [record]
        operations.reverse(self.store, self.spent.pop(self.random.randrange(len(self.spent))), self._act())
        return self._siblings(record)

    def _hold(self, record: str) -> list[str]:
        made, _ = holding.hold(self.store, record, self.random.randint(1, 100), self._act(), str(uuid4()), 60)
        self.holds.append(made["hold_id"])
        return [record]

    def _capture(self, record: str) -> list[str]:
        if self.holds:
            holding.capture(self.store, self.holds.pop(), self.random.choice((None, 1)), self._act())
        return self._siblings(record)

    def _void(self, record: str) -> list[str]:
        if self.holds:
            holding.void(self.store, self.holds.pop(), self._act())
        return [record]

    def _move(self, record: str) -> list[str]:
        """A merge or a split: one record to another customer, which must post nothing."""
        before = (
            self.store.execute("select count(*) from ledger_entries").fetchall()
            if self.done["move"] % 50 == 0
            else None
        )
        assignment.apply(
            self.store, [assignment.Move(record, self.random.choice(self.homes))], self.now, "life", "life"
        )
        if before is not None and self.store.execute("select count(*) from ledger_entries").fetchall() != before:
            raise AssertionError("an assignment posted")
        return self._siblings(record)

    def _crash(self, record: str) -> list[str]:
        self._earn(record)
        raise ZeroDivisionError


def life(made: Workspace, operations_: int, seed: int) -> dict[str, Any]:
    """So many operations, a new population every `LIFE`; what did not add up, and what was done."""
    wrong, done, began = 0, Counter[str](), time.monotonic()
    with connect(owner_address(made)) as store:
        people = Life(made, store, seed)
        for number in range(operations_):
            if number and number % LIFE == 0:
                done += people.done
                people = Life(made, store, seed + number)
            if number and number % 10_000 == 0:
                print(
                    f"{number:,} operations, {wrong} wrong, {number / (time.monotonic() - began):,.0f}/s",
                    file=sys.stderr,
                    flush=True,
                )
            wrong += people.step()
        done += people.done
    return {"operations": operations_, "seed": seed, "wrong": wrong, "done": dict(sorted(done.items()))}


# --- speed ----------------------------------------------------------------------------------------------------------------


def bare(store: psycopg.Connection, record: str) -> None:
    """The baseline: one locked update and two inserts."""
    with store.transaction():
        store.execute("update bare_accounts set balance = balance + 1 where record_id = %s", [record])
        store.execute("insert into bare_entries values (%s, %s, 1, now())", [uuid4(), record])
        store.execute("insert into bare_lots values (%s, %s, 1, 1)", [uuid4(), record])


BARE = """
    create table bare_accounts (record_id text primary key, balance bigint not null);
    create table bare_entries (entry_id uuid primary key, record_id text not null, amount bigint not null, at timestamptz not null);
    create table bare_lots (lot_id uuid primary key, record_id text not null, amount bigint not null, remaining bigint not null);
"""


def timed(work: Callable[[], None], seconds: float) -> tuple[float, float, float]:
    """(operations a second, median and p99 in milliseconds)."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        work()
        took.append(time.perf_counter() - began)
    took.sort()
    return len(took) / sum(took), 1000 * statistics.median(took), 1000 * took[int(len(took) * 0.99)]


def speed(made: Workspace, seconds: float) -> dict[str, Any]:
    """Earn and redeem against the bare transaction, in turns, for customers of one account and of fifty."""
    programme, result = load_programme(made), dict[str, Any]()
    with connect(owner_address(made)) as store:
        store.execute("set plan_cache_mode = force_generic_plan")  # as the API's connections do
        store.execute(BARE)
        for accounts in (1, 50):
            people = [customer(store, accounts) for _ in range(40)]
            for records in people:
                store.cursor().executemany("insert into bare_accounts values (%s, 0)", [[r] for r in records])
                for record in records:
                    give(store, programme, record, 10_000_000, datetime.now(UTC))
            turns = {
                "bare": partial(_of_any, people, lambda record: bare(store, record)),
                "earn": partial(_of_any, people, lambda record: _earn(store, programme, record)),
                "redeem": partial(_of_any, people, lambda record: _redeem(store, programme, record)),
            }
            rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in turns}
            for _ in range(3):
                for name, work in turns.items():
                    rates[name].append(timed(work, seconds / 3))
            middle = {name: sorted(found)[1] for name, found in rates.items()}
            result[f"{accounts} accounts"] = {
                name: {
                    "per second": round(rate),
                    "median ms": round(median, 2),
                    "p99 ms": round(p99, 2),
                    "of bare": round(rate / middle["bare"][0], 2),
                }
                for name, (rate, median, p99) in middle.items()
            }
    return result


def _of_any(people: list[list[str]], work: Callable[[str], None]) -> None:
    work(random.choice(people)[0])


def _earn(store: psycopg.Connection, programme: Programme, record: str) -> None:
    now = datetime.now(UTC)
    with store.transaction():
        post(store, [Posting(f"earn|{uuid4()}", 0, record, "earn", 5, now, "speed")], programme, now)


def _redeem(store: psycopg.Connection, programme: Programme, record: str) -> None:
    with store.transaction():
        operations.redeem(store, record, 5, Act(programme, "speed", datetime.now(UTC), "speed"), str(uuid4()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("race", "life", "speed"))
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=25, help="in each process")
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10)
    asked = parser.parse_args()
    with workspace() as made:
        if asked.part == "race":
            found = race(made, asked.rounds, asked.processes, asked.threads)
        elif asked.part == "life":
            found = life(made, asked.operations, asked.seed)
        else:
            found = speed(made, asked.seconds)
    RESULTS.joinpath(f"ledger_{asked.part}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return int(bool(found.get("wrong")))


if __name__ == "__main__":
    sys.exit(main())
