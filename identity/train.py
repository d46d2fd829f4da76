"""Unsupervised training: u from random pairs, m by expectation maximisation, prior and threshold from the scores.

Repeatable: one seed, records in the order of their content, numbers rounded below what the order of sums can change.
"""

import contextlib
import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from operator import truediv
from typing import Any

import duckdb
import numpy as np
from splink import DuckDBAPI, Linker, block_on
from splink.internals.em_training_session import EMTrainingSession
from splink.internals.exceptions import SplinkException

from identity import blocking, fields, informed, scoring, splink_settings
from identity.artefact import Model
from identity.parameters import LEAST_U, bounded, complete, number, unlearnt_comparisons
from identity.splink_settings import quiet

SEED = 20_240_601
RECALL = 0.7  # share of true pairs that the deterministic rules of the first guess are taken to find
RANDOM_PAIRS = 1.5e6
TRAINING_PAIRS = 400_000
FEWEST_RECORDS = 50
SCORED_FOR_PRIOR = 600_000
# Sessions of expectation maximisation: within each, the fields it does not block on are learnt.
SESSIONS = (
    ("first", "family"), ("birth_date",), ("postal_code", "first"), ("email",), ("phone",), ("family", "birth_year"),
    ("first", "birth_year"), ("postal_code",), ("city", "family"), ("family",),
)  # fmt: skip
MOST_ALIKE = 5  # records of one set of values that teach: more would be all that is learnt
# For records whose few fields those sessions leave untaught: names beside an address, or beside nothing else.
LAST_SESSIONS = (("street",), ("city",), ("first",))
ITERATIONS = (25, 10, 5)
ENOUGH = 2  # sessions that taught a comparison
# A mixture of two classes is identified by three fields or more that are independent within each (Allman, Matias and Rhodes 2009);
# a session leaves out the one it blocks on.
FEWEST_FIELDS = 4


