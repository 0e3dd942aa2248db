"""Laws of the layout: arrows fall one way, in halls too; torch stays out; the docs' tree is so."""

import ast
import re
import statistics
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ["fcn", "bench", "reports", "ablations"]
"""Each may import from those before it."""

REPORTS = [
    {"style", "formats", "marks", "recompute", "rendering"},
    {"results", "files"},
    {"stats"},
    {"remarks", "study", "sections", "sides", "gate", "across", "looks", "leaderboard"},
    {"tables"},
    {
        "figures",
        "images",
        "answer",
        "statements",
        "sources",
        "methods",
        "added_sections",
    },
    {"page", "compare", "across_page", "scalars", "simulate", "simulations", "terminal"},
    {"watch"},
]
"""Rooms of reports, from records to the page; each imports from those before it, or its like."""

TORCH_FREE = [
    "ablations.api",
    "ablations.cli",
    "ablations.expand",
    "bench.cli.app",
    "bench.data.catalog",
    "bench.data.packs.pack",
    "bench.sources",
    "bench.data.remarks",
    "bench.grid.controller",
    "bench.grid.local",
    "bench.grid.progress",
    "bench.grid.ray",
    "bench.grid.node_check",
    "bench.grid.slots",
    "fcn",
    "reports.page",
]

REPORTS_MAY_IMPORT = {
    "bench.claims",
    "bench.store.atomic",
    "bench.data.packs.groups",
    "bench.data.packs.pack",
    "bench.store.evaluation_file",
    "bench.store.names",
    "bench.store.noted",
    "bench.data.remarks",
    "bench.data.stride_bound",
    "bench.looks",
    "bench.mask_scores",
    "bench.metrics",
    "bench.outputs.folder",
    "bench.durations",
    "bench.plan",
    "bench.scoring",
    "bench.settings.keys",
    "bench.store.records",
    "bench.spec",
    "bench.store.runs",
    "bench.store.scored",
    "bench.text",
    "bench.tuning",
    "bench.tracking.contracts",
    "bench.tracking.scalars",
    "bench.tracking.trackers",
}


def modules():
    for package in FLOORS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


NAMES = dict(modules())


def imports_of(path):
    """Modules of ours that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the graph"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in NAMES else node.module for name in names}
    return {name for name in found if name in NAMES}


GRAPH = {name: imports_of(path) - {name} for name, path in NAMES.items()}


def test_the_graph_is_seen():
    assert "bench.spec" in GRAPH["bench.plan"]
    assert len(GRAPH) > 40


def test_no_cycle_between_files():
    list(TopologicalSorter(GRAPH).static_order())  # raises CycleError with the cycle


def test_packages_import_only_those_below_them():
    back = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if FLOORS.index(other.split(".")[0]) > FLOORS.index(name.split(".")[0])
    ]
    assert back == []


def rooms_of(hall):
    """Return the files and folders of a hall, each with those that it imports from."""
    inside = {n: n[len(hall) + 1 :].split(".")[0] for n in NAMES if n.startswith(f"{hall}.")}
    rooms = {room: set() for room in inside.values()}
    for name, room in inside.items():
        rooms[room] |= {inside[other] for other in GRAPH[name] if other in inside} - {room}
    return rooms


HALLS = [name for name, path in NAMES.items() if path.name == "__init__.py"]


@pytest.mark.parametrize("hall", HALLS)
def test_no_room_imports_from_one_that_imports_from_it(hall):
    list(TopologicalSorter(rooms_of(hall)).static_order())


def test_a_report_is_made_in_one_direction():
    place = {room: number for number, rooms in enumerate(REPORTS) for room in rooms}
    rooms = rooms_of("reports")
    assert set(rooms) == set(place)
    back = [(room, o) for room, others in rooms.items() for o in others if place[o] > place[room]]
    assert back == []


def test_reports_read_records_and_no_code_that_makes_them():
    used = {o for n, others in GRAPH.items() if n.startswith("reports") for o in others}
    assert {o for o in used if o.startswith("bench.")} <= REPORTS_MAY_IMPORT


@pytest.mark.parametrize("name", TORCH_FREE)
def test_torch_is_not_loaded_by(name):
    code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_waits_for_no_library_but_its_own():
    heavy = {"torch", "numpy", "pandas", "pydantic", "yaml", "matplotlib"}
    code = f"import sys, ablations.cli; print(*{heavy} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == []


def test_files_hold_one_idea():
    """A file is cut where an idea ends; one of 500 lines is likely to hold two."""
    lengths = {name: len(path.read_text().splitlines()) for name, path in NAMES.items()}
    assert {name: n for name, n in lengths.items() if n > 500} == {}
    assert statistics.median(lengths.values()) < 160


CATCH_ALL = {
    "bench.run.execute": "_execute",
    "bench.speed.probe": "part",
    "fcn.errors": "foreign_code",
}
"""Functions that catch every error: where a run ends, where one finding of a sitting shall not cost
the rest, and around code of others."""


def test_every_error_is_caught_only_where_a_run_ends_and_around_code_of_others():
    found = []
    for name, path in NAMES.items():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef):
                found += [(name, function.name) for node in ast.walk(function) if is_broad(node)]
    assert dict(found) == CATCH_ALL
    assert len(found) == len(CATCH_ALL)


def is_broad(node):
    """Say whether a node is a handler or `suppress` of every error, or a group that has them."""
    if isinstance(node, ast.ExceptHandler):
        caught = ast.unparse(node.type) if node.type else "Exception"
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = ast.unparse(node)
    else:
        return False
    return bool({"Exception", "BaseException"} & set(re.findall(r"\w+", caught)))


def test_what_is_kept_for_later_calls_is_bounded():
    """A cache that forgets nothing is for functions without arguments: they have one value."""
    endless = ("cache", "lru_cache(None)", "lru_cache(maxsize=None)")
    found = [
        f"{name}.{function.name}"
        for name, path in NAMES.items()
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef) and ast.unparse(function.args)
        for decorator in function.decorator_list
        if ast.unparse(decorator).removeprefix("functools.") in endless
    ]
    assert found == []


def test_every_package_is_installed():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    on_disk = {name for name, path in NAMES.items() if path.name == "__init__.py"}
    assert set(listed) == on_disk


def test_the_tree_in_the_docs_is_the_disks(tmp_path):
    page = ROOT / "docs" / "architecture.md"
    drawn = tmp_path / "architecture.md"
    drawn.write_text(page.read_text())
    subprocess.run([sys.executable, ".ci/tree", str(drawn)], cwd=ROOT, check=True)
    assert drawn.read_text() == page.read_text(), "draw it anew: .ci/tree"
