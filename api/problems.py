"""Errors as RFC 9457 problem documents, one shape for all of them."""

import re
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from cdp.errors import CdpError, StoreUnavailable

MEDIA_TYPE = "application/problem+json"
TYPES = "https://omnichannel-cdp.example/problems/"
EXAMPLES = {
    304: ("Not modified", ""),
    400: ("Idempotency-Key missing", "send an Idempotency-Key: a new one for every operation, the same for a retry"),
    401: ("Unauthorised", "this key does not exist, has expired or was revoked"),
    403: ("Forbidden", "this key lacks the scope loyalty:write"),
    404: ("Not found", "no customer has this id"),
    409: ("Insufficient points", "120 are available, 500 are needed"),
    412: ("Changed meanwhile", "this is not the customer that you read: read it again"),
    413: ("Too large", "a body has at most 1,000,000 bytes"),
    422: ("Invalid request", "the request does not match the schema"),
    428: ("If-Match missing", "send If-Match with the ETag of what you read"),
    429: ("Too many requests", "this key may call 12,000 times a minute"),
    503: ("Store unavailable", "the database does not answer; try again in a moment"),
}
log = structlog.get_logger("api")


class Problem(BaseModel):
    """RFC 9457 problem document."""

    type: str = Field(examples=[TYPES + "not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no customer has this id"])
    errors: list[dict[str, Any]] = Field(default=[], examples=[[]])


class Unauthorised(CdpError):
    """No key, or not a living one."""

    status_code = 401
    title = "Unauthorised"


class Forbidden(CdpError):
    """The key lacks the scope."""

    status_code = 403
    title = "Forbidden"


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI declarations of the errors an endpoint may answer."""
    titles = {
        304: "Not modified",
        400: "Idempotency-Key missing",
        401: "No living key",
        403: "The key lacks the scope",
        404: "Not found",
        412: "Changed meanwhile",
        413: "Too large",
        409: "Contradicts what stands",
        422: "Invalid request",
        428: "If-Match missing",
        429: "Too many requests; wait as Retry-After says",
        503: "Store unavailable",
    }
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    # whoever must send a key may send it too often, and any body may be too large
    every = sorted({*statuses, *((413, 429) if 401 in statuses else ())})
    return {
        status: {"description": titles[status], "content": {MEDIA_TYPE: {**schema, "example": example(status)}}}
        for status in every
    }


def example(status: int) -> dict[str, Any]:
    """What a problem of this status looks like."""
    title, detail = EXAMPLES[status]
    return {
        "type": TYPES + title.lower().replace(" ", "-"),
        "title": title,
        "status": status,
        "detail": detail,
        "errors": [],
    }


def answer(
    status: int,
    title: str,
    detail: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem document; `more`: members besides those of RFC 9457."""
    kind = TYPES + title.lower().replace(" ", "-")
    body = Problem(type=kind, title=title, status=status, detail=detail, errors=errors or [])
    return JSONResponse(
        {**body.model_dump(), **(more or {})}, status_code=status, media_type=MEDIA_TYPE, headers=headers
    )


def _note_refusal(request: Request, error: CdpError) -> None:
    """What a known caller asked in vain is audited too; our messages hold no personal data."""
    caller = getattr(request.state, "caller", None)
    if caller is not None:
        action = f"refused {request.method} {request.scope['route'].path_format}"
        request.app.state.context.trail.note(caller.event(action, reason=error.message[:200]))


def _allowed(request: Request) -> str:
    """Every method that is documented for a path."""
    paths, asked = request.app.openapi()["paths"], request.url.path
    named = [path for path in paths if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), asked)]
    found = {method.upper() for path in ([asked] if asked in paths else named) for method in paths[path]}
    return ", ".join(sorted(found))


def install(app: FastAPI) -> None:
    """Answer every known error with a problem document, never with a value that the caller sent; `Edge` answers the others."""

    @app.exception_handler(CdpError)
    def _known(request: Request, error: CdpError) -> JSONResponse:
        _note_refusal(request, error)
        headers = {"WWW-Authenticate": "Bearer"} if error.status_code == 401 else None
        return answer(error.status_code, error.title, error.message, headers=headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        found = [{"where": ".".join(map(str, item["loc"])), "what": item["msg"]} for item in error.errors()]
        return answer(422, "Invalid request", "the request does not match the schema", found)

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # the framework could not read the body
            return answer(422, "Invalid request", "the body is no JSON in UTF-8")
        if error.status_code == 405:
            return answer(
                405, "Method not allowed", "this path does not know the method", headers={"Allow": _allowed(request)}
            )
        title = getattr(error, "title", str(error.detail))
        return answer(error.status_code, title, str(error.detail), headers=error.headers)

    @app.exception_handler(psycopg.DataError)
    @app.exception_handler(UnicodeEncodeError)
    def _unstorable(_: Request, error: Exception) -> JSONResponse:
        log.warning("unstorable value", error=type(error).__name__)
        return answer(
            422, "Invalid request", "a value cannot be stored: it holds a NUL, half a character, or a number too large"
        )

    @app.exception_handler(psycopg.OperationalError)
    def _database(_: Request, error: psycopg.OperationalError) -> JSONResponse:
        log.warning("store unavailable", error=type(error).__name__)
        return _known(_, StoreUnavailable("the database does not answer; try again in a moment"))

    @app.exception_handler(PoolTimeout)
    def _pool(_: Request, error: PoolTimeout) -> JSONResponse:
        return _database(_, error)
