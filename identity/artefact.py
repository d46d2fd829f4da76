"""The trained model as a versioned artefact: parameters, term frequencies, blocking plan, where it comes from.

`models/<version>/model.json` and one Parquet file of term frequencies a column; the version is a hash of the content.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from cdp.errors import ConfigError
from cdp.workspace import write_whole
from identity import fields, informed
from identity.blocking import Plan, Rule
from identity.fields import Comparison

SHARES = pa.schema([("value", pa.string()), ("share", pa.float64())])


@dataclass(frozen=True)
class Model:
    """A trained Fellegi–Sunter model.

    Attributes:
        columns: Columns it compares.
        prior: Probability that two random records are one person's.
        parameters: Comparison → (m, u) of each level but 'missing', strongest first.
        term_frequencies: Column → share of the records that hold a value, for values that at least two hold.
        rarest: Share taken for every other value: one record's.
        plan: The blocking plan.
        threshold: Least match weight (log2 odds) of a pair held for one person.
        facts: Data fingerprint, seed, counts, imputed levels, measured quality.
    """

    columns: tuple[str, ...]
    prior: float
    parameters: dict[str, tuple[tuple[float, float], ...]]
    term_frequencies: dict[str, dict[str, float]]
    rarest: float
    plan: Plan
    threshold: float
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The comparisons it was trained with."""
        return fields.comparisons(frozenset(self.columns))

    @cached_property
    def version(self) -> str:
        """Twelve characters that stand for everything that decides a score."""
        decides = {name: value for name, value in _plain(self).items() if name != "facts"}
        text = json.dumps([decides, {c: sorted(v.items()) for c, v in self.term_frequencies.items()}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def prior_weight(self) -> float:
        """The prior as log2 odds."""
        return math.log2(self.prior / (1 - self.prior))


def save(trained: Model, folder: Path) -> Path:
    """Write the artefact; an existing version is the same by construction.

    Raises:
        ConfigError: If it is made of what is usual, which is good for one file and not to be kept.
    """
    if informed.SESSION in trained.facts.get("sessions", ()):
        raise ConfigError(
            "this model is made of what is usual, not of the records alone", "collect more records, then train"
        )
    target = folder / trained.version
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for column, shares in trained.term_frequencies.items():
        values = sorted(shares)
        table = pa.table({"value": values, "share": [shares[v] for v in values]}, schema=SHARES)
        parquet.write_table(table, target / f"tf_{column}.parquet")
    write_whole(target / "model.json", json.dumps(_plain(trained), sort_keys=True, indent=1))
    return target


def promote(folder: Path, version: str) -> None:
    """Make this version the one in use; those before it are remembered, so that it can be rolled back."""
    before = [name for name in promoted(folder) if name != version]
    write_whole(folder / "promoted", "".join(f"{name}\n" for name in [*before, version]))
    write_whole(folder / "current", version)


def promoted(folder: Path) -> list[str]:
    """Versions that were in use, the one of now last."""
    path = folder / "promoted"
    if path.is_file():
        return path.read_text(encoding="utf-8").split()
    now = current(folder)
    return [now] if now else []


def roll_back(folder: Path) -> str:
    """Make the version before the present one the one in use; its name.

    Raises:
        ConfigError: If there was none before, or it is not there any more.
    """
    names = promoted(folder)
    if len(names) < 2:
        raise ConfigError("no model was in use before this one", "'cdp model list' shows those that can be promoted")
    load(folder, names[-2])
    write_whole(folder / "promoted", "".join(f"{name}\n" for name in names[:-1]))
    write_whole(folder / "current", names[-2])
    return names[-2]


NONE = "none"  # noted where a run had no model


def note_used(folder: Path, version: str) -> None:
    """What the lake holds was made with this version."""
    if folder.is_dir() and used(folder) != version:
        write_whole(folder / "used", version)


def used(folder: Path) -> str | None:
    """The version that the lake's pairs were made with; None before the first run that noted it."""
    path = folder / "used"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def unused(folder: Path) -> str:
    """The version in use where the lake was made with another: by promotion or roll-back; empty where it was not."""
    now, before = current(folder), used(folder)
    return now if now and before and now != before else ""


def is_used(folder: Path) -> bool:
    """Whether what the lake holds was made with the version in use; with none, where there is none."""
    return (current(folder) or NONE) == used(folder)


def versions(folder: Path) -> list[str]:
    """All versions that are there, by name."""
    return sorted(path.parent.name for path in folder.glob("*/model.json"))


def current(folder: Path) -> str | None:
    """The version in use, None where none was promoted."""
    path = folder / "current"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def load(folder: Path, version: str | None = None) -> Model | None:
    """A version, by default the one in use; None where none was trained yet.

    Raises:
        ConfigError: If it is not there, or was trained with other comparisons than this program has.
    """
    name = version or current(folder)
    if name is None:
        return None
    path = folder / name / "model.json"
    if not path.is_file():
        raise ConfigError(f"there is no model {name} in {folder}", "'cdp model list' shows those there are")
    stored = json.loads(path.read_text(encoding="utf-8"))
    labels = stored.pop("labels", None)
    trained = Model(
        columns=tuple(stored["columns"]),
        prior=stored["prior"],
        parameters={c: tuple((m, u) for m, u in levels) for c, levels in stored["parameters"].items()},
        term_frequencies={
            file.stem.removeprefix("tf_"): _shares(file) for file in sorted((folder / name).glob("tf_*.parquet"))
        },
        rarest=stored["rarest"],
        plan=Plan(tuple((Rule(tuple(rule["parts"])), limit) for rule, limit in stored["plan"])),
        threshold=stored["threshold"],
        facts=stored["facts"],
    )
    if labels != _labels(trained):
        raise ConfigError(
            f"model {name} was trained by another version of the program",
            "train again: 'cdp model train', then 'cdp model promote' with the version that it prints, then 'cdp run'",
        )
    vars(trained)["version"] = path.parent.name  # what a version holds never changes: it is not summed up again
    return trained


def _shares(file: Path) -> dict[str, float]:
    table = parquet.read_table(file)
    return dict(zip(table.column("value").to_pylist(), table.column("share").to_pylist(), strict=True))


def _plain(trained: Model) -> dict[str, Any]:
    return {
        "columns": list(trained.columns),
        "prior": trained.prior,
        "parameters": {c: [list(pair) for pair in levels] for c, levels in trained.parameters.items()},
        "rarest": trained.rarest,
        "plan": [[asdict(rule), limit] for rule, limit in trained.plan.rules],
        "threshold": trained.threshold,
        "labels": _labels(trained),
        "facts": trained.facts,
    }


def _labels(trained: Model) -> dict[str, list[str]]:
    return {c.name: [test.label for test in c.tests] for c in trained.comparisons}
