"""Registers every command group with the application."""

from cdp.cli import (  # noqa: F401
    backups,
    data,
    demo,
    keys,
    live,
    model,
    operate,
    pipeline,
    privacy,
    programme,
    quarantine,
    resolve,
    segments,
    users,
    webhooks,
)
