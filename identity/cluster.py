"""Components of the evidence graph: records that any chain of edges joins are one customer."""

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cdp.lake import build
from cdp.lake.engine import Lake

TABLE = "core__clusters"


def build_clusters(lake: Lake) -> build.Built:
    """`core__clusters(record_id, cluster_id)`: the cluster is named after its smallest record, for this run only."""
    mark = build.fingerprint(lake, ("core__contact_records", "core__edges"), "components 1")
    return build.build_table(lake, TABLE, mark, lambda: _components(lake).to_arrow())


def _components(lake: Lake) -> pl.DataFrame:
    records = pl.Series("record_id", [row[0] for row in lake.rows("select record_id from core__contact_records order by 1")], dtype=pl.String)
    position = pl.DataFrame({"record_id": records, "at": np.arange(len(records))})
    edges = pl.DataFrame(lake.rows("select left_id, right_id from core__edges"), schema={"l": pl.String, "r": pl.String}, orient="row")
    pairs = edges.join(position, left_on="l", right_on="record_id").join(position, left_on="r", right_on="record_id", suffix="_r")
    left, right = pairs["at"].to_numpy(), pairs["at_r"].to_numpy()
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(records), len(records)))
    _, labels = connected_components(graph, directed=False)
    frame = pl.DataFrame({"record_id": records, "label": labels})
    return frame.select("record_id", pl.col("record_id").min().over("label").alias("cluster_id"))
