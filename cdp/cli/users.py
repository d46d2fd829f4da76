"""`cdp users`: who works in the console, and as what."""

import sys
from typing import Annotated

import typer

from cdp import access
from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.errors import ConfigError
from cdp.privacy.trail import tell
from cdp.settings import Settings
from cdp.store import users as stored
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import open_workspace

users = typer.Typer(help="Accounts of the console: created, listed, changed, disabled.", no_args_is_help=True)
app.add_typer(users, name="users")
Role = Annotated[list[str], typer.Option(help="agent, steward, privacy or admin; repeat for several.")]
Language = Annotated[str, typer.Option(help="en, zh_Hans or zh_Hant.")]


@users.command()
def create(name: str, role: Role, language: Language = "en") -> None:
    """Make an account. The password is asked for, or read from standard input.

    Example: cdp users create alice --role agent --role steward
    Example: cdp users create 小王 --role agent --language zh_Hans < password.txt
    """
    workspace, now = open_workspace(Settings()), system_now()
    access.scopes(role)
    if language not in access.LANGUAGES:
        raise ConfigError(f"unknown language {language}", f"choose from {', '.join(access.LANGUAGES)}")
    if not name.strip() or len(name) > 60 or not name.isprintable():
        raise ConfigError("a name has 1 to 60 printable characters", "choose another name")
    password = access.hashed(_password(), name)
    with database(workspace), connect(owner_address(workspace)) as store:
        stored.create(store, name, password, sorted(set(role)), language, now)
        tell(workspace, store, "user.created", {"user": name, "roles": sorted(set(role))}, now)
    say(f"User '{name.lower()}' may sign in at /console as {', '.join(sorted(set(role)))}.")


@users.command(name="list")
def show() -> None:
    """Every account with its roles.

    Example: cdp users list
    """
    workspace, now = open_workspace(Settings()), system_now()
    with database(workspace), connect(owner_address(workspace)) as store:
        found = stored.every(store)
    rows = [
        (
            u.name, ", ".join(u.roles), u.language, f"{u.created_at:%Y-%m-%d}",
            "disabled" if u.disabled_at else "locked" if u.locked_until and u.locked_until > now else "active",
        )
        for u in found
    ]  # fmt: skip
    print(table(["name", "roles", "language", "created", "state"], rows))


@users.command()
def password(name: str) -> None:
    """Set another password, and sign out whoever is signed in. An account that is locked is open again.

    Example: cdp users password alice
    """
    _change(name, "user.password", password_hash=access.hashed(_password(), name), failed=0, locked_until=None)
    say(f"User '{name}' has another password.")


@users.command()
def roles(name: str, role: Role) -> None:
    """Give an account other roles, and sign it out.

    Example: cdp users roles alice --role agent
    """
    access.scopes(role)
    _change(name, "user.roles", roles=sorted(set(role)))
    say(f"User '{name}' is {', '.join(sorted(set(role)))} now.")


@users.command()
def disable(name: str) -> None:
    """Close an account, and sign it out; `enable` opens it again.

    Example: cdp users disable alice
    """
    _change(name, "user.disabled", disabled_at=system_now())
    say(f"User '{name}' can sign in no more.")


@users.command()
def enable(name: str) -> None:
    """Open an account that was disabled or locked.

    Example: cdp users enable alice
    """
    _change(name, "user.enabled", disabled_at=None, failed=0, locked_until=None)
    say(f"User '{name}' can sign in.")


def _change(name: str, action: str, **to: object) -> None:
    workspace, now = open_workspace(Settings()), system_now()
    with database(workspace), connect(owner_address(workspace)) as store, store.transaction():
        stored.change(store, name, **to)
        told = {"roles": to["roles"]} if "roles" in to else {}
        tell(workspace, store, action, {"user": name.lower(), **told}, now)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
