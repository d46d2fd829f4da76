"""The rules of `identity.yaml`: values that identify nobody, and how many may share one that does."""

from typing import Literal

from pydantic import Field, field_validator

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml

IdentifierType = Literal[
    "any",
    "email",
    "phone",
    "card",
    "account",
    "browser",
    "device",
    "wechat_openid",
    "wechat_unionid",
    "order",
]


class IdentityRules(Strict):
    """What protects the identity graph.

    Attributes:
        blocked: Identifier type → RE2 patterns of values that identify nobody (compared in standard form).
        people: Identifier type → how many people (by given name) may share a value that still joins records.
        names: An identifier seen with more different full names than this is generic and joins nobody.
        accounts_per_browser: A browser on which more accounts log in is a kiosk and joins nobody.
        match_weight: Least Splink match weight (log2 odds) of a probabilistic edge.
    """

    blocked: dict[IdentifierType, tuple[str, ...]] = Field(default_factory=dict)
    people: dict[IdentifierType, int] = Field(default_factory=dict)
    names: int = Field(default=8, ge=1)
    accounts_per_browser: int = Field(default=3, ge=1)
    match_weight: float = 6.0

    @field_validator("blocked")
    @classmethod
    def _plain_patterns(cls, value: dict[IdentifierType, tuple[str, ...]]) -> dict[IdentifierType, tuple[str, ...]]:
        for patterns in value.values():
            for pattern in patterns:
                if "(?=" in pattern or "(?!" in pattern or "(?<" in pattern:
                    raise ValueError(f"'{pattern}' looks around; RE2 has no look-around")
        return value


def load_identity_rules(workspace: Workspace) -> IdentityRules:
    """The workspace's identity rules.

    Raises:
        ConfigError: If the file is broken.
    """
    return load_yaml(workspace.path("identity.yaml"), IdentityRules)
