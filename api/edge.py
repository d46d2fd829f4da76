"""What every request passes: its id, the limit of its body, the headers of its answer, its line in the log and its count."""

import re
import time
import uuid
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import Metrics
from api.problems import answer

MOST_BODY = 1_000_000  # bytes; more is not read
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
log = structlog.get_logger("api")


class TooLarge(HTTPException):
    """A body above the limit."""

    title = "Too large"

    def __init__(self) -> None:
        super().__init__(413, f"a body has at most {MOST_BODY:,} bytes")


class Edge:
    """The outermost layer.

    A request's id is the caller's `X-Request-Id`, else its trace's, else a new one; the answer, the log and the audit
    trail name it. Logs name routes by their template and keys by their name: no path, no query, no value.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, began = Headers(scope=scope), time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        trace = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        asked = headers.get("x-request-id", "")
        name = state["request_id"] = asked if REQUEST_ID.fullmatch(asked) else trace[1] if trace else uuid.uuid4().hex
        status, read, began_answer = 500, 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BODY:
                raise TooLarge
            return message

        async def marked(message: Message) -> None:
            nonlocal status, began_answer
            if message["type"] == "http.response.start":
                status, began_answer = message["status"], True
                headers_out = MutableHeaders(scope=message)
                headers_out["X-Request-Id"] = name
                left = state.get("left")
                for header, value in (left.headers if left is not None else {}).items():
                    headers_out[header] = value
                if left is not None and left.remaining < 0:
                    headers_out["Retry-After"] = str(left.seconds)
                elif status == 503:
                    headers_out["Retry-After"] = "1"
            await send(message)

        bound = structlog.contextvars.bound_contextvars(request_id=name, **({"trace_id": trace[1]} if trace else {}))
        with bound, self._metrics.under_way.track_inprogress():
            try:
                await self._app(scope, counted, marked)
            except Exception as error:  # its text may quote a row: the name alone is logged
                log.error("unexpected error", error=type(error).__name__)
                if not began_answer:
                    failed = answer(500, "Internal error", "the request failed; nothing was changed")
                    await failed(scope, receive, marked)
            finally:
                self._told(scope, status, time.perf_counter() - began, name)

    def _told(self, scope: Scope, status: int, seconds: float, name: str) -> None:
        found = scope.get("route")
        route, method = (
            getattr(found, "path_format", "none"),
            scope["method"] if scope["method"] in METHODS else "other",
        )
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)
        caller = scope["state"].get("caller")
        log.info(
            "request", method=method, route=route, status=status, milliseconds=round(1000 * seconds, 1), request_id=name,
            key=caller.key.name if caller is not None else None,
        )  # fmt: skip
