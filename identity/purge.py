"""Take out of the models every value that no record holds any more: term frequencies are values of people."""

import shutil
from dataclasses import replace
from pathlib import Path

from cdp.lake.engine import Lake
from identity import artefact, nodes


def purge(lake: Lake, folder: Path) -> int:
    """Keep the model in use without the values that are gone, as a version of its own; older versions go.

    A pair of living records scores as before: only values that nobody holds are taken out.

    Args:
        lake: Holds the present records.
        folder: Where models are kept.

    Returns:
        Values taken out.
    """
    trained = artefact.load(folder)
    if trained is None:
        return 0
    nodes.create(lake)
    kept = {column: _held(lake, column, shares) for column, shares in trained.term_frequencies.items()}
    gone = sum(len(shares) - len(kept[column]) for column, shares in trained.term_frequencies.items())
    purged = replace(trained, term_frequencies=kept)
    artefact.save(purged, folder)
    artefact.promote(folder, purged.version)
    for version in artefact.versions(folder):
        if version != purged.version:
            shutil.rmtree(folder / version)
    return gone


def _held(lake: Lake, column: str, shares: dict[str, float]) -> dict[str, float]:
    """The shares of values that a payload still holds."""
    present = {row[0] for row in lake.rows(f"describe {nodes.TABLE}")}
    if column not in present:
        return {}
    held = {
        str(value) for (value,) in lake.rows(f"select distinct {column} from {nodes.TABLE} where {column} is not null")
    }
    return {value: share for value, share in shares.items() if value in held}
