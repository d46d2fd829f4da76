"""Rules of audiences over one profile: each narrows down, all of them must hold."""

from datetime import timedelta

import pytest

from cdp.consent.policy import load_policy
from cdp.derived.audiences import Audience, load_audiences
from cdp.errors import ConfigError
from cdp.loyalty.programme import load_programme
from tests.conftest import NOW

PROFILE = {
    "country": {"value": "CN"}, "language": {"value": "zh"}, "channels": ["pos", "web"], "last_seen": (NOW - timedelta(days=30)).isoformat(),
    "orders": {"CNY": {"orders": 2, "returns": 0, "spent": "10"}, "EUR": {"orders": 1, "returns": 0, "spent": "5"}},
}  # fmt: skip
EMPTY = {**PROFILE, "country": {"value": None}, "language": {"value": None}, "channels": [], "orders": {}}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ({}, True), ({"country": ["CN", "HK"]}, True), ({"country": ["GB"]}, False), ({"language": ["zh"]}, True), ({"language": ["en"]}, False),
        ({"channels": ["app", "pos"]}, True), ({"channels": ["app"]}, False), ({"orders_at_least": 3}, True), ({"orders_at_least": 4}, False),
        ({"seen_within_days": 30}, True), ({"seen_within_days": 29}, False), ({"not_seen_for_days": 29}, True), ({"not_seen_for_days": 30}, False),
        ({"tiers": ["gold"]}, True), ({"tiers": ["silver"]}, False), ({"country": ["CN"], "tiers": ["silver"]}, False),
    ],
    ids=str,
)  # fmt: skip
def test_a_rule_narrows_down(rule, holds):
    assert Audience(purpose="email_marketing", **rule).holds(PROFILE, "gold", NOW) is holds


@pytest.mark.parametrize(
    "rule",
    [{"country": ["CN"]}, {"language": ["zh"]}, {"channels": ["pos"]}, {"orders_at_least": 1}, {"tiers": ["gold"]}],
)
def test_what_is_not_known_is_in_no_narrowed_audience(rule):
    assert not Audience(purpose="email_marketing", **rule).holds(EMPTY, None, NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [("version: '1'\naudiences:\n  a: {purpose: spying}\n", "spying"), ("version: '1'\naudiences:\n  a: {purpose: email_marketing, contry: [CN]}\n", "contry"),
     ("version: '1'\naudiences:\n  a: {purpose: email_marketing, orders_at_least: many}\n", "audiences.yaml:3"), ("version: [", "audiences.yaml"), ("version: '1'\naudiences:\n  VIP-1: {purpose: email_marketing}\n", "VIP-1"),
     ("version: '1'\naudiences:\n  a: {purpose: email_marketing, country: [cn]}\n", "country"), ("version: '1'\naudiences:\n  a: {purpose: email_marketing, tiers: [diamond]}\n", "diamond"),
     ("version: '1'\naudiences:\n  a: {purpose: email_marketing, seen_within_days: 1000000000}\n", "seen_within_days")],
)  # fmt: skip
def test_a_broken_file_says_where_and_what(workspace, text, said):
    path = workspace.path("audiences.yaml")
    before = path.read_text()
    path.write_text(text)
    try:
        with pytest.raises(ConfigError, match=said):
            load_audiences(workspace, load_policy(workspace), load_programme(workspace))
    finally:
        path.write_text(before)
    assert set(load_audiences(workspace, load_policy(workspace), load_programme(workspace)).audiences) == {
        "newsletter",
        "quiet_customers",
    }