class Untrained(ValueError):
    """The data teach nothing about these comparisons, so a model with them must not be used.

    Args:
        names: Of the comparisons, which are their fields.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.fields = frozenset(names)


def train(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    seed: int = SEED,
    precision: float | None = None,
    *,
    usual: bool = False,
) -> Model | None:
    """Train on a table of records; None where they are too few, or teach nothing.

    Args:
        connection: Where the records are.
        table: `node` and those of `fields.COLUMNS` that the records have.
        seed: Of the random pairs.
        precision: Expected share of right pairs among those held for one person; even odds decide where absent.
        usual: Where the records teach too little, count what is usual beside it; such a model is never promoted.
    """
    records = int(_one(connection, f"select count(*) from {table}"))
    present = columns_present(connection, table)
    if records < (2 if usual else FEWEST_RECORDS):
        return None
    if records >= FEWEST_RECORDS and not (usual and len(fields.comparisons(present)) < FEWEST_FIELDS):
        with contextlib.suppress(Untrained):
            learnt = _train(connection, table, seed, precision, records, present)
            if learnt is not None or not usual:
                return learnt
    # names beside an address or little else: who agrees in all of it is one set of values, so the records themselves teach
    several = int(_one(connection, f"select sum(least(records, {MOST_ALIKE})) from {table}"))
    connection.execute(
        f"create or replace temp table every_record as select row_number() over (order by node, copy) - 1 as node, * exclude (node, copy) "
        f"from (select *, unnest(range(least(records, {MOST_ALIKE}))) as copy from {table})"
    )
    if usual:
        return _informed(connection, "every_record", precision, several, present)
    try:
        return _train(connection, "every_record", seed, precision, several, present, SESSIONS + LAST_SESSIONS)
    except Untrained as refused:
        fewer = present - refused.fields
    while fewer:  # a field of which the data teach nothing is not compared: no level is ever promoted untrained
        try:
            return _train(connection, table, seed, precision, records, fewer, SESSIONS + LAST_SESSIONS)
        except Untrained as refused:
            fewer -= refused.fields
    return None


def _train(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    seed: int,
    precision: float | None,
    records: int,
    present: frozenset[str],
    sessions: tuple[tuple[str, ...], ...] = SESSIONS,
) -> Model | None:
    comparisons = fields.comparisons(present)
    if len(comparisons) < 2:
        return None
    with quiet():
        linker = Linker(
            DuckDBAPI(connection).register(table),
            splink_settings.settings(comparisons, em_convergence=0.001),
            log_level=logging.ERROR,
        )
        _first_guess(linker, present)
        with one_thread(connection):  # the sample of a seed depends on the order of the rows
            linker.training.estimate_u_using_random_sampling(RANDOM_PAIRS, seed, min_count_per_level=None, num_chunks=1)
        taught = _sessions(linker, present, [c.name for c in comparisons], sessions)
        settings = linker.misc.save_model_to_json()
        linker.table_management.delete_tables_created_by_splink_from_db()
    if not taught:
        return None
    parameters, imputed = complete(settings, comparisons)
    if unlearnt := unlearnt_comparisons(settings, [c.name for c in comparisons]):
        raise Untrained(unlearnt)
    prior = min(max(settings["probability_two_random_records_match"], 1e-9), 0.5)
    plan = blocking.plan(connection, table, present)
    facts = {"seed": seed, "imputed": imputed, "sessions": taught}
    draft = _draft(connection, table, records, present, prior, parameters, plan, facts)
    return _fit_prior(connection, draft, table, records, precision, blocking.create_pairs(connection, plan, table))


def _informed(
    connection: duckdb.DuckDBPyConnection, table: str, precision: float | None, records: int, present: frozenset[str]
) -> Model | None:
    comparisons = fields.comparisons(present)
    if len(comparisons) < 2:
        return None
    plan = blocking.plan(connection, table, present)
    pairs = blocking.create_pairs(connection, plan, table)
    prior, learnt = informed.learn(connection, table, comparisons, pairs, dated="birth_full" in present)
    parameters = {name: tuple(bounded(m, u) for m, u in levels) for name, levels in learnt.items()}
    facts = {"imputed": [], "sessions": [informed.SESSION]}
    draft = _draft(connection, table, records, present, min(prior, 0.5), parameters, plan, facts)
    return _fit_prior(connection, draft, table, records, precision, pairs, informed.prior_of)


def _draft(
    connection: duckdb.DuckDBPyConnection, table: str, records: int, present: frozenset[str], prior: float,
    parameters: dict[str, tuple[tuple[float, float], ...]], plan: blocking.Plan, facts: dict[str, Any],
) -> Model:  # fmt: skip
    """What was learnt, with what the records say of themselves; the prior is still to be fitted."""
    return Model(
        columns=tuple(sorted(present)),
        prior=prior,
        parameters=parameters,
        term_frequencies=term_frequencies(connection, table, fields.comparisons(present)),
        rarest=1 / records
        if "words" in present
        else min(1 / records, LEAST_U),  # no names say how many hold a contact point
        plan=plan,
        threshold=0.0,
        facts={"records": records, "data": _fingerprint(connection, table, present), **facts},
    )


@contextlib.contextmanager
def one_thread(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """One thread, rows in their order, for the length of the block."""
    before = {
        name: _one(connection, f"select current_setting('{name}')") for name in ("threads", "preserve_insertion_order")
    }
    connection.execute("set threads = 1")
    connection.execute("set preserve_insertion_order = true")
    try:
        yield
    finally:
        connection.execute(f"set threads = {int(before['threads'])}")
        connection.execute(f"set preserve_insertion_order = {bool(before['preserve_insertion_order'])}")


def columns_present(connection: duckdb.DuckDBPyConnection, table: str) -> frozenset[str]:
    """The columns that are filled and vary."""
    there = {row[0] for row in connection.execute(f"describe {table}").fetchall()}
    names = [name for name in fields.COLUMNS if name in there]
    if not names:
        return frozenset()
    counts = ", ".join(f"count({name}), approx_count_distinct({name})" for name in names)
    row = connection.execute(f"select count(*), {counts} from {table}").fetchall()[0]
    least = fields.LEAST_FILLED * row[0]
    return frozenset(n for at, n in enumerate(names) if row[1 + 2 * at] > least and row[2 + 2 * at] > 1)


def _first_guess(linker: Linker, present: frozenset[str]) -> None:
    rules = [
        ("email",),
        ("phone", "first"),
        ("national_id",),
        ("first", "family", "birth_date"),
        ("first", "family", "postal_code"),
    ]
    usable = [block_on(*rule) for rule in rules if present.issuperset(rule)] or [block_on("first", "family")]
    with contextlib.suppress(
        SplinkException, ValueError, ZeroDivisionError
    ):  # no rule finds a pair: the default stands
        linker.training.estimate_probability_two_random_records_match(usable, recall=RECALL)


def _sessions(
    linker: Linker, present: frozenset[str], names: list[str], sessions: tuple[tuple[str, ...], ...]
) -> list[str]:
    """Sessions until every comparison was taught often enough; returns the blocking of those that taught something."""
    taught: list[str] = []
    lessons = dict.fromkeys(names, 0)
    for rule in sessions:
        learns = [name for name in names if name not in {column.replace("birth_year", "birth_date") for column in rule}]
        if not present.issuperset(rule) or all(lessons[name] >= ENOUGH for name in learns):
            continue
        if not _session(linker, rule, dated="birth_full" in present):
            continue
        taught.append("+".join(rule))
        for name in learns:
            lessons[name] += 1
    return taught


def _session(linker: Linker, rule: tuple[str, ...], *, dated: bool) -> bool:
    """One session; False where the rule finds no pair in these records, or people of one home or name for one person.

    Splink refuses an m that falls below 1e-300 on its way to nothing (a level that no match shows); fewer iterations
    stop before it does. A session that fails leaves the linker without the fields that it blocked on, and with the prior of
    its blocks: both are put back.
    """
    known = linker._settings_obj  # no public way to change the iterations between sessions, or to take one back
    before = known.core_model_settings.copy()
    for iterations in ITERATIONS:
        known.training_settings = dataclasses.replace(known.training_settings, max_iterations=iterations)
        try:
            session = linker.training.estimate_parameters_using_expectation_maximisation(
                block_on(*rule),
                estimate_without_term_frequencies=True,
                max_pairs=TRAINING_PAIRS,
                record_sample_proportion=1.0,
            )
        except SplinkException:
            known.core_model_settings = before
            return False
        except ValueError:
            known.core_model_settings = before.copy()
            continue
        if _of_several(session, dated=dated):
            known.core_model_settings = before
            return False
        return True
    return False


def _of_several(session: EMTrainingSession, *, dated: bool) -> bool:
    """Whether what a session took for matches are several people's: see `informed.of_several`."""
    learnt = session.core_model_settings.comparisons
    different = {c.output_column_name: number(c.comparison_levels[-1].m_probability) or 0.0 for c in learnt}
    return informed.of_several(different, dated=dated)


