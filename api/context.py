"""What every request works with: the store's pool, the key that asks, the present moment."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.keyring import KeyRing
from api.limits import Limiter, TooMany
from api.metrics import Metrics
from api.pools import Pools
from api.problems import Forbidden, Unauthorised
from cdp.clock import system_now
from cdp.consent.policy import Policy
from cdp.derived.audiences import Audiences
from cdp.insight.rules import Insight
from cdp.loyalty.programme import Programme
from cdp.privacy.trail import Trail
from cdp.retention import Retention
from cdp.service import Service
from cdp.store import keys
from cdp.store.audit import Event
from cdp.workspace import Workspace
from identity import artefact
from identity.scorer import Scorer

bearer = HTTPBearer(
    auto_error=False, description="An API key: `Authorization: Bearer cdp_…` (see `cdp keys create --help`)"
)
PURPOSE = "What the answer is for, as named in consent.yaml; the key's first purpose by default"


@dataclass(frozen=True)
class Context:
    """Built once when the application starts."""

    workspace: Workspace
    pools: Pools
    policy: Policy
    programmes: Programme
    trail: Trail
    retention: Retention
    service: Service
    audiences: Audiences
    insight: Insight
    metrics: Metrics
    limiter: Limiter
    ring: KeyRing
    clock: Callable[[], datetime] = system_now

    def store(self) -> AbstractContextManager[psycopg.Connection]:
        """A connection for one request."""
        return self.pools.store()

    def read_key(self, text: str) -> keys.Kept | None:
        """The stored key of a text, read and kept for a moment."""
        with self.store() as store:
            return self.ring.read(store, text)

    def scorer(self) -> Scorer | None:
        """The compiled model that the published keys were made with: one that was promoted since is used from the next run on."""
        folder = self.workspace.path("models")
        version = artefact.used(folder) or artefact.current(folder)
        return _scorer(str(folder), version) if version else None

    @property
    def programme(self) -> Programme:
        """The version of the programme that holds now."""
        return self.programmes.at(self.clock())

    @property
    def pepper(self) -> str:
        """What keyed hashes are made with."""
        return self.workspace.secrets["pepper"]

    @property
    def regions(self) -> tuple[str, ...]:
        """Countries in which to read a bare phone number."""
        return tuple(self.workspace.settings.phone_regions.split(","))


@lru_cache(maxsize=2)
def _scorer(folder: str, version: str) -> Scorer | None:
    trained = artefact.load(Path(folder), version)
    return Scorer(trained) if trained else None


async def context(request: Request) -> Context:
    """The application's context."""
    found: Context = request.app.state.context
    return found


App = Annotated[Context, Depends(context)]


@dataclass(frozen=True)
class Caller:
    """Who asks: the key, and the purpose it asks for; a person of the console asks as a key with the scopes of their roles."""

    key: keys.Key
    purpose: str
    person: bool = False

    @property
    def name(self) -> str:
        """How the audit log and change sets name it."""
        return f"{'user' if self.person else 'key'}:{self.key.name}"

    def event(self, action: str, customer_id: str | None = None, **more: Any) -> Event:
        """Something this caller does, for the audit log."""
        return Event(action, self.name, self.key.key_id, customer_id, self.purpose, **more)


def requires(scope: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the living key of this request, if it has the scope and may read for the purpose. Its use is audited."""

    async def check(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
        asked: Annotated[str | None, Header(alias="Purpose", max_length=60, description=PURPOSE)] = None,
        asked_here: Annotated[str | None, Query(alias="purpose", max_length=60, description=PURPOSE)] = None,
    ) -> Caller:
        app: Context = request.app.state.context
        action, customer = (
            f"{request.method} {request.scope['route'].path_format}",
            as_uuid(request.path_params.get("customer_id")),
        )
        if credentials is None:
            app.trail.note(Event(f"refused {action}", "nobody", customer_id=customer, reason="no key"))
            raise Unauthorised("send an API key: 'Authorization: Bearer cdp_…'")
        text = credentials.credentials
        found = app.ring.look(text) or await run_in_threadpool(app.read_key, text)
        key = keys.living(found, app.pepper, text, app.clock())
        if key is None:
            app.trail.note(Event(f"refused {action}", "nobody", customer_id=customer, reason="no living key"))
            raise Unauthorised("this key does not exist, has expired or was revoked")
        caller = Caller(key, asked or asked_here or key.purposes[0])
        within_limit(request, app, caller)
        if reason := _refusal(caller, scope, app.policy):
            app.trail.note(Event(f"refused {action}", caller.name, key.key_id, customer, None, reason))
            raise Forbidden(reason)
        app.trail.note(caller.event(action, customer))
        request.state.caller = caller
        return caller

    return check


def within_limit(request: Request, app: Context, caller: Caller) -> None:
    """Count one call of the key.

    Raises:
        TooMany: If it is one more than the key may make; only the first of a window is audited.
    """
    left = request.state.left = app.limiter.take(caller.key.key_id, caller.key.rate_limit)
    if left.remaining >= 0:
        return
    if left.remaining == -1:
        app.trail.note(caller.event("refused for too many calls"))
    raise TooMany(f"this key may call {left.quota:,} times a minute", "wait as Retry-After says")


def _refusal(caller: Caller, scope: str, policy: Policy) -> str | None:
    if not caller.key.allows(scope):
        return f"this key lacks the scope {scope}"
    if caller.purpose not in policy.purposes:
        return f"unknown purpose; the policy knows {', '.join(policy.purposes)}"
    if caller.purpose not in caller.key.purposes:
        return f"this key may not ask for the purpose {caller.purpose}; it may for {', '.join(caller.key.purposes)}"
    return None


def as_uuid(text: Any) -> str | None:
    """An id as the audit log takes it; None for what is none."""
    try:
        return str(UUID(str(text)))
    except (ValueError, AttributeError, TypeError):
        return None


ProfileReader = Annotated[Caller, Depends(requires("profiles:read"))]
ProfileWriter = Annotated[Caller, Depends(requires("profiles:write"))]
ConsentReader = Annotated[Caller, Depends(requires("consent:read"))]
ConsentWriter = Annotated[Caller, Depends(requires("consent:write"))]
LoyaltyReader = Annotated[Caller, Depends(requires("loyalty:read"))]
LoyaltyWriter = Annotated[Caller, Depends(requires("loyalty:write"))]
Reviewer = Annotated[Caller, Depends(requires("review:write"))]
PrivacyOfficer = Annotated[Caller, Depends(requires("privacy:write"))]
ChangesReader = Annotated[Caller, Depends(requires("changes:read"))]
AudienceReader = Annotated[Caller, Depends(requires("audiences:read"))]
Administrator = Annotated[Caller, Depends(requires("admin"))]
