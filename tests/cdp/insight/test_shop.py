"""What is measured of a small shop, worked out by hand: horizon 30 days, as of 1 July 2026."""

import json
from collections import Counter

import pytest

from cdp.insight.rules import Insight
from cdp.insight.segments import build_history, build_segments, counts
from cdp.service import Service
from tests.cdp.insight.shop import RULES, at, measured, order, touch


def ask(lake, query, *values):
    return lake.rows(query, list(values) or None)


def metric(lake, name, channel="all", period="year"):
    found = ask(lake, "select value from mart__metrics where metric = ? and channel = ? and period = ?", name, channel, period)
    return found[0][0] if found else None


def test_purchase_frequency_repurchase_churn_and_referral_rate(platform):
    orders = [
        order("ann", "2025-02-01", 10), order("ben", "2025-03-01", 10), order("cat", "2025-04-01", 10), order("dan", "2025-05-01", 10),  # the year before
        order("ann", "2026-02-01", 20), order("ann", "2026-02-01T18:00:00", 30), order("ann", "2026-05-01", 50, "pos"), order("ben", "2026-06-01", 40),
        order("eve", "2026-06-02", 100), order("eve", "2026-06-03", -25), order("eve", "2026-06-04", 900, currency="CNY"),
        order(None, "2026-06-02", 5000),
    ]  # fmt: skip
    lake = measured(platform, orders, [touch("ben", "2026-06-05", "Friend Referred")], want=("mart__metrics",))
    assert metric(lake, "active_customers") == 3
    assert metric(lake, "orders") == 6, "orders of nobody are nobody's frequency"
    assert metric(lake, "purchase_frequency") == 6 / 3
    assert metric(lake, "repurchase_rate") == pytest.approx(2 / 3), "ann on two days, eve on two days; twice a day is once"
    assert metric(lake, "retention_rate") == 2 / 4
    assert metric(lake, "churn_rate") == 2 / 4
    assert metric(lake, "referral_rate") == pytest.approx(1 / 3)
    assert metric(lake, "net_revenue") == 20 + 30 + 50 + 40 + 100 - 25, "another currency is not added"
    assert metric(lake, "average_order_value") == 240 / 5, "neither is another currency's order a part of the average"
    assert metric(lake, "return_rate") == 25 / 240
    assert metric(lake, "orders", "pos") == 1
    assert metric(lake, "repurchase_rate", "web") == pytest.approx(1 / 3)
    assert metric(lake, "orders", "all", "2026-02") == 2
    assert metric(lake, "orders", "all", "2026-03") is None


def test_days_begin_where_the_tenant_is(platform):
    """Half past midnight in Shanghai is the evening before in UTC."""
    rules = Insight.model_validate(RULES.model_dump() | {"timezone": "Asia/Shanghai"})
    orders = [order("mei", "2026-05-31T16:30:00", 10), order("mei", "2026-06-01T02:00:00", 10)]
    assert ask(measured(platform, orders, rules=rules, want=("core__purchase_days",)), "select distinct cast(day as varchar) from core__purchase_days") == [("2026-06-01",)]
    assert ask(measured(platform, orders, want=("core__purchase_days",)), "select count(distinct day) from core__purchase_days") == [(2,)]


def test_nps_by_channel_state_and_time_counts_only_answers(platform):
    touches = [touch("ann", f"2026-06-{d:02}", "ticket", "service", nps=str(n)) for d, n in enumerate([9, 10, 9, 8.5, 7, 6, 0], 1)]
    touches += [touch("ann", "2026-06-20", "ticket", "service"), touch("ann", "2026-06-20", "ticket", "service", nps="11"), touch("ann", "2026-06-21", "ticket", "service", nps="n/a")]
    touches += [touch("ben", "2026-05-01", "Survey Answered", "app", nps="10"), touch("ben", "2024-05-01", "Survey Answered", "app", nps="0")]
    lake = measured(platform, [order("ann", "2026-06-01", 10)], touches, want=("mart__survey_scores",))
    score = lambda *where: ask(lake, "select score, answers from mart__survey_scores where question = 'nps' and channel = ? and state = ? and period = ?", *where)  # noqa: E731
    assert score("service", "all", "year") == [(pytest.approx(100 * (3 - 2) / 7), 7)], "8.5 is passive, 11 and text are no answers"
    assert score("all", "all", "year") == [(pytest.approx(100 * (4 - 2) / 8), 8)]
    assert score("app", "all", "year") == [(100.0, 1)]
    assert score("service", "new", "2026-06") == [(pytest.approx(100 / 7), 7)]
    assert score("app", "prospect", "2026-05") == [(100.0, 1)]


