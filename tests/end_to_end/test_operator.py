"""A data engineer's day in the real Dagster UI, in a real browser, with its daemon: a damaged file, the quarantine, a week, a model.

Then what runs it is killed: the daemon, and PostgreSQL in the middle of a run. The next tick heals.
"""

import contextlib
import gzip
import os
import shutil
import signal
import time
from datetime import datetime, timedelta

import dagster as dg
import psutil
import psycopg
import pytest

from assets.arrivals import look
from cdp.cli.serve import dagster_process, free_port, stop, wait_for
from cdp.errors import CdpError
from cdp.lake.engine import open_lake
from cdp.simulate.write import simulate
from cdp.store.connect import connect, owner_address
from tests.conftest import NOW, cdp
from tests.end_to_end.test_dagster_ui import SHOTS, ask, chromium
from tests.end_to_end.test_week import state

pytestmark = [pytest.mark.long, pytest.mark.browser, pytest.mark.timeout(1800)]
DAYS = [f"2026-02-{day:02}" for day in range(20, 27)]
RUNS = "{ runsOrError(limit: 30) { ... on Runs { results { runId status jobName tags { key value } } } } }"
WHY = "query W($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events { ... on ExecutionStepFailureEvent { error { message } } ... on RunFailureEvent { error { message } } } } } } }"
SALES = "transaction_id,line_no,store_id,till,sold_at,loyalty_card,phone,email,customer_name,marketing_opt_in,sku,description,quantity,unit_price,discount,currency,tender,points_redeemed,original_transaction_id\n"


def sale(number, price):
    return f"T{number},1,S01,1,27/02/2026 10:{number % 60:02}:00,,,,,,MUG,Mug,1,{price},,GBP,cash,,\n"


@pytest.fixture(scope="module")
def week(new_workspace):
    """An empty workspace, whose seven days come while the sensor is off."""
    return new_workspace()


def land_a_week(workspace, town):
    """A town's files land on seven days; each day they are registered, and nothing reads them."""
    simulate(300, "21", town, NOW - timedelta(days=1))
    files = sorted(p for p in town.joinpath("landing").rglob("*") if p.is_file())
    for number, day in enumerate(DAYS):
        for file in files:
            lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
            head, rest = (lines[:1], lines[1:]) if ".csv" in file.name else ([], lines)
            share = rest[number :: len(DAYS)]
            target = workspace.path(
                "landing", file.relative_to(town / "landing").parent, f"{day}-{file.name.removesuffix('.gz')}"
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join([*head, *share]))
            os.utime(target, (NOW.timestamp(), NOW.timestamp()))
        with dg.DagsterInstance.from_config(str(workspace.path("dagster"))) as instance:
            found = look(
                workspace, instance, datetime.fromisoformat(f"{day}T12:00:00+00:00")
            )  # what the sensor does, but for its run
            instance.add_dynamic_partitions("landing_day", found.dynamic_partitions_requests[0].partition_keys)


