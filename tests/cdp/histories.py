"""Worlds of consent: customers, their records and points, and what was said, for the laws of the consent function."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import duckdb
import polars as pl

from cdp.consent import tables
from cdp.consent.customers import flags
from cdp.consent.flags import customer_flags
from cdp.consent.policy import Jurisdiction, Policy
from cdp.consent.resolve import Decision, Link, Material
from cdp.lake.build import sql_file

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOW = T0 + timedelta(days=100)
POLICY = Policy(
    version="test",
    purposes={
        "email_marketing": {"point": "email"}, "sms_marketing": {"point": "phone"}, "analytics": {}, "sharing": {},
        "processing": {}, "service": {"basis": "contract"},
    },
    restriction="processing",
    default_jurisdiction="plain",
    strictest_first=("strict", "plain", "open"),
    jurisdictions={
        "strict": Jurisdiction(
            countries=("CN",), bases=("consent", "contract"), separate_consent={"sharing": "to_others"},
            double_opt_in=("email_marketing",), grant_lasts_days=60,
        ),
        "plain": Jurisdiction(countries=("GB", "DE"), bases=("consent", "legitimate_interest")),
        "open": Jurisdiction(
            countries=("US",), bases=("consent",), unasked={"analytics": "opt_out", "sharing": "opt_out", "sms_marketing": "opt_out"}
        ),
    },
)  # fmt: skip
POINTS = {"email": ("a@x.org", "b@x.org", "c@x.org"), "phone": ("+1", "+2")}
PURPOSES = ["email_marketing", "email_marketing", "sms_marketing", "analytics", "sharing", "processing", "service"]
STATUSES = ["granted", "granted", "granted", "denied", "withdrawn", "expired", "pending", "unknown"]
DECIDED = (
    "decision_id", "record_id", "subject_type", "subject", "purpose", "status", "captured_at", "received_at", "basis",
    "expires_at", "confirmed_at", "separate_consent", "explicit",
)  # fmt: skip
TIME = pl.Datetime("us", "UTC")
TIMES = dict.fromkeys(("captured_at", "received_at", "expires_at", "confirmed_at"), TIME)


@dataclass
class World:
    """Customers with their links, and all that was said."""

    customers: dict[str, list[Link]] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)

    def material(self, customer: str) -> Material:
        """What is known of a customer: its records' decisions, and all that were made on a point it holds."""
        links = self.customers[customer]
        mine = {link.record_id for link in links}
        held = {point for link in links for point in link.points}
        heard = [d for d in self.decisions if d.record_id in mine or (d.subject_type != "record" and d.subject in held)]
        points = {kind: sorted(point for point in held if kind_of(point) == kind) for kind in POINTS}
        return Material(heard, links, points)


def kind_of(point: str) -> str:
    """The type of a contact point."""
    return "email" if "@" in point else "phone"


def world(random: Random, name: str) -> World:
    """Two customers of one to three records that may share points, and up to nine decisions."""
    made, owners = World(), []
    for number in range(2):
        links = []
        for place in range(random.randint(1, 3)):
            points = {p + name for values in POINTS.values() for p in values if random.random() < 0.35}
            country = random.choice([None, None, "GB", "US", "CN", "BR"])
            links.append(Link(f"{name}:r{number}{place}", random.choice([5.0, 12.0, 99.0]), frozenset(points), country))
        made.customers[f"{name}:c{number}"] = links
        owners += links
    for place in range(random.randint(0, 9)):
        made.decisions.append(said(random, f"{name}:d{place}", random.choice(owners).record_id))
    return made