def test_surveys_satisfaction_in_chinese_and_english_and_stars(platform):
    said = ["good", "满意", "bad", "不满意", "一般", "offered"]
    touches = [touch("ann", f"2026-06-{n + 1:02}", "ticket", "service", satisfaction=word) for n, word in enumerate(said)]
    touches += [touch("ann", "2026-06-10", "Product Reviewed", rating=str(n)) for n in (5, 4, 3, 0)]
    lake = measured(platform, [order("ann", "2026-06-01", 10)], touches, want=("mart__survey_scores",))
    found = {q: (s, n) for q, s, n in ask(lake, "select question, score, answers from mart__survey_scores where channel = 'all' and state = 'all' and period = 'year'")}
    assert found == {"csat": (pytest.approx(40), 5), "rating": (pytest.approx(200 / 3), 3)}


def test_response_times_are_held_against_the_deadline_of_the_customers_tier(platform):
    service = Service(version="t", deadline_hours={"default": 48, "gold": 2}, closed=("closed",))
    closed = lambda who, hours: touch(who, "2026-06-10T00:00:00", "ticket", "service", status="closed", via="chat", updated_at=f"2026-06-{10 + hours // 24}T{hours % 24:02}:00:00Z")  # noqa: E731
    touches = [closed("ann", 3), closed("ben", 3), closed("ben", 50), touch("cat", "2026-06-30T23:00:00", "ticket", "service", status="open"), touch("dan", "2026-06-01", "ticket", "service", status="open")]
    lake = measured(platform, [order("ann", "2026-06-01", 10)], touches, tiers=[("ann", "gold")], service=service, want=("core__tickets", "mart__metrics",))
    kept = dict(Counter(ask(lake, "select customer_id, is_on_time from core__tickets")))
    assert kept == {("ann", False): 1, ("ben", True): 1, ("ben", False): 1, ("cat", None): 1, ("dan", False): 1}
    assert metric(lake, "answered_on_time") == 1 / 4, "one that is not due yet is not counted"
    assert metric(lake, "answered_on_time", "chat") == pytest.approx(1 / 3)
    assert metric(lake, "hours_to_close") == pytest.approx((3 + 3 + 50) / 3)


def test_response_times_that_nobody_noted_are_no_kept_promises(platform):
    touches = [touch("ann", "2026-06-10", "ticket", "service", status="closed"), touch("ben", "2026-06-10", "ticket", "service", status="open")]
    lake = measured(platform, [], touches, service=Service(version="t", deadline_hours={"gold": 2}), want=("mart__metrics",))
    assert ask(lake, "select customer_id, is_on_time, hours is null from core__tickets order by 1") == [("ann", None, True), ("ben", None, False)]
    assert metric(lake, "answered_on_time") is None
    assert metric(lake, "hours_to_close") is None


def states(lake):
    return dict(ask(lake, "select customer_id, state from core__customer_months where number = 13"))


def test_segmentation_states_follow_silence_and_frequency(platform):
    orders = [
        order("new", "2026-06-20", 1), *[order("active", f"2026-0{m}-10", 1) for m in (4, 5, 6)], *[order("occasional", f"2026-0{m}-10", 1) for m in (5, 6)],
        order("at_risk", "2026-05-15", 1), order("dormant", "2026-04-01", 1), order("churned", "2022-02-01", 1),
        order("reactivated", "2023-01-01", 1), order("reactivated", "2026-07-01", 1), order("churned", "2026-06-30", -1),
    ]  # fmt: skip
    lake = measured(platform, orders, [touch("prospect", "2026-06-01", "page")], want=("core__customer_months", "mart__customer_scores",))
    assert states(lake) == {name: name for name in ("new", "active", "occasional", "at_risk", "dormant", "churned", "reactivated")}, "a return is no purchase"
    assert dict(ask(lake, "select customer_id, state from mart__customer_scores"))["prospect"] == "prospect"


