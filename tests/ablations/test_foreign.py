"""Others' packages under our names: told in one paragraph with their distribution, exit code 65.

Each in a process of its own, with site-packages made up for it.
"""

import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from ablations import foreign
from bench.cli.command import INPUT_ERROR

ROOT = Path(__file__).parent.parent.parent
SCRIPT = "import sys\nfrom ablations.cli import main\nsys.exit(main())\n"
"""What pip writes as `fcn-bench`."""


def call(folder, *words, paths=(ROOT,), script=SCRIPT):
    """Give a command as the installed script does, in a folder; `-m` is given as it is."""
    if words[0] != "-m":
        place = folder.parent / "bin" / "fcn-bench"
        place.parent.mkdir(exist_ok=True)
        place.write_text(script)
        words = (place, *words)
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )


def said(ended):
    """Return the one paragraph of a command that was refused."""
    assert ended.returncode == INPUT_ERROR == foreign.INPUT_ERROR, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr.splitlines()) == 1
    return ended.stderr


def install(site, name, files):
    """Write files into a folder, and a RECORD that lists them, as pip does."""
    record = []
    for file, content in files.items():
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{file},sha256={digest},{len(content)}")
    info = site / f"{name.replace('-', '_')}-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n")
    (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,", ""]))


@pytest.fixture
def here(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def site(tmp_path):
    """Our packages, installed into a folder of their own."""
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for package in ("ablations", "bench", "fcn", "reports")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    install(tmp_path / "site", "fcn-bench", files)
    return tmp_path / "site"


@pytest.mark.parametrize("name", ["fcn", "bench", "reports"])
def test_a_package_that_is_found_before_ours_is_named_with_its_distribution(here, name, tmp_path):
    other = tmp_path / "other"
    install(other, f"their-{name}", {f"{name}/__init__.py": b"theirs = 1\n"})
    told = said(call(here, "list", paths=(other, ROOT)))
    assert f"package {name!r}, {ROOT / name}" in told
    assert f"Python would import {other / name / '__init__.py'}" in told
    assert f"of the distribution their-{name}, whose RECORD lists it" in told
    assert f"pip uninstall their-{name}" in told


def test_a_module_that_nobody_installed_is_named_by_its_path(here, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "reports.py").write_text("")
    told = said(call(here, "--help", paths=(tmp_path / "other", ROOT)))
    assert f"would import {tmp_path / 'other' / 'reports.py'}" in told
    assert "in the RECORD of no installed distribution" in told
    assert "PYTHONPATH" in told


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"from fcn.trainer import Trainer\n", ["list"]),  # theirs lacks its own parts
        (b"__version__ = '1'\n", ["list", "backbones"]),  # or is imported, and has no name of ours
    ],
)
def test_a_file_of_ours_that_was_overwritten_is_named_with_who_did(here, site, content, words):
    assert call(here, "list", paths=(site,)).returncode == 0
    install(site, "their-fcn", {"fcn/__init__.py": content})
    told = said(call(here, *words, paths=(site,)))
    assert f"fcn/__init__.py is not what fcn-bench installed in {site}" in told
    assert "overwritten by their-fcn, whose RECORD lists the same" in told
    assert "pip uninstall their-fcn, then install fcn-bench again" in told
    debugged = call(here, "--debug", *words, paths=(site,))
    assert "Traceback" in debugged.stderr


def test_what_we_overwrote_of_theirs_is_not_blamed_for_other_failures(here, site):
    ours = (site / "fcn" / "__init__.py").read_bytes()
    install(site, "their-fcn", {"fcn/__init__.py": b"theirs = 1\n"})
    (site / "fcn" / "__init__.py").write_bytes(ours)
    assert call(here, "list", paths=(site,)).returncode == 0
    without = "import sys\nsys.modules['yaml'] = None\n" + SCRIPT
    ended = call(here, "list", paths=(site,), script=without)
    assert ended.returncode == 1
    assert "import of yaml halted" in ended.stderr
    assert "RECORD" not in ended.stderr


def test_files_that_went_with_another_distribution_are_missed(here, site):
    (site / "fcn" / "__init__.py").unlink()
    told = said(call(here, "list", paths=(site,)))
    assert f"{site / 'fcn'} has no __init__.py" in told
    assert "pip install --force-reinstall" in told


def test_a_package_that_is_gone_is_missed(monkeypatch, capsys):
    monkeypatch.setattr(foreign, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended, foreign.require_ours():
        pytest.fail("entered")
    assert ended.value.code == INPUT_ERROR
    assert f"{ROOT / 'fcn'} has no __init__.py" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fcn", "bench", "reports"])
def test_a_folder_of_that_name_where_one_works_is_not_seen_by_the_installed_command(here, name):
    (here / name).mkdir()
    for file in ("", "__init__.py"):
        if file:
            (here / name / file).write_text("")
        assert call(here, "list").returncode == 0
    # `python -m` looks there first; a folder without __init__.py gives way to a package.
    told = said(call(here, "-m", "ablations.cli", "list"))
    assert f"Python would import {here / name / '__init__.py'}" in told
    assert "start in another folder" in told
    (here / name / "__init__.py").unlink()
    assert call(here, "-m", "ablations.cli", "list").returncode == 0


EDITABLE = f"""
import sys
from importlib.machinery import PathFinder
from importlib.util import spec_from_file_location

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("ablations", "bench", "fcn", "reports"):
            return spec_from_file_location(name, f"{ROOT}/{{name}}/__init__.py")

sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Finder)
"""
"""As setuptools does for an editable install: what is on the path is found before it."""


def test_an_editable_install_is_ours_and_a_plain_folder_is_found_before_it(here):
    assert call(here, "list", paths=(), script=EDITABLE + SCRIPT).returncode == 0
    (here / "reports").mkdir()
    told = said(call(here, "list", paths=(here,), script=EDITABLE + SCRIPT))
    assert f"would import {here / 'reports'}, which" in told


def test_a_checkout_is_ours_without_an_installation():
    assert call(ROOT, "-m", "ablations.cli", "list", paths=()).returncode == 0


def test_nobody_is_asked_what_is_installed_while_all_is_well(monkeypatch):
    monkeypatch.setattr(foreign, "distributions", lambda: pytest.fail("asked"))
    with foreign.require_ours():
        pass
