"""The rules of `identity.yaml`: values that identify nobody, and how many may share one that does."""

from typing import Literal

from pydantic import Field, field_validator

from cdp.sources.model import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml

IdentifierType = Literal["any", "email", "phone", "card", "account", "browser", "device", "wechat_openid", "wechat_unionid"]


class IdentityRules(Strict):
    """What protects the identity graph.

    Attributes:
        blocked: Identifier type → RE2 patterns of values that identify nobody (compared in standard form).
        shared_browser_accounts: A browser on which more accounts than this log in belongs to none of them.
        shared_identifier_names: An e-mail or phone seen with more different names than this joins nobody.
        match_weight: Least Splink match weight (log2 odds) of a probabilistic edge.
    """

    blocked: dict[IdentifierType, tuple[str, ...]] = {}
    shared_browser_accounts: int = Field(default=1, ge=1)
    shared_identifier_names: int = Field(default=8, ge=1)
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