def test_segmentation_knows_purchases_from_before_the_months_it_shows(platform):
    orders = [order("gone", "2023-01-01", 1), *[order("back", d, 1) for d in ("2023-01-01", "2023-06-01", "2024-06-01", "2026-06-20")]]
    lake = measured(platform, orders, want=("core__customer_months", "mart__loyalty_types"))
    assert states(lake) == {"gone": "churned", "back": "active"}
    assert ask(lake, "select customer_id, state from core__customer_months where number = 12 order by 1") == [("back", "reactivated"), ("gone", "churned")]
    assert ask(lake, "select days_so_far from core__customer_months where number = 13 and customer_id = 'back'") == [(4,)]


def test_customer_life_cycle_stages(platform):
    orders = [
        order("beginning", "2026-06-20", 1), *[order("growing", d, 1) for d in ("2026-05-20", "2026-06-10", "2026-06-20")],
        *[order("steady", d, 1) for d in ("2026-04-20", "2026-05-20", "2026-06-20")], *[order("fading", d, 1) for d in ("2026-05-10", "2026-05-12", "2026-05-20", "2026-06-20")],
        order("gone", "2026-01-01", 1),
    ]  # fmt: skip
    lake = measured(platform, orders, want=("mart__customer_scores",))
    assert dict(ask(lake, "select customer_id, stage from mart__customer_scores")) == {
        "beginning": "acquisition", "growing": "growth", "steady": "maturity", "fading": "decline", "gone": "decline",
    }  # fmt: skip


def test_leading_churn_indicators_tell_who_buys_less_than_before(platform):
    orders = [order("slow", d, 1) for d in ("2026-05-10", "2026-05-12", "2026-05-20", "2026-06-20")] + [order("same", d, 1) for d in ("2026-05-10", "2026-05-20", "2026-06-10", "2026-06-20")]
    lake = measured(platform, orders, want=("mart__segments",))
    assert ask(lake, "select customer_id from mart__segments where segment = 'slowing'") == [("slow",)]


def test_segmentation_by_habit_time_channel_and_promotion_sensitivity(platform):
    orders = [order("ann", "2026-06-06T20:00:00", 30, "app", discounted=True), order("ann", "2026-06-13T21:00:00", 10, "app"), order("ann", "2026-06-15T09:00:00", 20, "pos"), order("ben", "2026-06-15T03:00:00", 5)]
    lake = measured(platform, orders, want=("core__customer_traits",))
    found = {row[0]: row[1:] for row in ask(lake, "select customer_id, preferred_channel, preferred_time, weekend_share, channels, discounted_share from core__customer_traits")}
    assert found == {"ann": ("app", "evening", pytest.approx(2 / 3), 2, pytest.approx(0.5)), "ben": ("web", "night", 0.0, 1, 0.0)}


@pytest.mark.long
def test_segmentation_membership_history_is_kept(platform):
    orders = [order("ann", "2026-06-20", 1), order("ben", "2026-06-20", 1)]
    lake = measured(platform, orders, now="2026-07-01", want=("ops__segment_history",))
    lake = measured(platform, orders, now="2026-08-15", want=("ops__segment_history",))
    history = ask(lake, "select segment, cast(since as date)::varchar, cast(until as date)::varchar from ops__segment_history where customer_id = 'ann' and segment in ('new', 'at_risk') order by 2")
    assert history == [("new", "2026-07-01", "2026-08-15"), ("at_risk", "2026-08-15", None)]
    assert build_history(lake, at("2026-08-15")).changed is False, "run again, nothing moves"
    lake = measured(platform, orders[1:], now="2026-08-16", want=("ops__segment_history",))
    assert ask(lake, "select count(*) from ops__segment_history where customer_id = 'ann'") == [(0,)], "who is no customer any more has no history"


def test_own_segments_are_counted_before_they_are_used_and_hold_only_what_is_known(platform):
    lake = measured(platform, [order("ann", "2026-06-20", 500, discounted=True), order("ben", "2026-06-20", 5)], [touch("cat", "2026-06-01", "page")], want=("mart__customer_scores", "mart__segments",))
    rules = Insight.model_validate(RULES.model_dump() | {"segments": {
        "rich": {"net": {"at_least": 100}}, "poor": {"net": {"at_most": 100}}, "web": {"preferred_channel": ["web"], "state": ["new"]}, "o_brien": {"preferred_channel": ["'; drop table x; --"]},
    }})  # fmt: skip
    found = counts(lake, rules)
    assert {name: found[name] for name in ("rich", "poor", "web", "o_brien")} == {"rich": 1, "poor": 1, "web": 2, "o_brien": 0}
    build_segments(lake, rules)
    assert ask(lake, "select customer_id from mart__segments where segment = 'poor'") == [("ben",)], "of cat nothing is known"


