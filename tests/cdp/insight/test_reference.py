"""Insight over a year of real purchases (UCI Online Retail), against published and independently recomputed figures."""

import itertools
import json
from statistics import median

import polars as pl
import pytest

from cdp.insight.rules import Insight
from cdp.insight.stage import Measuring, measure
from cdp.lake import build
from cdp.service import Service
from tests.cdp.insight.shop import LINES, MONEY, ORDERS, TOUCHES, at, write
from tests.conftest import opened

BOUGHT = "customer_id is not null and quantity > 0 and unit_price > 0 and invoice_no not like 'C%'"


@pytest.fixture(scope="module")
def retail(workspace, reference):
    """The year, with cancellations and unpriced lines left out as the reference figures do, as of the day after its last."""
    file = reference / "online_retail.parquet"
    with opened(workspace) as found:
        lake = found.lake
        orders = lake.connection.execute(
            f"select 'web:' || invoice_no as order_id, 'web' as source, invoice_no as order_key, customer_id as record_id, 'sale' as kind, "
            f"min(invoice_date)::timestamptz as ordered_at, 'GBP' as currency, sum(quantity * unit_price)::decimal(28, 4) as total, count(*) as lines, "
            f"null::bigint as points_redeemed, null::varchar as original_key, null::varchar as original_order_id from '{file}' where {BOUGHT} group by all"
        ).to_arrow_table()
        build.build_table(
            lake, "core__orders", "uci", lambda: pl.DataFrame(orders).cast(ORDERS | {"total": MONEY}).to_arrow()
        )
        lines = lake.rows("select order_id, 1, 'X', 'X', 1, total, null, total from core__orders")
        write(lake, "core__order_lines", LINES, lines)
        people = [(c, c) for (c,) in lake.rows("select distinct record_id from core__orders order by 1")]
        write(lake, "core__record_customers", {"record_id": pl.String, "customer_id": pl.String}, people)
        write(lake, "core__customers", {"customer_id": pl.String, "kind": pl.String}, [(c, "known") for c, _ in people])
        write(lake, "core__customer_tiers", {"customer_id": pl.String, "level": pl.String}, [])
        write(lake, "core__interactions", TOUCHES, [])
        rules = Insight(version="uci", currency="GBP", horizon_days=91)
        measure(Measuring(lake, rules, Service(version="uci"), "GBP", at("2011-12-09T23:00:00")))
        yield lake


def test_segmentation_rfm_equals_the_reference_table(retail):
    rows = retail.records(
        "select customer_id, recency_days + 1 as recency, frequency, monetary, r, f, m, rfm from mart__rfm where channel = 'all'"
    )
    assert len(rows) == 4338
    revenue = sum(row["monetary"] for row in rows)
    assert float(revenue) == pytest.approx(8_911_407.90, abs=0.01)
    assert median(row["recency"] for row in rows) == 51  # the reference counts from the day after
    assert median(row["frequency"] for row in rows) == 2
    assert float(median(row["monetary"] for row in rows)) == pytest.approx(674.485, abs=0.001)
    best = sum(row["monetary"] for row in rows if row["m"] == 5)
    assert float(best / revenue) == pytest.approx(0.746, abs=0.0005)
    champions = [row for row in rows if row["rfm"] == 555]
    assert len(champions) == pytest.approx(348, abs=3)  # days instead of invoices, ties by id
    assert float(sum(row["monetary"] for row in champions) / revenue) == pytest.approx(0.438, abs=0.005)
    for score in ("r", "f", "m"):
        sizes = [sum(1 for row in rows if row[score] == n) for n in range(1, 6)]
        assert max(sizes) - min(sizes) <= 1


def test_segmentation_rfm_is_deterministic_where_values_tie(retail):
    """Of two with the same value the one whose id is later has never the lower score."""
    ties = retail.rows("""
        select count(*) from mart__rfm a join mart__rfm b on a.channel = b.channel and a.frequency = b.frequency and a.customer_id < b.customer_id and a.f > b.f
    """)
    assert ties == [(0,)]


def test_churn_prediction_on_a_time_ordered_holdout(retail):
    (text,) = retail.rows("select card from ops__churn_card")[0]
    card = json.loads(text)
    figures = card["holdout"]
    assert figures["customers"] == 3370
    assert figures["silent"] == pytest.approx(0.43, abs=0.001)
    assert figures["AUC"] >= 0.74
    assert figures["Brier score"] <= 0.205
    assert figures["AUC"] > figures["AUC of recency alone"] == pytest.approx(0.683, abs=0.01)
    assert card["doubts"] == []
    cutoffs = retail.rows("select cutoff, role, label_until from core__churn_cutoffs order by 1")
    holdout = next(cutoff for cutoff, role, _ in cutoffs if role == "holdout")
    assert all(until <= holdout for _, role, until in cutoffs if role == "learn"), "no day is learned and predicted"


