"""`Idempotency-Key` as in the IETF draft: a repeated request is answered, not done again.

The answer is kept in the transaction that does the work, so a crash leaves both or neither.
"""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Header, Request, Response
from fastapi.encoders import jsonable_encoder

from api.context import App, Caller
from cdp.errors import CdpError
from cdp.loyalty.lots import NAMESPACE
from cdp.store import idempotency

DESCRIPTION = (
    "Made by the client for every operation, at most 200 characters: a retry with it is answered, not done again"
)


class KeyMissing(CdpError):
    """No Idempotency-Key."""

    status_code = 400
    title = "Idempotency-Key missing"


class InProgress(CdpError):
    """The same key is being worked on."""

    status_code = 409
    title = "Request in progress"


class Reused(CdpError):
    """The same key with another request."""

    status_code = 422
    title = "Idempotency-Key reused"


class Once:
    """One request under its key."""

    def __init__(self, app: App, request: Request, response: Response, key: str, fingerprint: str) -> None:
        """Made by the dependency below."""
        self._app, self._request, self._response, self._key, self._fingerprint = (
            app,
            request,
            response,
            key,
            fingerprint,
        )

    def transaction_id(self, caller: Caller) -> str:
        """The id of what the request does where the client names none: the same for every retry."""
        return str(uuid.uuid5(NAMESPACE, f"{caller.key.key_id}#{self._key}"))

    def status(self, status: int) -> None:
        """The status of the answer, where it is not the endpoint's own."""
        self._response.status_code = status

    def do(self, caller: Caller, work: Callable[[psycopg.Connection], Any], status: int = 201) -> Any:
        """Do the work in a transaction and keep its answer, or give the answer that was kept.

        Raises:
            InProgress: If the same key is being worked on.
            Reused: If it was used for another request.
        """
        name = str(caller.key.key_id)
        with self._app.store() as store, store.transaction():
            if not idempotency.claim(store, name, self._key):
                raise InProgress("a request with this Idempotency-Key is in progress", "try again in a moment")
            known = idempotency.find(store, name, self._key)
            if known is None:
                answer = jsonable_encoder(work(store))
                idempotency.keep(store, name, self._key, self._fingerprint, status, answer, self._app.clock())
                return answer
        if known[0] != self._fingerprint:
            raise Reused("this Idempotency-Key was used for another request", "make a new key for every operation")
        self._response.status_code = known[1]
        self._response.headers["Idempotent-Replayed"] = "true"
        return known[2]


async def once(
    app: App,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None, Header(alias="Idempotency-Key", max_length=200, description=DESCRIPTION)
    ] = None,
) -> Once:
    """The request under its key."""
    if not idempotency_key:
        raise KeyMissing("send an Idempotency-Key: a new one for every operation, the same for a retry")
    said = await request.body()
    with contextlib.suppress(ValueError):  # what is no JSON is refused by its schema
        said = json.dumps(json.loads(said), sort_keys=True).encode()
    text = f"{request.method} {request.url.path}\n".encode() + said
    return Once(app, request, response, idempotency_key, hashlib.sha256(text).hexdigest())


Idempotent = Annotated[Once, Depends(once)]
