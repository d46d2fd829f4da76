"""What a preview says against what posting does, and races for the last of something.

    python -m benchmarks.offers preview [--baskets 10000] [--seed 1]
    python -m benchmarks.offers race    [--clients 200] [--rounds 10]

Each makes a workspace of its own with the embedded PostgreSQL and writes results/offers_<part>.json. `make test` runs small
versions of the same code.
"""

import argparse
import json
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg

from benchmarks.ledger import NOW, RESULTS, customer, give, workspace
from cdp.loyalty import offers, operations
from cdp.loyalty.operations import Act, Insufficient, Refused
from cdp.loyalty.programme import Programme
from cdp.loyalty.rules import Line
from cdp.store.connect import connect, owner_address
from cdp.workspace import Workspace

SKUS = ("MUG", "BAG", "HAT", "POST", "TEA", "CAKE")
RULES = Programme.model_validate(
    {
        "programme": "bench", "version": "1", "currency": "EUR", "timezone": "Europe/Berlin",
        "units": [{"code": "pt", "expiry": {"mode": "after", "after": "P6M", "round_to": "month", "extend_by": "P1M"}}, {"code": "spend", "scale": 2, "redeemable": False}],
        "measures": [{"code": "year", "unit": "spend", "window": "rolling", "length": "P1Y"}],
        "ladders": [{"code": "l", "measure": "year", "levels": [{"code": "low", "enter_at": 0}, {"code": "mid", "enter_at": 200, "earn_multiplier": "1.25"},
                     {"code": "top", "enter_at": 800, "earn_multiplier": "1.5", "expiry": {"pt": {"mode": "never", "binding": "live"}}}]}],
        "rules": [
            {"code": "base", "unit": "pt", "per_money": {"units": 1, "amount": "1.00"}, "by_tier": True, "exclude_skus": ["POST"]},
            {"code": "tea", "unit": "pt", "per_item": 3, "where": {"skus": ["TEA"]}},
            {"code": "first", "unit": "pt", "fixed": 20, "limit": {"times": 1, "per": "month"}, "where": {"amount_from": "25"}},
            {"code": "double", "unit": "pt", "times": 2, "active": {"month_days": [8, 18, 28]}, "stack": "best"},
            {"code": "treble", "unit": "pt", "times": 3, "active": {"days": ["11-11", "06-18"]}, "stack": "best"},
            {"code": "spent", "unit": "spend", "per_money": {}},
        ],
        "rewards": [{"code": "last", "cost": {"pt": 1}, "stock": 1}, {"code": "tea", "cost": {"pt": 60}}],
        "coupons": [{"code": "hundred", "value": "5.00", "budget": 100}],
    }
)  # fmt: skip


def basket(dice: random.Random) -> list[Line]:
    """One to eight lines."""
    return [
        Line(n, dice.choice(SKUS), dice.randint(1, 4), Decimal(dice.randint(50, 9000)) / 100)
        for n in range(1, dice.randint(2, 9))
    ]


def previews(made: Workspace, baskets: int, seed: int, rules: Programme = RULES) -> dict[str, Any]:
    """Every basket is previewed, then posted, then (a third of them) partly paid with points; how often they differ."""
    dice, different, now = random.Random(seed), 0, NOW
    with connect(owner_address(made)) as store:
        people = [customer(store, dice.randint(1, 3)) for _ in range(max(4, baskets // 50))]
        for number in range(baskets):
            records, now = dice.choice(people), now + timedelta(minutes=dice.randint(1, 400))
            act = Act(rules, "bench", now, "bench")
            order = {"order_id": f"pos:{uuid4()}", "record_id": dice.choice(records), "ordered_at": now, "currency": "EUR", "points_redeemed": 0, "is_member": True, "source": "pos"}  # fmt: skip
            lines = basket(dice)

            def earn(store: psycopg.Connection, order: Any = order, lines: Any = lines, act: Act = act) -> Any:
                done, reason = operations.earn(store, order, lines, act)
                return done.amount, done.units, done.standing.balance, done.standing.available, reason

            different += _both(store, earn)
            if number % 3 == 0:
                spend = _Spend(
                    records[0], dice.randint(1, 300), replace(act, now=now + timedelta(seconds=1)), str(uuid4())
                )
                different += _both(store, spend)
            if number % 1000 == 999:
                print(f"  {number + 1:,} baskets, {different} differ", flush=True)
    return {"baskets": baskets, "seed": seed, "different": different}


@dataclass(frozen=True)
class _Spend:
    record: str
    points: int
    act: Act
    name: str

    def __call__(self, store: psycopg.Connection) -> Any:
        done = operations.redeem(store, self.record, self.points, self.act, self.name)
        return done.amount, done.standing.balance, done.standing.available


def _both(store: psycopg.Connection, work: Any) -> bool:
    """Whether the preview (undone) says anything but what posting does."""
    said = []
    for undo in (True, False):
        try:
            with store.transaction(force_rollback=undo):
                said.append(work(store))
        except (Insufficient, Refused) as error:
            said.append(str(error))
    return said[0] != said[1]


def races(made: Workspace, clients: int, rounds: int, rules: Programme = RULES) -> dict[str, Any]:
    """Everybody at once for a budget of coupons, then for the last reward: how many got one, and how often that was wrong."""
    wrong, started = 0, time.perf_counter()
    budget = rules.coupons[0].budget or 0
    for number in range(rounds):
        seen = rules.model_copy(update={"programme": f"bench{number}"})
        act = Act(seen, "bench", NOW, "bench")
        with connect(owner_address(made)) as store:
            people = [customer(store)[0] for _ in range(clients)]
            for record in people:
                give(store, seen, record, 5, NOW)
        coupons = _rush(made, people, lambda store, r, a=act: offers.issue_coupon(store, r, "hundred", a, str(uuid4())))  # type: ignore[misc]
        rewards = _rush(made, people, lambda store, r, a=act: offers.take_reward(store, r, "last", a, str(uuid4())))  # type: ignore[misc]
        wrong += coupons != min(budget, clients)
        wrong += rewards != 1
        print(
            f"  round {number + 1}: {coupons} of {budget} coupons, {rewards} last reward, {clients} clients", flush=True
        )
    return {"clients": clients, "rounds": rounds, "wrong": wrong, "seconds": round(time.perf_counter() - started, 1)}


def _rush(made: Workspace, people: list[str], work: Any) -> int:
    start, gate = threading.Barrier(min(len(people), 200)), threading.Semaphore(40)

    def one(record: str) -> int:
        start.wait()
        with gate, connect(owner_address(made)) as store:  # as many as a server takes; the others wait for a connection
            try:
                with store.transaction():
                    work(store, record)
            except (Refused, Insufficient):
                return 0
            return 1

    with ThreadPoolExecutor(len(people)) as pool:
        return sum(pool.map(one, people))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("preview", "race"))
    parser.add_argument("--baskets", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    with workspace() as made:
        found = (
            previews(made, given.baskets, given.seed)
            if given.part == "preview"
            else races(made, given.clients, given.rounds)
        )
    (RESULTS / f"offers_{given.part}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))
    return 1 if found.get("different") or found.get("wrong") else 0


if __name__ == "__main__":
    sys.exit(main())
