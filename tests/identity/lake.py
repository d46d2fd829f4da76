"""A real lake of contact records that the tests of identity share, and a run over it."""

import random
from datetime import UTC, datetime

import polars as pl

from cdp.identity_rules import shipped_rules
from cdp.lake import delta, register
from cdp.lake.build import build, incoming, sql_file
from cdp.standard import names
from cdp.standard.dictionary import build_keys
from cdp.store import assignment
from cdp.store.assignment import Move
from identity import artefact, edges, graph, lifecycle, pairs, scopes, sharing, stable, steward

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIELDS = ("given_name", "family_name", "birth_date", "email", "phone", "postal_code", "city")


def person_rows(count, seed):
    """Contact records of people who move, mistype and share homes; Chinese ones among them."""
    rng = random.Random(seed)
    rows = []
    while len(rows) < count:
        person = len(rows)
        given, family = (
            rng.choice(["Ann", "Robert", "晓明", "Selina", "Thomas", "Grace", "文涛"]),
            rng.choice(["Clark", "王", "Martin", "Allen", "Price", "欧阳"]),
        )
        born = f"{rng.randint(1940, 2005)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        for _ in range(rng.randint(1, 5)):
            typed = given if rng.random() > 0.15 or len(given) < 4 else given[:2] + given[3:]
            rows.append((typed, family, born if rng.random() > 0.3 else None, f"m{person}x{seed}@post.cn" if rng.random() > 0.5 else None,
                         f"+4477009{person:05d}" if rng.random() > 0.6 else None, f"NG{person % 40}{person % 9}AB" if rng.random() > 0.3 else None, "leeds"))  # fmt: skip
    return rows[:count]


def land(lake, rows, first=0, *, anew=True):
    made = []
    for at, row in enumerate(rows, first):
        said = dict(zip(FIELDS, row, strict=True))
        name = names.name(said["given_name"], said["family_name"], None)
        made.append({"record_id": f"web:order:{at:06d}", "source": "web", "kind": "order", "source_key": f"{at:06d}", "identifier": None,
                     "first_seen": NOW, "last_seen": NOW, **said, "full_name": name.full, "given_key": name.given_key, "family_key": name.family_key,
                     "full_key": name.full_key, "is_full_name": True, "country": None, "language": None})  # fmt: skip
    frame = pl.DataFrame(
        made,
        schema_overrides={
            "identifier": pl.String,
            "country": pl.String,
            "language": pl.String,
            "email": pl.String,
            "phone": pl.String,
            "birth_date": pl.String,
            "postal_code": pl.String,
            "city": pl.String,
        },
    )
    frame = frame.with_columns(pl.col("birth_date").str.to_date())
    held = pl.concat([frame.select("record_id", pl.lit(kind).alias("type"), pl.col(kind).alias("value"), "first_seen", "last_seen", pl.lit(False).alias("blocked")).drop_nulls("value") for kind in ("email", "phone")])  # fmt: skip
    shapes = {"core__record_links": "left_id varchar, right_id varchar, type varchar", "core__orders": "order_id varchar, record_id varchar, original_order_id varchar",
              "core__interactions": "record_id varchar, order_id varchar, order_record_id varchar"}  # fmt: skip

    def write():
        for table, content in (("core__contact_records", frame), ("core__record_identifiers", held)):
            with incoming(lake, content.to_arrow()):
                verb = (
                    f"create or replace table lake.main.{table} as"
                    if anew
                    else f"insert into lake.main.{table} by name"
                )
                lake.connection.execute(f"{verb} from incoming")
                if anew:
                    delta.tell_everything(lake, table)
                else:
                    delta.tell(lake, table, {"record_id": "select record_id from incoming"})
            register.record(lake, table, f"{first}+{len(rows)}")
        for table, columns in shapes.items() if anew else ():
            lake.connection.execute(f"create or replace table lake.main.{table} ({columns})")
            register.record(lake, table, "empty")

    lake.write(write, "land")


def change(lake, table, statement, records):
    """Write to a landed table and tell whose rows changed, as the stages before do."""

    def write():
        lake.connection.execute(statement)
        named = ", ".join(f"('{record}')" for record in records)
        delta.tell(lake, table, {"record_id": f"select record_id from (values {named}) as t(record_id)"})
        register.record(lake, table, statement)

    lake.write(write, "change")


def leave(lake, records):
    """These records are gone."""
    named = ", ".join(f"'{record}'" for record in records)
    for table in ("core__contact_records", "core__record_identifiers"):
        change(lake, table, f"delete from lake.main.{table} where record_id in ({named})", records)


def make(lake, table):
    build(lake, sql_file("identity", table), part=scopes.PARTS[table])


def run(opened_, rules=None):
    """Everything from contact records to customers, as the assets do it."""
    lake, store = opened_.lake, opened_.store
    rules = rules or shipped_rules()
    models = opened_.workspace.path("models")
    build_keys(lake)
    make(lake, "core__identifier_holders")
    sharing.build_sharing(lake, rules)
    make(lake, "core__payloads")
    make(lake, "core__identifier_edges")
    lifecycle.build_model(lake, models, rules)
    trained = artefact.load(models)
    compared = pairs.build_pairs(lake, trained)
    edges.build_edges(lake, trained)
    steward.build_steward_links(lake, store)
    make(lake, "core__edges")
    graph.build_clusters(lake, trained, rules, 10.0)
    stable.build_record_customers(lake, store, NOW)
    churn = stable.churn(lake, store)
    wanted = dict(lake.rows("select record_id, customer_id from core__record_customers"))
    held = dict(store.execute("select record_id, customer_id::text from assignment").fetchall())
    with store.transaction():
        moves = [Move(r, wanted.get(r)) for r in sorted({*wanted, *held}) if wanted.get(r) != held.get(r)]
        assignment.apply(store, moves, NOW, "test", "pipeline")
    return compared, churn, wanted


def forget(lake):
    """As `--full` does: every derived identity table is made again."""
    keep = "'core__contact_records', 'core__record_identifiers', 'core__record_links', 'core__orders', 'core__interactions'"
    lake.write(
        lambda: lake.connection.execute(f"delete from lake.main.ops__builds where table_name not in ({keep})"), "forget"
    )
    lake.forget()


def partition(assigned):
    found = {}
    for record, customer in assigned.items():
        found.setdefault(customer, set()).add(record)
    return {frozenset(group) for group in found.values()}
