"""The Dagster graph: loads without a workspace, reads like the design, reports what it did."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import JOB, defs
from cdp.lake.build import find_inputs, sql_file, sql_tables
from tests.conftest import ROOT, RetailCase, cdp

SNAPSHOT = Path(__file__).parent / "graph.json"


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
import socket, sys
def refuse(*a, **k): raise AssertionError("a connection at import")
socket.socket.connect = refuse
import assets.definitions
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
    assert int(done.stdout) >= 40
    assert not (tmp_path / "absent").exists()


def test_the_graph_is_the_one_that_was_agreed(specs):
    """Keys, dependencies, groups and owners. To agree on another: delete graph.json, run this test, read the difference."""
    found = {
        key: {
            "group": spec.group_name,
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "owners": sorted(spec.owners),
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
    groups = {"ingest", "standardise", "identity", "profile", "consent", "loyalty", "publish"}
    for key, spec in specs.items():
        assert spec.description.startswith("Grain:"), key
        assert spec.owners, key
        assert spec.kinds, key
        assert spec.group_name in groups, key
    assert {spec.group_name for spec in specs.values()} == groups


def test_dependencies_are_read_from_the_sql(specs):
    for stage in ("standardise", "identity", "profile", "loyalty"):
        for table in sql_tables(stage):
            deps = {dep.asset_key.to_user_string() for dep in specs[table].deps}
            assert deps == set(find_inputs(sql_file(stage, table).sql))
            assert deps <= set(specs), table


def test_reconciliation_blocks_and_the_contract_does_not(definitions):
    checks = {(c.asset_key.to_user_string(), c.name): c.blocking for a in definitions.assets for c in a.check_specs}
    for source in ("web__events", "app__events", "pos__sale_lines", "service__tickets"):
        assert checks[f"raw_{source}", "reconciliation"] is True
        assert checks[f"raw_{source}", "contract"] is False


def test_steps_run_in_one_process_and_one_run_at_a_time(definitions):
    assert definitions.resolve_job_def(JOB).executor_def.name == "in_process"


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
    lineage = (
        instance.get_latest_materialization_event(dg.AssetKey("core__contact_records"))
        .asset_materialization.metadata["dagster/column_lineage"]
        .value
    )
    assert ("core__record_names", "email") in {
        (d.asset_key.to_user_string(), d.column_name) for d in lineage.deps_by_column["email"]
    }


def test_checks_passed_on_the_reference_case(instance):
    key = dg.AssetCheckKey(dg.AssetKey("raw_pos__sale_lines"), "reconciliation")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status.value == "SUCCEEDED"


def test_a_damaged_file_fails_the_contract_check_is_named_and_stops_nothing_else(new_workspace):
    workspace = new_workspace()
    workspace.path("landing", "pos", "broken.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    workspace.path("landing", "web", "a.jsonl").write_text(
        '{"messageId": "m1", "type": "page", "anonymousId": "b", "timestamp": "2026-01-01T00:00:00Z"}\n',
        encoding="utf-8",
    )
    log = cdp(workspace, "run").stderr
    assert "pos/broken.csv was left out" in log
    assert "column transaction_id" in log
    assert "0 known customers, 1 anonymous" in log
    with dg.DagsterInstance.from_config(str(workspace.path("dagster"))) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("raw_pos__sale_lines"), "contract")
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status.value == "FAILED"


def test_broken_yaml_stops_a_run_before_it_starts(new_workspace):
    workspace = new_workspace()
    path = workspace.path("sources", "web.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("format: jsonl", "format: jsonx"), encoding="utf-8")
    done = cdp(workspace, "run", check=False)
    assert done.returncode == 1
    assert "web.yaml:5: format: Input should be 'csv', 'jsonl' or 'parquet'" in done.stderr
