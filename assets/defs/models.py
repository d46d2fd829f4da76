"""The model's life as jobs to launch: train, compare, promote, roll back. What each found is on the page of `core__model`."""

import dagster as dg

from assets import plots
from assets.platform import Platform
from assets.reporting import observed
from cdp.errors import CdpError
from identity import artefact, labels, lifecycle, whatif
from identity.artefact import Model

TOO_LITTLE = "there is too little to learn from: run the pipeline over at least a hundred people with full names"


class Version(dg.Config):  # type: ignore[misc]
    """Which model.

    Attributes:
        version: As the page of `core__model` or 'cdp model list' names it; the newest that is not in use where empty.
    """

    version: str = ""


def chosen(platform: Platform, version: str) -> Model:
    """The model that is meant.

    Raises:
        dg.Failure: If there is none.
    """
    folder = platform.models
    others = [name for name in artefact.versions(folder) if name != artefact.current(folder)]
    newest = max(others, key=lambda name: (folder / name / "model.json").stat().st_mtime_ns, default="")
    found = artefact.load(folder, version or newest) if version or newest else None
    if found is None:
        raise dg.Failure("there is no other model: launch 'train_model' first")
    return found


def quality(platform: Platform, model: Model) -> dict[str, object]:
    """What is known of how good it is: by itself, and by what stewards decided of the pairs they were asked about."""
    measured = labels.measure(platform.store, model)
    known = ("expected_precision", "expected_recall_of_candidates", "expected_matches")
    return {
        "threshold": round(model.threshold, 4),
        **{name.replace("_", " "): model.facts[name] for name in known if name in model.facts},
        "steward labels agreed": f"{measured.agreeing} of {measured.labels}",
    }


def difference(platform: Platform, model: Model) -> dict[str, object]:
    """What it would do to the customers there are, and how good either is; nothing is written."""
    with platform.lake.busy():
        found = whatif.compare(platform.lake, model, platform.rules, platform.now, other_rules=False)
    name, then = artefact.current(platform.models) or artefact.NONE, quality(platform, model)
    try:
        in_use = artefact.load(platform.models)
        now = quality(platform, in_use) if in_use else {}
    except CdpError as error:  # of another program, or gone: the way out is another model
        now = dict.fromkeys(then, str(error))
    changes = "\n".join(f"| {what} | {value:,} |" for what, value in found.rows())
    known = "\n".join(f"| {what} | {now.get(what, '')} | {value} |" for what, value in then.items())
    examples = "\n".join(
        f"\n{kind}, to look at in the console: {', '.join(c)}" for kind, c in found.examples.items() if c
    )
    shown = f"**{name} → {model.version}**\n\n| | |\n|---|---|\n{changes}\n\n| | {name} | {model.version} |\n|---|---|---|\n{known}\n{examples}"
    return {"difference": dg.MetadataValue.md(shown), **dict(found.rows()), **then}


@dg.op(description="Learns a model from what the lake holds now. It is kept, not used.")
def train(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Train and keep."""
    with platform.lake.busy():
        model = lifecycle.train_on(platform.lake, platform.rules)
    if model is None:
        raise dg.Failure(TOO_LITTLE)
    artefact.save(model, platform.models)
    same = " (the data taught the same as before)" if model.version == artefact.current(platform.models) else ""
    plotted = {"weights": plots.match_weights(model), "m and u": plots.m_and_u(model)}
    observed(
        context,
        "core__model",
        {"trained": f"{model.version}{same}", **quality(platform, model), **plotted},
    )


@dg.op(description="What another model would do to the customers there are. Nothing is written.")
def compare(context: dg.OpExecutionContext, config: Version, platform: Platform) -> None:
    """Compare with the model in use."""
    observed(context, "core__model", difference(platform, chosen(platform, config.version)))


@dg.op(description="Compares once more, then has every later run use it; the landing sensor starts the next run.")
def promote(context: dg.OpExecutionContext, config: Version, platform: Platform) -> None:
    """Promote."""
    model = chosen(platform, config.version)
    found = difference(platform, model)
    artefact.promote(platform.models, model.version)
    observed(context, "core__model", {"promoted": model.version, **found})


@dg.op(description="Has every later run use the model that was in use before; the landing sensor starts the next run.")
def roll_back(context: dg.OpExecutionContext, platform: Platform) -> None:
    """Roll back."""
    names = artefact.promoted(platform.models)
    if len(names) < 2:
        raise dg.Failure("no model was in use before this one")
    found = difference(platform, chosen(platform, names[-2]))
    observed(context, "core__model", {"rolled back to": artefact.roll_back(platform.models), **found})


def _job(name: str, op: dg.OpDefinition, description: str) -> dg.JobDefinition:
    @dg.job(name=name, description=description, executor_def=dg.in_process_executor)
    def made() -> None:
        op()

    return made


@dg.definitions
def defs() -> dg.Definitions:
    """One job for each step, so that each can be launched by itself."""
    jobs = [
        _job("train_model", train, "Learn a model anew; look at it, then compare it."),
        _job("compare_model", compare, "Customers merged and split, ids moved, balances affected, if it were in use."),
        _job("promote_model", promote, "Use a model from the next run on. Ids stay where records stay together."),
        _job("roll_back_model", roll_back, "Use the model before this one again."),
    ]
    return dg.Definitions(jobs=jobs)
