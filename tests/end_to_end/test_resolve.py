"""`cdp resolve`, typed as a user types it: the figures that it promises on files it was not made for, and what it refuses."""

import re
import sys

import polars as pl
import pytest

from benchmarks.identity import __main__ as benchmark
from tests.typed import typed


def resolved(*arguments):
    return typed(("resolve", *map(str, arguments)), {"PATH": "/usr/bin:/bin", "CDP_THREADS": "2"})


def figures(done):
    """Precision, recall, F1, B-cubed, largest cluster and the true largest."""
    found = re.search(
        r"against the truth: pairwise precision ([\d.]+), recall ([\d.]+), F1 ([\d.]+); "
        r"B-cubed ([\d.]+); largest cluster (\d+) \(true (\d+)\)",
        done.stdout,
    )
    assert found, (done.stdout, done.stderr)
    return tuple(map(float, found.groups()))


@pytest.mark.parametrize(
    ("file", "least_f1", "least_b_cubed"),
    [
        pytest.param("historical_50k.parquet", 0.89, 0.91, marks=pytest.mark.long),
        pytest.param("fake_1000.csv", 0.93, 0.93),
    ],
)
def test_people_are_found_in_files_it_was_not_made_for(reference, tmp_path, file, least_f1, least_b_cubed):
    out = tmp_path / "resolved.parquet"
    done = resolved(reference / file, "--out", out, "--id", "unique_id", "--truth", "cluster")
    _, _, f1, b_cubed, largest, true_largest = figures(done)
    assert f1 >= least_f1
    assert b_cubed >= least_b_cubed
    assert largest <= 2 * true_largest
    assert re.search(r"\d s  .*scor", done.stderr), "progress is told while it works"
    written = pl.read_parquet(out)
    assert written.columns[:2] == ["record_id", "customer_id"]
    assert {"unique_id", "cluster"} <= set(written.columns)
    assert written["record_id"].n_unique() == len(written)
    shares = dict(re.findall(r"(an identifier|alike enough|only through others)[^│|\n\d]*([\d,]+)", done.stdout))
    assert len(shares) == 3
    assert int(shares["alike enough"].replace(",", "")) > 0
    assert int(shares["only through others"].replace(",", "")) > 0
    assert "sign of over-joining" in done.stdout


PEOPLE = """\
who,forename_x,surname_x,tel,mail,person
1,Ann,Miller,+44 20 7946 0001,ann@example.org,a
2,Ann,Miller,020 7946 0001,,a
3,Bob,Stone,00000000000,bob@example.org,b
4,Cid,Young,00000000000,,c
5,Dora,王,00000000000,,d
"""


def test_a_mapping_and_the_other_columns_are_kept_and_a_dummy_phone_joins_nobody(tmp_path):
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "columns.yaml").write_text("given_name: forename_x\nfamily_name: surname_x\nphone: tel\nemail: mail\n")
    chosen = ("--mapping", tmp_path / "columns.yaml", "--id", "who", "--truth", "person", "--out", tmp_path / "out.csv")
    done = resolved(tmp_path / "people.csv", *chosen)
    assert done.returncode == 0, done.stderr
    assert figures(done)[:3] == (1, 1, 1), "name and phone in common, though there is nothing to learn from"
    assert "what is usual in files of people" in done.stdout.replace("\n", " ")
    out = pl.read_csv(tmp_path / "out.csv")
    assert out["record_id"].to_list() == [1, 2, 3, 4, 5]
    assert out["surname_x"].to_list()[-1] == "王"
    people = out["customer_id"].to_list()
    assert people[0] == people[1]
    assert len(set(people)) == 4


def test_what_cannot_be_written_or_read_is_said_before_any_work(tmp_path):
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    for out, said in (("out.xlsx", "neither .csv nor .parquet"), ("absent/out.csv", "does not exist")):
        done = resolved(tmp_path / "people.csv", "--out", tmp_path / out)
        assert (done.returncode != 0, said in done.stderr.replace("\n", " ")) == (True, True), done.stderr
        assert "→" in done.stderr, "what to do next"
    (tmp_path / "columns.yaml").write_text("given_name: nowhere\n")
    done = resolved(tmp_path / "people.csv", "--out", tmp_path / "out.csv", "--mapping", tmp_path / "columns.yaml")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_the_benchmark_says_before_any_work_which_file_is_not_there(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["identity", "--file", str(tmp_path / "absent.csv")])
    with pytest.raises(SystemExit) as refused:
        benchmark.main()
    assert refused.value.code == 2
    assert "absent.csv: no such file; set CDP_REFERENCE_DATA" in capsys.readouterr().err
