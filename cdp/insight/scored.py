"""Tables of models: learned from tables of the lake, with a card each, scores keyed on the customer."""

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from cdp.insight import churn, clusters, feedback, value
from cdp.insight.card import Card, build_with_card
from cdp.lake import build
from cdp.lake.engine import Lake

CHURN: dict[str, Any] = {
    "customer_id": pl.String,
    "churn": pl.Float64,
    "baseline": pl.Float64,
    "reasons": pl.String,
    "model_version": pl.String,
    "is_trusted": pl.Boolean,
}
VALUE: dict[str, Any] = {
    "customer_id": pl.String, "p_alive": pl.Float64, "expected_purchases": pl.Float64, "expected_spend": pl.Float64, "value": pl.Float64,
    "model_version": pl.String, "is_trusted": pl.Boolean,
}  # fmt: skip
CLUSTERS: dict[str, Any] = {"customer_id": pl.String, "cluster": pl.String, "model_version": pl.String, "is_trusted": pl.Boolean}
FEEDBACK: dict[str, Any] = {
    "interaction_id": pl.String, "customer_id": pl.String, "channel": pl.String, "occurred_at": pl.Datetime("us", "UTC"), "language": pl.String,
    "topics": pl.String, "tone": pl.String, "score": pl.Float64, "confidence": pl.String, "model_version": pl.String,
}  # fmt: skip
HABITS = """
    select p.customer_id, p.recency_days, p.days as purchase_days, cast(p.net as double) as net, p.discounted_share, t.weekend_share, t.channels
    from core__customer_purchases p join core__customer_traits t using (customer_id) where p.channel = 'all' order by 1
"""
TODAY = "select customer_id, days, paid_days, recency_days, age_days, cast(net as double) as net from core__customer_purchases where channel = 'all'"
THEN = """
    with days as (
        select p.customer_id, p.day, sum(case when p.currency = t.currency then p.sales + p.returned else 0 end) as net, sum(p.orders) as orders,
            sum(case when p.currency = t.currency then p.orders else 0 end) as paid_orders
        from core__purchase_days p cross join core__insight_terms t group by all
    )
    select d.customer_id, count(*) filter (where d.orders > 0 and d.day <= c.cutoff) as days,
        count(*) filter (where d.paid_orders > 0 and d.day <= c.cutoff) as paid_days,
        cast(coalesce(sum(d.net) filter (where d.day > c.cutoff and d.day <= c.label_until), 0) as double) as net_after,
        date_diff('day', max(d.day) filter (where d.orders > 0 and d.day <= c.cutoff), c.cutoff) as recency_days,
        date_diff('day', min(d.day) filter (where d.orders > 0 and d.day <= c.cutoff), c.cutoff) as age_days,
        cast(sum(d.net) filter (where d.day <= c.cutoff) as double) as net,
        count(*) filter (where d.orders > 0 and d.day > c.cutoff and d.day <= c.label_until) as days_after
    from days d join core__churn_cutoffs c on c.role = 'holdout' and substring(md5(d.customer_id), 1, 4) < c.sample
    group by d.customer_id, c.cutoff having days > 0 order by d.customer_id
"""
SAMPLE = " and substring(md5(customer_id), 1, 4) < (select max(sample) from core__churn_cutoffs where role <> 'score') order by customer_id"
REMARKS = """
    with said as (
        select i.interaction_id, i.record_id, i.source as channel, i.occurred_at,
            trim(concat_ws('. ', json_extract_string(i.details, '$.subject'), json_extract_string(i.details, '$.description'),
                json_extract_string(i.details, '$.text'), json_extract_string(i.details, '$.comment'))) as text
        from core__interactions i cross join core__insight_terms t where i.occurred_at <= t.as_of and i.occurred_at >= t.two_years_from
            and i.kind in ('ticket', 'Product Reviewed', 'Survey Answered', 'Feedback Given')
    ), graded as (
        select interaction_id, max(case when grade in ('promoter', 'satisfied') then 1 when grade = 'passive' then null else 0 end) as good,
            min(case when grade in ('promoter', 'satisfied') then 1 when grade = 'passive' then null else 0 end) as worst
        from core__survey_answers group by 1
    )
    select s.interaction_id, c.customer_id, s.channel, s.occurred_at, s.text, case when g.good = g.worst then g.good = 1 end as good
    from said s left join core__record_customers c using (record_id) left join graded g using (interaction_id)
    where length(s.text) > 0 order by s.occurred_at, s.interaction_id
"""