class Operator:
    """Somebody at the Dagster UI."""

    def __init__(self, workspace, page, address):
        self.workspace, self.page, self.address = workspace, page, address

    def open(self, path, text):
        self.page.goto(f"{self.address}{path}", wait_until="domcontentloaded")
        self.page.get_by_text(text, exact=False).first.wait_for(timeout=60_000)

    def shot(self, name):
        self.page.wait_for_timeout(1500)
        self.page.screenshot(path=SHOTS / f"operator-{name}.png")

    def runs(self):
        return ask(self.address, RUNS)["runsOrError"]["results"]

    def waits(self, known, job, status="SUCCESS", seconds=180, kind=None):
        """Until a run of a job that was not known before ends; returns its id."""
        job = job if isinstance(job, tuple) else (job,)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for run in self.runs():
                tags = {tag["key"]: tag["value"] for tag in run["tags"]}
                if run["runId"] not in known and run["jobName"] in job and (kind is None or kind in tags):
                    if run["status"] == status:
                        return run["runId"]
                    assert run["status"] != "FAILURE" or "cdp_run" in job, f"{job} failed: {self.why(run['runId'])}"
            time.sleep(1)
        raise AssertionError(f"no run of {job} ended in {status}: {self.runs()[:4]}")

    def why(self, run_id):
        """What failed in a run."""
        found = ask(self.address, WHY, id=run_id)["runOrError"]["eventConnection"]["events"]
        return [event["error"]["message"] for event in found if event.get("error")]

    def known(self):
        return {run["runId"] for run in self.runs()}

    def launch(self, job, config):
        """Type a configuration into the launchpad of a job, press the button, wait for the run."""
        known = self.known()
        self.open(f"/locations/cdp/jobs/{job}/playground", "Launch Run")
        if config:
            self.page.locator(".CodeMirror").first.click()
            self.page.keyboard.press("Control+A")
            self.page.keyboard.insert_text(config)
        button = self.page.get_by_role("button", name="Launch Run")
        button.wait_for(timeout=30_000)
        self.page.wait_for_timeout(1500)
        button.click()
        return self.waits(known, job)

    def land(self, name, text):
        """A file arrives; it was written a while ago."""
        path = self.workspace.path("landing", "pos", name)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (time.time() - 600, time.time() - 600))

    def switches(self, sensor, on):
        """Turn a sensor on or off on its page."""
        self.open(f"/locations/cdp/sensors/{sensor}", sensor)
        switch = self.page.get_by_role("checkbox").first
        switch.wait_for(state="attached", timeout=30_000)  # what is seen is drawn beside it
        if switch.is_checked() != on:
            switch.locator("..").click()
            self.page.wait_for_timeout(3000)
        assert switch.is_checked() == on

    def backfills(self, shot):
        """Press 'Materialize all' for all landing days, and wait for the end of the backfill."""
        known = self.known()
        self.open("/asset-groups", "Materialize all")
        self.page.wait_for_timeout(2000)
        self.page.get_by_role("button", name="Materialize all").first.click()
        self.page.get_by_role("button", name="All", exact=True).click()
        self.shot(shot)
        assert self.page.get_by_text(f"{len(DAYS)} partitions", exact=False).count() >= 1
        self.page.get_by_role("button", name="Launch backfill").click()
        self.waits(known, "__ASSET_JOB", kind="dagster/backfill", seconds=400)
        deadline, states = time.monotonic() + 300, {""}
        while time.monotonic() < deadline and not (states and states <= {"COMPLETED_SUCCESS", "COMPLETED"}):
            states = {found["status"] for found in ask(self.address, STATES)["partitionBackfillsOrError"]["results"]}
            time.sleep(2)
        assert states
        assert states <= {"COMPLETED_SUCCESS", "COMPLETED"}

    def lake(self, query):
        with open_lake(self.workspace, read_only=True) as lake:
            return lake.rows(query)


@pytest.fixture(scope="module")
def operator(week):
    from playwright.sync_api import sync_playwright

    SHOTS.mkdir(parents=True, exist_ok=True)
    port = free_port(3260)
    process = dagster_process(week, port, quiet=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/server_info", process)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
            yield Operator(week, browser.new_page(viewport={"width": 1700, "height": 1050}), address)
            browser.close()
    finally:
        stop(process)


SENSOR = "landing"
STATES = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { status } } } }"


