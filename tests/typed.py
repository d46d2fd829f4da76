"""Commands as a user types them, each in a process of its own that is forked from one which has imported everything.

Imports are a third of a run over little data. `python -m cdp` itself is typed in `tests/cdp/test_workspace.py`.
"""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

COMMANDS = multiprocessing.get_context("forkserver")
COMMANDS.set_forkserver_preload(["tests.preloaded"])


def typed(arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `cdp` with these arguments to its end."""
    with TemporaryDirectory() as folder:  # not pipes: a server that the command starts would keep them open
        out, err = Path(folder, "out"), Path(folder, "err")
        out.touch()
        err.touch()
        process = COMMANDS.Process(target=_command, args=(arguments, environment, str(Path.cwd()), out, err))
        process.start()
        try:
            process.join()
        finally:
            process.kill()  # where the wait was interrupted
        texts = [path.read_text(encoding="utf-8") for path in (out, err)]
    return subprocess.CompletedProcess(["cdp", *arguments], process.exitcode or 0, *texts)


def _command(arguments: tuple[str, ...], environment: dict[str, str], working: str, out: Path, err: Path) -> None:
    from cdp.cli.main import run

    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    assert "tests.preloaded" in sys.modules, "python -c 'import tests.preloaded' says why"
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(working)
    sys.argv = ["cdp", *arguments]
    run()
