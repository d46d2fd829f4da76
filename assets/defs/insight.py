"""Insight: loyalty measured on unified customers, by channel and in total; each model with its card."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from assets import pictures
from assets.platform import Platform
from assets.reporting import OWNERS, report
from cdp.insight import projected, scored, segments, terms
from cdp.insight.rules import load_insight
from cdp.lake.build import Built, build, sql_file, sql_tables
from cdp.lake.engine import Lake
from cdp.service import load_service

GROUP = "insight"
FIRST = ("ops__retention",)  # an erasure drops what was built before it
Chart = Callable[[Lake], dg.MarkdownMetadataValue]
Make = Callable[[Platform], Built]


def _terms(p: Platform) -> Built:
    return terms.build_terms(p.lake, load_insight(p.workspace), p.programme.currency, p.now)


def _cards(table: str) -> dict[str, Chart]:
    return {"card": partial(pictures.card, table=table)}


# What is made by code: table → (what makes it, what it reads, its description, its plots, the card it makes beside it).
MADE: dict[str, tuple[Make, tuple[str, ...], str, dict[str, Chart], str]] = {
    "core__insight_terms": (_terms, FIRST, terms.build_terms.__doc__ or "", {}, ""),
    "core__insight_months": (lambda p: terms.build_months(p.lake, load_insight(p.workspace), p.now), FIRST, terms.build_months.__doc__ or "", {}, ""),
    "core__insight_steps": (lambda p: terms.build_steps(p.lake, load_insight(p.workspace)), FIRST, terms.build_steps.__doc__ or "", {}, ""),
    "core__service_terms": (lambda p: terms.build_promises(p.lake, load_service(p.workspace)), FIRST, terms.build_promises.__doc__ or "", {}, ""),
    "core__churn_cutoffs": (
        lambda p: terms.build_cutoffs(p.lake), ("core__purchase_days", "core__purchase_horizon", "core__insight_terms"), terms.build_cutoffs.__doc__ or "", {}, "",
    ),
    "mart__churn": (
        lambda p: scored.build_churn(p.lake, p.now), ("core__churn_features",), scored.build_churn.__doc__ or "",
        {"scores": pictures.chances, **_cards("ops__churn_card")}, "ops__churn_card",
    ),
    "mart__customer_value": (
        lambda p: scored.build_value(p.lake, p.now),
        ("core__customer_purchases", "core__purchase_days", "core__churn_cutoffs", "core__purchase_horizon", "core__insight_terms"),
        scored.build_value.__doc__ or "", {"values": pictures.values, **_cards("ops__value_card")}, "ops__value_card",
    ),
    "mart__feedback": (
        lambda p: scored.build_feedback(p.lake, p.now), ("core__interactions", "core__record_customers", "core__survey_answers", "core__insight_terms"),
        scored.build_feedback.__doc__ or "", _cards("ops__feedback_card"), "ops__feedback_card",
    ),
    "mart__survival_curves": (
        lambda p: projected.build_survival(p.lake, p.now), ("core__lifetimes",), projected.build_survival.__doc__ or "",
        {"curves": pictures.survival, **_cards("ops__survival_card")}, "ops__survival_card",
    ),
    "mart__retention_projection": (
        lambda p: projected.build_retention(p.lake, p.now), ("core__cohorts", "core__purchase_horizon", "core__insight_terms"),
        projected.build_retention.__doc__ or "", {"retention": pictures.retention, **_cards("ops__retention_card")}, "ops__retention_card",
    ),
    "mart__state_forecast": (
        lambda p: projected.build_forecast(p.lake, p.now), ("mart__state_moves", "core__state_rewards", "core__insight_months"),
        projected.build_forecast.__doc__ or "", {"forecast": pictures.forecast, **_cards("ops__states_card")}, "ops__states_card",
    ),
    "mart__attribution": (
        lambda p: projected.build_attribution(p.lake), ("core__touch_steps", "mart__touch_credit"), projected.build_attribution.__doc__ or "",
        {"credit": pictures.attribution}, "",
    ),
    "mart__survey_scores": (
        lambda p: projected.build_survey_scores(p.lake), ("core__survey_counts",), projected.build_survey_scores.__doc__ or "", {"answers": pictures.surveys}, "",
    ),
    "mart__segments": (
        lambda p: segments.build_segments(p.lake, load_insight(p.workspace)), ("mart__customer_scores",), segments.ABOUT, {"segments": pictures.segments}, "",
    ),
    "ops__segment_history": (
        lambda p: segments.build_history(p.lake, p.now), ("mart__segments", "core__customers"), segments.build_history.__doc__ or "", {}, "",
    ),
}  # fmt: skip
CHARTS: dict[str, dict[str, Chart]] = {
    "core__purchase_horizon": {"gaps": pictures.horizon}, "mart__rfm": {"customers": pictures.rfm}, "mart__metrics": {"rates": pictures.metrics},
    "core__customer_months": {"states": pictures.states}, "mart__state_moves": {"moves": pictures.moves}, "mart__loyalty_types": {"types": pictures.loyalty},
    "mart__funnel": {"funnel": pictures.funnel}, "mart__journey_moves": {"journeys": pictures.journeys}, "mart__pain_points": {"pain points": pictures.pains},
    "mart__acquisition_channels": {"value": pictures.acquisition}, "mart__churn_causes": {"causes": pictures.causes}, "mart__feedback_topics": {"topics": pictures.topics},
}  # fmt: skip


def _asset(table: str, make: Make, deps: tuple[str, ...], about: str, charts: dict[str, Chart], kinds: set[str]) -> dg.AssetsDefinition:
    @dg.asset(name=table, group_name=GROUP, deps=list(deps), kinds=kinds, owners=OWNERS, description=" ".join(about.split()))
    def made(platform: Platform) -> dg.MaterializeResult:
        built = make(platform)
        return report(platform.lake, built, extra={name: chart(platform.lake) for name, chart in charts.items()})

    return made


def _card(table: str, maker: str) -> dg.AssetsDefinition:
    """The card that a model makes beside its table, as an asset that others can read."""

    @dg.asset(name=table, group_name=GROUP, deps=[maker], kinds={"python"}, owners=OWNERS, description=f"Grain: one row. The card of the model behind {maker}.")
    def made(platform: Platform) -> dg.MaterializeResult:
        from cdp.lake.build import rows

        return report(platform.lake, Built(table, rows(platform.lake, table), changed=False))

    return made


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that is measured."""
    made = [_asset(table, make, deps, about, charts, {"python", "duckdb"}) for table, (make, deps, about, charts, _) in MADE.items()]
    cards = [_card(card, table) for table, (*_, card) in MADE.items() if card]
    selects = []
    for table in sql_tables(GROUP):
        select = sql_file(GROUP, table)
        selects.append(_asset(table, lambda p, s=select: build(p.lake, s), select.inputs, select.description, CHARTS.get(table, {}), {"duckdb", "sql"}))
    return dg.Definitions(assets=[*made, *cards, *selects])
