"""The API: reads what the pipeline published, from the store, under scoped keys."""

import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import orjson
import structlog
from fastapi import FastAPI

from api import problems
from api.console import create_console
from api.context import Context
from api.edge import Edge
from api.keyring import KeyRing
from api.limits import Limiter
from api.metrics import Metrics
from api.pools import Pools
from api.routers import (
    audiences,
    changes,
    consents,
    corrections,
    customers,
    health,
    holds,
    identity,
    intake,
    loyalty,
    offers,
    plans,
    posted,
    privacy,
    referrals,
    tills,
    unsubscribe,
    webhooks,
)
from cdp.clock import system_now
from cdp.consent.policy import load_policy
from cdp.derived.audiences import load_audiences
from cdp.insight.rules import load_insight
from cdp.loyalty.programme import load_programme
from cdp.privacy.trail import Trail
from cdp.retention import load_retention
from cdp.service import load_service
from cdp.settings import Settings
from cdp.store.connect import api_address, database
from cdp.workspace import open_workspace

DESCRIPTION = """One customer for every channel: find people by any identifier, read profile, timeline, consents and points.

Send a key in every call: `Authorization: Bearer cdp_…`. Personal values are masked unless the key may reveal them.
Every call has a purpose (header `Purpose`, by default the key's first): what the person's consent does not allow for it is withheld
with the reason.
Errors are RFC 9457 problem documents."""


def create_app(settings: Settings, clock: Callable[[], datetime] = system_now) -> FastAPI:
    """The application over one workspace; it opens its pool when it starts."""

    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workspace = open_workspace(settings)
        with database(workspace):
            pools = Pools(api_address(workspace).conninfo)
            await pools.open()
            trail = Trail(workspace, pools.store, clock)
            trail.start()
            policy, programme = load_policy(workspace), load_programme(workspace)
            app.state.context = Context(
                workspace,
                pools,
                policy,
                programme,
                trail,
                load_retention(workspace),
                load_service(workspace),
                load_audiences(workspace, policy, programme),
                load_insight(workspace),
                metrics,
                Limiter(),
                KeyRing(),
                clock,
            )
            gc.collect()
            gc.freeze()  # what lives as long as the process is not looked through again at each collection: a third of a lookup
            try:
                yield
            finally:
                trail.stop()
                await pools.close()
                gc.unfreeze()

    app = FastAPI(title="Omnichannel CDP", version="1", description=DESCRIPTION, lifespan=lifespan, redoc_url=None)
    problems.install(app)
    app.add_middleware(Edge, metrics=metrics)
    for part in (
        customers,  # in the order in which they are tried: what is asked most comes first
        loyalty,
        identity,
        corrections,
        health,
        intake,
        posted,
        changes,
        webhooks,
        holds,
        offers,
        plans,
        referrals,
        tills,
        consents,
        unsubscribe,
        audiences,
        privacy,
    ):
        app.include_router(part.router)
    app.mount("/console", create_console(app.state))
    plain = app.openapi
    app.openapi = lambda: app.openapi_schema or _whole(plain())  # type: ignore[method-assign]
    return app


REQUIRED = ("idempotency-key", "if-match")


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """The document, with the problem that all errors are, and headers marked as required that are asked for by one (400, 428)."""
    schema["components"]["schemas"]["Problem"] = problems.Problem.model_json_schema()
    for operations in schema["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"].lower() in REQUIRED:
                    parameter["required"] = True
                    parameter["schema"] = {**parameter["schema"]["anyOf"][0], "minLength": 1}
    return schema


def _dumps(said: Any, **_: Any) -> str:
    return orjson.dumps(said, default=str).decode()


def from_environment() -> FastAPI:
    """What uvicorn starts: `uvicorn --factory api.app:from_environment`. Its log is JSON, a line each, without personal data."""
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso", utc=True), structlog.processors.JSONRenderer(serializer=_dumps)],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )  # fmt: skip
    return create_app(Settings())
