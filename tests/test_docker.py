"""The deployment: a compose file that is valid, services that start as processes with secrets from files, TLS in front."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import warnings

import psutil
import pytest
import yaml

from assets import launch
from cdp.settings import Settings
from cdp.store.connect import connect, owner_address
from cdp.workspace import open_workspace
from tests.conftest import ROOT
from tests.deployment import COMPOSE, DOCKER, SERVICES, answers, behind_tls, listens, postgres, services

pytestmark = pytest.mark.long


def test_the_compose_file_is_valid_and_every_service_is_guarded():
    assert set(SERVICES) == {"postgres", "setup", "storage", "code", "daemon", "webserver", "api", "live", "proxy"}
    for name, service in SERVICES.items():
        assert service.get("build") or service.get("image"), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service.get("user") not in (None, "root", "0"), name
        assert name in ("setup", "storage") or "healthcheck" in service, name
        for needed in service.get("depends_on", {}):
            assert needed in SERVICES, name
        waits = {"code": "storage", "storage": "setup", "api": "setup", "live": "setup", "setup": "postgres"}.get(name)
        assert waits is None or "completed" in str(service["depends_on"][waits]) or waits == "postgres", name
        for secret in service.get("secrets", ()):
            assert secret in COMPOSE["secrets"], name
        for key, value in service.get("environment", {}).items():
            assert key.endswith("_FILE") or "PASSWORD" not in key or key.endswith("_HASH"), (name, key, value)
    assert set(SERVICES["proxy"]["ports"]) == {"80:80", "443:443"}
    assert SERVICES["storage"]["command"] == ["dagster", "instance", "migrate"]
    assert not any("ports" in service for name, service in SERVICES.items() if name != "proxy"), (
        "only the proxy is reached from outside"
    )


def test_the_compose_command_accepts_it_where_there_is_one(tmp_path):
    found = next((c for c in (["docker", "compose"], ["docker-compose"]) if shutil.which(c[0]) and subprocess.run([*c, "version"], capture_output=True, check=False).returncode == 0), None)  # fmt: skip
    if found is None:
        warnings.warn(
            "no docker compose here: the file's structure alone is checked, by the tests beside", stacklevel=1
        )
        return
    shutil.copytree(DOCKER, tmp_path / "docker")
    (tmp_path / "docker" / "secrets").mkdir()
    for secret in COMPOSE["secrets"].values():
        (tmp_path / "docker" / secret["file"]).write_text("x")
    done = subprocess.run([*found, "-f", "compose.yaml", "config", "-q"], cwd=tmp_path / "docker", env=os.environ | {"CDP_UI_PASSWORD_HASH": "x"}, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_dagster_keeps_its_runs_in_postgresql_ends_what_never_ends_and_repeats_what_died():
    kept = yaml.safe_load((DOCKER / "dagster.yaml").read_text(encoding="utf-8"))
    assert kept["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    assert kept["compute_logs"]["config"]["base_dir"] == {"env": "DAGSTER_COMPUTE_LOGS"}
    assert 0 < kept["run_monitoring"]["max_runtime_seconds"] <= 86400
    assert kept["schedules"]["use_threads"]
    assert kept["sensors"]["use_threads"]
    for told in (kept, yaml.safe_load(launch.INSTANCE_YAML)):
        assert told["run_monitoring"]["enabled"]
        assert told["run_monitoring"]["start_timeout_seconds"] <= 600
        assert told["run_retries"] == {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
        assert set(told["retention"]) == {"schedule", "sensor"}
        assert told["telemetry"] == {"enabled": False}


def test_the_images_only_call_make_install():
    steps = [
        line for line in (DOCKER / "Dockerfile").read_text(encoding="utf-8").splitlines() if line.startswith("RUN")
    ]
    assert any("make install" in step for step in steps)
    assert not any("pip " in step for step in steps)


def test_secrets_are_read_from_files_and_an_empty_one_is_none(tmp_path):
    for name, text in (("address", "smtp://here"), ("none", "")):
        tmp_path.joinpath(name).write_text(text)

    def entered(**files):
        command = [str(DOCKER / "entrypoint"), "sh", "-c", 'echo "${CDP_SMTP_URL-unset} ${CDP_ALERT_WEBHOOK-unset}"']
        return subprocess.run(command, env={"PATH": os.environ["PATH"], **files}, capture_output=True, text=True, check=False)  # fmt: skip

    smtp, hook = str(tmp_path / "address"), str(tmp_path / "none")
    assert entered(CDP_SMTP_URL_FILE=smtp, CDP_ALERT_WEBHOOK_FILE=hook).stdout == "smtp://here unset\n"
    environment = SERVICES["code"]["environment"]
    assert {"CDP_ALERT_WEBHOOK_FILE", "CDP_SMTP_URL_FILE", "CDP_DATABASE_URL_FILE"} <= environment.keys(), (
        "sensors are evaluated there"
    )


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """What a compose service sees: secrets in files, an empty workspace, Dagster's folder with docker/*.yaml, PostgreSQL over the network."""
    folder, password = tmp_path_factory.mktemp("deployed"), "only-for-this-test"
    for port in (3000, 4000, 8000):  # whoever answers there would be taken for ours, and given runs
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something listens on {port}: end it first"
    with postgres(folder, password) as (port, healthy):
        url = f"postgresql://cdp:{password}@127.0.0.1:{port}/{{}}"
        folder.joinpath("cdp_database_url").write_text(url.format("cdp"))
        folder.joinpath("dagster_postgres_url").write_text(url.format("dagster"))
        folder.joinpath("postgres_password").write_text(password)
        for secret in ("cdp_alert_webhook", "cdp_smtp_url"):
            folder.joinpath(secret).write_text("")
        with services(folder) as start:
            start.postgres = healthy
            yield start, folder, Settings(home=folder / "workspace", database_url=url.format("cdp"))


LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
PARAMS = {
    "selector": {"repositoryLocationName": "cdp", "repositoryName": "__repository__", "jobName": "cdp_run"},
    "runConfigData": {},
}


def asked(query, **variables):
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request("http://127.0.0.1:3000/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()[:2000]) from None


def repeated(run, seconds=120):
    """The run that the daemon launched in the place of a dead one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        runs = asked("{ runsOrError { ... on Runs { results { runId parentRunId } } } }")["runsOrError"]["results"]
        for each in runs:
            if each["parentRunId"] == run:
                return each["runId"]
        time.sleep(2)
    raise AssertionError("nobody repeated the run")


def wait_for_run(run, seconds=300, until=("SUCCESS", "FAILURE", "CANCELED")):
    """The run goes over the queue of the daemon and the code location, and is kept in PostgreSQL."""
    end = time.monotonic() + seconds
    status = None
    while time.monotonic() < end and status not in until:
        time.sleep(0.3)
        status = asked(f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}')["runOrError"]["status"]
    return status


def test_the_proxy_alone_ends_tls_and_leads_to_where_the_services_listen():
    """Each site has TLS; the API is reached at the port it serves, the Dagster UI too, and that only with a password."""
    sites = re.findall(r"^(\{\$\w+:[\w.]+\}) \{\n(.*?)^\}", (DOCKER / "Caddyfile").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)  # fmt: skip
    leads = {}
    for _, body in sites:
        assert "tls {$CDP_TLS:internal}" in body
        name, port = re.search(r"reverse_proxy (\w+):(\d+)", body).groups()
        leads[name] = body
        command = SERVICES[name]["command"]
        assert port in command, (name, command)
    assert set(leads) == {"api", "webserver"}
    assert "basic_auth" in leads["webserver"]
    assert "{$CDP_UI_PASSWORD_HASH}" in leads["webserver"]
    wanted = COMPOSE["services"]["proxy"]["environment"]
    assert ":?" in wanted["CDP_UI_PASSWORD_HASH"], "without a password nothing starts"


@pytest.mark.timeout(1800)
def test_each_service_starts_as_a_process_and_answers(deployed):
    start, folder, settings = deployed
    assert start.postgres().returncode == 0
    for once in ("setup", "storage", "setup", "storage"):  # as an upgrade does it again
        assert start(once).wait(120) == 0, folder.joinpath(f"{once}.log").read_text()[-2000:]
    workspace = open_workspace(settings)
    code = start("code")
    listens(4000, code, folder, "code")
    webserver, daemon = start("webserver"), start("daemon")
    api, live = start("api"), start("live")
    assert answers("http://127.0.0.1:3000/server_info", webserver, folder, "webserver") == 200
    assert answers("http://127.0.0.1:8000/readyz", api, folder, "api") == 200
    assert asked("{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }")[
        "workspaceOrError"
    ] == {"locationEntries": [{"name": "cdp", "loadStatus": "LOADED"}]}
    launched = asked(LAUNCH, params=PARAMS)["launchRun"]
    assert "run" in launched, launched
    status = wait_for_run(launched["run"]["runId"])
    assert status == "SUCCESS", folder.joinpath("code.log").read_text()[-3000:]
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from releases").fetchall()[0][0] == 1
    killed = asked(LAUNCH, params=PARAMS)["launchRun"]["run"]["runId"]
    assert wait_for_run(killed, until=("STARTED",)) == "STARTED"
    for worker in psutil.Process(code.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()  # the process of the run: the code location itself lives on
    assert wait_for_run(killed, until=("FAILURE",)) == "FAILURE"
    assert wait_for_run(repeated(killed)) == "SUCCESS", "a dead run is found and repeated"
    for name in ("code", "daemon", "webserver", "api", "live"):
        found = start.healthy(name)
        assert found.returncode == 0, (name, found.stdout[-500:], found.stderr[-1500:])
    behind_tls(folder)
    assert [process.poll() for process in (code, webserver, daemon, live)] == [None] * 4, [
        p.read_text()[-800:] for p in folder.glob("*.log")
    ]
    password = owner_address(workspace).fields["password"]
    assert sum(password in path.read_text() for path in folder.glob("*_url")) == 2
    assert not any(password in path.read_text(errors="replace") for path in folder.glob("*.log"))


def docker(*arguments, **given):
    """A command of Docker; its failure is told with what it said."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, **given)
    assert done.returncode == 0, (arguments, done.stdout[-1000:], done.stderr[-2000:])
    return done.stdout


@pytest.mark.timeout(3600)
def test_the_deployment_starts_and_runs_under_docker(tmp_path):
    """The images are built and started; each is healthy by its own check, and a run goes through queue and code location."""
    if not shutil.which("docker") or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        warnings.warn("no Docker daemon here: the services are started as processes, by the test beside", stacklevel=1)
        return
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "cdp")], check=True)
    folder, password = tmp_path / "cdp" / "docker", "only-for-this-test"
    folder.joinpath("secrets").mkdir()
    url = f"postgresql://cdp:{password}@postgres:5432/{{}}"
    told = {"postgres_password": password, "cdp_database_url": url.format("cdp"), "dagster_postgres_url": url.format("dagster")}  # fmt: skip
    for name in COMPOSE["secrets"]:
        folder.joinpath("secrets", name).write_text(told.get(name, ""))
        folder.joinpath("secrets", name).chmod(0o644)  # the users of the containers read it
    compose = ("compose", "--project-name", "cdp-smoke", "--file", str(folder / "compose.yaml"))
    given = {"env": os.environ | {"CDP_UI_PASSWORD_HASH": "$2a$14$" + "a" * 53}}
    body = json.dumps({"query": LAUNCH, "variables": {"params": PARAMS}})
    send = "import sys, urllib.request as u; print(u.urlopen(u.Request('http://127.0.0.1:3000/graphql', sys.argv[1].encode(), {'Content-Type': 'application/json'})).read().decode())"
    try:
        docker(*compose, "up", "--build", "--detach", "--wait", "--wait-timeout", "1200", **given)
        asks = lambda text: json.loads(docker(*compose, "exec", "-T", "webserver", "python", "-c", send, text, **given))  # noqa: E731
        run, status, end = asks(body)["data"]["launchRun"]["run"]["runId"], None, time.monotonic() + 600
        while status not in ("SUCCESS", "FAILURE") and time.monotonic() < end:
            time.sleep(2)
            query = f'{{ runOrError(runId: "{run}") {{ ... on Run {{ status }} }} }}'
            status = asks(json.dumps({"query": query}))["data"]["runOrError"]["status"]
        assert status == "SUCCESS", docker(*compose, "logs", "--tail", "50", "code", **given)
    finally:
        docker(*compose, "down", "--volumes", "--timeout", "20", **given)


def test_a_secret_whose_file_is_missing_is_named_and_nothing_starts(tmp_path):
    done = subprocess.run([str(DOCKER / "entrypoint"), "true"], env={"PATH": os.environ["PATH"], "X_URL_FILE": str(tmp_path / "absent")}, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "X_URL" in done.stderr
