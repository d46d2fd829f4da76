"""Link and cluster many simulated contact records, against a textbook Splink recipe on the same records in the same run.

    python -m benchmarks.scale [--records 1000000] [--no-textbook] [--no-increment]
    python -m benchmarks.scale --extrapolate 10000000      (from the results of two sizes that are there)

Four figures: seconds a candidate pair and in total, ours as a ratio to the textbook's; peak memory; the time of a run over
1% new records as a share of the full run's; and how far that run's partition agrees with a full run's under the same model.
"""

import argparse
import json
import logging
import math
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psutil
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from benchmarks import live
from cdp.cli.pipeline import initialise
from cdp.identity_rules import shipped_rules
from cdp.lake.build import build, sql_file
from cdp.lake.engine import Lake, open_lake
from cdp.lake.tables import create_registers
from cdp.settings import Settings
from cdp.simulate import vocabulary
from cdp.standard.dictionary import build_keys
from cdp.store.connect import connect, database, owner_address
from identity import edges, graph, lifecycle, pairs, scopes, sharing, steward

RESULT = Path(__file__).parent / "results" / "scale.json"
RECORDS_A_PERSON = 4
logging.getLogger("splink").setLevel(logging.ERROR)


def generate(connection: duckdb.DuckDBPyConnection, records: int, first: int, people: int) -> None:
    """`made`: contact records of `people` people with the errors of real ones; record numbers start at `first`."""
    given = [*vocabulary.GIVEN, *(a + b for a in "伟芳娜秀敏静丽强" for b in "磊军洋勇艳杰涛明")]
    parts = [
        "an",
        "el",
        "or",
        "ber",
        "mar",
        "ton",
        "wick",
        "ley",
        "ford",
        "dal",
        "ing",
        "ham",
        "stan",
        "cross",
        "well",
        "by",
        "gar",
        "ros",
    ]
    family = [*vocabulary.FAMILY, *((a + b + c).title() for a in parts for b in parts for c in parts[:8])]
    connection.execute(
        "create or replace temp table g as select unnest($n) as name, generate_subscripts($n, 1) as no", {"n": given}
    )
    connection.execute(
        "create or replace temp table f as select unnest($n) as name, generate_subscripts($n, 1) as no", {"n": family}
    )
    connection.execute(
        f"""
        create or replace temp table made as
        with numbered as (
            select i, cast(hash(i, 'who') % {people} as bigint) as who from range({first}, {first + records}) as t(i)
        ), people as (
            select i, who, cast(hash(who, 'home') % ({people} // 2) as bigint) as home,
                -- squares make some names common and most rare, as names are
                1 + cast(pow((hash(who, 'g') % 1000003) / 1000003, 2) * {len(given)} as bigint) as g_no,
                1 + cast(pow((hash(who // 2, 'f') % 1000003) / 1000003, 2) * {len(family)} as bigint) as f_no,
                cast(hash(i, 'noise') % 1000000007 as bigint) as noise
            from numbered
        ), said as (
            select i, who, home, noise, g.name as given, f.name as family,
                date '1940-01-01' + cast(hash(who, 'born') % 22000 as integer) as born
            from people join g on g.no = g_no join f on f.no = f_no
        )
        select 'web:order:r' || lpad(i::varchar, 9, '0') as record_id, i, who,
            case when noise % 11 = 0 and length(given) > 3 then left(given, 2) || substr(given, 4) else given end as given_name,
            case when noise % 13 = 0 and length(family) > 4 then substr(family, 1, 2) || substr(family, 4, 1) || substr(family, 3, 1) || substr(family, 5)
                else family end as family_name,
            case when noise % 3 = 0 then null when noise % 17 = 1 then date_trunc('year', born)::date else born end as birth_date,
            case when noise % 5 < 2 then null else lower(left(given, 1)) || who || '@' || (['gmail.com', 'qq.com', 'yahoo.co.uk'])[1 + who % 3] end as email,
            case when noise % 7 < 4 then null else '+4477' || lpad((who * 7 % 100000000)::varchar, 8, '0') end as phone,
            case when noise % 4 = 0 then null else (['NG', 'LS', 'SW', 'M', 'B', 'G'])[1 + home % 6] || (1 + home // 7 % 28) || (home % 10)
                || chr(65 + (home // 11 % 26)::integer) || chr(65 + (home // 289 % 26)::integer) end as postal_code,
            (['london', 'leeds', 'nottingham', 'manchester', '北京', '上海'])[1 + home % 6] as city
        from said
        """
    )


