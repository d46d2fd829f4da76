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


def settled(platform, programme, seed):
    """A world whose targets have been worked out."""
    world = World(platform.lake, seed)
    world.lay()
    targets.build_targets(platform.lake, platform.store, programme)
    return world


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
    world = settled(platform, programme, seed)
    in_part = 0
    for step in [*STEPS, *world.dice.choices(STEPS, k=5)]:
        getattr(world, step)()
        world.lay()
        built = targets.build_targets(platform.lake, platform.store, programme)
        assert made(platform.lake) == whole(platform, programme), step
        in_part += built.made is not None
    assert in_part > 12


def test_only_what_changed_is_worked_out_again(platform, programme):
    world = settled(platform, programme, 9)
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


COLUMNS = [
    ("orders", name, value) for name, value in
    {"record_id": "r0", "source": "shop", "kind": "return", "ordered_at": DAY - timedelta(days=9), "currency": "USD", "points_redeemed": 7, "original_key": "x"}.items()
] + [
    ("lines", name, value) for name, value in {"sku": "POST", "quantity": 9, "amount": Decimal("0.5")}.items()
] + [
    ("events", name, value) for name, value in
    {"record_id": "r0", "source": "shop", "kind": "page_view", "occurred_at": DAY - timedelta(days=9), "order_id": "web:1", "details": '{"amount": 3}'}.items()
] + [
    ("openings", name, value) for name, value in {"points": 9999, "opened_at": DAY - timedelta(days=9)}.items()
]  # fmt: skip


@pytest.fixture(scope="module")
def plain(platform, programme):
    """A few things that nothing has changed yet: a sale and its return by one record, a review, an opening balance."""
    world = World(platform.lake, 5)
    world.kinds, world.members = {"c0": "known", "c1": "anonymous"}, {"r0": "c0", "r1": "c0", "r2": "c1"}
    world.orders, world.lines, world.events, world.openings = {}, {}, {}, {}
    for name, kind, record, sign in (("web:1", "sale", "r1", 1), ("web:2", "sale", "r2", 1)):
        world._order(name, kind, record, sign, currency="GBP")
    world._order("pos:1", "return", "r2", -1, currency="GBP", original_key="web:2", original_order_id="web:2")
    for name in ("web:1", "web:2", "pos:1"):
        for number in (1, 2):
            world.lines[name, number] = {"order_id": name, "line_no": number, "sku": "s", "quantity": -1 if name == "pos:1" else 1, "amount": Decimal(-1 if name == "pos:1" else 10)}  # fmt: skip
    world.lines = {key: line for key, line in world.lines.items() if key[1] < 3}
    world.events = {
        "e": {
            "interaction_id": "e",
            "record_id": "r1",
            "source": "web",
            "kind": "review",
            "occurred_at": DAY,
            "details": "{}",
        }
    }
    world.openings = {"r1": {"source": "pos", "record_id": "r1", "points": 5, "opened_at": DAY}}
    return world


def changed(world, platform, programme):
    """What a change has worked out again, and that it is what working everything out gives."""
    world.lay()
    built = targets.build_targets(platform.lake, platform.store, programme)
    assert made(platform.lake) == whole(platform, programme)
    return built.made if built.made is not None else 99


@pytest.mark.parametrize(("part", "column", "value"), COLUMNS, ids=[f"{part}.{name}" for part, name, _ in COLUMNS])
def test_whatever_a_posting_rests_on_has_it_worked_out_again(platform, programme, plain, part, column, value):
    changed(plain, platform, programme)
    rows = getattr(plain, part)
    key = next(iter(rows))
    before, rows[key] = rows[key], {**rows[key], column: value}
    assert changed(plain, platform, programme) > 0
    rows[key] = before


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.kinds.update(c1="known"),
        lambda world: [line.update(amount=Decimal(8)) for key, line in world.lines.items() if key[0] == "web:1"],
        lambda world: [line.update(amount=Decimal(10 + key[1])) for key, line in world.lines.items() if key[0] == "web:1"],
        lambda world: [line.update(amount=Decimal(13 - key[1])) for key, line in world.lines.items() if key[0] == "web:1"],
    ],
    ids=["a sale and its return become a member's", "two equal lines reprice alike", "two prices", "two prices change places"],
)  # fmt: skip
def test_what_changes_alike_in_two_rows_does_not_cancel(platform, programme, plain, change):
    changed(plain, platform, programme)
    change(plain)
    assert changed(plain, platform, programme) > 0


def test_what_posts_nothing_says_so_and_is_not_looked_at_again(platform, programme, plain):
    """A review under a version without a rule for it, and an opening balance where nothing can be spent."""
    older = load_programme(platform.workspace).model_copy(update={"version": "0"})
    newer = programme.model_copy(update={"starts": (DAY + timedelta(days=9)).date(), "version": "2"})
    for version in (older, newer):
        version._versions = (older, newer)
    changed(plain, platform, newer)
    said = platform.lake.rows("select reason, amount from core__loyalty_targets where document = 'event:e'")
    assert said == [("no_rule", 0)]
    plain._order("web:9", "sale", "r1", 1)
    assert changed(plain, platform, newer) <= 1


def test_other_rules_and_rules_that_ask_the_past_work_everything_out(platform, programme):
    world = settled(platform, programme, 11)
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
        return built, sorted(lake.rows("from core__customer_tiers"))

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
    assert back == found, "a clock that goes back looks at everything"
    other = rules.model_copy(update={"version": "2"})  # the same text holds both; from today the other ladder does
    assert reports.build_tiers(lake, other, DAY).made is None
