"""Stores and reports of synthetic runs, shared by the tests."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from browser import Browser
from streets import FINGERPRINT, DrawnPack, fill, grid_plan, make_spec

from bench.plan import Plan, PlannedRun, Run
from bench.store.runs import Store
from reports.page import write_report


@pytest.fixture(scope="session")
def plan() -> Plan:
    return grid_plan()


@pytest.fixture(scope="session")
def store(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    fill(store, plan)
    return store


@pytest.fixture
def drawn_pack(monkeypatch: pytest.MonkeyPatch) -> DrawnPack:
    pack = DrawnPack()
    for module in ("images.kept", "figures.listing"):
        monkeypatch.setattr(f"reports.{module}.open_pack", lambda packs_dir, fingerprint: pack)
    return pack


@pytest.fixture(scope="session")
def report(plan: Plan, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole report, images included."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("images.kept", "figures.listing"):
            patch.setattr(f"reports.{module}.open_pack", lambda packs_dir, fingerprint: DrawnPack())
        return write_report(plan, store, tmp_path_factory.mktemp("report")).parent


@pytest.fixture
def small_store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Make a plan of named variants that differ in their head, over seeds."""

    def make(variants: Sequence[str], seeds: Sequence[int] = (0,), **texts: object) -> Plan:
        runs = []
        for name in variants:
            for seed in seeds:
                spec = make_spec("vgg16", "fcn8s", seed)
                model = spec.model.model_copy(update={"head": f"head-{variants.index(name)}"})
                run = Run(spec.model_copy(update={"model": model}), FINGERPRINT)
                runs.append(PlannedRun(name, run))
        plain = Plan("heads", "Which head?", "none", tuple(runs))
        return dataclasses.replace(plain, **texts)

    return make


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for the tests of a file, which are skipped where there is none."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