def land(lake: Lake, records: int, first: int, people: int, *, anew: bool) -> None:
    """Put generated records into the lake as the standardised tables, as a run would have left them."""
    from cdp.standard import names

    con = lake.connection
    generate(con, records, first, people)
    import polars as pl

    spoken = lake.rows("select distinct given_name, family_name from made")
    read = [(g, f, n.given_key, n.family_key, n.full_key) for g, f in spoken for n in [names.name(g, f, None)]]
    schema = dict.fromkeys(("g", "f", "given_key", "family_key", "full_key"), pl.String)
    con.register("named", pl.DataFrame(read, schema=schema, orient="row").to_arrow())
    con.execute("create or replace temp table keyed as from named")
    con.unregister("named")
    contact = """
        select record_id, 'web' as source, 'order' as kind, 'r' || i as source_key, cast(null as varchar) as identifier,
            timestamptz '2026-01-01' as first_seen, timestamptz '2026-01-01' + to_seconds(i % 1000000) as last_seen, given_name, family_name,
            given_name || ' ' || family_name as full_name, given_key, family_key, full_key, true as is_full_name, birth_date, email,
            phone, postal_code, city, 'GB' as country, 'en' as language
        from made join keyed on g = given_name and f = family_name
    """
    identifier = """
        select record_id, 'email' as type, email as value, first_seen, last_seen, false as blocked from contacts where email is not null
        union all select record_id, 'phone', phone, first_seen, last_seen, false from contacts where phone is not null
    """
    con.execute(f"create or replace temp table contacts as {contact}")
    empty = {
        "core__record_links": "left_id varchar, right_id varchar, type varchar",
        "core__orders": "order_id varchar, record_id varchar, original_order_id varchar",
        "core__interactions": "record_id varchar, order_id varchar, order_record_id varchar",
    }

    def write() -> None:
        from cdp.lake import delta, register

        for table, query in (("core__contact_records", "from contacts"), ("core__record_identifiers", identifier)):
            verb = f"create or replace table lake.main.{table} as" if anew else f"insert into lake.main.{table}"
            con.execute(f"{verb} {query}")
            if anew:
                delta.tell_everything(lake, table)
            else:
                delta.tell(lake, table, {"record_id": f"select record_id from ({query})"})
            register.record(lake, table, f"{first}+{records}")
        for table, columns in empty.items() if anew else ():
            con.execute(f"create or replace table lake.main.{table} ({columns})")
            register.record(lake, table, "empty")

    lake.write(write, "land")


STEPS = (
    "keys",
    "payloads",
    "holders",
    "sharing",
    "identifier edges",
    "model",
    "pairs",
    "probabilistic edges",
    "edges",
    "clusters",
)


def make(lake: Lake, table: str) -> None:
    build(lake, sql_file("identity", table), part=scopes.PARTS[table])


