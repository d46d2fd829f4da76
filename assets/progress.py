"""The log of a run on a terminal: one line an asset, and whatever an asset itself has to say."""

import logging
import sys

import dagster as dg


class _Lines(logging.Handler):
    """Prints what a person follows; Dagster's own events (some 280 a run) stay in its event log."""

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event")
        line = _event_line(event) if event is not None else _own_line(record, meta)
        if line:
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the terminal's log


def _event_line(event: dg.DagsterEvent) -> str | None:
    if event.is_step_success:
        seconds = event.step_success_data.duration_ms / 1000
        return f"  {event.step_key:<42} {seconds:6.2f} s"
    if event.is_step_failure:
        return f"  {event.step_key:<42} FAILED"
    return None


def _own_line(record: logging.LogRecord, meta: dict[str, object]) -> str | None:
    message = meta.get("orig_message") or record.getMessage()
    return f"    {message}" if record.levelno >= logging.INFO else None


@dg.logger(description="One line an asset on the terminal.")
def progress(context: dg.InitLoggerContext) -> logging.Logger:
    """The logger that the job uses."""
    logger = logging.Logger("cdp.progress", level=logging.DEBUG)
    logger.addHandler(_Lines())
    return logger
