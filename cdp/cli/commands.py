"""Registers every command group with the application."""

from cdp.cli import data, demo, keys, model, operate, pipeline, resolve  # noqa: F401
