"""The Dagster graph: loads without a workspace, reads like the design, reports what it did."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets import launch
from assets.alerting import failed_checks
from assets.definitions import JOB, defs
from assets.defs.ingest import REJECTED
from assets.reporting import _column, contracts, cost, costed
from cdp.alerts.rules import AlertRule
from cdp.lake.build import Built, find_inputs, sql_file, sql_tables
from cdp.lake.tables import OPERATIONS, meanings, shapes
from cdp.privacy.columns import shown as shown_as
from cdp.sources.model import Column
from cdp.sources.stage import BOOKKEEPING
from tests.conftest import ROOT, RetailCase, cdp

SNAPSHOT = Path(__file__).parent / "graph.json"


STAGES = ("ingest", "standardise", "identity", "profile", "consent", "loyalty", "insight", "publish")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    os.environ["CDP_HOME"] = str(tmp_path_factory.mktemp("none") / "absent")
    try:
        yield defs()
    finally:
        del os.environ["CDP_HOME"]


@pytest.fixture(scope="module")
def specs(definitions):
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_importing_the_code_location_connects_to_nothing_and_needs_no_workspace(tmp_path):
    code = """
import pkgutil, socket
import builtins, io
import duckdb, psycopg
def refuse(*a, **k): raise AssertionError("a connection at import")
socket.socket.connect = psycopg.Connection.connect = psycopg.connect = duckdb.connect = refuse  # libpq opens its own sockets
opened = io.open
def careful(file, *a, **k):
    if str(file).endswith((".yaml", ".yml", ".sql", ".json", ".key")) and "site-packages" not in str(file):
        raise AssertionError(f"a file read at import: {file}")
    return opened(file, *a, **k)
io.open = builtins.open = careful
import assets.definitions
import assets.defs
for module in pkgutil.iter_modules(assets.defs.__path__, "assets.defs."):
    __import__(module.name)
    print(module.name)
