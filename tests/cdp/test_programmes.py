"""The four programmes that ship, each with a dated log and its ledger computed by hand (`programmes/*.yaml`)."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from cdp.errors import ConfigError
from cdp.loyalty import circles, offers, operations, orders, recall, reconcile, subscriptions
from cdp.loyalty.entitlements import entitlements
from cdp.loyalty.ladder import standing
from cdp.loyalty.operations import Act
from cdp.loyalty.posting import post
from cdp.loyalty.programme import Programme, load_programme
from cdp.loyalty.rules import Line
from cdp.store import assignment, books
from cdp.store.connect import connect, owner_address
from cdp.yamlfile import load_yaml
from identity.ids import uuid7
from tests.cdp.test_ledger import UNBALANCED
from tests.conftest import NOW

LOGS = Path(__file__).parent / "programmes"
SHIPPED = resources.files("cdp") / "defaults" / "programmes"
NAMES = ("nike", "prime", "sephora", "starbucks")


@pytest.fixture(scope="module")
def store(workspace):
    with connect(owner_address(workspace)) as connection:
        yield connection


def shipped(name):
    return load_yaml(Path(str(SHIPPED / f"{name}.yaml")), Programme)


def when(text):
    return datetime.fromisoformat(text).astimezone(UTC)


class Member:
    """Two customers who live through a log: each step as a channel or the pipeline would do it, at its own time."""

    def __init__(self, store, programme):
        self.store, self.programme, self.prefix = store, programme, uuid4().hex[:8]
        self.records = {who: f"r{self.prefix}:{who}" for who in ("me", "other")}
        self.customers = {who: uuid7(NOW) for who in self.records}
        with store.transaction():
            moves = [assignment.Move(self.records[who], self.customers[who]) for who in self.records]
            assignment.apply(store, moves, when("2020-01-01T00:00Z"), "test", "test")
        self.orders, self.lines, self.events, self.subscription = {}, {}, [], None

    def act(self, at):
        return Act(self.programme.at(at), "key:test", at, "test")

    def step(self, entry):
        at, record = when(entry["at"]), self.records[entry.get("who", "me")]
        kind = next(
            k for k in ("order", "return", "event", "reward", "benefit", "plan", "circle", "expect") if k in entry
        )
        if kind == "plan" and "expect" in entry:
            kind = "expect"

        def do():
            with self.store.transaction():
                getattr(self, f"_{kind}")(entry, at, record)

        if "refused" in entry:
            with pytest.raises((operations.Refused, operations.Insufficient), match=entry["refused"]):
                do()
        else:
            do()

    def _known(self, entry, at, name, kind, of=None):
        record = self.records[entry.get("who", "me")]
        row = {
            "order_id": name, "original_order_id": of, "original_key": of, "record_id": record, "kind": kind, "ordered_at": at, "is_member": True,
            "currency": self.programme.currency, "source": entry.get("source", "pos"), "points_redeemed": 0, "customer_id": self.customers["me"],
        }  # fmt: skip
        sign = 1 if kind == "sale" else -1
        self.lines[name] = [
            Line(i, sku, sign, sign * Decimal(amount)) for i, (sku, amount) in enumerate(entry["lines"].items(), 1)
        ]
        self.orders[name] = row

    def _order(self, entry, at, record):
        """A channel posts the sale; the pipeline then finds nothing to add."""
        name = f"{self.prefix}:{entry['order']}"
        self._known(entry, at, name, "sale")
        operations.earn(self.store, {**self.orders[name], "customer_id": None}, self.lines[name], self.act(at))
        assert self.settle(at) == 0, "preview, posting and pipeline are one rule"

    def _return(self, entry, at, record):
        self._known(entry, at, f"{self.prefix}:{entry['return']}", "return", f"{self.prefix}:{entry['of']}")
        self.settle(at)

    def _event(self, entry, at, record):
        of = f"{self.prefix}:{entry['of']}" if "of" in entry else None
        self.events.append(
            {"event_id": f"{self.prefix}:e{len(self.events)}", "kind": entry["event"], "record_id": record, "customer_id": self.customers["me"], "is_member": True,
             "occurred_at": at, "source": "app", "order_id": of, "amount": Decimal(entry.get("amount", 0)), "properties": {}}
        )  # fmt: skip
        self.settle(at)

    def settle(self, now):
        """What a run of the pipeline does: post what orders and events owe and have not posted."""
        known = books.issued(self.store, self.programme.programme, list(self.records.values()))
        made = []
        rows = orders.targets(
            self.orders, self.lines, self.programme, self.events, orders.Past({self.customers["me"]: known})
        )
        for row in (dict(zip(orders.COLUMNS, values, strict=True)) for values in rows):
            found = self.store.execute("select coalesce(sum(amount), 0)::bigint, coalesce(max(revision) + 1, 0) from ledger_entries where posting_key = %s", [row["posting_key"]]).fetchall()[0]  # fmt: skip
            if row["amount"] != found[0]:
                made.append(
                    orders.posting(
                        {**row, "difference": row["amount"] - found[0], "revision": found[1]}, self.programme
                    )
                )
        return post(self.store, made, self.programme, now) if made else 0

    def _reward(self, entry, at, record):
        offers.take_reward(self.store, record, entry["reward"], self.act(at), str(uuid4()))

    def _benefit(self, entry, at, record):
        offers.use_benefit(self.store, record, entry["benefit"], self.act(at), str(uuid4()))

    def _plan(self, entry, at, record):
        act, paid = self.act(at), Decimal(entry.get("paid", 0))
        if entry["plan"] == "start":
            self.subscription = subscriptions.start(
                self.store, record, entry["code"], paid, act, str(uuid4())
            ).subscription_id
        elif entry["plan"] == "renew":
            subscriptions.renew(self.store, self.subscription, paid, act, str(uuid4()))
        elif entry["plan"] == "cancel":
            subscriptions.cancel(self.store, self.subscription, act, str(uuid4()))
        else:
            _, back = subscriptions.refund(self.store, self.subscription, act, str(uuid4()))
            assert back == Decimal(entry["back"])

    def _circle(self, entry, at, record):
        if entry["circle"] == "invite":
            circles.invite(self.store, record, self.records[entry["other"]], self.act(at), str(uuid4()))
        else:
            circles.accept(self.store, record, self.act(at), str(uuid4()))

    def _expect(self, entry, at, record):
        wanted, found, act = entry["expect"], {}, self.act(at)
        records = [record]
        if "balance" in wanted:
            group, stands = operations.read(self.store, self.customers[entry.get("who", "me")], act)
            found |= {"balance": stands.balance, "ends": [(ends, n) for ends, n in operations.ending(group, at)]}
        if (way := recall.way(self.store, records, self.programme, at)) is not None:
            level = standing(way)
            found |= {"level": level.tier, "until": level.holds_until, "keep": level.points_to_keep}
        if "plan" in wanted:
            held = subscriptions.standing(self.store, records, act)[0].membership
            found |= {"plan": held.status, "until": held.until}
        found["benefits"] = [e.benefit for e in entitlements(self.store, records, act)]
        read = {"until": when, "ends": lambda value: [(when(ends), n) for ends, n in value]}
        for name, value in wanted.items():
            assert found[name] == read.get(name, lambda same: same)(value), (entry["at"], name)

    def ledger(self):
        rows = self.store.execute(
            "select occurred_at, unit, kind, amount, reason from ledger_entries join ledger_accounts using (account_id) where record_id = any(%s) "
            "order by occurred_at, unit, amount", [list(self.records.values())],
        ).fetchall()  # fmt: skip
        return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_programme_keeps_the_ledger_that_was_computed_by_hand(store, name):
    log = yaml.safe_load((LOGS / f"{name}.yaml").read_text(encoding="utf-8"))
    member = Member(store, shipped(name))
    for entry in log["log"]:
        member.step(entry)
    last = when(log["log"][-1]["at"])
    with store.transaction():
        reconcile.expire(store, member.programme, last)
    wanted = sorted((when(at), unit, kind, amount, reason) for at, unit, kind, amount, reason in log["ledger"])
    assert sorted(member.ledger()) == wanted
    rows = store.execute("select at, plan, kind, amount from plan_events where record_id = any(%s) order by at", [list(member.records.values())]).fetchall()  # fmt: skip
    assert [(at, p, k, Decimal(a)) for at, p, k, a in rows] == [
        (when(at), p, k, Decimal(a)) for at, p, k, a in log.get("plans", [])
    ]
    assert store.execute(UNBALANCED).fetchall() == [(0,)]


@pytest.mark.parametrize("name", ["nike", "sephora", "starbucks"])
def test_the_same_facts_in_any_order_of_arrival_end_in_the_same_ledger(store, name):
    """Levels and limits that decide an earning are bound when it first posts: those programmes are posted at once, in any order."""
    log = yaml.safe_load((LOGS / f"{name}.yaml").read_text(encoding="utf-8"))
    member, facts = Member(store, shipped(name)), []
    for entry in log["log"]:
        if {"order", "return", "event"} & set(entry):
            facts.append(entry)
    random.Random(3).shuffle(facts)
    last = when(log["log"][-1]["at"])
    member.settle = lambda now: 0  # nothing is posted before all is known
    for entry in facts:
        with store.transaction():
            if "order" in entry:
                member._known(entry, when(entry["at"]), f"{member.prefix}:{entry['order']}", "sale")
            else:
                getattr(member, "_return" if "return" in entry else "_event")(
                    entry, when(entry["at"]), member.records[entry.get("who", "me")]
                )
    del member.settle
    with store.transaction():
        member.settle(last)
    wanted = sorted((when(at), unit, kind, amount, reason) for at, unit, kind, amount, reason in log["ledger"] if kind in ("earn", "clawback"))  # fmt: skip
    assert sorted(row for row in member.ledger() if row[2] in ("earn", "clawback")) == wanted


GOOD = """
# by line
programme: p
version: "1"
currency: EUR
units: [{code: u}]
measures: [{code: m, unit: u, window: rolling, length: P1Y}]
ladders:
  - code: l
    measure: m
    levels:
      - {code: low, enter_at: 0}
      - {code: high, enter_at: 100}