@pytest.mark.parametrize(
    ("said", "why"),
    [({"segments": {"x": {}}}, "holds everybody"), ({"segments": {"x": {"m": []}}}, "holds everybody"), ({"segments": {"x": {"net": {}}}}, "at_least"), ({"segments": {"active": {"r": [5]}}}, "another name"), ({"segments": {"x": {"r": [6]}}}, "less than or equal"),
     ({"segments": {"x": {"shoe": 1}}}, "Extra"), ({"timezone": "Moon/Base"}, "no time zone"), ({"funnel": {"a": ["x"], "b": ["x"]}}, "two steps"), ({"currency": "pounds"}, "pattern")],
)  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused(said, why):
    with pytest.raises(ValueError, match=why):
        Insight.model_validate({"version": "1", **said})


def test_five_loyalty_types_with_evidence_and_unknown_attitude_stays_unknown(platform):
    often = lambda who, **more: [order(who, d, 10, **more) for d in ("2026-05-20", "2026-06-10", "2026-06-20")]  # noqa: E731
    says = lambda who, nps: touch(who, "2026-06-21", "ticket", "service", nps=str(nps))  # noqa: E731
    orders = [*often("composite"), *often("spurious"), *often("discount", discounted=True), *often("behavioural"), *often("neutral")]
    orders += [order(who, "2026-06-01", 10) for who in ("attitudinal", "latent", "none", "unknown")]
    touches = [says("composite", 10), says("spurious", 2), says("discount", 9), says("neutral", 8), says("latent", 9), says("none", 3), touch("attitudinal", "2026-06-02", "Product Shared"), touch("attitudinal", "2026-06-03", "Product Reviewed", rating="5")]  # fmt: skip
    lake = measured(platform, orders, touches, want=("mart__loyalty_types",))
    found = dict(ask(lake, "select customer_id, loyalty from mart__loyalty_types"))
    assert found == {
        "composite": "composite", "spurious": "spurious", "discount": "spurious", "behavioural": "behavioural", "neutral": "behavioural",
        "attitudinal": "attitudinal", "latent": "latent", "none": "none", "unknown": "unknown",
    }  # fmt: skip
    evidence = dict(ask(lake, "select customer_id, evidence from mart__loyalty_types"))
    assert evidence["behavioural"].endswith("attitude unknown")
    assert "mostly under discounts" in evidence["discount"]
    assert "spoke for us 2 times" in evidence["attitudinal"]


def test_behaviour_analysis_visits_funnel_and_cart_abandonment_with_the_last_step(platform):
    touches = [
        touch("ann", "2026-06-01T10:00:00", "page"), touch("ann", "2026-06-01T10:10:00", "Product Viewed"), touch("ann", "2026-06-01T10:39:00", "Product Added"),
        touch("ben", "2026-06-01T10:00:00", "Product Viewed"), touch("ben", "2026-06-01T10:31:00", "Product Viewed"),
        touch("cat", "2026-06-02T10:00:00", "page", page="Basket"), touch("cat", "2026-06-02T10:05:00", "Checkout Started"),
        touch("dan", "2026-06-02T10:00:00", "Product Added"), touch("eve", "2026-07-01T23:00:00", "Product Added"),
    ]  # fmt: skip
    lake = measured(platform, [order("ann", "2026-06-01T10:45:00", 10), order("dan", "2026-06-03T09:00:00", 10, "pos")], touches, want=("core__sessions", "mart__abandoned_baskets", "mart__funnel",))
    assert ask(lake, "select count(*) from core__sessions where customer_id = 'ben'") == [(2,)], "31 minutes of silence end a visit"
    found = dict(ask(lake, "select step, visits from mart__funnel where channel = 'web'"))
    assert found == {"visit": 6, "product": 6, "basket": 4, "checkout": 2, "order": 1}
    gone = ask(lake, "select customer_id, last_step from mart__abandoned_baskets")
    assert gone == [("cat", "checkout")], "ann ordered, dan did a day later in the store, eve may still"