def test_a_week_is_backfilled_from_the_graph_to_the_lake_of_one_run_and_again_changes_nothing(
    operator, new_workspace, tmp_path
):
    """Everything is materialised for the first time: seven days that no run has read, over an empty lake."""
    workspace = operator.workspace
    operator.switches(SENSOR, on=False)
    land_a_week(workspace, tmp_path / "town")
    beside = new_workspace()
    for file in (p for p in workspace.path("landing").rglob("*") if p.is_file()):
        shutil.copy2(file, beside.path("landing", file.relative_to(workspace.path("landing"))))
    cdp(beside, "run")
    for shot in ("materialise-all", "again"):
        operator.backfills(shot)
        found, whole = state(workspace), state(beside)
        assert len(found["partition"]) > 250
        for name in whole:
            assert len(whole[name]) > (50 if name != "counts" else 3), name
            assert found[name] == whole[name], (name, shot)
    operator.open("/assets/raw_pos__sale_lines?view=partitions", DAYS[0])
    operator.shot("week")
    assert all(operator.page.get_by_text(day).count() for day in DAYS)
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from landed_files where read_at is null").fetchall() == [(0,)]
    assert [run["jobName"] for run in operator.runs() if run["jobName"] == "cdp_run"] == [], "the sensor was off"
    operator.switches(SENSOR, on=True)


def test_a_damaged_file_fails_its_contract_and_the_page_says_what_to_do(operator):
    known = operator.known()
    operator.land("damaged.csv", "transaction_id,line_no\nT1,1\n")
    operator.waits(known, "cdp_run")
    operator.open("/assets/raw_pos__sale_lines?view=checks", "contract")
    operator.page.get_by_text("contract", exact=True).first.click()
    operator.page.get_by_text("Failed", exact=False).first.wait_for(timeout=30_000)
    operator.page.get_by_text("[Show JSON]").first.click()
    operator.page.get_by_text("damaged.csv").first.wait_for(timeout=10_000)
    operator.shot("contract")
    assert operator.page.get_by_text("mend each file that is left out").count()


REPLAY = """ops:
  correct:
    config:
      source: pos
      preview: {preview}
      rules:
        - column: unit_price
          replace: {{"free": "0.00"}}
"""


def test_rejected_lines_are_seen_corrected_and_read_again_and_the_counts_reconcile(operator):
    known = operator.known()
    operator.land("free.csv", SALES + "".join(sale(n, "free" if n < 5 else "9.90") for n in range(40)))
    operator.waits(known, "cdp_run")
    operator.open("/assets/ops__rejected_rows", "unit_price")
    operator.shot("quarantine")
    operator.launch("replay_quarantine", REPLAY.format(preview="true"))
    assert not list(operator.workspace.path("landing", "pos").glob("corrected-*")), "a preview writes nothing"
    operator.open("/assets/ops__rejected_rows?view=events", "corrected")
    operator.shot("preview")
    known = operator.known()
    operator.launch("replay_quarantine", REPLAY.format(preview="false"))
    operator.waits(known, "cdp_run")
    ((lines, accepted),) = operator.lake(
        "select lines, accepted from ops__reconciliation where file like 'corrected-%'"
    )
    assert lines == accepted >= 5, "the five, and what the town's tills had sent before"
    assert (
        operator.lake(
            "select 1 from ops__reconciliation where lines <> accepted + duplicates + quarantined + suppressed"
        )
        == []
    )
    assert operator.lake("select count(*) from core__orders where order_key like 'T%' and total = 0") == [(5,)]
    operator.open("/assets/ops__rejected_rows", "replayed")
    operator.shot("replayed")


def test_a_model_is_trained_compared_promoted_and_rolled_back(operator):
    from identity import artefact

    folder = operator.workspace.path("models")
    before = artefact.current(folder)
    operator.launch("train_model", "")
    operator.open("/assets/core__model?view=events", "trained")
    others = [v for v in artefact.versions(folder) if v != artefact.current(folder)]
    if not others:  # the data taught the same as before: another, by hand
        from dataclasses import replace

        artefact.save(replace(artefact.load(folder), threshold=artefact.load(folder).threshold + 4), folder)
        others = [v for v in artefact.versions(folder) if v != artefact.current(folder)]
    chosen = f"ops:\n  {{}}:\n    config:\n      version: {others[0]}\n"
    operator.launch("compare_model", chosen.format("compare"))
    operator.open("/assets/core__model?view=events", "customers then")
    operator.shot("compare")
    assert artefact.current(folder) != others[0]
    known = operator.known()
    operator.launch("promote_model", chosen.format("promote"))
    assert artefact.current(folder) == others[0]
    operator.waits(known, "cdp_run")  # the sensor saw that the lake was made with another model
    assert artefact.used(folder) == others[0]
    known = operator.known()
    operator.launch("roll_back_model", "")
    operator.open("/assets/core__model?view=events", "rolled back to")
    operator.shot("rolled-back")
    assert artefact.current(folder) == before
    operator.waits(known, "cdp_run")
    assert artefact.used(folder) == before


