"""Who signs in: local accounts. An identity provider (OpenID Connect) would replace `signed_in`, and nothing else."""

from api.context import Context
from cdp import access
from cdp.errors import CdpError
from cdp.store import users
from cdp.store.audit import Event


class SignInRefused(CdpError):
    """The name or the password is wrong, or the account is closed; it is not said which."""

    status_code = 401
    title = "Sign-in refused"


def signed_in(app: Context, name: str, password: str) -> str:
    """Begin a session of whoever has this name and password; its token.

    Raises:
        SignInRefused: If nobody has, or the account is locked after too many failures, or disabled.
    """
    now = app.clock()
    with app.store() as store:
        found = users.named(store, name.strip())
    right = access.is_password(
        found.password_hash if found is not None else None, password
    )  # slow on purpose: no line is held
    with app.store() as store, store.transaction():
        found = users.named(store, name.strip(), lock=True)
        locked = found is not None and found.locked_until is not None and found.locked_until > now
        if found is not None and right and not locked and found.disabled_at is None:
            users.change(store, found.name, failed=0, locked_until=None)
            app.trail.write(store, Event("user.signed_in", f"user:{found.name}", key_id=found.user_id))
            return users.begin(store, found.user_id, now)
        if found is not None and not right and not locked:
            failed, until = access.after_failure(found.failed, now)
            users.change(store, found.name, failed=failed, locked_until=until)
    # a name that nobody has may be a password in the wrong field: it is never written down
    app.trail.note(Event("refused sign-in", f"user:{found.name}" if found is not None else "nobody"))
    raise SignInRefused("the name or the password is wrong, or the account is locked for a while")
