"""The recipe of Splink's documentation, as it stands there: library comparisons, three blocking rules, components.

python -m benchmarks.identity.splink_bare FILE ID TRUTH OUT.csv   (also writes OUT.csv.sweep.json: other thresholds)
"""

import json
import logging
import sys
from pathlib import Path

import polars as pl
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

logging.getLogger("splink").setLevel(logging.ERROR)
THRESHOLDS = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999)
DEFAULT = 0.95  # at which the tutorials of its documentation cluster
COLUMNS = {
    "first_name": cl.NameComparison,
    "given_name": cl.NameComparison,
    "surname": cl.NameComparison,
    "dob": lambda c: cl.DateOfBirthComparison(c, input_is_string=True),
    "date_of_birth": lambda c: cl.LevenshteinAtThresholds(c, 2),
    "email": cl.EmailComparison,
    "postcode_fake": cl.PostcodeComparison,
    "postcode": lambda c: cl.ExactMatch(c).configure(term_frequency_adjustments=True),
    "birth_place": lambda c: cl.ExactMatch(c).configure(term_frequency_adjustments=True),
    "occupation": lambda c: cl.ExactMatch(c).configure(term_frequency_adjustments=True),
    "city": lambda c: cl.ExactMatch(c).configure(term_frequency_adjustments=True),
    "soc_sec_id": cl.ExactMatch,
}
BLOCKS = (
    ("first_name", "surname"), ("given_name", "surname"), ("surname", "dob"), ("first_name", "dob"), ("postcode_fake", "first_name"),
    ("postcode_fake", "surname"), ("postcode_fake", "dob"), ("email",), ("surname", "date_of_birth"), ("given_name", "date_of_birth"),
    ("soc_sec_id",), ("postcode", "surname"),
)  # fmt: skip


def main(file: str, id_column: str, truth: str, out: str) -> None:
    frame = pl.read_parquet(file) if file.endswith("parquet") else pl.read_csv(file, infer_schema_length=0)
    frame = frame.with_columns(pl.all().cast(pl.String)).rename({id_column: "unique_id"}).drop(truth)
    have = [c for c in COLUMNS if c in frame.columns]
    blocks = [block for block in BLOCKS if set(block) <= set(frame.columns)]
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[COLUMNS[c](c) for c in have],
        blocking_rules_to_generate_predictions=[block_on(*block) for block in blocks],
    )
    linker = Linker(DuckDBAPI().register(frame.to_arrow()), settings, log_level=logging.ERROR)
    linker.training.estimate_probability_two_random_records_match(
        [block_on(*blocks[0]), block_on(*blocks[1])], recall=0.6
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for block in blocks[:2]:
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(*block))
    predicted = linker.inference.predict(threshold_match_probability=min(THRESHOLDS))
    sweep = {}
    for threshold in THRESHOLDS:
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
            predicted, threshold_match_probability=threshold
        )
        found = [(str(r["unique_id"]), str(r["cluster_id"])) for r in clusters.as_record_list()]
        if threshold == DEFAULT:
            pl.DataFrame(found, schema=["record_id", "customer_id"], orient="row").write_csv(out)
        sweep[str(threshold)] = found
    Path(out + ".sweep.json").write_text(json.dumps(sweep))


if __name__ == "__main__":
    main(*sys.argv[1:5])
