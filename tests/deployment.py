"""The services of docker/compose.yaml as processes of this machine: PostgreSQL, the pipeline's and the API's, TLS in front."""

import base64
import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from pathlib import Path

import psycopg
import yaml

from cdp.cli.serve import free_port, stop
from cdp.store.server import _own, binaries, lent
from tests.conftest import ROOT

DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]


@contextlib.contextmanager
def postgres(folder, password):
    """The service `postgres`: set up as its image does from the service's environment, started by the service's command.

    Gives the port, and what asks its health check.
    """
    service, said = SERVICES["postgres"], SERVICES["postgres"]["environment"]
    root, port = Path(tempfile.mkdtemp(prefix="pg")), free_port(5500)
    secret = root / "password"
    secret.write_text(password)
    _own(root, secret)
    environment = {
        "PATH": f"{binaries()}:{os.environ['PATH']}", "PGDATA": str(root / "data"), "PGPORT": str(port),
        "PGHOST": "127.0.0.1", "PGPASSWORD": password, "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    account = {"env": environment, "cwd": root, "stdin": subprocess.DEVNULL}

    def as_server(*command):
        command, options = lent([str(binaries() / command[0]), *command[1:]])
        return command, account | options

    made, options = as_server("initdb", "--username", said["POSTGRES_USER"], f"--pwfile={secret}", *said["POSTGRES_INITDB_ARGS"].split())  # fmt: skip
    done = subprocess.run(made, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    assert service["command"][0] == "postgres"
    command, options = as_server(*service["command"], "-c", f"unix_socket_directories={root}")
    log = folder.joinpath("postgres.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    healthy = lambda: subprocess.run(service["healthcheck"]["test"][1:], check=False, capture_output=True, **account)  # noqa: E731
    try:
        end = time.monotonic() + 90
        while healthy().returncode:  # it listens before it answers
            assert process.poll() is None and time.monotonic() < end, folder.joinpath("postgres.log").read_text()  # noqa: PT018
            time.sleep(0.2)
        first = f"host=127.0.0.1 port={port} user={said['POSTGRES_USER']} password={password} dbname="
        for database, statement in (
            ("postgres", f"create database {said['POSTGRES_DB']}"),
            (said["POSTGRES_DB"], (DOCKER / "create-dagster.sql").read_text(encoding="utf-8")),
        ):
            with psycopg.connect(first + database, autocommit=True) as store:
                store.execute(statement)
        yield port, healthy
    finally:
        stop(process)
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def services(folder):
    """Starts services by their names, as processes, and ends them."""
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(DOCKER / "dagster.yaml", home)
    text = (DOCKER / "workspace.yaml").read_text(encoding="utf-8").replace("host: code", "host: 127.0.0.1")
    home.joinpath("workspace.yaml").write_text(text)
    places = {
        "/srv/cdp": str(folder / "workspace"),
        "/srv/dagster": str(home),
        "/run/secrets": str(folder),
        "/srv/app": str(ROOT),
    }
    started = []

    def environment(name):
        said = SERVICES[name]["environment"].items()
        told = {key: placed(str(value).replace("${CDP_API_NAME:-localhost}", "localhost")) for key, value in said}
        return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), **told}

    def start(name):
        command = [str(DOCKER / "entrypoint"), *(placed(part) for part in SERVICES[name]["command"])]
        log = folder.joinpath(f"{name}.log").open("wb")
        process = subprocess.Popen(command, env=environment(name), stdout=log, stderr=log, cwd=folder)
        started.append(process)
        return process

    def placed(text):
        for there, here in places.items():
            text = text.replace(there, here)
        return text

    def healthy(name):
        """The health check of a service, as its container would run it."""
        command = [placed(part) for part in SERVICES[name]["healthcheck"]["test"][1:]]
        return subprocess.run(command, env=environment(name), cwd=folder, capture_output=True, text=True, check=False)

    start.healthy = healthy
    try:
        yield start
    finally:
        for process in reversed(started):
            stop(process)


@contextlib.contextmanager
def proxy(folder, password):
    """The service `proxy`: its Caddyfile, with the services where they are here and ports that anybody may open."""
    said = {key: str(value) for key, value in SERVICES["proxy"]["environment"].items()}
    environment = {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for key, value in said.items()}
    hashed = subprocess.run(["caddy", "hash-password", "--plaintext", password], capture_output=True, text=True, check=True)  # fmt: skip
    environment |= {"CDP_UI_PASSWORD_HASH": hashed.stdout.strip(), "PATH": os.environ["PATH"], "HOME": str(folder)}
    text = (DOCKER / "Caddyfile").read_text(encoding="utf-8").replace("api:8000", "127.0.0.1:8000").replace("webserver:3000", "127.0.0.1:3000")  # fmt: skip
    version = subprocess.run(["caddy", "version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (2, 8):
        text = text.replace("basic_auth", "basicauth")  # as it was called before 2.8
    plain, secure = free_port(8480), free_port(8543)
    health = SERVICES["proxy"]["healthcheck"]["test"][-1].replace(":2019", f":{(admin := free_port(2119))}")
    options = f"{{\n\tadmin 127.0.0.1:{admin}\n\thttp_port {plain}\n\thttps_port {secure}\n\tskip_install_trust\n\tstorage file_system {folder}/certificates\n}}\n"
    folder.joinpath("Caddyfile").write_text(options + text)
    with folder.joinpath("proxy.log").open("wb") as log:
        command = ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]  # the image's own
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        assert answers(health, process, folder, "proxy") == 200
        listens(secure, process, folder, "proxy")
        yield plain, secure
    finally:
        stop(process)


def through(port, host, path, authority, headers=()):
    """Status and text of a page behind the proxy, its certificate checked against the authority that made it.

    The proxy listens before it has made authority and certificates: they are waited for.
    """
    end = time.monotonic() + 30
    while True:
        try:
            return _through(port, host, path, authority, headers)
        except (FileNotFoundError, ssl.SSLError, ConnectionError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _through(port, host, path, authority, headers):
    context = ssl.create_default_context(cafile=str(authority))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, context.wrap_socket(plain, server_hostname=host) as line:  # fmt: skip
        told = "".join(f"{name}: {value}\r\n" for name, value in headers)
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{told}Connection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(line)
        answer.begin()
        return answer.status, answer.read().decode()


def behind_tls(folder):
    """API and UI through the proxy: over TLS only, the UI with a password only."""
    if not shutil.which("caddy"):
        warnings.warn("no caddy here: its file alone is checked, by the test above", stacklevel=1)
        return
    with proxy(folder, "open, please") as (plain, secure):
        authority = folder / "certificates" / "pki" / "authorities" / "local" / "root.crt"
        assert through(secure, "localhost", "/readyz", authority)[0] == 200
        assert through(secure, "dagster.localhost", "/server_info", authority)[0] == 401
        told = base64.b64encode(b"engineer:open, please").decode()
        status, text = through(secure, "dagster.localhost", "/server_info", authority, [("Authorization", f"Basic {told}")])  # fmt: skip
        assert (status, "dagster_version" in text) == (200, True)
        unsafe = http.client.HTTPConnection("127.0.0.1", plain, timeout=30)
        unsafe.request("GET", "/readyz", headers={"Host": "localhost"})
        assert unsafe.getresponse().status in (301, 308), "nothing is served without TLS"


def answers(url, process, folder, name, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, folder.joinpath(f"{name}.log").read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status
        except OSError:
            time.sleep(0.5)
    raise AssertionError(folder.joinpath(f"{name}.log").read_text()[-2000:])


def listens(port, process, folder, name, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, folder.joinpath(f"{name}.log").read_text()[-2000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise AssertionError(f"{name} does not listen")
