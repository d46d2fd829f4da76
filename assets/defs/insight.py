"""Insight: loyalty measured on unified customers, by channel and in total; each model with its card."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from assets import pictures, stories
from assets.platform import Platform
from assets.reporting import OWNERS, report
from cdp.insight.stage import CARDS, MADE, STAGE, Measuring, make
from cdp.lake.build import Built, rows, sql_file, sql_tables
from cdp.lake.engine import Lake

FIRST = ("ops__retention",)  # an erasure drops what was built before it
Chart = Callable[[Lake], dg.MarkdownMetadataValue]
CHARTS: dict[str, dict[str, Chart]] = {
    "mart__churn": {"scores": pictures.chances}, "mart__customer_value": {"values": pictures.values}, "mart__survival_curves": {"curves": pictures.survival},
    "mart__retention_projection": {"retention": pictures.retention}, "mart__state_forecast": {"forecast": pictures.forecast},
    "mart__attribution": {"credit": stories.attribution}, "mart__survey_scores": {"answers": stories.surveys}, "mart__segments": {"segments": pictures.segments},
    "mart__clusters": {"groups": pictures.clusters},
    "core__purchase_horizon": {"gaps": pictures.horizon}, "mart__rfm": {"customers": pictures.rfm}, "mart__metrics": {"rates": pictures.metrics},
    "core__customer_months": {"states": pictures.states}, "mart__state_moves": {"moves": pictures.moves}, "mart__loyalty_types": {"types": pictures.loyalty},
    "mart__funnel": {"funnel": stories.funnel}, "mart__journey_moves": {"journeys": stories.journeys}, "mart__pain_points": {"pain points": stories.pains},
    "mart__acquisition_channels": {"value": stories.acquisition}, "mart__churn_causes": {"causes": stories.causes}, "mart__feedback_topics": {"topics": stories.topics},
}  # fmt: skip


def _measuring(platform: Platform) -> Measuring:
    return Measuring(platform.lake, platform.insight, platform.service, platform.programme.currency, platform.now)


def _asset(table: str) -> dg.AssetsDefinition:
    """The asset of one table, with its plots, and the card of its model."""
    made, select = MADE.get(table), None if table in MADE else sql_file(STAGE, table)
    deps, about = (made.inputs or FIRST, made.description) if made else (select.inputs, select.description)  # type: ignore[union-attr]
    charts, card = CHARTS.get(table, {}), made.card if made else None

    @dg.asset(
        name=table,
        group_name=STAGE,
        deps=list(deps),
        kinds={"duckdb", "python" if made else "sql"},
        owners=OWNERS,
        description=about,
    )
    def asset(platform: Platform) -> dg.MaterializeResult:
        built = make(_measuring(platform), table)
        plots = {name: partial(chart, platform.lake) for name, chart in charts.items()}
        # a model that scores nobody says why on its card
        return report(
            platform.lake, built, {"card": pictures.card(platform.lake, table=card)} if card else None, plots=plots
        )

    return asset


def _card(card: str, table: str) -> dg.AssetsDefinition:
    """The card that a model makes beside its table, as an asset that others can read."""

    @dg.asset(
        name=card,
        group_name=STAGE,
        deps=[table],
        kinds={"python"},
        owners=OWNERS,
        description=f"Grain: one row. The card of the model behind {table}.",
    )
    def asset(platform: Platform) -> dg.MaterializeResult:
        return report(platform.lake, Built(card, rows(platform.lake, card), changed=False))

    return asset


@dg.definitions
def defs() -> dg.Definitions:
    """Everything that is measured."""
    tables = [*MADE, *sql_tables(STAGE)]
    return dg.Definitions(
        assets=[*(_asset(table) for table in tables), *(_card(card, table) for card, table in CARDS.items())]
    )
