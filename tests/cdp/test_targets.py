"""What orders should have posted, and levels, are worked out again only where something changed: as if all were worked out."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from cdp.lake.build import incoming, refresh
from cdp.lake.tables import forget_builds
from cdp.loyalty import history, reports, targets
from cdp.loyalty.programme import Programme, load_programme
from cdp.store.copied import PAIR
from cdp.yamlfile import load_yaml
from tests.conftest import opened

DAY = datetime(2026, 5, 1, 9, tzinfo=UTC)
ORDER = {
    "order_id": pl.String, "source": pl.String, "order_key": pl.String, "record_id": pl.String, "kind": pl.String,
    "ordered_at": pl.Datetime("us", "UTC"), "currency": pl.String, "total": pl.Decimal(28, 4), "lines": pl.Int64,
    "points_redeemed": pl.Int64, "original_key": pl.String, "original_order_id": pl.String,
}  # fmt: skip
LINE = {"order_id": pl.String, "line_no": pl.Int64, "sku": pl.String, "quantity": pl.Int64, "amount": pl.Decimal(28, 4)}
EVENT = {
    "interaction_id": pl.String, "record_id": pl.String, "source": pl.String, "kind": pl.String,
    "occurred_at": pl.Datetime("us", "UTC"), "order_id": pl.String, "details": pl.String,
}  # fmt: skip
OPENING = {"source": pl.String, "record_id": pl.String, "points": pl.Int64, "opened_at": pl.Datetime("us", "UTC")}
TEXT = {"customer_id": pl.String, "kind": pl.String}, {"record_id": pl.String, "customer_id": pl.String}


class World:
    """Orders, their lines, events, opening balances and who is whose: everything may change."""

    def __init__(self, lake, seed):
        self.lake, self.dice = lake, random.Random(seed)
        self.kinds = {f"c{n}": self.dice.choice(["known", "known", "anonymous"]) for n in range(4)}
        self.members = {f"r{n}": f"c{n % 4}" for n in range(8)}
        self.orders, self.lines, self.events, self.openings = {}, {}, {}, {}
        for _ in range(40):
            self.sale()
        for _ in range(8):
            self.refund()
            self.opening()
        for _ in range(20):
            self.event()

    def sale(self):
        name, paid = f"web:{len(self.orders)}", self.dice.choice([None, None, 3])
        self._order(name, "sale", self.dice.choice([*self.members, None]), 1, points_redeemed=paid)

    def refund(self):
        of = self.dice.choice(
            [*self.orders, "web:999"]
        )  # also of another return, of one that is not there, and by somebody else
        there = of in self.orders
        name = f"pos:{len(self.orders)}"
        self._order(name, "return", self.dice.choice([*self.members, None]), -1, original_key=of, original_order_id=of if there else None)  # fmt: skip

    def _order(self, name, kind, record, sign, **more):
        at, source = DAY + timedelta(hours=len(self.orders)), name.split(":")[0]
        self.orders[name] = {"order_id": name, "source": source, "order_key": name, "record_id": record, "kind": kind, "ordered_at": at, "currency": self.dice.choice(["GBP", "GBP", "EUR"]), **more}  # fmt: skip
        for number in range(1, self.dice.randint(2, 4)):
            money = sign * Decimal(self.dice.randint(100, 9999)) / 100
            self.lines[name, number] = {"order_id": name, "line_no": number, "sku": f"s{number}", "quantity": sign, "amount": money}  # fmt: skip

    def event(self):
        name = self.dice.choice([f"e{len(self.events)}", "web:1"])  # an event may be called like an order
        self.events[name] = {"interaction_id": name, "record_id": self.dice.choice([*self.members]), "source": "web", "kind": self.dice.choice(["review", "review", "review", "page_view"]), "occurred_at": DAY, "details": "{}"}  # fmt: skip

    def opening(self):
        record = self.dice.choice([*self.members])
        self.openings[record] = {
            "source": "pos",
            "record_id": record,
            "points": self.dice.randint(1, 500),
            "opened_at": DAY,
        }

    def move(self):
        self.members[self.dice.choice([*self.members])] = self.dice.choice([*self.kinds])

    def known(self):
        who = self.dice.choice([*self.kinds])
        self.kinds[who] = "anonymous" if self.kinds[who] == "known" else "known"

    def reprice(self):
        self.lines[self.dice.choice([*self.lines])]["amount"] += Decimal("20.5")

    def lose_a_line(self):
        self.lines.pop(self.dice.choice([*self.lines]))

    def lose_an_order(self):
        name = self.dice.choice([*self.orders])
        self.orders[name] |= {"record_id": None}

    def lose_an_event(self):
        self.events.pop(self.dice.choice([*self.events]))

    def turn(self):
        name = self.dice.choice([name for name, order in self.orders.items() if order["kind"] == "return"])
        self.orders[name] |= {"kind": "sale", "original_order_id": None}  # a late line made it one

    def lay(self):
        told = [dict(zip(TEXT[0], row, strict=True)) for row in self.kinds.items()], [dict(zip(TEXT[1], row, strict=True)) for row in self.members.items()]  # fmt: skip
        for table, rows, schema in (
            ("core__orders", self.orders.values(), ORDER), ("core__order_lines", self.lines.values(), LINE),
            ("core__interactions", self.events.values(), EVENT), ("core__opening_balances", self.openings.values(), OPENING),
            ("core__customers", told[0], TEXT[0]), ("core__record_customers", told[1], TEXT[1]),
        ):  # fmt: skip
            frame = pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)
            with incoming(self.lake, frame.to_arrow()):
                refresh(self.lake, table, repr(frame.rows()), "same", (), lambda: "from incoming")


@pytest.fixture(scope="module")
def platform(new_workspace):
    with opened(new_workspace()) as found:
        yield found


@pytest.fixture(scope="module")
def programme(tmp_path_factory, platform):
    path = tmp_path_factory.mktemp("rules") / "p.yaml"
    text = (platform.workspace.path("programmes") / "default.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("rules:\n", "rules:\n  - {code: said, event: review, unit: points, fixed: 5}\n"), encoding="utf-8")  # fmt: skip
    return load_yaml(path, Programme)


def made(lake):
    return sorted(lake.rows("select * exclude (document, rests_on) from core__loyalty_targets"), key=repr)


def whole(platform, programme):
    """Everything worked out in one go."""
    orders = targets.of_part(platform.lake, programme, 0, 1, platform.store)
    opened = platform.lake.rows("select record_id, points, opened_at from core__opening_balances")
    return sorted([*orders, *((f"default|points|{record}|opening", "points", None, None, record, "opening", points, at, "opening", None) for record, points, at in opened)], key=repr)  # fmt: skip


STEPS = [
    "sale",
    "refund",
    "event",
    "opening",
    "move",
    "known",
    "reprice",
    "lose_a_line",
    "lose_an_order",
    "lose_an_event",
    "turn",
]


@pytest.mark.parametrize("seed", range(2))
def test_targets_kept_by_difference_are_those_worked_out_in_one_go(platform, programme, seed):
    world = World(platform.lake, seed)
    world.lay()
    targets.build_targets(platform.lake, platform.store, programme)
    in_part = 0
    for step in [*STEPS, *world.dice.choices(STEPS, k=5)]:
        getattr(world, step)()
        world.lay()
        built = targets.build_targets(platform.lake, platform.store, programme)
        assert made(platform.lake) == whole(platform, programme), step
        in_part += built.made is not None
    assert in_part > 12


def test_only_what_changed_is_worked_out_again(platform, programme):
    world = World(platform.lake, 9)
    world.lay()
    targets.build_targets(platform.lake, platform.store, programme)
    world.sale()
    world.lay()
    built = targets.build_targets(platform.lake, platform.store, programme)
    assert built.changed
    assert 0 < built.made <= 2, "what the sale earns, and what it was paid with"
    assert not targets.build_targets(platform.lake, platform.store, programme).changed
    sale = next(name for name, order in world.orders.items() if order["kind"] == "sale" and order["record_id"] and order["currency"] == "GBP")  # fmt: skip
    world._order("web:back", "return", None, -1, original_key=sale, original_order_id=sale)
    world.lay()
    targets.build_targets(platform.lake, platform.store, programme)
    told = platform.lake.rows("select distinct document from core__loyalty_targets where order_id = 'web:back'")
    assert told == [(sale,)], "a return is worked out with its sale"


def test_other_rules_and_rules_that_ask_the_past_work_everything_out(platform, programme):
    world = World(platform.lake, 11)
    world.lay()
    targets.build_targets(platform.lake, platform.store, programme)
    world.sale()
    world.lay()
    other = programme.model_copy(update={"version": "2"})
    assert targets.build_targets(platform.lake, platform.store, other).made is None
    world.sale()
    world.lay()
    limited = load_programme(platform.workspace).model_copy(update={"join": "paid"})
    assert limited.asks_the_past
    targets.build_targets(platform.lake, platform.store, limited)
    world.sale()
    world.lay()
    assert targets.build_targets(platform.lake, platform.store, limited).made is None


def ledger(lake, entries, members):
    schema = history.COLUMNS
    rows = [
        {**dict.fromkeys(schema), "entry_id": f"n{n}", "record_id": record, "programme": "default", "unit": "points", "contra": "issued",
         "kind": "earn", "amount": amount, "occurred_at": at, "posted_at": at, "order_id": f"o{n}"}
        for n, (record, at, amount) in entries.items()
    ]  # fmt: skip
    held = [{"record_id": record, "customer_id": customer} for record, customer in members.items()]
    for table, found in (
        ("core__ledger_entries", pa.Table.from_pylist(rows, pa.schema(list(schema.items())))),
        ("core__record_customers", pa.Table.from_pylist(held, pa.schema(list(PAIR.items())))),
    ):
        with incoming(lake, found):
            refresh(lake, table, repr(found.to_pylist()), "same", (), lambda: "from incoming")


def test_levels_are_looked_at_again_for_other_entries_and_when_time_has_changed_something(platform):
    lake, rules, dice = platform.lake, load_programme(platform.workspace), random.Random(4)
    entries = {
        n: (f"r{dice.randint(0, 59)}", DAY - timedelta(days=dice.randint(0, 500)), dice.randint(1, 900))
        for n in range(150)
    }
    members = {f"r{n}": f"c{n // 2}" for n in range(60)}
    entries[900] = ("r1", DAY - timedelta(days=364, hours=20), 700)  # leaves the window four hours later
    entries[901] = ("r3", DAY + timedelta(hours=2), 5000)  # dated too early: it counts from then

    def levels(now):
        ledger(lake, entries, members)
        built = reports.build_tiers(lake, rules, now)
        return built, sorted(lake.rows("select * exclude as_of from core__customer_tiers"))

    def whole(now):
        forget_builds(lake)
        return levels(now)[1]

    _, before = levels(DAY)
    assert levels(DAY)[0].changed is False
    entries[902] = ("r5", DAY - timedelta(days=3), 1)
    built, found = levels(DAY)
    assert (built.made, len(set(found) - set(before))) == (1, 1), "c2 alone has another entry"
    members["r7"] = "c9"
    built, found = levels(DAY)
    assert built.made == 2, "whom it leaves and whom it joins"
    next_day = DAY + timedelta(days=1)
    built, later = levels(next_day)
    moved = {row[0] for row in set(later) - set(found)}
    assert built.made < 15
    assert {"c0", "c1"} <= moved, "what left the window, and what came to be known"
    assert later == whole(next_day)
    built, back = levels(DAY)
    assert back == found, "a clock that goes back looks at all that was looked at later"