def resolve(lake: Lake, store: Any, models: Path) -> dict[str, float]:
    """Everything from contact records to clusters; seconds of each step."""
    rules, spent = shipped_rules(), {}
    trained: Any = None

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.monotonic()
        done = work()
        spent[name] = round(time.monotonic() - began, 2)
        print(f"  {name:<22} {spent[name]:8.1f} s", file=sys.stderr, flush=True)
        return done

    timed("keys", lambda: build_keys(lake))
    timed("holders", lambda: make(lake, "core__identifier_holders"))
    timed("sharing", lambda: sharing.build_sharing(lake, rules))
    timed("payloads", lambda: make(lake, "core__payloads"))
    timed("identifier edges", lambda: make(lake, "core__identifier_edges"))
    trained = timed("model", lambda: lifecycle.build_model(lake, models, rules))[1]
    done = timed("pairs", lambda: pairs.build_pairs(lake, trained))
    timed("probabilistic edges", lambda: edges.build_edges(lake, trained))
    timed("steward links", lambda: steward.build_steward_links(lake, store))
    timed("edges", lambda: make(lake, "core__edges"))
    timed("clusters", lambda: graph.build_clusters(lake, trained, rules, 10.0))
    spent["candidates"] = done.candidates
    return spent


def textbook(lake: Lake) -> dict[str, float]:
    """Splink as its documentation teaches it: five comparisons, six blocking rules, two training sessions, components."""
    table = lake.connection.execute(
        "select record_id as unique_id, given_key as first_name, family_key as surname, cast(birth_date as varchar) as dob, email, "
        "phone, postal_code as postcode from core__contact_records"
    ).to_arrow_table()
    began = time.monotonic()
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            cl.NameComparison("first_name"), cl.NameComparison("surname"), cl.DateOfBirthComparison("dob", input_is_string=True),
            cl.EmailComparison("email"), cl.ExactMatch("phone"), cl.PostcodeComparison("postcode"),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("email"), block_on("phone"), block_on("first_name", "surname", "postcode"), block_on("surname", "dob"),
            block_on("first_name", "dob"), block_on("postcode", "surname"),
        ],
    )  # fmt: skip
    api = DuckDBAPI(duckdb.connect(config={"threads": 2, "memory_limit": "5GB"}))
    linker = Linker(api.register(table), settings, log_level=logging.ERROR)
    linker.training.estimate_probability_two_random_records_match([block_on("email"), block_on("phone")], recall=0.7)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("first_name", "surname"), max_pairs=1e6)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("dob"), max_pairs=1e6)
    trained = time.monotonic()
    predicted = linker.inference.predict(warning_mode="never")
    scored = time.monotonic()
    linker.clustering.cluster_pairwise_predictions_at_threshold(predicted, threshold_match_probability=0.95)
    ended = time.monotonic()
    candidates = int(api._con.execute(f"select count(*) from {predicted.physical_name}").fetchall()[0][0])
    return {
        "train": trained - began,
        "score": scored - trained,
        "cluster": ended - scored,
        "total": ended - began,
        "candidates": candidates,
    }


@contextmanager
def peak_memory(result: dict[str, Any], name: str) -> Iterator[None]:
    """Peak resident megabytes of this process in the block."""
    going, process = True, psutil.Process()

    def watch() -> None:
        while going:
            result[name] = max(result.get(name, 0), round(process.memory_info().rss / 1e6))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        going = False
        watcher.join()


LINKING = (
    "model",
    "pairs",
    "probabilistic edges",
    "edges",
    "clusters",
    "identifier edges",
    "sharing",
    "holders",
    "payloads",
    "keys",
)


def total(spent: dict[str, float]) -> float:
    return round(sum(spent[name] for name in LINKING), 1)


def partition(lake: Lake) -> dict[str, str]:
    return dict(lake.rows("select record_id, cluster_id from core__clusters"))


