"""What is shown of a table or a plot, kept from run to run: most runs change few of them."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from cdp.workspace import write_whole

MOST_KEPT = 400


def kept(key: str, make: Callable[[], str]) -> str:
    """What was made for this key before, else made now. The key names everything that it depends on."""
    folder = Path(os.environ.get("DAGSTER_HOME") or tempfile.gettempdir()) / "shown"
    path = folder / hashlib.sha256(key.encode()).hexdigest()[:24]
    if not path.is_file():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
        write_whole(path, make())
    return path.read_text(encoding="utf-8")
