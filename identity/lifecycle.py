"""The model's life: trained once on what there is, kept, and used until a better one is promoted."""

from pathlib import Path

import polars as pl

from cdp.identity_rules import IdentityRules
from cdp.lake import build
from cdp.lake.engine import Lake
from identity import artefact, nodes, train
from identity.artefact import Model
from identity.purge import purge

TABLE = "core__model"
SCHEMA = {
    "version": pl.String, "comparison": pl.String, "level": pl.String, "m": pl.Float64, "u": pl.Float64, "imputed": pl.Boolean,
}  # fmt: skip


@build.timed
def build_model(
    lake: Lake, models: Path, rules: IdentityRules, *, erasing: bool = False
) -> tuple[build.Built, Model | None]:
    """Train and promote where there is no model yet; `core__model` shows the one in use.

    Args:
        lake: Holds the payloads.
        models: Where models are kept.
        rules: For the precision that the threshold aims at.
        erasing: Take out of the models what no record holds any more.
    """
    if erasing:
        purge(lake, models)
    trained = artefact.load(models)
    if trained is None:
        trained = train_on(lake, rules)
        if trained is not None:
            artefact.save(trained, models)
            artefact.promote(models, trained.version)
    mark = build.fingerprint(lake, (), trained.version if trained else "none", "model 2")
    return build.build_table(lake, TABLE, mark, lambda: _levels(trained).to_arrow()), trained


def train_on(lake: Lake, rules: IdentityRules) -> Model | None:
    """A model of what the lake holds now, neither saved nor promoted; None where there is too little to learn from."""
    if build.is_empty(lake, "core__payloads"):
        return None
    nodes.create(lake, ordered=True)
    return train.train(lake.connection, nodes.TABLE, precision=rules.precision)


def _levels(trained: Model | None) -> pl.DataFrame:
    rows = [
        (trained.version, comparison.name, test.label, m, u,
         any(text.startswith(f"{comparison.name}: {test.label} (") for text in trained.facts.get("imputed", ())))
        for comparison in (trained.comparisons if trained else [])
        for test, (m, u) in zip(comparison.tests[1:], trained.parameters[comparison.name] if trained else (), strict=True)
        if trained
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def facts(trained: Model | None) -> dict[str, object]:
    """What the UI shows of a model."""
    if trained is None:
        return {"version": "none"}
    shown = {name: value for name, value in trained.facts.items() if not isinstance(value, list)}
    plan = {rule.name: f"{rule.why}; at most {most} records a block" for rule, most in trained.plan.rules}
    return {
        "version": trained.version,
        "prior": trained.prior,
        "threshold": trained.threshold,
        "blocking": plan,
        **shown,
    }
