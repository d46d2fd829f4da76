"""How long what is kept: the rules of `retention.yaml`."""

from datetime import datetime, timedelta

from pydantic import Field

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml


class Kept(Strict):
    """Days for which rows of one source are kept; for ever where None."""

    visits: int | None = Field(default=None, gt=0)
    rows: int | None = Field(default=None, gt=0)


class Retention(Strict):
    """How long what is kept.

    Attributes:
        sources: By source.
        quarantine: Days for payloads of rejected rows.
        changes: Days for the change feed.
    """

    version: str
    sources: dict[str, Kept] = Field(default_factory=dict)
    quarantine: int | None = Field(default=None, gt=0)
    changes: int | None = Field(default=None, gt=0)

    def timeline_ends(self, now: datetime) -> datetime | None:
        """Before which a timeline may lack something; None where all is kept."""
        days = [days for kept in self.sources.values() for days in (kept.visits, kept.rows) if days]
        return now - timedelta(days=min(days)) if days else None


def load_retention(workspace: Workspace) -> Retention:
    """The workspace's retention; what the file leaves out is kept for ever.

    Raises:
        ConfigError: If the file is broken.
    """
    path = workspace.path("retention.yaml")
    if not path.exists():
        return Retention(version="none")
    return load_yaml(path, Retention)
