"""What each package shows to Python: these names and no others, typed; no library is loaded."""

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PUBLIC = {
    "ablations": ["load", "plan", "run"],
    "bench": ["Store", "load_model", "score"],
    "fcn": [
        "FCN",
        "InputError",
        "create_model",
        "from_pretrained",
        "list_backbones",
        "list_externals",
        "list_fusions",
        "list_heads",
        "list_skips",
        "list_upsamplings",
        "list_weights",
        "save_pretrained",
    ],
    "reports": ["read_results", "read_table", "summarize"],
}
"""The frozen surface: a name that is added, renamed or taken away is a change for users."""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_are_these(package):
    module = importlib.import_module(package)
    assert module.__all__ == PUBLIC[package]
    assert dir(module) == PUBLIC[package]
    for name in PUBLIC[package]:
        assert callable(getattr(module, name))
        assert getattr(module, name).__doc__


@pytest.mark.parametrize("package", PUBLIC)
def test_types_are_those_of_what_is_there(package):
    """What a type checker reads, the imports below TYPE_CHECKING, is what a name gives."""
    path = ROOT / package / "__init__.py"
    checked = next(node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If))
    seen = {}
    for node in checked.body:
        home = importlib.import_module(node.module)
        seen |= {one.asname or one.name: getattr(home, one.name) for one in node.names}
    module = importlib.import_module(package)
    assert seen.keys() - {"__version__"} == set(PUBLIC[package])
    assert seen == {name: getattr(module, name) for name in seen}


@pytest.mark.parametrize("package", PUBLIC)
def test_a_name_that_is_not_there_is_no_attribute(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        importlib.import_module(package).nonsense  # noqa: B018


def test_importing_a_package_loads_no_library_and_nothing_else_of_ours():
    code = f"""
import json, sys
{"; ".join(f"import {package}" for package in PUBLIC)}
ours = [name for name in sys.modules if name.split(".")[0] in {list(PUBLIC)}]
heavy = [name for name in ("torch", "numpy", "pandas", "pydantic", "timm") if name in sys.modules]
print(json.dumps([sorted(ours), heavy]))
"""
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert json.loads(told) == [sorted(PUBLIC), []]


def test_scores_and_results_load_no_torch():
    names = "bench.score, bench.Store, reports.read_results, reports.summarize"
    code = f"import sys, bench, reports; {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


@pytest.mark.parametrize("package", PUBLIC)
def test_the_package_is_installed_as_typed(package):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "py.typed" in settings["package-data"][package]
    assert (ROOT / package / "py.typed").read_bytes() == b""


def test_the_page_about_python_tells_of_every_name():
    page = (ROOT / "docs" / "python.md").read_text()
    names = [f"`{package}.{name}" for package, own in PUBLIC.items() for name in own]
    assert [name for name in names if name not in page] == []
