"""The landing folder: which files lie there, and what tells a file that was replaced."""

from collections.abc import Iterable
from pathlib import Path

from cdp.sources.model import Source
from cdp.store.landed import Seen

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload")


def landing_files(landing: Path, source: Source) -> list[Path]:
    """The files of one source, in order of name; hidden and unfinished ones are left alone."""
    folder = landing / source.source
    found = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return sorted(path for path in found if not path.name.startswith(".") and path.suffix not in UNFINISHED)


def seen(landing: Path, sources: Iterable[Source]) -> list[Seen]:
    """What lies there now: (source, file, bytes, modified in ns). Reads no file; one that goes away meanwhile is left out."""
    found = []
    for source in sources:
        for path in landing_files(landing, source):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            name = path.relative_to(landing / source.source).as_posix()
            found.append((source.source, name, state.st_size, state.st_mtime_ns))
    return found
