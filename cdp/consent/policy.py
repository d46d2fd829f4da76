"""The purposes, jurisdictions and rules of `consent.yaml`."""

from collections.abc import Iterable
from importlib import resources
from typing import Literal, Protocol, Self

from pydantic import Field, model_validator

from cdp.strict import Strict
from cdp.workspace import Workspace
from cdp.yamlfile import load_yaml

ABSOLUTE = ("contract", "legal_obligation", "vital_interest", "public_task")
Basis = Literal[
    "consent", "contract", "legal_obligation", "vital_interest", "public_task", "legitimate_interest", "opt_out"
]
ProfileField = Literal[
    "name",
    "birth_date",
    "email",
    "phone",
    "postal_code",
    "city",
    "country",
    "language",
    "timeline",
    "loyalty",
    "scores",
]


class Purpose(Strict):
    """One purpose.

    Attributes:
        point: The contact point a decision about it concerns; none where it concerns the person as a whole.
        basis: The lawful basis it rests on. On one that needs no asking (`ABSOLUTE`) it is allowed whatever is said.
        signals: What denies it without a form (`gpc`).
        fields: What of a profile a reader for this purpose may see.
    """

    point: Literal["email", "phone"] | None = None
    channel: Literal["email", "sms", "phone", "push", "wechat", "any"] = "any"
    concept: str = ""
    basis: Basis = "consent"
    signals: tuple[Literal["gpc"], ...] = ()
    fields: tuple[ProfileField, ...] = ()


class Jurisdiction(Strict):
    """What a law adds to the rules.

    Attributes:
        bases: Lawful bases a grant may name.
        unasked: Purposes that are allowed until the person says no, with the basis.
        separate_consent: Purposes whose grant must have been asked for by itself, with the kind.
        double_opt_in: Purposes whose grant counts once it was confirmed.
        grant_lasts_days: Days for which a grant holds; for ever where None.
        request_days: Days in which a privacy request is answered.
        extension_days: Days by which that may be prolonged once.
    """

    concept: str = ""
    countries: tuple[str, ...] = ()
    bases: tuple[Basis, ...] = ("consent",)
    unasked: dict[str, Basis] = Field(default_factory=dict)
    separate_consent: dict[str, str] = Field(default_factory=dict)
    double_opt_in: tuple[str, ...] = ()
    grant_lasts_days: int | None = Field(default=None, gt=0)
    request_days: int = Field(default=30, gt=0)
    extension_days: int = Field(default=0, ge=0)


class Located(Protocol):
    """A record's place in a customer: how strongly it is linked, and its country."""

    @property
    def weight(self) -> float:
        """Match weight of the link."""

    @property
    def country(self) -> str | None:
        """ISO 3166, where known."""


class Policy(Strict):
    """How decisions combine.

    Attributes:
        weak_link_weight: A record joined by a link below this match weight carries denials, never grants.
        default_jurisdiction: For people whose country is unknown or named by no jurisdiction.
        restriction: The purpose whose standing denial closes all others that rest on consent or silence.
        strictest_first: Names of the jurisdictions; a person of two has the first of them.
        jurisdictions: By name.
    """

    version: str
    weak_link_weight: float = 10.0
    default_jurisdiction: str = ""
    restriction: str = ""
    strictest_first: tuple[str, ...] = ()
    purposes: dict[str, Purpose] = Field(min_length=1)
    jurisdictions: dict[str, Jurisdiction] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _references(self) -> Self:
        if self.jurisdictions and self.default_jurisdiction not in self.jurisdictions:
            raise ValueError(f"default_jurisdiction must be one of {', '.join(self.jurisdictions)}")
        if sorted(self.strictest_first) != sorted(self.jurisdictions):
            raise ValueError("strictest_first must name every jurisdiction once")
        named = {self.restriction} - {""}
        for law in self.jurisdictions.values():
            named |= {*law.unasked, *law.separate_consent, *law.double_opt_in}
        if unknown := sorted(named - set(self.purposes)):
            raise ValueError(f"unknown purpose {', '.join(unknown)}: expected one of {', '.join(self.purposes)}")
        return self

    def law(self, countries: Iterable[str | None], weak: Iterable[str | None] = ()) -> str:
        """The jurisdiction of a person with records in these countries: the strictest of theirs.

        Where no country is known, or no jurisdiction names one, the default counts. Countries of weakly linked
        records may make it stricter, never looser.
        """
        known = {country for country in countries if country}
        named = [self._of(country) for country in known] or [self.default_jurisdiction]
        named += [self._of(country) for country in weak if country]
        return min(named, key=self.strictest_first.index) if self.jurisdictions else self.default_jurisdiction

    def _of(self, country: str) -> str:
        """The jurisdiction of one country: the strictest that names it, else the default."""
        naming = (name for name in self.strictest_first if country in self.jurisdictions[name].countries)
        return next(naming, self.default_jurisdiction)

    def of_links(self, links: Iterable["Located"]) -> str:
        """The jurisdiction of a customer by its records."""
        held = list(links)
        strong = [link.country for link in held if link.weight >= self.weak_link_weight]
        return self.law(strong, [link.country for link in held if link.weight < self.weak_link_weight])

    def rules(self, jurisdiction: str) -> Jurisdiction:
        """The rules of a jurisdiction; of none, those that know consent alone."""
        return self.jurisdictions.get(jurisdiction) or Jurisdiction()

    def signalled(self, signal: str) -> tuple[str, ...]:
        """The purposes that a signal denies."""
        return tuple(name for name, purpose in self.purposes.items() if signal in purpose.signals)


def load_policy(workspace: Workspace) -> Policy:
    """The workspace's consent policy over the shipped one.

    Raises:
        ConfigError: If the file is broken.
    """
    shipped = resources.files("cdp") / "defaults" / "consent.yaml"
    return load_yaml(workspace.path("consent.yaml"), Policy, base=shipped.read_text(encoding="utf-8"))
