"""What is wrong with a deployment, and how to mend it."""

import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cdp.errors import CdpError
from cdp.settings import Settings
from cdp.store import releases, server, webhooks
from cdp.store.connect import API_ROLE, connect, database, lake_address, owner_address
from cdp.workspace import Workspace, open_workspace

LEAST_FREE_GB = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    name: str
    sound: bool
    detail: str = ""
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Check everything that a run needs, in order; stops where nothing further can be checked."""
    yield Finding("Python", sys.version_info >= (3, 11), sys.version.split()[0], "use Python 3.11 or newer")
    workspace: Workspace | None = None

    def opened() -> str:
        nonlocal workspace
        workspace = open_workspace(settings)
        return str(workspace.home)

    found = _try("workspace", opened)
    yield found
    if workspace is None:
        return
    yield _secret(workspace)
    yield _disk(workspace)
    yield from _configuration(workspace)
    yield _try("database", lambda: _database(workspace))
    yield _try("webhooks", lambda: _webhooks(workspace))
    yield _try("lake", lambda: _lake(workspace))


def _try(name: str, work: Callable[[], str]) -> Finding:
    try:
        return Finding(name, sound=True, detail=work())
    except CdpError as error:
        return Finding(name, sound=False, detail=error.message, remedy=error.hint)
    except Exception as error:
        return Finding(name, sound=False, detail=f"{type(error).__name__}: {error}", remedy="see docs/operate.md")


def _secret(workspace: Workspace) -> Finding:
    path = workspace.path("secret.key")
    open_to_others = bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    return Finding(
        "secret.key",
        not open_to_others,
        "readable by others" if open_to_others else "private",
        f"chmod 600 {path}",
    )


def _disk(workspace: Workspace) -> Finding:
    free = shutil.disk_usage(workspace.home).free / 1e9
    return Finding("disk", free > LEAST_FREE_GB, f"{free:.1f} GB free", "free some space, or move CDP_HOME")


def _configuration(workspace: Workspace) -> Iterator[Finding]:
    from cdp.consent.policy import load_policy
    from cdp.identity_rules import load_identity_rules
    from cdp.loyalty.programme import load_programme
    from cdp.sources.canonical import canonical_selects
    from cdp.sources.load import load_sources, unknown_folders

    def sources() -> str:
        found = load_sources(workspace)
        canonical_selects(found)
        return ", ".join(source.source for source in found)

    checked = _try("sources", sources)
    yield checked
    if checked.sound:
        unknown = unknown_folders(workspace, load_sources(workspace))
        detail = f"no source for landing/{', landing/'.join(unknown)}" if unknown else "every folder has a source"
        yield Finding("landing", not unknown, detail, "run 'cdp source add' with a file of that folder")
    yield _try("identity.yaml", lambda: f"expected precision {load_identity_rules(workspace).precision}")
    yield _try("consent.yaml", lambda: f"{len(load_policy(workspace).purposes)} purposes")
    yield _try("programme", lambda: f"{load_programme(workspace).programme} {load_programme(workspace).version}")


def _database(workspace: Workspace) -> str:
    embedded = workspace.settings.database_url is None
    with database(workspace), connect(owner_address(workspace)) as store:
        version = str(store.execute("show server_version").fetchall()[0][0])
        migrated = store.execute("select to_regclass('store.releases') is not null").fetchall()[0][0]
        if not migrated:
            raise CdpError("the store was never set up", "run 'cdp init'")
        denied = store.execute("select not has_schema_privilege(%s, 'lake', 'usage')", [API_ROLE]).fetchall()[0][0]
        if not denied:
            raise CdpError("the API's role can read the lake's catalog", f"revoke usage on schema lake from {API_ROLE}")
        newest = releases.newest(store)
    where = f"embedded, in {server.socket_folder(workspace)}" if embedded else "external"
    released = (
        f"newest release {newest[0].release_id} as of {newest[0].as_of:%Y-%m-%d %H:%M}"
        if newest
        else "nothing released yet"
    )
    return f"PostgreSQL {version} ({where}); {released}"


def _webhooks(workspace: Workspace) -> str:
    with database(workspace), connect(owner_address(workspace)) as store:
        found = webhooks.listed(store)
    failing = [hook.name for hook in found if hook.failing_since is not None]
    if failing:
        raise CdpError(
            f"{', '.join(failing)} did not take what was sent", "'cdp webhooks list' says why and since when"
        )
    return f"{len(found)} receivers, none fails" if found else "none"


def _lake(workspace: Workspace) -> str:
    from cdp.lake.engine import open_lake

    with database(workspace), connect(lake_address(workspace)), open_lake(workspace, read_only=True) as lake:
        return f"snapshot {lake.snapshot()}, {'encrypted' if workspace.encrypted else 'not encrypted'}"
