"""A person at work in the console: their session, what their roles let them do, and forms that only our own pages send."""

import hashlib
import hmac
import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
from fastapi import Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse

from api.console import page
from api.context import Caller, Context, as_uuid, within_limit
from api.idempotency import Once
from api.problems import Forbidden
from cdp import access
from cdp.errors import CdpError, Invalid
from cdp.store import releases, users
from cdp.store.keys import Key
from cdp.store.users import Session, User

COOKIE = "cdp_session"
LANGUAGE = "cdp_language"
PURPOSE = "service"  # what people in the console read for
BEHIND = timedelta(hours=26)  # older data is said to be behind: a night's run that did not come
MOST_FIELDS = 2_000
MOST_CALLS = 600  # a minute of one person; results while typing count too
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class NotSignedIn(CdpError):
    """Nobody is signed in, or the session has ended."""

    status_code = 401
    title = "Not signed in"


class Unreadable(Invalid):
    """A form with characters that no keyboard types."""


class Forged(CdpError):
    """A form that none of our pages sent."""

    status_code = 403
    title = "Form refused"


@dataclass
class Visit:
    """One request of a person who is signed in.

    Attributes:
        caller: The person as the API knows callers: their roles' scopes, and the purpose.
        form: What they sent; empty for a page that is read.
    """

    app: Context
    request: Request
    session: Session
    user: User
    caller: Caller
    language: str
    as_of: datetime | None
    form: list[tuple[str, str]] = field(default_factory=list)

    @property
    def csrf(self) -> str:
        """What every form of this session carries."""
        return csrf(self.app.pepper, self.session.token_hash)

    def said(self, name: str, default: str = "") -> str:
        """A field of the form."""
        return next((value.strip() for key, value in self.form if key == name), default)

    def all_said(self, name: str) -> list[str]:
        """Every value of a field of the form."""
        return [value for key, value in self.form if key == name]

    def may(self, scope: str) -> bool:
        """Whether the person's roles allow what the scope names."""
        return self.caller.key.allows(scope)

    def revealed(self, store: psycopg.Connection, customer_id: str) -> tuple[datetime, str] | None:
        """(until when, why) this session sees a customer unmasked; None where it does not, or no longer may."""
        if not self.may("profiles:reveal"):
            return None
        return users.revealed(store, self.session.token_hash, customer_id, self.app.clock())

    def once(self) -> Once:
        """The form under its own key: sent twice, it is done once."""
        said = sorted((k, v) for k, v in self.form if k != "csrf")
        fingerprint = hashlib.sha256(repr((self.request.url.path, said)).encode()).hexdigest()
        return Once(self.app, self.request, Response(), self.said("once") or str(uuid.uuid4()), fingerprint)

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page with what all pages show: who works, how fresh the data is."""
        as_of = self.as_of
        answer = page.render(
            template, self.language, status, visit=self, csrf=self.csrf, path=self.request.url.path, as_of=as_of,
            behind=as_of is None or self.app.clock() - as_of > BEHIND, new_key=lambda: str(uuid.uuid4()),
            done=self.request.cookies.get("cdp_done", ""), scale=self.app.programme.terms.scale, idle=int(access.IDLE.total_seconds()), **values,
        )  # fmt: skip
        if "cdp_done" in self.request.cookies:
            answer.delete_cookie("cdp_done", path="/console")
        return answer

    def back(self, path: str, done: str = "") -> RedirectResponse:
        """On to a page, which says what was done."""
        answer = RedirectResponse(f"/console{path}", status_code=303, headers=page.HEADERS)
        if done:
            answer.set_cookie("cdp_done", done, max_age=30, path="/console", httponly=True, samesite="strict")
        return answer


def csrf(pepper: str, token_hash: str) -> str:
    """The token of a session's forms: nobody else can compute it."""
    return hmac.new(pepper.encode(), f"csrf|{token_hash}".encode(), hashlib.sha256).hexdigest()


def visiting(scope: str | None) -> Callable[[Request], Awaitable[Visit]]:
    """A dependency: the person who is signed in, if their roles have the scope; a form must come from our own page."""

    async def check(request: Request) -> Visit:
        app: Context = request.app.state.context
        token = request.cookies.get(COOKIE, "")
        found = await run_in_threadpool(_session, app, token) if token else None
        if found is None:
            raise NotSignedIn("sign in first")
        session, user, as_of = found
        key = Key(
            user.user_id, user.name, "", access.scopes(user.roles), (PURPOSE,), user.created_at, None, None, None, MOST_CALLS, None, None
        )  # fmt: skip
        caller = Caller(key, PURPOSE, person=True)
        visit = Visit(app, request, session, user, caller, user.language, as_of)
        request.state.visit = visit
        within_limit(request, app, caller)
        if request.method == "POST":
            visit.form = await posted(request)
            if not hmac.compare_digest(visit.said("csrf").encode(), visit.csrf.encode()):
                raise Forged("this form was not sent by a page of this session: open the page again")
        action = f"{request.method} /console{request.scope['route'].path_format}"
        customer = as_uuid(request.path_params.get("customer_id"))
        if scope is not None and not visit.may(scope):
            app.trail.note(caller.event(f"refused {action}", customer, reason=f"the roles lack {scope}"))
            raise Forbidden("your roles do not let you do this")
        app.trail.note(caller.event(action, customer))
        return visit

    return check


async def posted(request: Request) -> list[tuple[str, str]]:
    """The fields of a form; it must come from a page of this site.

    Raises:
        Forged: If the browser says that another site sent it, or it has too many fields.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise Forged("this form was sent by another site")
    try:
        fields = parse_qsl(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError as error:
        raise Forged("this form cannot be read") from error
    if any(CONTROL.search(value) for _, value in fields):
        raise Unreadable("the form holds something that cannot be meant")
    return fields


def _session(app: Context, token: str) -> tuple[Session, User, datetime | None] | None:
    now = app.clock()
    with app.store() as store:
        found = users.session(store, token)
        if found is None or not access.lives(found[0].created_at, found[0].seen_at, now):
            return None
        if now - found[0].seen_at > timedelta(seconds=30):
            users.seen(store, found[0].token_hash, now)
        release = releases.newest(store)
    return (*found, release[0].as_of if release else None)


Anybody = Annotated[Visit, Depends(visiting(None))]
Agent = Annotated[Visit, Depends(visiting("profiles:read"))]
Revealer = Annotated[Visit, Depends(visiting("profiles:reveal"))]
Editor = Annotated[Visit, Depends(visiting("profiles:write"))]
ConsentTaker = Annotated[Visit, Depends(visiting("consent:write"))]
Teller = Annotated[Visit, Depends(visiting("loyalty:write"))]
Steward = Annotated[Visit, Depends(visiting("review:write"))]
Officer = Annotated[Visit, Depends(visiting("privacy:write"))]
Manager = Annotated[Visit, Depends(visiting("admin"))]
