"""The workspace: the folder that holds everything a deployment owns, and its secrets."""

import json
import os
import secrets
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path

from cdp.errors import WorkspaceError
from cdp.settings import Settings

VERSION = 1
RESTORING = "restoring"
RULES = ("identity.yaml", "consent.yaml", "retention.yaml", "service.yaml", "audiences.yaml", "alerts.yaml", "insight.yaml")
FOLDERS = ("landing", "lake", "models", "dagster", "pg", "sources", "programmes", "privacy", "spill", "logs")


@dataclass(frozen=True)
class Workspace:
    """Paths and secrets of one deployment.

    Args:
        settings: The settings it was opened with.
    """

    settings: Settings

    @property
    def home(self) -> Path:
        """The workspace folder, absolute."""
        return self.settings.home

    def path(self, *parts: str) -> Path:
        """A path inside the workspace."""
        return self.home.joinpath(*parts)

    @cached_property
    def secrets(self) -> dict[str, str]:
        """The generated passwords and keys of `secret.key`.

        Raises:
            WorkspaceError: If the workspace was never made, or its key file is damaged.
        """
        path = self.path("secret.key")
        if not path.is_file():
            raise WorkspaceError(f"{self.home} is not a workspace yet", "run 'cdp init', or set CDP_HOME")
        try:
            found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkspaceError(f"{path} is damaged", "restore it from your backup of the workspace") from error
        return found

    @property
    def encrypted(self) -> bool:
        """Whether the lake's files are encrypted; fixed when the workspace was made."""
        return self.secrets["encrypt"] == "yes"


def create(settings: Settings) -> Workspace:
    """Make the workspace, or bring an older one up to date. Changes nothing that is already there.

    Raises:
        WorkspaceError: If the folder was made by a newer version, or cannot be written.
    """
    workspace = Workspace(settings)
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FOLDERS:
            workspace.path(name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"cannot write {settings.home}: {error.strerror}", "choose another CDP_HOME") from error
    _check_version(workspace)
    _write_secrets(workspace)
    _copy_defaults(workspace)
    return workspace


def open_workspace(settings: Settings) -> Workspace:
    """The workspace of these settings.

    Raises:
        WorkspaceError: If there is none, or it was made by another version.
    """
    workspace = Workspace(settings)
    if workspace.path(RESTORING).exists():
        raise WorkspaceError(
            f"a restore into {workspace.home} did not end", "run 'cdp restore' again: it starts afresh"
        )
    _ = workspace.secrets
    _check_version(workspace)
    return workspace


def write_whole(path: Path, content: str | bytes, encoding: str = "utf-8") -> None:
    """Write a private file that is there whole or not at all, whatever happens meanwhile; what the encoding lacks becomes `?`."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.encode(encoding, "replace") if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _check_version(workspace: Workspace) -> None:
    path = workspace.path("VERSION")
    if not path.exists():
        path.write_text(f"{VERSION}\n", encoding="utf-8")
        return
    found = path.read_text(encoding="utf-8").strip()
    if found != str(VERSION):
        raise WorkspaceError(
            f"{workspace.home} has workspace version {found}, this program writes version {VERSION}",
            "install the version of the program that made it, or set CDP_HOME to a new folder",
        )


def _write_secrets(workspace: Workspace) -> None:
    path = workspace.path("secret.key")
    if path.exists():
        return
    values = {
        "store_password": secrets.token_urlsafe(32),
        "lake_password": secrets.token_urlsafe(32),
        "api_password": secrets.token_urlsafe(32),
        "pepper": secrets.token_urlsafe(32),
        "encrypt": "yes" if workspace.settings.encrypt else "no",
    }
    write_whole(path, json.dumps(values))


def _copy_defaults(workspace: Workspace) -> None:
    """Ship the default sources, programme and identity rules; a file that is there is the user's and stays."""
    defaults = resources.files("cdp") / "defaults"
    for item in (defaults / "sources").iterdir():
        if item.name.endswith(".yaml"):
            _copy_once(item.read_text(encoding="utf-8"), workspace.path("sources", item.name))
            workspace.path("landing", item.name.removesuffix(".yaml")).mkdir(mode=0o700, exist_ok=True)
    if not any(workspace.path("programmes").glob("*.y*ml")):  # the others are there to choose from: 'cdp programme'
        chosen = (defaults / "programmes" / "default.yaml").read_text(encoding="utf-8")
        workspace.path("programmes", "default.yaml").write_text(chosen, encoding="utf-8")
    for name in RULES:
        _copy_once((defaults / name).read_text(encoding="utf-8"), workspace.path(name))


def _copy_once(text: str, target: Path) -> None:
    if not target.exists():
        target.write_text(text, encoding="utf-8")
