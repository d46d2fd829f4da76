"""The workspace, its settings, and what the doctor says of it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from cdp.cli.pipeline import initialise
from cdp.clock import parse_as_of
from cdp.doctor import examine
from cdp.errors import ConfigError, WorkspaceError
from cdp.settings import Settings
from cdp.sources.model import Source
from cdp.store.connect import connect, owner_address
from cdp.workspace import create, open_workspace
from cdp.yamlfile import load_yaml
from tests.conftest import ROOT, cdp


def test_init_makes_everything_private_and_changes_nothing_the_second_time(tmp_path):
    settings = Settings(home=tmp_path / "w")
    made = create(settings)
    assert stat.S_IMODE(made.path("secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path("pg").stat().st_mode) == 0o700
    assert {p.name for p in made.path("landing").iterdir()} == {
        "web",
        "app",
        "pos",
        "service",
        "consents",
        "balances",
        "console",
    }
    before = made.path("secret.key").read_text()
    made.path("sources", "web.yaml").write_text("mine", encoding="utf-8")
    create(settings)
    assert made.path("secret.key").read_text() == before
    assert made.path("sources", "web.yaml").read_text() == "mine"


def test_a_workspace_of_another_version_says_what_to_do(tmp_path):
    made = create(Settings(home=tmp_path / "w"))
    made.path("VERSION").write_text("99\n", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="version 99") as error:
        open_workspace(made.settings)
    assert "install the version" in error.value.hint


def test_no_workspace_says_init(tmp_path):
    with pytest.raises(WorkspaceError, match="not a workspace yet") as error:
        open_workspace(Settings(home=tmp_path))
    assert "cdp init" in error.value.hint


def test_as_of_takes_a_day_or_a_moment():
    assert parse_as_of("2011-12-10").isoformat() == "2011-12-10T23:59:59+00:00"
    assert parse_as_of("2011-12-10T08:00:00+08:00").isoformat() == "2011-12-10T00:00:00+00:00"
    with pytest.raises(ConfigError):
        parse_as_of("yesterday")


def test_every_setting_is_documented():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    missing = [name for name in Settings.model_fields if f"`CDP_{name.upper()}`" not in page]
    assert not missing


def test_the_doctor_finds_nothing_wrong_with_a_new_workspace(workspace):
    wrong = [finding for finding in examine(workspace.settings) if not finding.sound]
    assert wrong == []


def test_the_doctor_names_what_is_wrong_and_how_to_mend_it(workspace):
    broken = workspace.path("identity.yaml")
    sound = broken.read_text(encoding="utf-8")
    try:
        broken.write_text("people: many\n", encoding="utf-8")
        workspace.path("secret.key").chmod(0o644)
        workspace.path("landing", "mystery").mkdir(exist_ok=True)
        workspace.path("landing", "mystery", "file.csv").write_text("a\n", encoding="utf-8")
        wrong = {finding.name: finding for finding in examine(workspace.settings) if not finding.sound}
        assert set(wrong) == {"identity.yaml", "secret.key", "landing"}
        assert "identity.yaml:1" in wrong["identity.yaml"].detail
        assert all(finding.remedy for finding in wrong.values())
    finally:
        broken.write_text(sound, encoding="utf-8")
        workspace.path("secret.key").chmod(0o600)


def test_an_unreachable_database_is_said_without_its_password(tmp_path):
    made = create(Settings(home=tmp_path / "w"))
    environment = Settings(home=made.home, database_url="postgresql://me:hunter2@127.0.0.1:1/db")
    (found,) = [finding for finding in examine(environment) if finding.name == "database"]
    assert not found.sound
    assert "cannot be reached" in found.detail
    assert "hunter2" not in found.detail


def test_commands_explain_themselves(workspace):
    for command in (
        (),
        ("run",),
        ("sql",),
        ("source", "add"),
        ("keys", "create"),
        ("simulate",),
        ("demo",),
        ("doctor",),
    ):
        text = cdp(workspace, *command, "--help").stdout
        assert text.count("\n") > 5
        assert not command or command == ("doctor",) or "Example" in text


@pytest.mark.long
def test_unknown_folders_are_named_before_a_run(workspace):
    workspace.path("landing", "mystery").mkdir(exist_ok=True)
    workspace.path("landing", "mystery", "file.csv").write_text("a\n", encoding="utf-8")
    log = cdp(workspace, "run").stderr
    assert "landing/mystery has no source" in log
    assert "cdp source add" in log


@pytest.mark.long
def test_an_external_database_serves_instead_of_the_embedded_one_and_is_backed_up_and_put_back(new_workspace, tmp_path):
    host = owner_address(new_workspace()).fields
    with psycopg.connect(make_conninfo("", **host), autocommit=True) as server:
        server.execute("create database elsewhere")
    url = make_conninfo("", **(host | {"dbname": "elsewhere"}))
    settings = Settings(home=tmp_path / "w", database_url=url)
    made = initialise(settings)
    assert not made.path("pg", "data").exists()
    environment = os.environ | {"CDP_HOME": str(made.home), "CDP_DATABASE_URL": url}

    def typed(*arguments):
        return subprocess.run([sys.executable, "-m", "cdp", *arguments], env=environment, capture_output=True, text=True, check=False)

    landing = made.path("landing", "web", "a.jsonl")
    landing.write_text('{"messageId": "m1", "type": "identify", "userId": "u1", "traits": {"email": "a@x.org"}, "timestamp": "2026-01-01T00:00:00Z"}\n')
    done = typed("run")
    assert done.returncode == 0, done.stderr
    assert [finding for finding in examine(settings) if not finding.sound] == []

    def state():
        with connect(owner_address(open_workspace(settings))) as store:
            served = store.execute("select record_id, customer_id::text from assignment order by 1").fetchall()
        return served, typed("sql", "select record_id, email from core__contact_records order by 1", "--format", "json").stdout

    before, folder = state(), tmp_path / "backup"
    assert len(before[0]) == 1
    assert typed("backup", "--out", str(folder)).returncode == 0
    landing.unlink()
    with connect(owner_address(open_workspace(settings))) as store:
        store.execute("truncate customers, assignment, assignment_history cascade")
    assert "add --replace" in typed("restore", str(folder)).stderr
    assert state() != before
    done = typed("restore", str(folder), "--replace")
    assert done.returncode == 0, done.stderr
    assert state() == before
    assert landing.exists()
    assert typed("run").returncode == 0
    assert [finding for finding in examine(settings) if not finding.sound] == []


def test_a_run_without_a_database_says_so_and_what_to_do(tmp_path):
    made = create(Settings(home=tmp_path / "w"))
    environment = os.environ | {
        "CDP_HOME": str(made.home),
        "CDP_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:1/db",
    }
    done = subprocess.run(
        [sys.executable, "-m", "cdp", "run"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "the database cannot be reached" in done.stderr
    assert "cdp doctor" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "empty"),
        ("a.parquet", b"junk", "cannot be read"),
        ("a.xml", b"<a/>", "unknown format"),
        ("a.jsonl", b"no json\n", "no JSON object"),
    ],
)
def test_a_sample_that_cannot_be_drafted_is_refused_with_a_reason(workspace, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    done = cdp(workspace, "source", "add", str(tmp_path / name), "--name", f"odd_{name}", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error:")
    assert words in done.stderr


def test_a_file_of_people_is_drafted_with_its_own_key(workspace, tmp_path):
    rows = "".join(f"{n},Ann,Lee{n},2000-01-0{n % 9 + 1},a{n}@x.org,a\n" for n in range(50))
    (tmp_path / "2026-people.csv").write_text("unique_id,first_name,surname,dob,email,Email\n" + rows, encoding="utf-8")
    path = cdp(workspace, "source", "add", str(tmp_path / "2026-people.csv")).stdout.strip()
    drafted = load_yaml(Path(path), Source)
    assert (drafted.source, drafted.key) == ("source_2026_people", ("unique_id",))
    assert drafted.parties["customer"].key == "unique_id"
    assert set(drafted.columns) == {"unique_id", "first_name", "surname", "dob", "email", "email_2"}
    Path(path).unlink()


def test_a_run_that_found_too_little_memory_says_which_setting_gives_more():
    from cdp.cli.pipeline import _remedy

    assert "CDP_MEMORY_LIMIT" in _remedy(
        "_duckdb.OutOfMemoryException: Out of Memory Error: could not allocate", "400MB"
    )
    assert "CDP_MEMORY_LIMIT" not in _remedy("a file is damaged", "400MB")
