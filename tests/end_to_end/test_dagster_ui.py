"""The real Dagster UI in a real browser: the whole graph, no error, and a run that can be executed again."""

import json
import shutil
import time
import urllib.request
from pathlib import Path

import pytest

from cdp.cli.serve import dagster_process, free_port, stop, wait_for
from tests.conftest import ROOT, RetailCase

pytestmark = pytest.mark.long

SHOTS = ROOT / ".ci" / "screenshots"


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def ui(retail_case: RetailCase):
    port = free_port(3210)
    process = dagster_process(retail_case.workspace, port, quiet=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/server_info", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


def ask(ui: str, query: str, **variables):
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{ui}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer
    return answer["data"]


@pytest.mark.browser
def test_the_whole_graph_shows_without_an_error(ui, retail_case):
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 1800, "height": 1100})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda r: errors.append(f"{r.status} {r.url}") if r.status >= 500 else None)
        page.goto(f"{ui}/asset-groups", wait_until="domcontentloaded")
        page.get_by_text("Materialize all", exact=False).first.wait_for(timeout=60_000)
        page.wait_for_timeout(3000)
        assert page.get_by_text("Join the Dagster community").count() == 0
        page.screenshot(path=SHOTS / "graph.png")
        for group in ("ingest", "standardise", "identity", "profile", "consent", "loyalty", "publish"):
            assert page.get_by_text(group, exact=True).first.is_visible(), group
        page.goto(f"{ui}/assets/core__contact_records", wait_until="domcontentloaded")
        page.get_by_text("Grain: contact record", exact=False).first.wait_for(timeout=60_000)
        page.wait_for_timeout(2000)
        page.screenshot(path=SHOTS / "asset.png")
        assert page.get_by_text("7,234").first.is_visible()
        browser.close()
    assert errors == []
    log = retail_case.workspace.path("logs", "dagster.log").read_text(encoding="utf-8")
    assert "ERROR" not in log
    assert "does not match the name" not in log


def test_a_run_of_the_command_line_is_executed_again_from_the_ui(ui):
    runs = ask(ui, "{ runsOrError(limit: 1) { ... on Runs { results { runId status jobName } } } }")["runsOrError"][
        "results"
    ]
    assert (runs[0]["jobName"], runs[0]["status"]) == ("cdp_run", "SUCCESS")
    launched = ask(
        ui,
        "mutation R($p: ReexecutionParams) { launchRunReexecution(reexecutionParams: $p) { __typename "
        "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        p={"parentRunId": runs[0]["runId"], "strategy": "ALL_STEPS"},
    )["launchRunReexecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    deadline, status = time.monotonic() + 180, ""
    while time.monotonic() < deadline and status not in ("SUCCESS", "FAILURE"):
        time.sleep(1)
        status = ask(
            ui, "query S($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }", id=launched["run"]["runId"]
        )["runOrError"]["status"]
    assert status == "SUCCESS"


def test_screenshots_are_kept_out_of_the_repository():
    assert ".ci/screenshots" in Path(ROOT / ".gitignore").read_text(encoding="utf-8")