rules:
  - {code: r, unit: u, per_money: {units: 1, amount: "1.00"}}
"""


@pytest.mark.parametrize(
    ("line", "wrong", "said"),
    [
        (5, "units: [{code: u, scale: 9}]", ":5: units.0.scale"),
        (6, "measures: [{code: m, unit: x, window: rolling, length: P1Y}]", ":6: measures.0.unit: measure m: unknown unit x, expected one of u"),
        (6, "measures: [{code: m, unit: u, window: rolling, length: 1 year}]", ":6: measures.0.length: Value error, expected an ISO 8601 duration"),
        (6, "measures: [{code: m, unit: u, window: rolling}]", "window: rolling and 'length' belong together"),
        (9, "    measure: n", ":9: ladders.0.measure: ladder l: unknown measure n, expected one of m"),
        (11, "      - {code: low, enter_at: 5}", "levels start at 0 and rise"),
        (12, "      - {code: high, enter_at: 100, benefits: [gift]}", ":12: ladders.0.levels.1.benefits: level high: unknown benefit gift, expected one of none"),
        (12, "      - {code: high, enter_at: 100, keep_at: 200}", "keep_at cannot be above enter_at"),
        (14, "  - {code: r, unit: u, fixed: 1, per_item: 2}", ":14: rules.0: Value error, give exactly one of per_money"),
        (14, "  - {code: r, unit: u, event: review, per_item: 2}", "only orders have articles"),
        (14, "  - {code: r, unit: u, fixed: 1, limit: {per: day}}", "give either times or units"),
        (14, "  - {code: r, unit: u, fixed: 1, wher: {}}", ":14: rules.0.wher: Extra inputs are not permitted"),
        (4, "currency: euro", ":4: currency"),
        (4, "currency: EUR\ntimezone: Mars/Base", "no time zone of this name"),
        (5, "units: [{code: u, expiry: {mode: after}}]", "mode after needs 'after'"),
        (5, "units: [{code: u, expiry: {mode: calendar}}]", "mode calendar and 'dates' (MM-DD) belong together"),
        (5, "units: [{code: u}, {code: u}]", ":5: units.1: unit u stands twice"),
        (5, "units: [{code: u, expiry: {mode: calendar, dates: [02-30]}}]", "02-30 is no day of a year"),
        (5, "units: [{code: u, expiry: {mode: after, after: P1Y, activities: [visit]}}]", "unknown kind of entry or rule visit"),
        (12, "      - {code: low, enter_at: 100}", "level low stands twice"),
        (12, "      - {code: high, enter_at: 100, expiry: {u: {mode: inactivity, after: P1Y}}}", "activity moves the unit's own"),
        (9, "    measure: m\n    upgrade: period_end", "goes with a validity to the end of a year"),
        (14, "  - {code: r, unit: u, fixed: 1, active: {month_days: [45]}}", ":14: rules.0.active.month_days.0"),
        (4, "currency: EUR\nbenefits: [{code: b, kind: birthday}]", "a birthday needs a 'window'"),
        (4, 'currency: EUR\nplans: [{code: p, price: "0", every: P1M}]', "a plan has a price, or a trial"),
        (14, "  - {code: r, unit: u, fixed: 1, on: order}", "YAML reads the key 'on' as true or false"),
    ],
)  # fmt: skip
def test_a_wrong_programme_is_refused_and_the_line_named(tmp_path, line, wrong, said):
    lines = GOOD.strip().splitlines()
    lines[line - 1] = wrong
    path = tmp_path / "p.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_yaml(path, Programme)
    assert said in str(error.value)
    assert f"{path}:" in str(error.value)


def write(workspace, name, text):
    folder = workspace.path("programmes")
    (folder / name).write_text(text, encoding="utf-8")


def test_a_version_holds_from_the_day_it_starts(new_workspace):
    workspace = new_workspace()
    (workspace.path("programmes") / "default.yaml").unlink()
    write(workspace, "a.yaml", GOOD)
    write(
        workspace,
        "b.yaml",
        GOOD.replace('version: "1"', 'version: "2"\nstarts: 2026-07-01\ntimezone: Asia/Shanghai').replace(
            "units: 1, ", "units: 3, "
        ),
    )
    programme = load_programme(workspace)
    assert programme.version == "2"
    assert programme.at(when("2026-06-30T15:59Z")).version == "1", "it is still June in Shanghai"
    assert programme.at(when("2026-06-30T16:00Z")).version == "2"
    order = {"kind": "sale", "order_id": "o", "record_id": "r", "original_order_id": None, "original_key": None, "currency": "EUR", "is_member": True, "points_redeemed": 0}  # fmt: skip
    for at, points, version in (("2026-06-30T12:00Z", 10, "1"), ("2026-07-02T12:00Z", 30, "2")):
        made, _ = orders.sale({**order, "ordered_at": when(at)}, [Line(1, "X", 1, Decimal("10.00"))], programme)
        assert [(p.amount, programme.at(p.occurred_at).version) for p in made] == [(points, version)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("programme: p", "programme: q").replace('"1"', '"2"\nstarts: 2026-07-01'), "expected one"),
        (lambda text: text.replace('"1"', '"2"'), "does not follow"),
        (lambda text: text.replace('"1"', '"1"\nstarts: 2026-07-01'), "does not follow"),
        (lambda text: text.replace('"1"', '"2"\nstarts: 2026-07-01').replace("{code: u}", "{code: u, scale: 2}"), "drops a unit or changes its scale"),
    ],
)  # fmt: skip
def test_versions_that_do_not_follow_one_another_are_refused(new_workspace, change, said):
    workspace = new_workspace()
    (workspace.path("programmes") / "default.yaml").unlink()
    write(workspace, "a.yaml", GOOD)
    write(workspace, "b.yaml", change(GOOD))
    with pytest.raises(ConfigError, match=said):
        load_programme(workspace)


def test_the_short_form_of_older_workspaces_still_holds(tmp_path):
    short = "programme: default\nversion: '1'\nunit: points\ncurrency: GBP\nearn: {points_per_unit: 2, exclude_skus: [post]}\ntiers: [{name: a, points: 0}, {name: b, points: 50}]\ntier_window_days: 90\nexpiry: never\n"
    path = tmp_path / "p.yaml"
    path.write_text(short, encoding="utf-8")
    found = load_yaml(path, Programme)
    assert (found.unit, found.excluded, found.key("pos:1", "earn")) == ("points", {"POST"}, "default|points|pos:1|earn")
    assert found.measure(found.ladder).length.text == "P90D"
    path.write_text(short.replace("points_per_unit: 2", "points_per_pound: 2"), encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown key points_per_pound"):
        load_yaml(path, Programme)


@pytest.fixture
def gold(store):
    """A customer of two records whose stars end only because neither alone is gold."""
    member = Member(store, shipped("starbucks"))
    with store.transaction():
        assignment.apply(
            store,
            [assignment.Move(member.records["other"], member.customers["me"])],
            when("2026-01-01T00:00Z"),
            "test",
            "test",
        )
    for number, who in enumerate(("me", "other")):
        member.step(
            {"at": f"2026-01-0{number + 2}T12:00Z", "order": f"o{number}", "lines": {"CAKE": "260.00"}, "who": who}
        )
    return member


def test_a_split_takes_the_level_and_what_it_kept_lives_thirty_days_more(gold):
    me = gold.customers["me"]
    # alone, six months and the end of July would have ended these stars; together they are gold
    group, stands = operations.read(gold.store, me, gold.act(when("2026-10-15T12:00Z")))
    assert stands.balance == 520
    with gold.store.transaction():
        assignment.apply(
            gold.store,
            [assignment.Move(gold.records["other"], gold.customers["other"])],
            when("2026-10-20T12:00Z"),
            "test",
            "test",
        )
    at = when("2026-11-19T12:59Z")
    for (
        customer
    ) in gold.customers.values():  # whoever left and whoever stayed; thirty local days, over the end of summer time
        group, stands = operations.read(gold.store, customer, gold.act(at))
        assert (stands.balance, operations.ending(group, at)) == (260, [(when("2026-11-19T13:00Z"), 260)])
    with gold.store.transaction():
        reconcile.expire(gold.store, gold.programme, when("2026-11-20T12:00Z"))
    for customer in gold.customers.values():
        assert operations.read(gold.store, customer, gold.act(when("2026-11-20T12:00Z")))[1].balance == 0
    written = gold.ledger()
    with gold.store.transaction():
        reconcile.expire(gold.store, gold.programme, when("2026-11-21T12:00Z"))
    assert gold.ledger() == written, "what was written off stays so"
    assert gold.store.execute(UNBALANCED).fetchall() == [(0,)]


def test_a_merge_and_its_split_post_nothing_and_leave_levels_as_they_were(store):
    member = Member(store, shipped("sephora"))
    for number, who in enumerate(("me", "other")):
        member.step(
            {"at": f"2026-03-0{number + 2}T12:00Z", "order": f"o{number}", "lines": {"SET": "200.00"}, "who": who}
        )
    at = when("2026-04-01T12:00Z")

    def levels():
        return [recall.way(store, assignment.records(store, [c]), member.programme, at).level.code for c in dict.fromkeys(assignment.customer(store, [r]) for r in member.records.values())]  # fmt: skip

    before = member.ledger()
    assert levels() == ["insider", "insider"]
    with store.transaction():
        assignment.apply(store, [assignment.Move(member.records["other"], member.customers["me"])], at, "test", "test")
    assert levels() == ["vib"]
    assert member.settle(at) == 0
    with store.transaction():
        assignment.apply(
            store, [assignment.Move(member.records["other"], member.customers["other"])], at, "test", "test"
        )
    assert levels() == ["insider", "insider"]
    assert member.ledger() == before


def versions(*texts):
    """Programmes that know one another, the newest last."""
    made = [Programme.model_validate(yaml.safe_load(text)) for text in texts]
    for version in made:
        version._versions = tuple(made)
    return made[-1]


LEVELLED = GOOD.replace(
    'per_money: {units: 1, amount: "1.00"}', 'per_money: {units: 1, amount: "1.00"}, by_tier: true'
).replace("enter_at: 100}", 'enter_at: 100, earn_multiplier: "2"}')


def newer(text, starts):
    return text.replace('version: "1"', f'version: "2"\nstarts: {starts}')


def bought(member, name, at, amount="100.00"):
    member.step({"at": at, "order": name, "lines": {"X": amount}})


def earned(member):
    return [(unit, amount) for _, unit, kind, amount, _ in member.ledger() if kind in ("earn", "adjust")]


def test_a_version_that_has_not_started_rules_nothing(store):
    future = newer(
        LEVELLED.replace("enter_at: 100,", "enter_at: 9000,").replace("units: 1,", "units: 7,"), "2099-01-01"
    )
    member = Member(store, versions(LEVELLED, future))
    bought(member, "a", "2026-01-05T12:00Z")
    bought(member, "b", "2026-01-06T12:00Z")
    assert earned(member) == [("u", 100), ("u", 200)], "gold by the version that holds, at its rate"
    assert (
        recall.way(
            store, [member.records["me"]], member.act(when("2026-01-07T12:00Z")).programme, when("2026-01-07T12:00Z")
        ).level.code
        == "high"
    )


def test_a_newer_version_takes_nothing_back_that_an_older_gave(store):
    plain = newer(GOOD, "2026-06-01")
    member = Member(store, versions(LEVELLED, plain))
    bought(member, "a", "2026-01-05T12:00Z")
    bought(member, "b", "2026-01-06T12:00Z")
    with store.transaction():
        assert member.settle(when("2026-07-01T12:00Z")) == 0
    bought(member, "c", "2026-07-02T12:00Z")
    assert earned(member) == [("u", 100), ("u", 200), ("u", 100)]


def test_a_version_that_adds_a_unit_leaves_orders_before_it_alone(store):
    wider = newer(
        GOOD.replace("units: [{code: u}]", "units: [{code: star}, {code: u}]").replace("units: 1,", "units: 3,"),
        "2026-06-01",
    )
    wider = wider.replace("rules:\n", "rules:\n  - {code: s, unit: star, fixed: 5}\n")
    member = Member(store, versions(GOOD, wider))
    bought(member, "a", "2026-01-05T12:00Z")
    assert earned(member) == [("u", 100)]
    bought(member, "b", "2026-06-05T12:00Z")
    assert sorted(earned(member)) == [("star", 5), ("u", 100), ("u", 300)]


def test_a_limit_in_units_holds_through_every_later_run(store):
    rules = GOOD.replace(
        'per_money: {units: 1, amount: "1.00"}',
        'per_money: {units: 1, amount: "1.00"}, limit: {units: 100, per: month}',
    )
    member = Member(store, versions(rules))
    bought(member, "a", "2026-01-05T12:00Z", "70.00")
    bought(member, "b", "2026-01-06T12:00Z", "300.00")
    bought(member, "c", "2026-01-07T12:00Z", "300.00")
    with store.transaction():
        assert member.settle(when("2026-01-08T12:00Z")) == 0
    assert earned(member) == [("u", 70), ("u", 30)]


def test_a_limit_counts_smallest_parts_alike_in_one_run_and_in_two(store):
    rules = GOOD.replace("[{code: u}]", "[{code: u, scale: 2}]").replace(
        'per_money: {units: 1, amount: "1.00"}', 'per_money: {units: 1, amount: "1.00"}, limit: {units: 2, per: ever}'
    )
    member = Member(store, versions(rules))
    for number in range(4):
        bought(member, f"o{number}", f"2026-01-0{number + 1}T12:00Z", "0.90")
    assert earned(member) == [("u", 90), ("u", 90), ("u", 20)]


def reviewed(member, at, amount="0", of=None):
    member.step({"at": at, "event": "Product  Reviewed", "amount": amount, **({"of": of} if of else {})})


REVIEWS = GOOD.replace(
    '  - {code: r, unit: u, per_money: {units: 1, amount: "1.00"}}',
    "  - {code: r, event: Product Reviewed, unit: u, fixed: 10, limit: {times: 1, per: order}, where: {amount_from: 1}}",
)


def test_reviews_of_no_order_are_each_their_own_and_a_later_run_adds_nothing(store):
    member = Member(store, versions(REVIEWS))
    for day in (1, 2, 3):
        reviewed(member, f"2026-01-0{day}T12:00Z", "5")
    with store.transaction():
        assert member.settle(when("2026-01-08T12:00Z")) == 0
    assert earned(member) == [("u", 10)] * 3


def test_an_event_that_is_corrected_gives_back_what_it_gave(store):
    member = Member(store, versions(REVIEWS))
    reviewed(member, "2026-01-01T12:00Z", "5")
    member.events[0]["amount"] = Decimal(0)
    with store.transaction():
        assert member.settle(when("2026-01-02T12:00Z")) == 1
    assert earned(member) == [("u", 10), ("u", -10)] or earned(member) == [("u", -10), ("u", 10)]


def test_an_event_that_is_called_like_an_order_is_another_thing(store):
    member = Member(
        store,
        versions(
            REVIEWS.replace("rules:\n", 'rules:\n  - {code: s, unit: u, per_money: {units: 1, amount: "1.00"}}\n')
        ),
    )
    bought(member, "e0", "2026-01-01T12:00Z")
    reviewed(member, "2026-01-02T12:00Z", "5")
    with store.transaction():
        assert member.settle(when("2026-01-03T12:00Z")) == 0
    assert earned(member) == [("u", 100), ("u", 10)]


def test_what_a_source_forgot_still_counts_for_level_and_limit(store):
    member = Member(store, versions(LEVELLED))
    bought(member, "a", "2026-01-05T12:00Z")
    member.orders.clear()
    bought(member, "b", "2026-01-06T12:00Z")
    assert earned(member) == [("u", 100), ("u", 200)]
    with store.transaction():
        assert member.settle(when("2026-01-07T12:00Z")) == 0


def test_only_members_of_a_paid_programme_earn(store):
    paid = GOOD.replace("currency: EUR", 'currency: EUR\njoin: paid\nplans: [{code: p, price: "5", every: P1M}]')
    member = Member(store, versions(paid))
    known = {
        "kind": "sale",
        "order_id": "o",
        "record_id": member.records["me"],
        "original_order_id": None,
        "original_key": None,
        "currency": "EUR",
        "is_member": True,
        "points_redeemed": 0,
    }
    sold = [Line(1, "X", 1, Decimal("10.00"))]

    def points(at):
        past = recall.recall(store, member.records["me"], [member.records["me"]], member.programme)
        return orders.sale({**known, "ordered_at": when(at)}, sold, member.programme, past)

    assert points("2026-01-05T12:00Z")[1] == "no_plan"
    with store.transaction():
        subscriptions.start(
            store, member.records["me"], "p", Decimal(5), member.act(when("2026-01-06T12:00Z")), str(uuid4())
        )
    assert [p.amount for p in points("2026-01-07T12:00Z")[0]] == [10]
    assert points("2026-03-07T12:00Z")[1] == "no_plan"


@pytest.mark.parametrize("name", ["nike", "prime"])
def test_points_at_a_till_in_a_programme_where_nothing_can_be_spent_post_nothing(name):
    rules = shipped(name)
    order = {"kind": "sale", "order_id": "o", "record_id": "r", "original_order_id": None, "original_key": None, "currency": "USD", "is_member": True, "points_redeemed": 50, "ordered_at": NOW}  # fmt: skip
    made, _ = orders.sale(order, [Line(1, "X", 1, Decimal("100.00"))], rules)
    assert [p.kind for p in made] == (["earn"] if name == "nike" else [])


def test_a_multiple_leaves_articles_excluded(store):
    rules = (
        GOOD.replace('amount: "1.00"}', 'amount: "1.00"}, exclude_skus: [POST]').rstrip()
        + "\n  - {code: d, unit: u, times: 2}\n"
    )
    assert versions(rules).excluded == {"POST"}


def test_a_move_that_loses_no_exemption_prolongs_nothing(store):
    member = Member(store, shipped("sephora"))
    bought(member, "a", "2026-01-05T12:00Z")
    with store.transaction():
        assignment.apply(
            store, [assignment.Move(member.records["me"], uuid7(NOW))], when("2027-07-04T12:00Z"), "test", "test"
        )
        reconcile.expire(store, member.programme, when("2027-07-06T12:00Z"))
    assert [(at, n) for at, unit, kind, n, _ in member.ledger() if kind == "expire"] == [
        (when("2027-07-05T11:00Z"), -100)
    ]
