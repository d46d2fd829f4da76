"""Registers every command group with the application."""

from cdp.cli import data, demo, keys, model, operate, pipeline, privacy, resolve  # noqa: F401