def read(lake: Lake, query: str) -> pl.DataFrame:
    """Rows of a query as a frame."""
    return pl.DataFrame(lake.connection.execute(query).to_arrow_table())


def _stamped(card: Card, rows: pl.DataFrame, schema: dict[str, Any]) -> tuple[Card, pl.DataFrame]:
    """Scores with the version of the model behind them, and whether it is to be trusted."""
    stamps = {"model_version": pl.lit(card.version), "is_trusted": pl.lit(card.is_trusted)}
    return card, rows.with_columns(**stamps).select(list(schema))


def build_churn(lake: Lake, now: datetime) -> build.Built:
    """`mart__churn`: grain = customer not yet silent for four horizons. P(no purchase in the horizon), reasons, model version."""

    def make() -> tuple[Card, pl.DataFrame]:
        features = read(lake, "select * from core__churn_features order by cutoff, customer_id")
        model = churn.learn(features)
        if isinstance(model, Card):
            return model, pl.DataFrame(schema=CHURN)
        scores = churn.score(model, features.filter(pl.col("role") == "score"))
        return _stamped(model.card, scores, CHURN)

    return build_with_card(lake, "mart__churn", "ops__churn_card", ("core__churn_features",), now, make, "churn 1")


def build_value(lake: Lake, now: datetime) -> build.Built:
    """`mart__customer_value`: grain = customer that bought. Expected purchases and spend of a year, and their value today."""

    def make() -> tuple[Card, pl.DataFrame]:
        horizon = int(lake.scalar("select days from core__purchase_horizon"))
        model = value.learn(read(lake, TODAY + SAMPLE), read(lake, THEN), horizon)
        if isinstance(model, Card):
            return model, pl.DataFrame(schema=VALUE)
        return _stamped(model.card, value.score(model, read(lake, f"{TODAY} order by customer_id")), VALUE)

    inputs = (
        "core__customer_purchases",
        "core__purchase_days",
        "core__churn_cutoffs",
        "core__purchase_horizon",
        "core__insight_terms",
    )
    return build_with_card(lake, "mart__customer_value", "ops__value_card", inputs, now, make, "value 1")


def build_feedback(lake: Lake, now: datetime) -> build.Built:
    """`mart__feedback`: grain = remark (a ticket's or review's text). Language, topics and tone; never the text itself."""

    def make() -> tuple[Card, pl.DataFrame]:
        remarks = read(lake, REMARKS)
        rated = remarks.filter(pl.col("good").is_not_null())
        tone = feedback.learn(rated["text"].to_list(), rated["good"].to_list())
        found = feedback.read(tone, remarks["text"].to_list())
        columns = pl.DataFrame(
            [(r.language, ",".join(r.topics), r.tone, r.score, r.confidence) for r in found],
            schema={name: FEEDBACK[name] for name in ("language", "topics", "tone", "score", "confidence")}, orient="row",
        )  # fmt: skip
        rows = pl.concat([remarks.drop("text", "good"), columns], how="horizontal")
        return tone.card, rows.with_columns(model_version=pl.lit(tone.card.version)).select(
            pl.col(n).cast(k) for n, k in FEEDBACK.items()
        )

    inputs = ("core__interactions", "core__record_customers", "core__survey_answers", "core__insight_terms")
    return build_with_card(lake, "mart__feedback", "ops__feedback_card", inputs, now, make, "feedback 1")


def build_clusters(lake: Lake, now: datetime) -> build.Built:
    """`mart__clusters`: grain = customer that bought. The group of alike customers, by a name that says what sets it apart."""

    def make() -> tuple[Card, pl.DataFrame]:
        rows = read(lake, HABITS)
        found = clusters.learn(rows)
        if isinstance(found, Card):
            return found, pl.DataFrame(schema=CLUSTERS)
        names = pl.Series(np.array(found.names)[found.of])
        made = pl.DataFrame({"customer_id": rows["customer_id"], "cluster": names})
        return _stamped(found.card, made, CLUSTERS)

    inputs = ("core__customer_purchases", "core__customer_traits")
    return build_with_card(lake, "mart__clusters", "ops__clusters_card", inputs, now, make, "clusters 1")
