"""The purposes and rules of `consent.yaml`."""

from typing import Literal

from pydantic import Field

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml


class Purpose(Strict):
    """One purpose: the contact point a decision about it concerns (none: the person as a whole)."""

    point: Literal["email", "phone"] | None = None
    concept: str = ""


class Policy(Strict):
    """How decisions combine.

    Attributes:
        weak_link_weight: A record joined by a link below this match weight carries denials, never grants.
    """

    version: str
    weak_link_weight: float = 10.0
    purposes: dict[str, Purpose] = Field(min_length=1)


def load_policy(workspace: Workspace) -> Policy:
    """The workspace's consent policy.

    Raises:
        ConfigError: If the file is broken.
    """
    return load_yaml(workspace.path("consent.yaml"), Policy)