def term_frequencies(
    connection: duckdb.DuckDBPyConnection, table: str, comparisons: list[fields.Comparison]
) -> dict[str, dict[str, float]]:
    """Shares of the values that at least two records hold, by column.

    A contact point or a number of somebody's own is common where people of several names have it: one person's own records, which
    all repeat it, say nothing of how many others do.
    """
    columns = sorted({test.term_frequency for c in comparisons for test in c.tests if test.term_frequency})
    there = {row[0] for row in connection.execute(f"describe {table}").fetchall()}
    holders = dict.fromkeys(columns, "count(*)") | dict.fromkeys(
        set(fields.OWN) & set(columns), "count(distinct words)"
    )
    return {
        column: {
            str(value): float(share)
            for value, share in connection.execute(
                f"select {column}, {holders[column]} / sum(count(*)) over () from {table} where {column} is not null "
                f"group by {column} qualify {holders[column]} > 1 order by {column}"
            ).fetchall()
        }
        if column not in fields.OWN or "words" in there
        else {}
        for column in columns
    }


def _fit_prior(
    connection: duckdb.DuckDBPyConnection,
    draft: Model,
    table: str,
    records: int,
    precision: float | None,
    pairs: int,
    share_of: Callable[[float, float], float] = truediv,
) -> Model:
    """The prior (`share_of` matches and all pairs) and the threshold, from so many candidate `pairs`.

    The prior is the one that reproduces itself: the share of all pairs that the scores, under it, hold for matches.
    This is expectation maximisation of the prior alone over the candidate pairs (Fellegi and Sunter's mixture with m and
    u fixed); pairs that blocking left out count as no matches. The threshold is even odds under that prior, or the lowest
    weight above which the mean probability reaches `precision`. Neither looks at any truth.
    """
    share, chosen = blocking.part_of(pairs, SCORED_FOR_PRIOR)
    connection.execute(
        f"create or replace temp table prior_pairs as select l, r from candidate_pairs where {chosen} order by l, r"
    )
    scoring.score(connection, draft, table, "prior_pairs", "prior_scores", -40.0)
    weights = np.array(
        [row[0] for row in connection.execute("select weight from prior_scores order by weight").fetchall()]
    )
    evidence = weights - draft.prior_weight
    every = records * (records - 1) / 2
    prior = draft.prior
    for _ in range(200):
        weight = evidence + math.log2(prior / (1 - prior))
        found = float((1 / (1 + 2.0**-weight)).sum()) / share
        new = min(max(share_of(found, every), 0.5 / every), 0.5)
        if abs(math.log2(new / prior)) < 1e-3:
            break
        prior = new
    probability = 1 / (1 + 2.0 ** -(evidence + math.log2(prior / (1 - prior))))
    threshold = threshold_for(probability, precision)
    held = probability[probability >= 1 / (1 + 2.0**-threshold) - 1e-12]
    quality = {
        "expected_precision": round(float(held.mean()), 4) if len(held) else 1.0,
        "expected_recall_of_candidates": round(float(held.sum() / max(probability.sum(), 1e-9)), 4),
        "candidate_pairs": pairs,
        "expected_matches": round(float(probability.sum()) / share),
    }
    parts = {name: getattr(draft, name) for name in ("columns", "parameters", "term_frequencies", "rarest", "plan")}
    return Model(**parts, prior=float(f"{prior:.9g}"), threshold=threshold, facts={**draft.facts, **quality})


def threshold_for(probability: np.ndarray, precision: float | None) -> float:
    """The match weight (log2 odds, at least even) from which on pairs are right in the expected share of cases."""
    if precision is None or not len(probability):
        return 0.0
    ordered = np.sort(probability)[::-1]
    reached = np.nonzero(np.cumsum(ordered) / np.arange(1, len(ordered) + 1) >= precision)[0]
    lowest = float(ordered[reached.max()]) if len(reached) else float(ordered[0])
    lowest = min(max(lowest, 0.5), 1 - 1e-12)
    return round(math.log2(lowest / (1 - lowest)), 3)


def _fingerprint(connection: duckdb.DuckDBPyConnection, table: str, present: frozenset[str]) -> str:
    columns = ", ".join(sorted(present))
    rows = _one(connection, f"select count(*) || ':' || sum(hash({columns})) from {table}")
    return hashlib.sha256(f"{columns} {rows}".encode()).hexdigest()[:16]


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]
