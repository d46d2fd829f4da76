"""GoldenMatch with its zero configuration, run by a Python that has it: goldenmatch_zero.py FILE ID TRUTH OUT.csv

Also writes OUT.csv.sweep.json: components of its scored pairs at other thresholds.
"""

import json
import sys
from pathlib import Path

import goldenmatch
import polars as pl


def components(size, pairs):
    parent = list(range(size))

    def root(x):
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in pairs:
        parent[root(a)] = root(b)
    return [root(x) for x in range(size)]


def main(file, id_column, truth, out):
    frame = pl.read_parquet(file) if file.endswith("parquet") else pl.read_csv(file, infer_schema_length=0)
    frame = frame.with_columns(pl.all().cast(pl.String))
    ids = frame[id_column].to_list()
    done = goldenmatch.dedupe_df(frame.drop(id_column, truth))
    label = {member: f"c{name}" for name, cluster in done.clusters.items() for member in cluster["members"]}
    named = [(record, label.get(at, f"s{at}")) for at, record in enumerate(ids)]
    pl.DataFrame(named, schema=["record_id", "customer_id"], orient="row").write_csv(out)
    sweep = {}
    scored = done.scored_pairs or []
    for threshold in (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95):
        found = components(len(ids), [(p[0], p[1]) for p in scored if p[2] >= threshold])
        sweep[str(threshold)] = [(record, str(found[at])) for at, record in enumerate(ids)]
    Path(out + ".sweep.json").write_text(json.dumps(sweep))


if __name__ == "__main__":
    main(*sys.argv[1:5])
