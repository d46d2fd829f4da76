"""What every request works with: the store's pool, the key that asks, the present moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import psycopg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from psycopg_pool import ConnectionPool

from api.problems import Forbidden, Unauthorised
from cdp.clock import system_now
from cdp.consent.policy import Policy
from cdp.loyalty.programme import Programme
from cdp.store import keys
from cdp.workspace import Workspace
from identity import artefact
from identity.scorer import Scorer

bearer = HTTPBearer(
    auto_error=False, description="An API key: `Authorization: Bearer cdp_…` (see `cdp keys create --help`)"
)


@dataclass(frozen=True)
class Context:
    """Built once when the application starts."""

    workspace: Workspace
    pool: ConnectionPool
    policy: Policy
    programme: Programme
    clock: Callable[[], datetime] = system_now

    @contextmanager
    def store(self) -> Iterator[psycopg.Connection]:
        """A connection for one request; a stale one (the database restarted) is replaced once."""
        with self.pool.connection(timeout=5) as connection:
            try:
                connection.execute("select 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                yield connection
                return
        self.pool.check()
        with self.pool.connection(timeout=5) as connection:
            yield connection

    def scorer(self) -> Scorer | None:
        """The compiled model in use; read again when another one was promoted."""
        folder = self.workspace.path("models")
        version = artefact.current(folder)
        return _scorer(str(folder), version) if version else None

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


def context(request: Request) -> Context:
    """The application's context."""
    found: Context = request.app.state.context
    return found


App = Annotated[Context, Depends(context)]


def requires(scope: str) -> Callable[..., keys.Key]:
    """A dependency: the living key of this request, if it has the scope."""

    def check(app: App, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> keys.Key:
        if credentials is None:
            raise Unauthorised("send an API key: 'Authorization: Bearer cdp_…'")
        with app.store() as connection:
            key = keys.find(connection, app.workspace.secrets["pepper"], credentials.credentials, app.clock())
        if key is None:
            raise Unauthorised("this key does not exist, has expired or was revoked")
        if not key.allows(scope):
            raise Forbidden(f"this key lacks the scope {scope}")
        return key

    return check


ProfileReader = Annotated[keys.Key, Depends(requires("profiles:read"))]
ConsentReader = Annotated[keys.Key, Depends(requires("consent:read"))]
LoyaltyReader = Annotated[keys.Key, Depends(requires("loyalty:read"))]
Reviewer = Annotated[keys.Key, Depends(requires("review:write"))]
