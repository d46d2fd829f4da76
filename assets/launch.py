"""Run the job from the command line so that it shows in the UI and can be run again from there.

Uses private parts of Dagster 1.13 (an origin is what the UI re-executes from); this module and its test are the
only places that know them.
"""

import gc
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_run_id

from assets.alive import bury_dead_runs, here
from assets.automation import JOB
from assets.definitions import defs
from cdp.errors import CdpError

LOCATION = "cdp"
INSTANCE_YAML = """\
telemetry: {enabled: false}
nux: {enabled: false}
concurrency: {runs: {max_concurrent_runs: 1}}
run_monitoring: {enabled: true, start_timeout_seconds: 300, poll_interval_seconds: 30}
run_retries: {enabled: true, max_retries: 2, retry_on_asset_or_op_failure: false}
retention: {schedule: {purge_after_days: 30}, sensor: {purge_after_days: 7}}
event_log_storage: {module: assets.storage, class: PooledEventLog, config: {base_dir: HERE}}
"""
OLDER_YAML = (
    "".join(line for line in INSTANCE_YAML.splitlines(keepends=True) if not line.startswith(("run_", "event_"))),
)


WORKSPACE_YAML = f"""\
load_from:
  - python_module: {{module_name: assets.definitions, location_name: {LOCATION}}}
"""


def prepare_home(folder: Path) -> Path:
    """Make the folder of Dagster's instance (SQLite) with its settings; a dagster.yaml that somebody changed is theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    logs = json.dumps(str(folder.resolve() / "history" / "runs"))
    there = settings.read_text(encoding="utf-8") if settings.exists() else INSTANCE_YAML
    if re.sub('base_dir: ".*"', "base_dir: HERE", there) in (
        INSTANCE_YAML,
        *OLDER_YAML,
    ):  # ours; a moved workspace has other paths
        settings.write_text(INSTANCE_YAML.replace("HERE", logs), encoding="utf-8")
    (folder / "workspace.yaml").write_text(WORKSPACE_YAML, encoding="utf-8")
    return folder


def run_job(dagster_home: Path, *, as_of: str = "", full: bool = False, wait: bool = True) -> tuple[bool, str]:
    """Run the whole pipeline in this process.

    Returns:
        Whether it succeeded, and the run's id.
    """
    resources = {"platform": {"config": {"as_of": as_of, "full": full, "wait": wait}}}
    return execute(defs().resolve_job_def(JOB), dagster_home, {"resources": resources})


def execute(job: dg.JobDefinition, dagster_home: Path, config: dict[str, Any]) -> tuple[bool, str]:
    """Run a job in this process, under the instance of that folder, with its progress said.

    Returns:
        Whether it succeeded, and the run's id.
    """
    os.environ["DAGSTER_HOME"] = str(prepare_home(dagster_home))
    config = {"loggers": {"progress": {}}, **config}
    gc.freeze()  # the definitions live as long as the process: they are not walked at every collection
    with dg.DagsterInstance.get() as instance:
        bury_dead_runs(instance)
        run_id = make_new_run_id()
        tags = {"cdp/started_by": "cdp run", **here(run_id)}
        run = instance.create_run_for_job(job, run_id=run_id, remote_job_origin=_origin(job.name), run_config=config, tags=tags)
        list(_events(job, run, instance))
        finished = instance.get_run_by_id(run.run_id)
        return bool(finished and finished.status == dg.DagsterRunStatus.SUCCESS), run.run_id


def _events(job: dg.JobDefinition, run: dg.DagsterRun, instance: dg.DagsterInstance) -> list[Any]:
    result = execute_run(InMemoryJob(job), run, instance)
    return list(result.all_events)


def _origin(job: str) -> RemoteJobOrigin:
    target = LoadableTargetOrigin(module_name="assets.definitions", executable_path=sys.executable)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(loadable_target_origin=target, location_name=LOCATION)
    return RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)


def failure(dagster_home: Path, run_id: str) -> str:
    """The last error of a failed run, as a person should read it."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        for record in instance.get_records_for_run(run_id).records[::-1]:
            event = record.event_log_entry.dagster_event
            if event is None or not (event.is_step_failure or event.is_run_failure):
                continue
            error = getattr(event.event_specific_data, "error", None)
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return _told(str(error.message).strip(), error.cls_name or "")
    return "no error was recorded"


def _told(message: str, kind: str) -> str:
    """Our own errors as they are; of others the first line without quoted values, which may be personal."""
    if kind in {error.__name__ for error in CdpError.__subclasses__()} | {"CdpError"}:
        return message.split(": ", 1)[-1] if message.startswith("cdp.") else message
    return re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", message.splitlines()[0])
