"""The one resource of every run: workspace, queue, lake and store, opened once and closed at the end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

import dagster as dg
import psycopg
from pydantic import PrivateAttr

from assets.alive import here
from assets.automation import JOB
from cdp import up_to_date
from cdp.clock import parse_as_of, system_now
from cdp.consent.policy import Policy, load_policy
from cdp.identity_rules import IdentityRules, load_identity_rules
from cdp.insight.rules import Insight, load_insight
from cdp.lake import register
from cdp.lake.engine import Lake, open_lake
from cdp.lake.tables import create_registers, forget_builds
from cdp.loyalty.programme import Programme, load_programme
from cdp.service import Service, load_service
from cdp.settings import Settings
from cdp.sources.load import load_sources
from cdp.sources.model import Source
from cdp.store import assignment, standing
from cdp.store.connect import connect, database, owner_address
from cdp.store.lock import queue
from cdp.store.migrate import require_migrated
from cdp.store.standing import Standing
from cdp.workspace import Workspace, open_workspace
from identity import artefact
from identity.artefact import Model

BEAT = 5.0  # seconds
MOST_NOTES = 1000  # older ones in the register of builds: each is a file; without a release nobody took them out
BEGAN = "cdp/assignment"  # tag of a run: the position of the assignment that it began with


@contextmanager
def heartbeat(lake: Lake, say: Callable[[str], None]) -> Iterator[None]:
    """While a step takes long, the run's log names it every few seconds; the lake itself is not asked."""
    ended = threading.Event()

    def beat() -> None:
        said = 0.0
        while not ended.wait(BEAT / 5):
            work, now = lake.at_work, time.monotonic()
            if work is not None and now - max(work[0], said) >= BEAT:
                say(f"{work[1]}: still at it, for {now - work[0]:.0f} s")
                said = now

    watcher = threading.Thread(target=beat, daemon=True, name="heartbeat")
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def step() -> str:
    """The step that this thread executes: an asset, or a check of one."""
    return dg.OpExecutionContext.get().op.name


def _began(context: dg.InitResourceContext, position: int) -> int:
    """Position of the assignment when the run began; of one that is executed again, when the first of them did.

    Such a run inherits tags, and does not make again what was made before somebody merged.
    """
    run, instance = context.run, context.instance
    if run is None or instance is None or not instance.has_run(run.run_id):
        return position
    if run.parent_run_id and BEGAN in run.tags:
        position = min(position, int(run.tags[BEGAN]))
    instance.add_run_tags(run.run_id, {BEGAN: str(position)})
    return position


def _whole(context: dg.InitResourceContext) -> bool:
    """Whether the run that ends went through the whole job, and every step of it is known to have succeeded."""
    run, instance = context.run, context.instance
    if run is None or instance is None or run.job_name != JOB or run.execution_plan_snapshot_id is None:
        return False
    chosen = (
        run.asset_selection,
        run.asset_check_selection,
        run.op_selection,
        run.resolved_op_selection,
        run.parent_run_id,
    )
    if any(part is not None for part in chosen):  # a part of it, or again
        return False
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    ended = instance.get_run_stats(run.run_id)  # counted by the log's database: a step succeeds once in a run
    return ended.steps_failed == 0 and ended.steps_succeeded == len(plan.step_keys_to_execute)


class Platform(dg.ConfigurableResource):  # type: ignore[misc]
    """What a run works with. Commits happen inside the steps; closing never commits anything.

    Attributes:
        as_of: The run's `now` (RFC 3339 or a date); the system's time where empty.
        full: Build every derived table again.
        wait: Wait in the queue for another run instead of failing.
    """

    as_of: str = ""
    full: bool = False
    wait: bool = True

    _workspace: Workspace = PrivateAttr()
    _lake: Lake = PrivateAttr()
    _store: psycopg.Connection = PrivateAttr()
    _now: datetime = PrivateAttr()
    _started_at: int = PrivateAttr()
    _undone: bool = PrivateAttr(default=False)
    _model: tuple[str | None, Model | None] = PrivateAttr(default=(None, None))

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Platform"]:
        """Open everything for the length of a run."""
        run_id = context.run.run_id if context.run else "none"
        if context.instance and context.run and context.instance.has_run(run_id):
            context.instance.add_run_tags(run_id, here(run_id))
        say = context.log.info if context.log else print
        self._now = parse_as_of(self.as_of) if self.as_of else system_now()
        self._workspace = open_workspace(Settings())
        with (
            database(self._workspace),
            queue(self._workspace, f"run {run_id[:8]}", wait=self.wait, log=say),
            open_lake(self._workspace, run_id=run_id) as lake,
            connect(owner_address(self._workspace)) as store,
            heartbeat(lake, say),
        ):
            require_migrated(store)
            store.execute(standing.OWN_WRITES)
            standing.forget(store)
            told, touches = up_to_date.at_load(self._workspace), standing.touches(store)
            create_registers(lake)
            lake.named = step
            register.compact(lake, MOST_NOTES)
            if self.full and not (context.run and context.run.parent_run_id):  # a part executed again needs the rest
                forget_builds(lake)
            self._lake, self._store, self._undone = lake, store, False
            self._started_at = _began(context, assignment.position(store))
            yield self
            same = told == up_to_date.rules(self._workspace)
            if touches is not None and same and not self._undone and _whole(context):
                standing.note(store, Standing(run_id, self._now, system_now(), touches, lake.snapshot(), told))

    @property
    def workspace(self) -> Workspace:
        """The workspace of the run."""
        return self._workspace

    @property
    def lake(self) -> Lake:
        """The open lake."""
        return self._lake

    @property
    def store(self) -> psycopg.Connection:
        """The owner's connection to the store."""
        return self._store

    @property
    def now(self) -> datetime:
        """The run's one clock."""
        return self._now

    @property
    def started_at(self) -> int:
        """Position of the assignment when the run began."""
        return self._started_at

    def leave_undone(self) -> None:
        """A step knows that the next run has something to do, even if nothing new comes."""
        self._undone = True

    @property
    def landing(self) -> Path:
        """The landing folder."""
        return self._workspace.path("landing")

    @cached_property
    def sources(self) -> list[Source]:
        """The sources of the workspace."""
        return load_sources(self._workspace)

    @cached_property
    def rules(self) -> IdentityRules:
        """The identity rules."""
        return load_identity_rules(self._workspace)

    @cached_property
    def insight(self) -> Insight:
        """How loyalty is measured."""
        return load_insight(self._workspace)

    @cached_property
    def service(self) -> Service:
        """What the help desk promises."""
        return load_service(self._workspace)

    @property
    def models(self) -> Path:
        """Where trained models are kept."""
        return self._workspace.path("models")

    @property
    def model(self) -> Model | None:
        """The model in use, read once; an earlier step of the same run may just have trained it."""
        version = artefact.current(self.models)
        if version is None or version != self._model[0]:
            self._model = (version, artefact.load(self.models))
        return self._model[1]

    @cached_property
    def policy(self) -> Policy:
        """The consent policy."""
        return load_policy(self._workspace)

    @cached_property
    def programme(self) -> Programme:
        """The version of the loyalty programme that holds at the run's time; it knows the others."""
        return load_programme(self._workspace).at(self.now)
