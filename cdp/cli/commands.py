"""Registers every command group with the application."""

from cdp.cli import backups, data, demo, keys, live, model, operate, pipeline, privacy, programme, resolve  # noqa: F401