def test_behaviour_analysis_says_nothing_of_orders_where_another_system_takes_them(platform):
    lake = measured(platform, [order("ann", "2026-06-01T10:05:00", 10, "shop")], [touch("ann", "2026-06-01T10:00:00", "page")], want=("mart__funnel",))
    assert "order" not in {step for (step,) in ask(lake, "select step from mart__funnel")}


def test_journey_mapping_moves_and_pain_points(platform):
    orders = [order("ann", "2026-05-01", 10), order("ann", "2026-05-03", -10), order("ben", "2026-05-01", 10), order("ben", "2026-05-11", 10)]
    lake = measured(platform, orders, [touch("ann", "2026-05-04", "ticket", "service")], want=("core__touchpoints", "mart__journey_moves", "mart__pain_points",))
    moves = {(a, b): n for a, b, n in ask(lake, "select touch, next_touch, moves from mart__journey_moves")}
    assert moves == {
        ("start", "order web"): 2, ("order web", "return web"): 1, ("return web", "ticket service"): 1, ("ticket service", "silence"): 1,
        ("order web", "order web"): 1, ("order web", "silence"): 1,
    }  # fmt: skip
    pains = {touch: (tickets, silence) for touch, tickets, silence in ask(lake, "select touch, ticket_share, silence_share from mart__pain_points")}
    assert pains["order web"] == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert pains["return web"] == (1, 1)
    assert ask(lake, "select touch from core__touchpoints where customer_id = 'ann' order by nth") == [("order web",), ("return web",), ("ticket service",)]


def test_channel_optimisation_retention_and_value_by_acquisition_channel(platform):
    orders = [order("ann", "2025-09-01", 100, "pos"), order("ann", "2026-02-01", 50), order("ben", "2026-01-01", 10), order("cat", "2026-01-01", 30), order("cat", "2026-06-01", 30, "app")]
    lake = measured(platform, orders, want=("mart__acquisition_channels",))
    found = {row[0]: row[1:] for row in ask(lake, "select channel, customers, came_90, stayed_90, net_per_customer from mart__acquisition_channels")}
    assert found == {"pos": (1, 1, 1, 150.0), "web": (2, 2, 1, 35.0), "all": (3, 3, 2, pytest.approx(220 / 3))}


def test_channel_optimisation_first_last_and_removal_effect(platform):
    """ann: app, web, bought. ben: app, lost. cat: bought at once in the store. dan: a journey that may still go on."""
    touches = [touch("ann", "2026-05-01", "page", "app"), touch("ann", "2026-05-10", "page"), touch("ben", "2026-05-01", "page", "app"), touch("dan", "2026-06-25", "page")]
    lake = measured(platform, [order("ann", "2026-05-12", 10, "pos"), order("cat", "2026-05-12", 10, "pos")], touches, want=("mart__attribution",))
    found = {(rule, channel): share for rule, channel, share in ask(lake, "select rule, channel, share from mart__attribution")}
    assert found["first", "app"] == found["first", "pos"] == found["last", "web"] == found["last", "pos"] == 0.5
    # P(order) = 2/3: without app 1/3 (lost 1/2), without web 1/3 (1/2), without the store 1/3 (1/2)
    assert [found["removal effect", c] for c in ("app", "web", "pos")] == [pytest.approx(1 / 3)] * 3


def test_churn_causes_compare_with_customers_who_bought_alike(platform):
    orders, touches = [], []
    for n in range(240):
        who = f"c{n:03}"
        orders += [order(who, "2026-03-20", 10), order(who, "2026-04-20", 10), order(who, "2026-05-20", 10)]
        late = n % 4 == 0
        if late:
            touches.append(touch(who, "2026-05-21T00:00:00", "ticket", "service", description="物流太慢，太失望了", status="closed", updated_at="2026-05-29T00:00:00Z"))
        if (n % 8 if late else n % 3) != 0:
            orders.append(order(who, "2026-06-20", 10))
    lake = measured(platform, orders, touches, want=("mart__churn_causes",))
    found = {row[0]: row[1:] for row in ask(lake, "select cause, customers, silent, lift, excess from mart__churn_causes")}
    assert found["late answer"][:2] == (60, 30)
    assert found["late answer"][2] == pytest.approx((30 / 60) / (60 / 180))
    assert found["delivery"][:2] == (60, 30), "what the complaint is about is read from its text"
    assert found["return"][:2] == (0, 0)


