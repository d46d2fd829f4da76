"""What models learn, and when they refuse: feedback, groups, churn and value on people made for the purpose."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.checks.insight import DRIFTED, stability
from cdp.insight import churn, clusters, feedback, lexicon, value
from cdp.insight.card import Card

GOOD = ("非常满意，很喜欢", "质量很好，推荐", "great service, thank you", "love it, fast and friendly", "物流很快，包装漂亮")
BAD = ("太差了，失望", "质量差，要退货", "terrible, broken on arrival", "slow and rude, never again", "客服不理人，生气")


@pytest.mark.parametrize(
    ("text", "tone"),
    [("很满意", 1), ("不满意", -1), ("並不滿意", -1), ("没有问题", 1), ("not good", -1), ("not bad at all", 1), ("The refund took three weeks and nobody answered.", -1), ("Great service but the parcel was late", -1),
     ("包装很好，但是物流太慢", -1), ("", 0), ("Order 12345", 0), ("😀", 0), ("不高兴，质量太差", -1)],
)  # fmt: skip
def test_feedback_analysis_word_list_turns_round_what_is_negated(text, tone):
    assert np.sign(lexicon.tone(text)) == tone


@pytest.mark.parametrize(
    ("text", "language", "topics"),
    [("物流太慢，客服不理", "zh", ["service", "delivery"]), ("物流太慢，客服不理".replace("务", "務"), "zh", ["service", "delivery"]), ("Too expensive, wants a refund", "en", ["price", "returns"]),
     ("積分沒有到帳", "zh", ["points"]), ("ありがとう漢字", "other", []), ("12345", "other", [])],
)  # fmt: skip
def test_feedback_analysis_topics_and_language(text, language, topics):
    assert lexicon.language(text) == language
    assert lexicon.topics(text) == topics


@given(st.text(max_size=200))
def test_feedback_analysis_survives_any_text(text):
    assert -1 <= lexicon.tone(text) <= 1
    remark = feedback.read(feedback.learn([], []), [text])[0]
    assert remark.confidence == "low"
    assert remark.tone in ("positive", "negative", "unclear")


def texts(n, seed=1):
    random = np.random.default_rng(seed)
    good = random.random(n) < 0.5
    said = [f"{random.choice(GOOD if g else BAD)} {random.integers(10**6)}" for g in good]
    return said, good.tolist()


def test_feedback_analysis_learns_from_the_tenants_own_ratings_and_abstains_where_it_is_not_sure():
    said, good = texts(600)
    tone = feedback.learn(said, good)
    assert tone.model is not None
    assert tone.card.is_trusted
    assert tone.card.holdout["accuracy"] > 0.95
    remarks = feedback.read(tone, ["很满意，喜欢", "broken and slow", "zxqv"])
    assert [r.tone for r in remarks] == ["positive", "negative", "unclear"]
    assert {r.confidence for r in remarks} == {"model"}


def test_feedback_analysis_stays_with_the_word_list_where_ratings_follow_no_text():
    said, _ = texts(600)
    noise = (np.random.default_rng(2).random(600) < 0.5).tolist()
    tone = feedback.learn(said, noise)
    assert tone.model is None
    assert "texts do not tell the ratings" in tone.card.doubts[0]
    few = feedback.learn(said[:100], noise[:100])
    assert (few.model, "too few" in few.card.doubts[0]) == (None, True)
    one = feedback.learn(said, [True] * 600)
    assert one.model is None


def people(n, seed=3):
    random = np.random.default_rng(seed)
    loyal = random.random(n) < 0.5
    return loyal, pl.DataFrame({
        "recency_days": np.where(loyal, random.integers(1, 20, n), random.integers(120, 300, n)), "purchase_days": np.where(loyal, random.integers(8, 20, n), 1),
        "net": np.where(loyal, random.normal(800, 50, n), random.normal(20, 3, n)), "discounted_share": np.where(loyal, 0.0, 0.9), "weekend_share": random.random(n) / 50, "channels": np.where(loyal, 3, 1),
    })  # fmt: skip


def test_clustering_finds_groups_that_are_stable_and_names_them():
    loyal, rows = people(600)
    found = clusters.learn(rows)
    assert isinstance(found, clusters.Clusters)
    assert found.card.is_trusted
    assert found.card.holdout["stability (adjusted Rand)"] > 0.7
    for group in set(found.of.tolist()):
        assert len(set(loyal[found.of == group])) == 1, "no group mixes them"
    assert len(set(found.names)) == len(found.names)
    again = clusters.learn(rows)
    assert again.card.version == found.card.version


def test_clustering_says_when_groups_are_chance():
    random = np.random.default_rng(5)
    noise = pl.DataFrame({name: random.random(400) for name in ("recency_days", "purchase_days", "net", "discounted_share", "weekend_share", "channels")})
    found = clusters.learn(noise)
    card = found if isinstance(found, Card) else found.card
    assert not card.is_trusted
    assert isinstance(clusters.learn(noise[:50]), Card)


def test_model_life_cycle_drift_is_seen_where_customers_are_others():
    random = np.random.default_rng(1)
    then, now = random.normal(0, 1, 3000), random.normal(0, 1, 3000)
    assert stability(then, now) < 0.05
    assert stability(then, now + 1) > DRIFTED
    assert stability(np.zeros(300), np.zeros(300)) == pytest.approx(0)


def features(n, seed=0):
    """Customers whose silence follows their recency: three cutoffs to learn from, one to be measured on, one to score."""
    random, parts = np.random.default_rng(seed), []
    for number, role in enumerate(("learn", "learn", "learn", "holdout", "score")):
        recency, days = random.integers(0, 120, n), random.integers(1, 12, n)
        chance = 1 / (1 + np.exp(-(recency - 60) / 20 + (days - 6) / 4))
        parts.append(pl.DataFrame({
            "customer_id": [f"c{i}" for i in range(n)], "cutoff": [number] * n, "role": [role] * n, "horizon": [60] * n, "recency_days": recency, "age_days": recency + 30 * days, "days": days, "orders": days,
            "lines": days * 2, "net": days * 20.0, "days_month": (recency < 28).astype(int), "days_horizon": (recency < 60) * days, "days_before": days, "net_horizon": days * 5.0, "months": days,
            "returns": days * 0, "returns_horizon": days * 0, "discounted_share": days * 0.0, "tickets": days * 0, "late_tickets": days * 0, "bad_answers": days * 0,
            "is_silent": random.random(n) < chance,
        }))  # fmt: skip
    return pl.concat(parts)


def test_churn_prediction_is_calibrated_and_keeps_the_simple_model_where_the_other_does_not_win():
    rows = features(1500)
    model = churn.learn(rows)
    assert isinstance(model, churn.Churn)
    assert model.card.is_trusted
    assert model.card.holdout["calibration error"] < 0.06
    assert model.card.holdout["AUC"] > 0.8
    scores = churn.score(model, rows.filter(pl.col("role") == "score"))
    assert scores["churn"].is_between(0, 1).all()
    likely = scores.filter(pl.col("churn") > 0.7)
    assert (likely["reasons"].str.contains("silence")).mean() > 0.8


def test_churn_prediction_on_noise_is_not_to_be_trusted():
    rows = features(800).with_columns(is_silent=pl.Series(np.random.default_rng(9).random(4000) < 0.5))
    model = churn.learn(rows)
    card = model if isinstance(model, Card) else model.card
    assert not card.is_trusted
    few = churn.learn(rows.filter(pl.col("role") != "holdout"))
    assert isinstance(few, Card)
    assert "too little history" in few.doubts[0]


def test_customer_lifetime_value_holds_where_customers_do_as_before():
    random = np.random.default_rng(4)
    rate, rows, then = random.gamma(2, 0.05, 1500), [], []
    for n, lam in enumerate(rate):
        first = int(random.integers(0, 300))
        days = [first, *sorted(first + t for t in np.cumsum(random.exponential(1 / lam, 200)) if first + t < 500)]
        for cutoff, found in ((500, rows), (400, then)):
            seen = sorted({int(d) for d in days if d <= cutoff})
            after = len({int(d) for d in days if cutoff < d <= cutoff + 100})
            spend = 30.0 * random.gamma(4, 0.25)
            found.append((f"c{n}", len(seen), len(seen), cutoff - seen[-1], cutoff - seen[0], spend * len(seen), after, spend * after))
    columns = ["customer_id", "days", "paid_days", "recency_days", "age_days", "net", "days_after", "net_after"]
    now, before = (pl.DataFrame(part, schema=columns, orient="row") for part in (rows, then))
    model = value.learn(now.drop("days_after", "net_after"), before, 100)
    assert isinstance(model, value.Value)
    assert abs(model.card.holdout["error of the sum"]) < 0.1
    scores = value.score(model, now)
    assert (scores["value"] > 0).all()
    assert scores["expected_purchases"].is_finite().all()
    assert value.learn(now[:50].drop("days_after", "net_after"), before[:50], 100).is_trusted is False
