"""The model's life: trained once on what there is, kept, and used until a better one is promoted."""

from pathlib import Path

import polars as pl

from cdp.lake import build
from cdp.lake.engine import Lake
from identity import link, train
from identity.train import Model

TABLE = "core__model"
SCHEMA = {
    "version": pl.String, "comparison": pl.String, "level": pl.String, "m": pl.Float64, "u": pl.Float64, "imputed": pl.Boolean,
}  # fmt: skip


def current(models: Path) -> Model | None:
    """The model in use."""
    return train.load(models)


def build_model(lake: Lake, models: Path) -> tuple[build.Built, str]:
    """Train where there is no model yet; `core__model` shows the one in use. Returns the table and the version."""
    trained = train.load(models)
    if trained is None:
        with lake.one_thread():
            trained = train.train(lake.connection, link.create_input(lake))
        if trained is not None:
            train.save(trained, models)
    version = trained.version if trained else "none"
    mark = build.fingerprint(lake, (), version, "model 1")
    return build.build_table(lake, TABLE, mark, lambda: _levels(trained).to_arrow()), version


def _levels(trained: Model | None) -> pl.DataFrame:
    rows = [
        (trained.version, comparison["output_column_name"], level["label_for_charts"], level["m_probability"],
         level["u_probability"], any(f"{comparison['output_column_name']}: {level['label_for_charts']}" in i for i in trained.imputed))
        for comparison in (trained.settings["comparisons"] if trained else [])
        for level in comparison["comparison_levels"]
        if trained and not level.get("is_null_level")
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