def test_feedback_is_read_but_never_kept(platform):
    touches = [touch("ann", "2026-06-01", "ticket", "service", subject="Where is my order", description="Anna Müller waited three weeks. Very disappointed."), touch("ann", "2026-06-02", "Product Reviewed", text="非常满意，质量很好"), touch("ann", "2026-06-03", "page")]  # fmt: skip
    lake = measured(platform, [order("ann", "2026-06-01", 10)], touches, want=("mart__feedback", "mart__feedback_topics", "ops__feedback_card",))
    rows = lake.records("select language, topics, tone, confidence from mart__feedback order by occurred_at")
    assert rows == [{"language": "en", "topics": "delivery", "tone": "negative", "confidence": "low"}, {"language": "zh", "topics": "quality", "tone": "positive", "confidence": "low"}]
    assert not [c for c in ask(lake, "select column_name from duckdb_columns() where table_name like 'mart__feedback%'") if "text" in c[0]]
    card = json.loads(ask(lake, "select card from ops__feedback_card")[0][0])
    assert "too few" in card["doubts"][0]
    topics = ask(lake, "select topic, tone, remarks, confidence from mart__feedback_topics order by 1")
    assert topics == [("delivery", "negative", 1, "low"), ("quality", "positive", 1, "low")]


def test_a_shop_without_anything_is_measured_too(platform):
    lake = measured(platform, [])
    assert {row[0]: row[1] for row in ask(lake, "select model, is_trusted from ops__model_cards")} == dict.fromkeys(
        ("churn", "customer_value", "feedback_tone", "clusters", "survival", "retention_projection", "loyalty_states"), False
    )
    assert ask(lake, "select count(*) from mart__customer_scores") == [(0,)]


def test_measuring_again_changes_nothing(platform):
    from cdp.insight.stage import Measuring, in_order, make

    lake = measured(platform, [order("ann", "2026-06-01", 10)])
    again = Measuring(lake, RULES, Service(version="test"), "GBP", at("2026-07-01"))
    assert [t for t in in_order() if make(again, t).changed] == []


def test_the_page_of_insight_explains_every_rule_and_every_metric():
    from cdp.insight.dictionary import METRICS, SURVEYS
    from tests.conftest import ROOT

    page = (ROOT / "docs" / "insight.md").read_text(encoding="utf-8")
    assert [name for name in [*METRICS, *SURVEYS, *(set(Insight.model_fields) - {"version"})] if f"`{name}`" not in page] == []


def test_what_the_rules_leave_out_is_as_shipped_and_an_unknown_purpose_is_named(workspace):
    from cdp.errors import ConfigError
    from cdp.insight.rules import load_insight

    shipped, path = load_insight(workspace), workspace.path("insight.yaml")
    assert {"big_spenders_leaving", "discount_hunters"} <= set(shipped.segments)
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text("version: '1'\ntimezone: Asia/Shanghai\n", encoding="utf-8")
        assert load_insight(workspace) == shipped.model_copy(update={"timezone": "Asia/Shanghai"})
        path.write_text("version: '1'\npurpose: spying\n", encoding="utf-8")
        with pytest.raises(ConfigError, match="unknown purpose spying"):
            load_insight(workspace)
        path.unlink()
        assert load_insight(workspace) == shipped
    finally:
        path.write_text(before, encoding="utf-8")


@pytest.mark.long
def test_survival_cohorts_never_grow_by_rounding():
    import random

    from cdp.insight.projected import cohort_curve
    from cdp.insight.sbg import fit_sbg

    for seed in range(300):
        chance, rows = random.Random(seed), []
        for cohort in range(8):
            left = chance.randint(1, 9)
            for months in range(9):
                rows.append((cohort, months, left))
                left -= chance.random() < 0.3 and left > 1
        curve = cohort_curve(rows)
        assert (curve[1:] <= curve[:-1]).all()
        fit_sbg(curve)


def test_segments_are_counted_on_the_command_line(new_workspace):
    from tests.conftest import cdp

    empty = new_workspace()
    assert "nobody has been measured yet" in cdp(empty, "segments", check=False).stderr
