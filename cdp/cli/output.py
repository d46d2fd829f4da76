"""How the command line speaks."""

import sys

from cdp.texttable import table

__all__ = ["say", "table"]


def say(text: str) -> None:
    """One message for the person at the terminal; results that programs read go to standard output instead."""
    print(text, file=sys.stderr, flush=True)
