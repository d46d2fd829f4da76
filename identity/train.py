"""Unsupervised training of the model: repeatable by seed, kept as a versioned artefact with its term frequencies."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from splink import DuckDBAPI, Linker, block_on
from splink.internals.exceptions import SplinkException

from cdp.workspace import write_whole
from identity import model

SEED = 20_240_601
RECALL = 0.7  # share of true pairs that the deterministic rules below are taken to find
LEAST_PROBABILITY = 0.001  # a level seen in no (or in every) match must not get infinite weight
FEWEST_PAYLOADS = 50


@dataclass(frozen=True)
class Model:
    """A trained model: Splink's settings, the term frequencies they need, and its version (a content hash)."""

    settings: dict[str, Any]
    term_frequencies: dict[str, list[tuple[str, float]]]
    version: str
    imputed: list[str]


def train(connection: duckdb.DuckDBPyConnection, table: str) -> Model | None:
    """Train on a table of payloads; None where there are too few to learn anything from."""
    if int(connection.execute(f"select count(*) from {table}").fetchall()[0][0]) < FEWEST_PAYLOADS:  # noqa: S608
        return None
    with quiet():
        linker = Linker(DuckDBAPI(connection).register(table), model.settings(), log_level=logging.ERROR)
        rules = [
            block_on("email"),
            block_on("phone", "given_key"),
            block_on("given_key", "family_key", "postal_code"),
        ]
        with contextlib.suppress(
            SplinkException, ValueError, ZeroDivisionError
        ):  # no rule finds a pair: the default stands
            linker.training.estimate_probability_two_random_records_match(rules, recall=RECALL)
        linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=SEED, min_count_per_level=None)
        if not _fit(linker):
            return None
        settings = linker.misc.save_model_to_json()
        frequencies = {
            column: [
                (str(row[column]), float(row[f"tf_{column}"]))
                for row in linker.table_management.compute_tf_table(column).as_record_list()
                if row[column] is not None
            ]
            for column in model.TERM_FREQUENCIES
        }
        linker.table_management.delete_tables_created_by_splink_from_db()
    settings.pop("linker_uid", None)
    imputed = complete(settings)
    text = json.dumps([settings, {name: sorted(values) for name, values in frequencies.items()}], sort_keys=True)
    return Model(settings, frequencies, hashlib.sha256(text.encode()).hexdigest()[:12], imputed)


def _fit(linker: Linker) -> int:
    """One EM session a blocking rule; a rule that finds no pair in this data teaches nothing. Returns how many did."""
    taught = 0
    for rule in (("family_key", "postal_code"), ("email",), ("given_key", "family_key")):
        try:
            linker.training.estimate_parameters_using_expectation_maximisation(block_on(*rule))
            taught += 1
        except SplinkException:
            continue
    return taught


def complete(settings: dict[str, Any]) -> list[str]:
    """Give every level a finite weight; returns the levels whose probability the data did not show.

    A level never seen among matches gets a small m, one never seen among others a small u: evidence that is
    strong, never absolute.
    """
    imputed = []
    for comparison in settings["comparisons"]:
        for level in comparison["comparison_levels"]:
            if level.get("is_null_level"):
                continue
            for name in ("m_probability", "u_probability"):
                value = level.get(name)
                if value is None or value == "level not observed in training dataset":
                    imputed.append(f"{comparison['output_column_name']}: {level['label_for_charts']} ({name[0]})")
                    value = LEAST_PROBABILITY * 10 if name == "m_probability" else LEAST_PROBABILITY
                level[name] = round(min(max(float(value), LEAST_PROBABILITY / 100), 1 - LEAST_PROBABILITY), 9)
    return imputed


def save(trained: Model, folder: Path) -> Path:
    """Write the artefact as `models/<version>/model.json`; an existing version is the same by construction."""
    target = folder / trained.version
    target.mkdir(parents=True, exist_ok=True)
    path = target / "model.json"
    content = {
        "settings": trained.settings,
        "term_frequencies": trained.term_frequencies,
        "imputed": trained.imputed,
    }
    write_whole(path, json.dumps(content, sort_keys=True))
    write_whole(folder / "current", trained.version)
    return path


def load(folder: Path) -> Model | None:
    """The model in use, None where none was trained yet."""
    current = folder / "current"
    if not current.is_file():
        return None
    version = current.read_text(encoding="utf-8").strip()
    content = json.loads((folder / version / "model.json").read_text(encoding="utf-8"))
    frequencies = {
        column: [(str(term), float(share)) for term, share in rows]
        for column, rows in content["term_frequencies"].items()
    }
    return Model(content["settings"], frequencies, version, content["imputed"])


@contextmanager
def quiet() -> Iterator[None]:
    """Splink reports every estimate to the log; ours says what matters."""
    logger = logging.getLogger("splink")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
