"""The rules of `identity.yaml`: values that identify nobody, and how many may share one that does."""

import re
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml, plain

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


class Limit(Strict):
    """How many values of one identifier type a customer may hold.

    Attributes:
        most: Distinct values of one source (or of all of them together for `any`).
        priority: On a breach the evidence of the lowest priority goes first; the probabilistic has 0.
    """

    most: int = Field(ge=1)
    priority: int = Field(ge=1)


class IdentityRules(Strict):
    """What protects the identity graph.

    Attributes:
        blocked: Identifier type → RE2 patterns of values that identify nobody (compared in standard form).
        people: Identifier type → how many people (by given name) may share a value that still joins records.
        names: An identifier seen with more different full names than this is generic and joins nobody.
        accounts_per_browser: A browser on which more accounts log in is a kiosk and joins nobody.
        precision: Expected share of right pairs among those that the model holds for one person; sets the threshold.
        limits: Identifier type → source, or `any` → limit for one customer.
        one_account: Sources in which a person has one account: two of its accounts are two people.
    """

    blocked: dict[IdentifierType, tuple[str, ...]] = Field(default_factory=dict)
    people: dict[IdentifierType, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    names: int = Field(default=8, ge=1)
    accounts_per_browser: int = Field(default=3, ge=1)
    one_account: tuple[str, ...] = ()
    limits: dict[IdentifierType, dict[str, Limit]] = Field(default_factory=dict)
    precision: float = Field(default=0.99, ge=0.5, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: dict[str, object]) -> dict[str, object]:
        if "match_weight" in values:
            raise ValueError(
                "match_weight is gone: delete the line; 'precision: 0.99' sets the threshold of the next model trained"
            )
        return values

    @field_validator("blocked")
    @classmethod
    def _plain_patterns(cls, value: dict[IdentifierType, tuple[str, ...]]) -> dict[IdentifierType, tuple[str, ...]]:
        for patterns in value.values():
            for pattern in patterns:
                if "(?=" in pattern or "(?!" in pattern or "(?<" in pattern:
                    raise ValueError(f"'{pattern}' looks around; RE2 has no look-around")
                if r"\Q" in pattern:
                    raise ValueError(rf"'{pattern}' quotes by \Q; put a \ before each character instead")
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ValueError(f"'{pattern}' is no pattern: {error}") from error
        return value


def load_identity_rules(workspace: Workspace) -> IdentityRules:
    """The workspace's identity rules.

    Raises:
        ConfigError: If the file is broken.
    """
    return load_yaml(workspace.path("identity.yaml"), IdentityRules)


def shipped_rules() -> IdentityRules:
    """The rules that every new workspace starts with."""
    text = (resources.files("cdp") / "defaults" / "identity.yaml").read_text(encoding="utf-8")
    return IdentityRules.model_validate(plain(text))