def daemon(operator):
    """The daemon of this UI."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        line, env = " ".join(process.info["cmdline"] or []), process.info["environ"] or {}
        if "daemon" in line and env.get("CDP_HOME") == str(operator.workspace.home):
            yield process


def under_way(operator, known):
    """Wait until a run that was not known before works."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not [
        r for r in operator.runs() if r["runId"] not in known and r["status"] == "STARTED"
    ]:
        time.sleep(0.2)
    time.sleep(2)


def kill_the_database(workspace):
    os.kill(int(workspace.path("pg", "data", "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)


def test_a_database_that_is_killed_in_the_middle_of_a_run_is_healed_by_the_same_daemon(week, operator):
    before, known = operator.lake("select count(*) from raw_pos__sale_lines")[0][0], operator.known()
    operator.land("cut.csv", SALES + "".join(sale(2000 + n, "1.00") for n in range(30)))
    under_way(operator, known)
    kill_the_database(week)
    found, deadline = None, time.monotonic() + 600
    while found != before + 30 and time.monotonic() < deadline:
        time.sleep(2)
        with contextlib.suppress(CdpError, psycopg.OperationalError):  # until the next tick starts it
            found = operator.lake("select count(*) from raw_pos__sale_lines")[0][0]
    assert found == before + 30
    assert any(r["status"] == "FAILURE" for r in operator.runs() if r["runId"] not in known), "it was killed in a run"
    assert list(daemon(operator)), "the same daemon"
    orders = "select count(*), count(distinct order_id) from core__orders where order_key like 'T20__'"
    while operator.lake(orders) != [(30, 30)] and time.monotonic() < deadline:
        time.sleep(2)
    assert operator.lake(orders) == [(30, 30)]


def test_a_killed_daemon_and_a_killed_database_lose_nothing_and_double_nothing(week, operator):
    """Lines land; PostgreSQL is killed in the middle of the run that reads them, then everything of Dagster; it is started again."""
    rows = lambda: operator.lake("select count(*) from raw_pos__sale_lines")[0][0]  # noqa: E731
    before, known = rows(), operator.known()
    operator.land("late.csv", SALES + "".join(sale(1000 + n, "1.00") for n in range(30)))
    under_way(operator, known)
    kill_the_database(week)
    time.sleep(1)
    killed = list(daemon(operator))
    assert killed
    for process in killed:
        process.kill()
    port = free_port(3290)
    again = dagster_process(week, port, quiet=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/server_info", again)
        there = Operator(week, operator.page, f"http://127.0.0.1:{port}")
        # what the killed run had read is not read again: the tables that stand on it follow by themselves
        there.waits(known, ("cdp_run", "__ASSET_JOB"), seconds=240)
        # on a busy machine it was killed before it had read them: the sensor asks for another run
        deadline = time.monotonic() + 600
        while rows() != before + 30 and time.monotonic() < deadline:
            time.sleep(2)
    finally:
        stop(again)
    assert rows() == before + 30
    cdp(week, "run", "--as-of", "2026-11-30")
    assert rows() == before + 30
    assert operator.lake(
        "select count(*), count(distinct order_id) from core__orders where order_key like 'T10__'"
    ) == [(30, 30)]
    with connect(owner_address(week)) as store:
        assert store.execute("select count(*) from landed_files where read_at is null").fetchall() == [(0,)]
