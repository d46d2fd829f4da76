"""What is shipped: four packages, one lock, documents that keep step."""

import importlib
import re
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT

PACKAGES = ("cdp", "identity", "assets", "api")


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_ours_and_no_dependencys(package):
    assert str(importlib.import_module(package).__file__).startswith(str(ROOT))


def test_the_wheel_holds_the_four_packages_with_their_data_and_nothing_else(tmp_path):
    code = f"import hatchling.build, os; os.chdir({str(ROOT)!r}); print(hatchling.build.build_wheel({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    assert {
        "assets/dg.toml",
        "cdp/defaults/sources/web.yaml",
        "cdp/sql/profile/core__customers.sql",
        "cdp/store/migrations/versions/0001_first.sql",
    } <= set(names)


def test_the_lock_has_hashes_and_no_addresses():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    pins = re.findall(r"^([a-z0-9-]+)==", text, re.M)
    assert text.count("--hash=sha256:") >= len(pins) > 100
    assert {"duckdb", "splink", "dagster", "pandera", "fastapi", "pytest"} <= set(pins)


def test_no_module_is_too_long():
    long = [
        str(p)
        for package in PACKAGES
        for p in (ROOT / package).rglob("*.py")
        if len(p.read_text(encoding="utf-8").splitlines()) > 400
    ]
    assert long == []


def test_every_dependency_has_its_reason():
    wanted = re.findall(
        r'^    "([a-z0-9-]+)',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[0],
        re.M,
    )
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert [name for name in wanted if name not in page and name.removeprefix("duckdb-extension-") not in page] == []


def test_every_command_of_the_readme_exists():
    help_text = subprocess.run(
        [sys.executable, "-m", "cdp", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in set(re.findall(r"(?:^|\$\(|`|bin/)cdp ([a-z]+)", readme, re.M)):
        assert f" {command} " in help_text, command
    for target in set(re.findall(r"make ([a-z]+)", readme)):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), target


def test_links_in_the_documents_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page}: {target}"