io.open = builtins.open = opened
print(len(assets.definitions.defs().resolve_all_asset_specs()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"CDP_HOME": str(tmp_path / "absent")},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *modules, count = done.stdout.split()
    assert len(modules) == len(list((ROOT / "assets" / "defs").glob("[a-z]*.py")))
    assert int(count) >= 40
    assert not (tmp_path / "absent").exists()


def test_the_graph_is_the_one_that_was_agreed(specs, definitions):
    """Keys, dependencies, groups, owners, and checks with whether a run stops at them. To agree on another: delete graph.json, run this test, read the difference."""
    graph = definitions.resolve_asset_graph()
    checks = defaultdict[str, dict[str, bool]](dict)
    for check in sorted(graph.asset_check_keys):
        checks[check.asset_key.to_user_string()][check.name] = graph.get(check).blocking
    found = {
        key: {
            "group": spec.group_name,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "owners": sorted(spec.owners),
            **({"checks": checks[key]} if key in checks else {}),
        }
        for key, spec in sorted(specs.items())
    }
    if not SNAPSHOT.exists():
        SNAPSHOT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        pytest.fail("graph.json was missing and has been written: read it, commit it")
    assert found == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_everything_stands_behind_the_erasures(specs):
    """An erasure drops what follows from erased rows: whatever was built before it in the same run would be gone."""
    assert [key for key, spec in specs.items() if not list(spec.deps)] == ["ops__erasures"]


def test_every_asset_says_what_it_is_who_owns_it_and_what_makes_it(specs):
    groups = {"ingest", "standardise", "identity", "profile", "consent", "loyalty", "insight", "publish"}
    for key, spec in specs.items():
        assert spec.description.startswith("Grain:"), key
        assert spec.owners, key
        assert spec.kinds, key
        assert spec.group_name in groups, key
        late = timedelta(hours=52 if spec.group_name == "insight" else 26)
        assert (spec.freshness_policy.warn_window.to_timedelta(), spec.freshness_policy.fail_window.to_timedelta()) == (
            late,
            2 * late,
        ), key
        assert spec.tags["cdp/personal_data"] in ("personal", "pseudonymous", "none"), key
        assert (spec.automation_condition is None) == (spec.group_name == "ingest"), key
    assert {spec.group_name for spec in specs.values()} == groups


def test_every_asset_says_what_it_is_made_of_and_who_reads_it(specs):
    readers = {dep.asset_key.to_user_string() for spec in specs.values() for dep in spec.deps}
    for key, spec in specs.items():
        assert ("\n\nMade of " in spec.description) == bool(spec.deps), key
        assert ("\n\nRead by " in spec.description) == (key in readers), key
    said = specs["core__record_customers"].description
    assert "Made of core__clusters." in said
    assert "core__customers" in said.split("Read by ")[1]


def test_every_column_says_what_it_holds(specs):
    """Of the lake's own tables, and of the files of the shipped sources."""
    shaped = {name for shape in shapes().values() for name in shape}
    registers = {column.split()[0].strip('"') for columns in OPERATIONS.values() for column in columns.split(", ")}
    assert not sorted((shaped | registers | BOOKKEEPING.keys()) - meanings().keys())
    assert not sorted(name for name, text in meanings().items() if not text.endswith(".") or len(text) < 8)
    for table, columns in contracts(None).items():
        assert not [name for name, column in columns.items() if not (column.description or meanings().get(name))], table


def test_tags_say_where_people_are(specs):
    about = {key: spec.tags["cdp/personal_data"] for key, spec in specs.items()}
    rows = {"core__contact_records": "personal", "ops__rejected_rows": "personal", "raw_web__events": "personal", "core__customer_consents": "personal",
            "mart__customer_scores": "pseudonymous", "mart__churn": "pseudonymous", "mart__rfm": "pseudonymous", "ops__segment_history": "pseudonymous",
            "core__ledger_entries": "pseudonymous", "ops__release": "none", "mart__transparency": "none", "core__purposes": "none", "core__jurisdiction_countries": "none"}  # fmt: skip
    assert {key: about[key] for key in rows} == rows


def test_dependencies_are_read_from_the_sql(specs):
    for stage in ("standardise", "identity", "profile", "loyalty", "insight"):
        for table in sql_tables(stage):
            deps = {dep.asset_key.to_user_string() for dep in specs[table].deps}
            assert deps == set(find_inputs(sql_file(stage, table).sql))
            assert deps <= set(specs), table


def test_reconciliation_blocks_and_the_contract_does_not(definitions):
    checks = {(c.asset_key.to_user_string(), c.name): c.blocking for a in definitions.assets for c in a.check_specs}
    for source in ("web__events", "app__events", "pos__sale_lines", "service__tickets"):
        assert checks[f"raw_{source}", "reconciliation"] is True
        assert checks[f"raw_{source}", "contract"] is False


def test_raw_tables_are_partitioned_by_landing_day_and_filled_by_one_run(definitions, specs):
    raw = [key for key in specs if key.startswith("raw_")]
    graph = definitions.resolve_asset_graph()
    for key in raw:
        node = graph.get(dg.AssetKey(key))
        assert node.partitions_def.name == "landing_day", key
        assert node.backfill_policy == dg.BackfillPolicy.single_run(), key
    assert {key for key in specs if graph.get(dg.AssetKey(key)).is_partitioned} == set(raw)


def test_every_check_says_what_it_holds_and_those_of_consent_and_ledger_block(definitions):
    graph = definitions.resolve_asset_graph()
    checks = {key: graph.get(key) for key in graph.asset_check_keys}
    assert all(check.description for check in checks.values())
    blocking = {f"{key.asset_key.to_user_string()}.{key.name}" for key, check in checks.items() if check.blocking}
    assert blocking >= {
        "core__customer_consents.consents_hold",
        "ops__loyalty_reconciliation.ledger_adds_up",
        "raw_pos__sale_lines.reconciliation",
    }


def test_steps_run_in_one_process_and_one_run_at_a_time(definitions):
    assert definitions.resolve_job_def(JOB).executor_def.name == "in_process"
    for text in (launch.INSTANCE_YAML, ROOT.joinpath("docker", "dagster.yaml").read_text(encoding="utf-8")):
        assert yaml.safe_load(text)["concurrency"]["runs"]["max_concurrent_runs"] == 1


def test_stages_go_from_left_to_right(specs):
    """Only the ledger stands on what is published: the store is its authority."""
    place = {stage: at for at, stage in enumerate(STAGES)}
    back = {
        (dep.asset_key.to_user_string(), key)
        for key, spec in specs.items()
        for dep in spec.deps
        if (source := specs.get(dep.asset_key.to_user_string())) and place[source.group_name] > place[spec.group_name]
    }
    assert back == {("ops__published", "core__ledger_entries")}


def test_definitions_validate(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", "assets.definitions"],
        env=os.environ | {"DAGSTER_HOME": "", "CDP_HOME": str(tmp_path / "absent")}, capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stdout + done.stderr


@pytest.fixture
def instance(retail_case: RetailCase):
    with dg.DagsterInstance.from_config(str(retail_case.workspace.path("dagster"))) as found:
        yield found


def test_cdp_run_is_a_run_of_the_ui_that_can_be_executed_again(instance):
    run = instance.get_runs()[-1]
    assert (run.job_name, run.status) == (JOB, dg.DagsterRunStatus.SUCCESS)
    assert run.remote_job_origin.repository_origin.code_location_origin.location_name == "cdp"


def test_assets_report_rows_columns_and_lineage(instance):
    for table, rows in (("core__contact_records", 7234), ("raw_pos__sale_lines", 51882)):
        metadata = instance.get_latest_materialization_event(dg.AssetKey(table)).asset_materialization.metadata
        assert metadata["dagster/row_count"].value == rows
        assert "record_id" in {c.name for c in metadata["dagster/column_schema"].schema.columns} or table.startswith(
            "raw"
        )
    columns = {
        c.name: c
        for c in instance.get_latest_materialization_event(dg.AssetKey("raw_pos__sale_lines"))
        .asset_materialization.metadata["dagster/column_schema"]
        .schema.columns
    }
    assert "pii" in columns["email"].tags
    assert all(column.description for column in columns.values())
    assert "pii" not in columns["quantity"].tags
    assert not columns["transaction_id"].constraints.nullable
    assert "matches ^[A-Z]{3}$" in columns["currency"].constraints.other
    limited = _column("n", "BIGINT", Column(one_of=("a", "b"), minimum=1, maximum=9.5), pii=False)
    assert limited.constraints.other == ["one of a, b", "at least 1", "at most 9.5"]
    golden = instance.get_latest_materialization_event(dg.AssetKey("core__customers")).asset_materialization.metadata
    personal = {c.name for c in golden["dagster/column_schema"].schema.columns if "pii" in c.tags}
    assert personal >= {"full_name", "given_name", "birth_date", "email", "phone", "postal_code", "city"}, "by lineage and name"
    assert not personal & {"customer_id", "kind", "country", "first_seen", "records"}
    lineage = (
        instance.get_latest_materialization_event(dg.AssetKey("core__contact_records"))
        .asset_materialization.metadata["dagster/column_lineage"]
        .value
    )
    assert ("core__record_names", "email") in {
        (d.asset_key.to_user_string(), d.column_name) for d in lineage.deps_by_column["email"]
    }


def test_what_a_table_tells_is_kept_once_in_the_log_of_the_run(instance):
    """Dagster would keep it with the step's output as well."""
    told = [
        record.event_log_entry.dagster_event.event_specific_data.metadata
        for record in instance.get_records_for_run(
            instance.get_runs()[-1].run_id, of_type=dg.DagsterEventType.STEP_OUTPUT
        ).records
    ]
    assert len(told) > 130
    assert not [entry for metadata in told for entry in metadata if entry == "dagster/column_schema"]


def test_previews_show_codes_and_times_and_nothing_of_a_person(instance, retail_case):
    from cdp.store.connect import connect, owner_address

    with connect(owner_address(retail_case.workspace)) as store:
        people = {
            row[0]
            for row in store.execute(
                "select value from identifiers where type in ('email', 'phone', 'card', 'account')"
            ).fetchall()
        }
        people |= {
            row[0]
            for row in store.execute(
                "select fields ->> 'full_name' from contact_records where length(fields ->> 'full_name') > 5"
            ).fetchall()
        }
    golden = instance.get_latest_materialization_event(dg.AssetKey("core__customers")).asset_materialization.metadata
    head, _, *lines = [line for line in golden["preview"].value.splitlines() if line.startswith("|")]
    rows = [dict(zip(head.split(" | "), line.split(" | "), strict=True)) for line in lines]
    assert {row[name] for row in rows for name in ("email", "full_name", "birth_date", "postal_code", "city")} <= {"•••", "∅"}
    assert {row["kind"] for row in rows} <= {"known", "anonymous"}
    assert [shown_as("n", 3), shown_as("n", None), shown_as("at", date(2026, 5, 1))] == ["3", "∅", "2026-05-01"]
    assert shown_as("birth_date", date(1980, 5, 1)) == shown_as("birth_year", b"1980") == "•••"
    assert (shown_as("country", "GB"), "Ann" in shown_as("said", "Ann Lee")) == ("GB", False)
    shown = 0
    for key in instance.all_asset_keys():
        event = instance.get_latest_materialization_event(key)
        text = event.asset_materialization.metadata.get("preview") if event else None
        if text is not None:
            shown += 1
            cells = {cell.strip() for cell in text.value.replace("\n", "|").split("|")}
            assert not cells & people, key
    assert shown > 40


def test_plots_are_drawn_offline_as_svg_with_titles_and_axes(instance):
    import base64

    for table, names in (
        ("core__model", ("weights", "m and u")),
        ("core__probabilistic_edges", ("surprise",)),
        ("core__record_customers", ("sizes", "sources")),
        ("ops__rejected_rows", ("why", "freshness")),
    ):
        metadata = instance.get_latest_materialization_event(dg.AssetKey(table)).asset_materialization.metadata
        for name in names:
            image = metadata[name].value.split("base64,")[1].split(")")[0]
            drawing = base64.b64decode(image).decode()
            assert drawing.startswith("<svg"), name
            assert "role-title" in drawing, name
            assert "role-axis-title" in drawing, name


@pytest.mark.parametrize(
    "table", ["core__order_lines", "core__model", "core__scored_pairs", "core__payload_worth", "core__clusters"]
)
def test_what_a_table_cost_is_told(instance, table):
    """Of the run that made it: later ones over nothing new made nothing."""
    made = instance.fetch_materializations(dg.AssetKey(table), limit=100).records
    metadata = next(m for r in made if "bytes" in (m := r.asset_materialization.metadata))
    assert metadata["bytes"].value > 1000
    assert metadata["seconds"].value > 0
    assert metadata["rows per second"].value > 0
    assert metadata["bytes per second"].value > 0


def test_every_asset_that_did_something_tells_what_it_cost(instance, specs):
    dear = {}
    for key in specs:
        found = instance.fetch_materializations(dg.AssetKey(key), limit=100).records
        told = [record.asset_materialization.metadata for record in found]
        if any("changed" not in each or each["changed"].value for each in told):
            dear[key] = {name for each in told for name in each}
    assert len(dear) > 100
    assert {key for key, names in dear.items() if "seconds" not in names} == set()
    silent = {key for key, names in dear.items() if not names & {"bytes per second", "bytes logged per second"}}
    assert silent == {"ops__purged", "ops__rejected_rows"}, "the one rewrites PostgreSQL's log, the other only counts"
    served = instance.get_latest_materialization_event(dg.AssetKey("ops__published")).asset_materialization.metadata
    assert "rows per second" in served


def test_rows_a_second_are_those_that_were_made():
    told = cost(Built("core__things", 5000, changed=True, seconds=2.0, bytes=10, made=40))
    assert (told["rows made"], told["rows per second"]) == (40, 20.0)
    assert cost(Built("core__things", 5000, changed=True, seconds=2.0))["rows per second"] == 2500.0


def test_a_step_that_makes_no_table_tells_its_cost_and_the_log_that_it_works(platform):
    seen = []

    @costed("pairs")
    def made(platform):
        """What it does."""
        seen.append(platform.lake.at_work)
        time.sleep(0.05)
        with platform.store.transaction():
            platform.store.execute("create table scratch as select generate_series(1, 10000)")
            platform.store.execute("drop table scratch")
        return dg.MaterializeResult(metadata={"pairs": 40})

    told = made(platform=platform).metadata
    assert seen[0] is not None
    assert platform.lake.at_work is None
    assert told["bytes logged"] > 100_000
    assert told["rows per second"] == pytest.approx(40 / told["seconds"], rel=0.1)
    assert told["pairs"] == 40
    assert made.__doc__ == "What it does."


def test_checks_passed_on_the_reference_case(instance):
    key = dg.AssetCheckKey(dg.AssetKey("raw_pos__sale_lines"), "reconciliation")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status.value == "SUCCEEDED"
    kpis = instance.get_latest_materialization_event(dg.AssetKey("ops__kpis")).asset_materialization.metadata
    assert kpis["alerts told in 30 days"].value == 0


@pytest.mark.long
def test_a_damaged_file_fails_the_contract_check_is_named_and_stops_nothing_else(new_workspace):
    workspace = new_workspace()
    workspace.path("landing", "pos", "broken.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    workspace.path("landing", "web", "a.jsonl").write_text(
        '{"messageId": "m1", "type": "page", "anonymousId": "b", "timestamp": "2026-01-01T00:00:00Z"}\n' * 19 + "{\n",
        encoding="utf-8",
    )
    log = cdp(workspace, "run").stderr
    assert "pos/broken.csv was left out" in log
    assert "column transaction_id" in log
    assert "0 known customers, 1 anonymous" in log
    cdp(workspace, "run", "--force")
    with dg.DagsterInstance.from_config(str(workspace.path("dagster"))) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("raw_pos__sale_lines"), "contract")
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=5)
        few = dg.AssetCheckKey(dg.AssetKey("raw_web__events"), "contract")
        warned = instance.event_log_storage.get_asset_check_execution_history(few, limit=5)
        keys, rule = [key, few], AlertRule(name="r", when="check_failed", checks=("raw_web__events.contract",))
        assert [wrong.subject for wrong in failed_checks(instance, rule, keys)] == ["raw_web__events.contract"]
    assert [record.status.value for record in records] == ["FAILED", "FAILED"], "nothing is well again by itself"
    assert [record.status.value for record in warned] == ["FAILED", "FAILED"], "also of a file of which little was rejected"
    said = warned[0].event.dagster_event.event_specific_data
    assert (said.metadata["what to do"].value, said.blocking) == (REJECTED, False)


def test_broken_yaml_stops_a_run_before_it_starts(new_workspace):
    workspace = new_workspace()
    path = workspace.path("sources", "web.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("format: jsonl", "format: jsonx"), encoding="utf-8")
    done = cdp(workspace, "run", check=False)
    assert done.returncode == 1
    assert "web.yaml:5: format: Input should be 'csv', 'jsonl' or 'parquet'" in done.stderr
