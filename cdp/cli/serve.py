"""Processes that serve: the Dagster UI and the API."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from cdp.errors import CdpError
from cdp.workspace import Workspace


def dagster_process(workspace: Workspace, port: int, *, quiet: bool = False) -> subprocess.Popen[bytes]:
    """Start the Dagster UI and daemon. Signals are reset: a shell's background jobs ignore them by inheritance."""
    from assets.launch import prepare_home

    home = prepare_home(workspace.path("dagster"))
    environment = os.environ | {"DAGSTER_HOME": str(home), "CDP_HOME": str(workspace.home)}
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(home / "workspace.yaml"),
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
    ]
    return _start(command, environment, workspace, "dagster.log" if quiet else None)


def api_process(workspace: Workspace, host: str, port: int) -> subprocess.Popen[bytes]:
    """Start the API in a process of its own."""
    environment = os.environ | {"CDP_HOME": str(workspace.home)}
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "api.app:from_environment",
        "--host",
        host,
        "--port",
        str(port),
    ]
    command += ["--log-level", "warning", "--no-access-log"]
    return _start(command, environment, workspace, "api.log")


def live_process(workspace: Workspace) -> subprocess.Popen[bytes]:
    """Start what sees events at once."""
    environment = os.environ | {"CDP_HOME": str(workspace.home)}
    return _start([sys.executable, "-m", "cdp", "live"], environment, workspace, "live.log")


def _start(
    command: list[str], environment: dict[str, str], workspace: Workspace, log: str | None
) -> subprocess.Popen[bytes]:
    def reset() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    if log is None:
        return subprocess.Popen(command, env=environment, preexec_fn=reset)  # noqa: PLW1509 - one thread here
    with workspace.path("logs", log).open("ab") as output:
        return subprocess.Popen(command, env=environment, preexec_fn=reset, stdout=output, stderr=output)  # noqa: PLW1509


def free_port(wanted: int) -> int:
    """This port, or the next one that nobody listens on."""
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CdpError(f"no free port from {wanted} on", "end what listens there, or choose another port")


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
    """Wait until a server answers.

    Raises:
        CdpError: If it ends, or is silent for too long.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - an address of this machine
                return
        except OSError:
            time.sleep(0.2)
    raise CdpError(f"{url} does not answer", "look into the workspace's logs/ folder")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process kindly, then firmly."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(25)  # a webhook's call under way may take 15
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