def agreement(one: dict[str, str], other: dict[str, str]) -> tuple[int, int]:
    """Pairs joined in both, and in either."""
    from collections import Counter

    def pairs_of(counts: Counter[Any]) -> int:
        return sum(n * (n - 1) // 2 for n in counts.values())

    both = pairs_of(Counter((one[r], other[r]) for r in one))
    return both, pairs_of(Counter(one.values())) + pairs_of(Counter(other.values())) - both


BY_PAIRS = ("pairs", "probabilistic edges", "edges", "clusters")  # the others grow with the records


def extrapolate(records: int) -> dict[str, Any]:
    """What so many records would take: every stage of the larger size times the growth of its pairs or of its records.

    The pairs grow by the power that lies between the two sizes: planned blocking keeps it below one.
    """
    small, large = (json.loads(path.read_text()) for path in (RESULT, RESULT.with_name("scale_3000000.json")))
    pairs_of = [made["full"]["candidates"] for made in (small, large)]
    power = math.log(pairs_of[1] / pairs_of[0]) / math.log(large["records"] / small["records"])
    more = records / large["records"]
    stages = {
        name: round(seconds * (more**power if name in BY_PAIRS else more), 1)
        for name, seconds in large["full"].items()
        if name in LINKING
    }
    pairs = round(pairs_of[1] * more**power)
    return {"records": records, "power_of_pairs": round(power, 3), "candidates": pairs, **stages, "total": round(sum(stages.values()), 1)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--no-textbook", action="store_true")
    parser.add_argument("--no-increment", action="store_true")
    parser.add_argument("--no-live", action="store_true")
    parser.add_argument("--extrapolate", type=int, metavar="RECORDS", help="from the results that are there")
    asked = parser.parse_args()
    if asked.extrapolate:
        found = json.dumps(extrapolate(asked.extrapolate), indent=1)
        print(found)
        RESULT.with_name(f"scale_{asked.extrapolate}_extrapolated.json").write_text(found + "\n")
        return
    people = asked.records // RECORDS_A_PERSON
    result: dict[str, Any] = {"records": asked.records}
    with tempfile.TemporaryDirectory() as folder:
        workspace = initialise(Settings(home=Path(folder) / "home", memory_limit="3GB", threads=2))
        with database(workspace), connect(owner_address(workspace)) as store, open_lake(workspace) as lake:
            create_registers(lake)
            land(lake, asked.records, 0, people, anew=True)
            with peak_memory(result, "peak_mb"):
                result["full"] = resolve(lake, store, workspace.path("models"))
            result["full"]["total"] = total(result["full"])
            if not asked.no_live:
                began = time.monotonic()
                live.serve(lake, store, Path(folder))
                print(f"  served in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
                result["live"] = live.measure(workspace, 1_500) | live.agreement(lake, workspace)
            if not asked.no_textbook:
                with peak_memory(result, "textbook_peak_mb"):
                    result["textbook"] = {k: round(v, 2) for k, v in textbook(lake).items()}
                ours, theirs = result["full"], result["textbook"]
                result["per_pair_ratio"] = round(
                    (ours["pairs"] / ours["candidates"]) / (theirs["score"] / theirs["candidates"]), 2
                )
                result["total_ratio"] = round(ours["total"] / theirs["total"], 2)
            if not asked.no_increment:
                land(lake, asked.records // 100, asked.records, people, anew=False)
                result["increment"] = resolve(lake, store, workspace.path("models"))
                result["increment"]["total"] = total(result["increment"])
                result["increment_share"] = round(result["increment"]["total"] / result["full"]["total"], 4)
                stepwise = partition(lake)
                # pairs that the model never saw: it was learnt before their records came
                result["held_out"] = live.agreement(lake, workspace, f"web:order:r{asked.records:09d}")
                lake.write(lambda: lake.connection.execute("delete from lake.main.ops__builds where table_name like 'core!_!_%' escape '!' "
                    "and table_name not in ('core__contact_records', 'core__record_identifiers', 'core__record_links', 'core__orders', 'core__interactions')"), "forget")  # fmt: skip
                lake.forget()
                result["again"] = resolve(lake, store, workspace.path("models"))
                both, either = agreement(stepwise, partition(lake))
                result["same_pairs"] = round(both / max(either, 1), 6)
    print(json.dumps(result, indent=1))
    (RESULT if asked.records == 1_000_000 else RESULT.with_name(f"scale_{asked.records}.json")).write_text(
        json.dumps(result, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
