"""The code location: everything under `defs/`, one resource, one job for the pipeline and one for its checks."""

from pathlib import Path

import dagster as dg

from assets.automation import CHECKS_JOB, JOB, told
from assets.platform import Platform
from assets.progress import progress
from cdp import up_to_date
from cdp.settings import Settings
from cdp.workspace import Workspace


@dg.definitions
def defs() -> dg.Definitions:
    """The whole graph. Steps run in one process: a process for each would cost 5 to 10 s a step."""
    up_to_date.at_load(Workspace(Settings()))  # before any of it is read
    job = dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.all(),
        description="The whole pipeline over what is new; the same job that `cdp run` runs.",
        executor_def=dg.in_process_executor,
        config=dg.RunConfig(loggers={"progress": {}}),
    )
    loaded = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    standalone = [
        key
        for made in loaded.asset_checks or []
        if isinstance(made, dg.AssetChecksDefinition)
        for key in made.check_keys
    ]
    checks = dg.define_asset_job(
        CHECKS_JOB,
        selection=dg.AssetSelection.checks(*standalone),
        description="Every check over what is stored, without building anything.",
        executor_def=dg.in_process_executor,
        config=dg.RunConfig(loggers={"progress": {}}),
    )
    return dg.Definitions(
        assets=dg.map_asset_specs(told(_specs(loaded)), loaded.assets or []),
        asset_checks=loaded.asset_checks,
        jobs=[job, checks, *(loaded.jobs or [])],
        schedules=loaded.schedules,
        sensors=loaded.sensors,
        resources={"platform": Platform()},
        executor=dg.in_process_executor,
        loggers={"progress": progress},
    )


def _specs(loaded: dg.Definitions) -> list[dg.AssetSpec]:
    made = [asset for asset in loaded.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    return [spec for asset in made for spec in asset.specs]