def test_regression_a_logistic_baseline_stands_beside_every_score(retail):
    figures = json.loads(retail.rows("select card from ops__churn_card")[0][0])["holdout"]
    assert figures["AUC of logistic"] >= 0.74
    assert {"AUC of boosted", "Brier score of boosted", "Brier score of logistic"} <= set(figures)
    low, high, apart = retail.rows("select min(baseline), max(baseline), max(abs(churn - baseline)) from mart__churn")[
        0
    ]
    assert 0 < low < high < 1
    assert apart < 0.5


def test_churn_prediction_gives_reasons_to_whoever_is_likely_to_stay_away(retail):
    reasons = retail.rows("select reasons from mart__churn where churn > 0.6")
    assert len(reasons) > 100
    assert all(reason for (reason,) in reasons)


def test_customer_lifetime_value_that_misses_its_holdout_is_not_to_be_trusted(retail):
    """BG/NBD sees a year that ends in its best season: it misses by a quarter, and must say so."""
    card = json.loads(retail.rows("select card from ops__value_card")[0][0])
    assert card["holdout"]["error of the sum"] < -0.2
    assert card["is_trusted"] is False
    assert any("missed the holdout" in doubt for doubt in card["doubts"])
    assert retail.rows("select count(*) from mart__customer_value where is_trusted") == [(0,)]
    assert retail.rows("select count(*) from mart__customer_scores where value is not null") == [(0,)]


def test_purchase_frequency_repurchase_and_retention_reconcile_to_raw_orders(retail, reference):
    """Recomputed from the file in plain SQL."""
    found = {
        m: (v, n, d)
        for m, v, n, d in retail.rows(
            "select metric, value, numerator, denominator from mart__metrics where channel = 'all' and period = 'year'"
        )
    }
    year = (
        f"from '{reference / 'online_retail.parquet'}' where {BOUGHT} and invoice_date::date > date '2011-12-09' - 365"
    )
    orders, customers, sales = retail.rows(
        f"select count(distinct invoice_no), count(distinct customer_id), sum(quantity * unit_price) {year}"
    )[0]
    again = retail.rows(
        f"select count(*) from (select customer_id {year} group by 1 having count(distinct invoice_date::date) > 1)"
    )[0][0]
    assert found["purchase_frequency"] == pytest.approx((orders / customers, orders, customers))
    assert found["repurchase_rate"] == pytest.approx((again / customers, again, customers))
    assert found["average_order_value"][0] == pytest.approx(sales / orders, rel=1e-6)
    assert found["retention_rate"][0] + found["churn_rate"][0] == pytest.approx(1)
    month = "select distinct customer_id from '{}' where {} and strftime(invoice_date, '%Y-%m') = '{}'"
    before, after = (month.format(reference / "online_retail.parquet", BOUGHT, m) for m in ("2011-10", "2011-11"))
    kept, of = retail.rows(
        f"select count(a.customer_id), count(*) from ({before}) b left join ({after}) a using (customer_id)"
    )[0]
    value = retail.rows(
        "select value, denominator from mart__metrics where metric = 'retention_rate' and channel = 'all' and period = '2011-11'"
    )[0]
    assert value == pytest.approx((kept / of, of))


def test_every_metric_is_in_the_dictionary_and_the_other_way_round(retail):
    from cdp.insight.dictionary import METRICS

    made = {row[0] for row in retail.rows("select distinct metric from mart__metrics")}
    assert made <= set(METRICS)
    assert set(METRICS) - made == {"answered_on_time", "hours_to_close"}, "there are no tickets here"


def test_markov_states_conserve_customers_and_beat_standing_still(retail):
    moves = retail.rows("select month, sum(customers) from mart__state_moves group by 1 order by 1")
    there = dict(retail.rows("select month, count(*) from core__customer_months group by 1"))
    assert all(there[month] == moved for month, moved in moves)
    card = json.loads(retail.rows("select card from ops__states_card")[0][0])
    assert card["holdout"]["moved wrongly, one step"] < card["holdout"]["if nobody moved"]
    steps = retail.rows("select step, sum(share) from mart__state_forecast group by 1 order by 1")
    assert len(steps) == 13
    assert all(total == pytest.approx(1) for _, total in steps)


def test_survival_curves_fall_and_retention_is_projected(retail):
    curve = retail.rows("select survival from mart__survival_curves where channel = 'all' order by days")
    assert len(curve) > 50
    assert all(a[0] >= b[0] for a, b in itertools.pairwise(curve))
    rows = retail.rows("select months, observed, projected from mart__retention_projection order by 1")
    assert rows[0][1:] == (1.0, 1.0)
    assert rows[-1][1] is None
    assert rows[-1][2] < rows[1][2] < 1
