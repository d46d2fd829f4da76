"""Checks over what is stored: of who is who, of consent and ledger. Each failed one says what to do next."""

import dagster as dg

from assets.checking import check
from assets.platform import Platform
from cdp.checks import Finding, books, insight, people
from cdp.store import releases
from identity import labels


def labelled(platform: Platform) -> Finding:
    """Of the pairs that stewards decided, those that the model would join although they are two people."""
    if platform.model is None:
        return Finding(ok=True, facts={"judged": "when there is a model"})
    found = labels.measure(platform.store, platform.model)
    return people.precision(found.labels, found.joined, found.wrong)


def moved(platform: Platform) -> Finding:
    """Since the release before: the newest one while a run is on its way to the next, else the one before that."""
    known = releases.newest(platform.store, 2)
    if known and known[0].snapshot_id == platform.lake.snapshot():
        known = known[1:]  # judged again after its release, at night say, a run is judged as it was
    return people.churn(platform.store, known[0].as_of if known else None, platform.now)


EVERYWHERE = [
    check("core__record_customers", "cluster_sizes", f"No known customer has more than {people.LARGEST} records.",
          "open the largest in the console ('Why is this one person?'); lower the limit of the identifier in identity.yaml, or split it",
          lambda p: people.sizes(p.lake), reads=["core__customers"]),
    check("core__edges", "link_types", "Most customers rest on an identifier or a rule, not on similar values alone.",
          "compare the model in use with the one before ('compare_model'), and look at its threshold",
          lambda p: people.evidence(p.lake), reads=["core__record_customers"]),
    check("core__payload_worth", "unlinkables", "Few full names come with too little to be told apart.",
          "see which source lacks e-mail, phone, birth date and postcode (check null_rate), and ask for one of them",
          lambda p: people.unlinkable(p.lake, p.model.threshold if p.model else None)),
    check("core__model", "steward_precision", f"Of the labelled pairs it joins, at least {people.PRECISION:.0%} are one person (from {people.FEWEST_LABELS} joined on; people are asked about borderline pairs, so this is the model at its worst).",
          "train a model anew ('train_model'), compare it, promote it; or raise 'precision' in identity.yaml", labelled),
    check("ops__published", "id_churn", f"At most {people.MOVED:.0%} of the records went to another customer.",
          "a new model or rule moved them: compare it; if it is wrong, roll back ('roll_back_model')", moved),
    check("ops__published", "assignment_is_the_stores", "Lake and store name the same customer of every record.",
          "what was merged or split online during the run comes with the next run: run again",
          lambda p: books.holders(p.lake, p.store), reads=["core__record_customers"]),
    check("core__customer_consents", "consents_hold", "No flag is allowed by a denial, by nobody's word, or names a decision that is not there.",
          "stop campaigns, look at the flags in core__customer_consents, and run 'cdp run --full'",
          lambda p: books.consents(p.lake), blocking=True, reads=["core__consent_decisions", "core__customers"]),
    check("ops__loyalty_reconciliation", "ledger_adds_up", "Σ open lots − Σ deficits = balance = Σ entries in every account.",
          "run again ('cdp run --force'): it derives what differs from its entries; if it stays, restore the last backup beside and compare the accounts",
          lambda p: books.ledger(p.store, p.programme), blocking=True),
    check("mart__churn", "drift", "Customers are as they were when the model was measured.",
          "look at the card of mart__churn: if its holdout still holds, nothing; if not, set horizon_days in insight.yaml to what fits now",
          lambda p: insight.drift(p.lake), reads=["core__churn_features"]),
]  # fmt: skip


@dg.definitions
def defs() -> dg.Definitions:
    """The checks."""
    return dg.Definitions(asset_checks=EVERYWHERE)
