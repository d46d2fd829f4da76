"""Registers every command group with the application."""

from cdp.cli import backups, data, demo, keys, live, model, operate, pipeline, privacy, programme, resolve, webhooks  # noqa: F401