def said(random: Random, name: str, record: str) -> Decision:
    """One decision of a record, in any way that the data can say it."""
    purpose, status = random.choice(PURPOSES), random.choice(STATUSES)
    kind = {"email_marketing": "email", "sms_marketing": "phone"}.get(purpose)
    on_record = kind is None or random.random() < 0.4
    at = T0 + timedelta(days=random.randint(0, 110))
    return Decision(
        name, record, "record" if on_record else kind, record if on_record else random.choice(POINTS[kind]) + record.split(":")[0], purpose, status,
        None if random.random() < 0.2 else at, at,
        basis=random.choice(["consent"] * 6 + ["legitimate_interest"]),
        expires_at=at + timedelta(days=random.randint(1, 60)) if random.random() < 0.25 else None,
        confirmed_at=at + timedelta(days=random.randint(0, 5)) if random.random() < 0.6 else None,
        separate_consent="to_others" if random.random() < 0.5 else None,
        explicit=random.random() < 0.8,
    )  # fmt: skip


def merged(one: World) -> World:
    """The same records as one customer."""
    return World({"merged": [link for links in one.customers.values() for link in links]}, one.decisions)


def by_function(made: World, policy: Policy = POLICY, now: datetime = NOW) -> dict[tuple[str, str, str | None], tuple]:
    """What the pure function answers, without silence that allows nothing and purposes that need no asking."""
    return {
        (customer, f.purpose, f.contact_point): (
            f.allowed, f.status, f.basis, f.reason, f.decided_by, f.conflict, ",".join(f.conflicting), f.jurisdiction,
        )
        for customer in made.customers
        for f in customer_flags(made.material(customer), policy, now)
        if f.basis != "contract" and (f.allowed or f.status != "unknown")
    }  # fmt: skip


def by_sql(
    worlds: list[World], policy: Policy = POLICY, now: datetime = NOW
) -> dict[tuple[str, str, str | None], tuple]:
    """What the twin answers for all of them at once."""
    links = [(c, link) for w in worlds for c, members in w.customers.items() for link in members]
    with duckdb.connect() as engine:
        engine.execute("set timezone = 'UTC'")
        _fill(engine, "core__record_customers", ["record_id", "customer_id"], [(li.record_id, c) for c, li in links])
        _fill(engine, "core__clusters", ["record_id", "link_weight"], [(li.record_id, li.weight) for _, li in links])
        _fill(
            engine, "core__contact_records", ["record_id", "country"], [(li.record_id, li.country) for _, li in links]
        )
        held = [(li.record_id, kind_of(point), point, False) for _, li in links for point in sorted(li.points)]
        _fill(engine, "core__record_identifiers", ["record_id", "type", "value", "blocked"], held)
        decided = [tuple(getattr(d, name) for name in DECIDED) for w in worlds for d in w.decisions]
        _fill(engine, "core__consent_decisions", [*DECIDED[:-1], "is_explicit"], decided)
        for table, rows in {
            "core__consent_rules": tables._rules,
            "core__jurisdiction_countries": tables._countries,
        }.items():
            schema, values = rows(policy)
            engine.register("rows", pl.DataFrame(values, schema=schema, orient="row").to_arrow())
            engine.execute(f"create table {table} as from rows")
        engine.execute(
            f"create table core__customer_jurisdictions as {sql_file('consent', 'core__customer_jurisdictions').sql}"
        )
        found = engine.execute(flags().sql, {"now": now}).fetchall()
    return {row[:3]: row[3:] for row in found}


def _fill(engine: duckdb.DuckDBPyConnection, table: str, names: list[str], rows: list[tuple]) -> None:
    strings = {name: TIMES.get(name, pl.String) for name in names}
    kinds = {
        **strings,
        **{n: pl.Boolean for n in ("blocked", "is_explicit") if n in names},
        **({"link_weight": pl.Float64} if "link_weight" in names else {}),
    }
    engine.register("rows", pl.DataFrame(rows, schema=kinds, orient="row").to_arrow())
    engine.execute(f"create table {table} as from rows")


def with_denial(made: World, random: Random) -> World:
    """The same world where one more record says no."""
    links = [link for members in made.customers.values() for link in members]
    extra = replace(
        said(random, "extra", random.choice(links).record_id), status=random.choice(["denied", "withdrawn", "expired"])
    )
    return World(made.customers, [*made.decisions, extra])
