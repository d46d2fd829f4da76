"""The stage as a whole: what makes each of its tables, and in which order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter

from cdp.insight import projected, scored, segments, terms
from cdp.insight.rules import Insight
from cdp.lake.build import Built, build, sql_file, sql_tables
from cdp.lake.engine import Lake
from cdp.service import Service

STAGE = "insight"


@dataclass(frozen=True)
class Measuring:
    """What a run measures with.

    Attributes:
        currency: Of reports, where the rules name none.
        now: The run's one clock.
    """

    lake: Lake
    rules: Insight
    service: Service
    currency: str
    now: datetime


@dataclass(frozen=True)
class Made:
    """A table that is made by code.

    Attributes:
        make: What makes it; its docstring describes it.
        inputs: Tables it reads.
        card: The card of its model, a table made beside it.
    """

    make: Callable[[Measuring], Built]
    about: str
    inputs: tuple[str, ...] = ()
    card: str = ""

    @property
    def description(self) -> str:
        """As headers of SQL files say it."""
        return "Grain: " + " ".join(self.about.split("grain = ", 1)[1].split())


def _doc(function: Callable[..., Built]) -> str:
    return function.__doc__ or ""


TERMS, HORIZON, DAYS = "core__insight_terms", "core__purchase_horizon", "core__purchase_days"
MADE = {
    TERMS: Made(lambda m: terms.build_terms(m.lake, m.rules, m.currency, m.now), _doc(terms.build_terms)),
    "core__insight_months": Made(lambda m: terms.build_months(m.lake, m.rules, m.now), _doc(terms.build_months)),
    "core__cohort_months": Made(lambda m: terms.build_cohort_months(m.lake, m.rules, m.now), _doc(terms.build_cohort_months)),
    "core__insight_steps": Made(lambda m: terms.build_steps(m.lake, m.rules), _doc(terms.build_steps)),
    "core__service_terms": Made(lambda m: terms.build_promises(m.lake, m.service), _doc(terms.build_promises)),
    "core__churn_cutoffs": Made(lambda m: terms.build_cutoffs(m.lake), _doc(terms.build_cutoffs), (DAYS, HORIZON, TERMS)),
    "mart__churn": Made(lambda m: scored.build_churn(m.lake, m.now), _doc(scored.build_churn), ("core__churn_features",), "ops__churn_card"),
    "mart__customer_value": Made(
        lambda m: scored.build_value(m.lake, m.now), _doc(scored.build_value), ("core__customer_purchases", DAYS, "core__churn_cutoffs", HORIZON, TERMS), "ops__value_card"
    ),
    "mart__clusters": Made(
        lambda m: scored.build_clusters(m.lake, m.now), _doc(scored.build_clusters), ("core__customer_purchases", "core__customer_traits"), "ops__clusters_card"
    ),
    "mart__feedback": Made(
        lambda m: scored.build_feedback(m.lake, m.now), _doc(scored.build_feedback),
        ("core__interactions", "core__record_customers", "core__survey_answers", TERMS), "ops__feedback_card",
    ),
    "mart__survival_curves": Made(lambda m: projected.build_survival(m.lake, m.now), _doc(projected.build_survival), ("core__lifetimes",), "ops__survival_card"),
    "mart__retention_projection": Made(
        lambda m: projected.build_retention(m.lake, m.now), _doc(projected.build_retention), ("core__cohorts", HORIZON, "core__cohort_months"), "ops__retention_card"
    ),
    "mart__state_forecast": Made(
        lambda m: projected.build_forecast(m.lake, m.now), _doc(projected.build_forecast), ("mart__state_moves", "core__state_rewards", "core__insight_months", "core__customer_months", TERMS), "ops__states_card"
    ),
    "mart__attribution": Made(lambda m: projected.build_attribution(m.lake), _doc(projected.build_attribution), ("core__touch_steps", "mart__touch_credit")),
    "mart__survey_scores": Made(lambda m: projected.build_survey_scores(m.lake), _doc(projected.build_survey_scores), ("core__survey_counts",)),
    segments.TABLE: Made(lambda m: segments.build_segments(m.lake, m.rules), _doc(segments.build_segments), (segments.SCORES,)),
    segments.HISTORY: Made(lambda m: segments.build_history(m.lake, m.now), _doc(segments.build_history), (segments.TABLE, "core__customers")),
}  # fmt: skip
CARDS = {made.card: table for table, made in MADE.items() if made.card}


def _reads() -> dict[str, set[str]]:
    """Table of the stage → what it reads."""
    found = {table: set(sql_file(STAGE, table).inputs) for table in sql_tables(STAGE)}
    return (
        found
        | {table: set(made.inputs) for table, made in MADE.items()}
        | {card: {table} for card, table in CARDS.items()}
    )


def in_order(wanted: Iterable[str] = ()) -> list[str]:
    """The tables of the stage, each after what it reads; only those that the wanted ones need, where some are named.

    Cards come with their tables.
    """
    reads = _reads()
    needed, open_ = set(reads) if not wanted else set(), list(wanted)
    while open_:
        table = open_.pop()
        if table not in needed:
            needed.add(table)
            open_ += reads[table] & set(reads)
    graph = {table: sorted(reads[table] & needed) for table in sorted(needed)}
    return [table for table in TopologicalSorter(graph).static_order() if table not in CARDS]


def measured() -> list[str]:
    """Every table of the stage, cards among them: a release holds them all as of one run."""
    return sorted(_reads())


def make(measuring: Measuring, table: str) -> Built:
    """Make one table of the stage."""
    return MADE[table].make(measuring) if table in MADE else build(measuring.lake, sql_file(STAGE, table))


def measure(measuring: Measuring, wanted: Iterable[str] = ()) -> None:
    """Make all of them, or what the wanted ones need."""
    for table in in_order(wanted):
        make(measuring, table)
