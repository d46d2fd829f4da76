"""Shared fixtures: real workspaces with a real PostgreSQL and a real lake, and the reference data."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from cdp.cli.pipeline import initialise
from cdp.clock import system_now
from cdp.lake.engine import Lake, open_lake
from cdp.lake.tables import create_registers
from cdp.settings import Settings
from cdp.simulate.write import simulate
from cdp.store import keys
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace
from tests.receivers import hook, mailbox  # noqa: F401 - fixtures
from tests.typed import typed

# how long an example takes says nothing: machines are busy
settings.register_profile("cdp", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cdp")

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RETAIL_AS_OF = "2011-12-31"  # after the last event


class ByModule(LoadScopeScheduling):
    """Modules stay together on one worker, and so do all that use the reference case: it is run once.

    A scheduler of our own, because xdist's groups do nothing under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "retail_case" if "retail_case" in (ROOT / file).read_text(encoding="utf-8") else file


LONG_FIRST = ("end_to_end", "api", "identity", "assets", "test_docker.py")


def pytest_configure(config: pytest.Config) -> None:
    """Keep our own order of modules: see below."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first, so that no worker is left alone with them at the end."""

    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests")
        if "retail_case" in item.path.read_text(encoding="utf-8"):
            return -1
        return LONG_FIRST.index(path.parts[0]) if path.parts[0] in LONG_FIRST else len(LONG_FIRST)

    ranks = {item.path: rank(item) for item in {item.path: item for item in items}.values()}
    items.sort(key=lambda item: ranks[item.path])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByModule:
    """Asked by xdist for its scheduler."""
    return ByModule(config, log)


def cdp(
    workspace: Workspace, *arguments: str, check: bool = True, threads: int = 1
) -> subprocess.CompletedProcess[str]:
    """Type a command as a user would. One thread: the data are small, and as many workers as cores run beside each other."""
    done = typed(arguments, os.environ | {"CDP_HOME": str(workspace.home), "CDP_THREADS": str(threads)})
    if check:
        assert done.returncode == 0, done.stderr
    return done


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The workspace of that name, which all workers copy: made by the first of them that asks."""
    folder = factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            home = factory.mktemp(name) / "home"
            make(home)
            home.rename(folder / name)
    return folder / name


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as `cdp init` leaves it; its database is down."""
    return made_once(tmp_path_factory, "untouched", lambda home: initialise(Settings(home=home)))


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory, untouched: Path) -> Iterator[Callable[..., Workspace]]:
    """Makes workspaces that are set up and whose database is up until the session ends."""
    stack = []

    def make(copied: Path = untouched) -> Workspace:
        home = tmp_path_factory.mktemp("ws") / "home"
        subprocess.run(["cp", "-a", str(copied), str(home)], check=True)  # PostgreSQL asks who owns its files
        workspace = open_workspace(Settings(home=home))
        running = database(workspace)
        running.__enter__()
        stack.append(running)
        return workspace

    yield make
    for running in reversed(stack):
        running.__exit__(None, None, None)


@pytest.fixture(scope="module")
def workspace(new_workspace: Callable[[], Workspace]) -> Workspace:
    """One workspace for the tests of a module."""
    return new_workspace()


@dataclass
class Opened:
    """An open lake and store of a workspace."""

    workspace: Workspace
    lake: Lake
    store: psycopg.Connection


@contextmanager
def opened(workspace: Workspace, run_id: str = "test") -> Iterator[Opened]:
    """Open lake and store as a run does."""
    with open_lake(workspace, run_id=run_id) as lake, connect(owner_address(workspace)) as store:
        create_registers(lake)
        yield Opened(workspace, lake, store)


@pytest.fixture
def platform(workspace: Workspace) -> Iterator[Opened]:
    """The module's workspace, opened."""
    with opened(workspace) as found:
        yield found


@pytest.fixture(scope="session")
def reference() -> Path:
    """The reference data; skips where it is absent (CI fails on a skip)."""
    path = Path(os.environ.get("CDP_REFERENCE_DATA", ROOT.parent / "shared" / "data"))
    if not (path / "retail_case").is_dir():
        pytest.skip("reference data is absent: set CDP_REFERENCE_DATA")
    return path


def api_key(workspace: Workspace, *scopes: str, purposes: tuple[str, ...] = ("service",)) -> dict[str, str]:
    """The header of a new key with these scopes and purposes."""
    with connect(owner_address(workspace)) as store:
        name = f"k{store.execute('select count(*) from api_keys').fetchall()[0][0]}"
        text = keys.create(store, workspace.secrets["pepper"], name, list(scopes), system_now(), purposes=purposes)
    return {"Authorization": f"Bearer {text}"}


def land(workspace: Workspace, case: Path) -> None:
    """Copy a case's landing files into a workspace."""
    for file in case.joinpath("landing").rglob("*"):
        if file.is_file():
            target = workspace.path("landing") / file.relative_to(case / "landing")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
            target.chmod(0o644)


@dataclass
class RetailCase:
    """The reference case after one cold run."""

    workspace: Workspace
    truth: Path
    log: str


@pytest.fixture(scope="session")
def retail_case(new_workspace: Callable[[], Workspace], reference: Path) -> RetailCase:
    """`retail_case` brought through the whole pipeline by `cdp run`, once for the session."""
    workspace = new_workspace()
    land(workspace, reference / "retail_case")
    done = cdp(workspace, "run", "--as-of", RETAIL_AS_OF, threads=2)
    return RetailCase(workspace, reference / "retail_case" / "truth", done.stderr)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred simulated people brought through the pipeline; its database is down."""

    def make(home: Path) -> None:
        workspace, folder = initialise(Settings(home=home)), tmp_path_factory.mktemp("town")
        simulate(250, "11", folder, NOW - timedelta(days=1))
        land(workspace, folder)
        cdp(workspace, "run", "--as-of", f"{NOW:%Y-%m-%d}")
        cdp(workspace, "stop")

    return made_once(tmp_path_factory, "built", make)


@pytest.fixture(scope="module")
def town(new_workspace: Callable[..., Workspace], built: Path) -> Workspace:
    """A copy of that town; a module's own, so that it may change it."""
    return new_workspace(built)
