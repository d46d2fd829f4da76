"""Find and read the source files of a workspace."""

from functools import lru_cache
from importlib import resources
from pathlib import Path

from cdp.errors import ConfigError
from cdp.sources.model import Source
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml


def load_sources(workspace: Workspace) -> list[Source]:
    """Every source of the workspace, in order of name.

    Raises:
        ConfigError: If a file is broken, or its `source` is not its file's name.
    """
    folder = workspace.path("sources")
    if not folder.is_dir():  # no workspace yet: what 'cdp init' would put there
        folder = Path(str(resources.files("cdp") / "defaults" / "sources"))
    try:
        files = [(path, path.stat()) for path in sorted(folder.glob("*.y*ml"))]
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be read ({error.strerror})", "mend or remove it") from error
    if not files:
        raise ConfigError(f"no source in {folder}", "run 'cdp init', or 'cdp source add FILE'")
    return list(_read(tuple((path, stat.st_mtime_ns, stat.st_size, stat.st_ino) for path, stat in files)))


@lru_cache(maxsize=2)
def _read(files: tuple[tuple[Path, int, int, int], ...]) -> tuple[Source, ...]:
    """The sources of these files as they are: loading Dagster's graph asks for them four times."""
    found = []
    for path, *_ in files:
        source = load_yaml(path, Source)
        if source.source != path.stem:
            raise ConfigError(
                f"{path}:1: source is '{source.source}', expected '{path.stem}'",
                "rename the file or the source",
            )
        found.append(source)
    return tuple(found)


def unknown_folders(workspace: Workspace, sources: list[Source]) -> list[str]:
    """Folders under `landing/` that hold files but have no source, and files outside any: their data would wait unseen."""
    known = {source.source for source in sources}
    landing = workspace.path("landing")
    loose = [item.name for item in landing.iterdir() if item.is_file() and not item.name.startswith(".")]
    return sorted(loose) + sorted(
        folder.name
        for folder in landing.iterdir()
        if folder.is_dir() and folder.name not in known and any(item.is_file() for item in folder.rglob("*"))
    )
