"""Plugins: found, imported, recorded, refused; a package of its own, installed and used."""

import _datetime
import builtins
import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sized
from copy import deepcopy
from pathlib import Path

import pytest
import timm
from PIL import Image

from ablations.cli import main
from bench import plugins
from bench.data.registry import DATASETS
from bench.plugins import load_plugins, loaded_plugins
from fcn import create_model
from fcn.errors import InputError
from fcn.registry import _REGISTRIES, undone_on_error
from fcn.skips import SKIPS

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = Path(__file__).parent / "example_package"

SPEC = """
question: Do the parts of an installed package work by name?
common:
  model: {backbone: example_plain, skip: example_stride4, fusion: example_mean,
          head: example_wide, upsampling: example_softened, score_init: random}
  data: {dataset: example_halves, options: {size: 32}}
  train: {steps: 30, batch_size: 4, optimizer: adamw, lr: 1e-2}
variants: {parts: {}}
score: {primary: example_f2}
"""


def cli(*words, cwd, paths=()):
    paths = os.pathsep.join(map(str, (*paths, ROOT)))
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ablations.cli", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def write_plugin(folder, name, code, *, entry_point=True):
    """Write a module and, as `pip install --target` does, the folder that describes it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    if entry_point:
        info = folder / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[fcn_bench.plugins]\nany = {name}\n")
        (info / "top_level.txt").write_text(f"{name}\n")
    return folder


SKIP = "from fcn.skips import SKIPS, SkipStrategy\nSKIPS.register({!r})(SkipStrategy((16,)))\n"


@pytest.fixture
def fresh(monkeypatch):
    """This process as if it had imported no plugin, before and after."""
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setattr(plugins, "BROKEN_PLUGINS", {})
    monkeypatch.setattr("fcn.registry.BROKEN_PLUGINS", plugins.BROKEN_PLUGINS)
    for registry in (SKIPS, DATASETS):
        monkeypatch.setattr(registry, "_parts", dict(registry._parts))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if "plugin" in name:
            del sys.modules[name]


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_an_installed_plugin_is_found_and_described(fresh, site):
    write_plugin(site, "plugin_one", SKIP.format("one_skip_16"))
    (plugin,) = load_plugins()
    assert "one_skip_16" in SKIPS
    assert str(plugin).startswith("plugin_one (plugin_one 1.2, sha256 ")
    assert load_plugins() == loaded_plugins() == [plugin]  # imported once


def test_a_module_is_a_plugin_by_name_and_by_path(fresh, site, tmp_path):
    write_plugin(site, "plugin_a", SKIP.format("a_16"), entry_point=False)
    other = tmp_path / os.fsdecode(b"other\xff")
    write_plugin(other, "plugin_b", SKIP.format("b_16"), entry_point=False)
    file = str(other / "plugin_b.py")
    named, by_path = load_plugins(["plugin_a", file])
    assert {"a_16", "b_16"} <= set(SKIPS)
    assert (named.module, named.distribution) == ("plugin_a", None)
    assert by_path.sha256 == hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert str(by_path).startswith(rf"{tmp_path}/other\udcff/plugin_b.py (sha256 ")  # for records


def test_a_file_that_hides_a_module_is_refused(fresh, tmp_path):
    write_plugin(tmp_path / "x", "random", SKIP.format("r"), entry_point=False)
    with pytest.raises(InputError, match="another module 'random'; rename the file"):
        load_plugins([str(tmp_path / "x" / "random.py")])


@pytest.mark.parametrize("name", ["no_such_plugin", "no_such_plugin.py"])
def test_a_plugin_that_is_not_there_is_refused(fresh, name):
    with pytest.raises(InputError, match=f"--plugin {name} cannot be imported"):
        load_plugins([name])


def test_a_broken_plugin_breaks_only_those_who_name_its_parts(fresh, site):
    write_plugin(site, "plugin_unlucky", "raise SystemExit('out of luck')\n")
    assert load_plugins() == []
    create_model("resnet10t", num_classes=2, skip="fcn16s")
    reason = "Plugin 'plugin_unlucky' was not imported: SystemExit: out of luck"
    for kind in ("skip", "backbone", "head", "fusion", "upsampling"):
        names = {kind: f"its_{kind}"}
        with pytest.raises(InputError, match=f"unknown .*{reason}"):
            create_model(**{"backbone": "resnet10t", "num_classes": 2} | names)
    with pytest.raises(InputError, match=f"unknown dataset .*{reason}"):
        DATASETS["its_dataset"]
    with pytest.raises(InputError, match="out of luck"):
        load_plugins(["plugin_unlucky"])  # who asks for it is told at once


TIMM = """
import timm
@timm.models.register_model
def resnet18(pretrained=False, **options):
    raise RuntimeError("not timm's")
"""
PART = "from {} import {} as parts\nparts.register({!r})(None)"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (SKIP.format("fcn8s"), "skip 'fcn8s' is registered already"),
        (TIMM, "Overwriting resnet18 in registry"),
        (PART.format("fcn.heads", "HEADS", "linear"), "head 'linear' is registered already"),
        (PART.format("fcn.fusions", "FUSIONS", "sum"), "fusion 'sum' is registered already"),
        (PART.format("fcn.upsampling", "UPSAMPLINGS", "nearest"), "upsampling 'nearest' is regis"),
        (PART.format("bench.data.dataset", "DATASETS", "shapes"), "dataset 'shapes' is registered"),
    ],
)
def test_a_name_that_is_taken_is_refused_and_keeps_its_meaning(fresh, site, code, message):
    before = SKIPS["fcn8s"], timm.model_entrypoint("resnet18"), DATASETS["shapes"]
    write_plugin(site, "plugin_thief", code)
    warnings.simplefilter("ignore")  # as outside of pytest; timm only warns of it
    assert load_plugins() == []
    assert message in plugins.BROKEN_PLUGINS["plugin_thief"]
    with pytest.raises(InputError, match=message):
        load_plugins(["plugin_thief"])
    assert before == (SKIPS["fcn8s"], timm.model_entrypoint("resnet18"), DATASETS["shapes"])


HALF = """
import timm
from fcn.skips import SKIPS, SkipStrategy
from fcn.registry import Registry
from plugin_half import inner
import plugin_beside, wave
SKIPS.register("half_16")(SkipStrategy((16,)))
@timm.models.register_model
def half_net(pretrained=False, **options): ...
raise RuntimeError("too late")
"""
INNER = """
import timm
from timm.models import generate_default_cfgs
from bench.data.registry import DATASETS
from bench.grid.engines import ENGINES
from fcn.heads import HEADS
for registry in (DATASETS, ENGINES, HEADS):
    registry.register("half_part")(None)
default_cfgs = generate_default_cfgs({"inner_net.mine": {"url": "https://example.org/x"}})
@timm.models.register_model
def inner_net(pretrained=False, **options): ...
"""


def parts():
    """Return all that a plugin can register, ours and timm's."""
    of_timm = vars(timm.models._registry).items()
    tables = {k: deepcopy(v) for k, v in of_timm if k.startswith("_mod") and isinstance(v, Sized)}
    return {registry.kind: set(registry) for registry in _REGISTRIES}, tables


def test_a_plugin_that_fails_leaves_no_part_behind(fresh, site):
    """Neither in our registries, nor in timm's, nor its submodules half-way to the next try."""
    load_plugins()
    write_plugin(site, "plugin_half", "")
    (site / "plugin_half.py").unlink()
    for name, code in {"plugin_half/__init__": HALF, "plugin_half/inner": INNER}.items():
        (site / f"{name}.py").parent.mkdir(exist_ok=True)
        (site / f"{name}.py").write_text(code)
    write_plugin(site, "plugin_beside", SKIP.format("beside_16"))
    sys.modules.pop("wave", None)
    before = parts()
    (beside,) = load_plugins()  # an installed one that is whole, though the other imported it first
    assert beside.module == "plugin_beside"
    assert "too late" in plugins.BROKEN_PLUGINS["plugin_half"]
    assert "beside_16" in SKIPS
    SKIPS._parts.pop("beside_16")
    assert parts() == before
    assert not timm.is_model("half_net")
    assert not timm.models.is_model_pretrained("inner_net.mine")
    assert not [name for name in sys.modules if name.startswith("plugin_half")]
    assert "wave" in sys.modules
    with pytest.raises(InputError, match="too late"):  # not: cannot import name, or is registered
        load_plugins(["plugin_half"])
    mended = HALF.replace('raise RuntimeError("too late")', "")
    (site / "plugin_half" / "__init__.py").write_text(mended)

    def load_and_fail():
        with plugins._nothing_left_on_error("plugin_half"), undone_on_error():
            load_plugins(["plugin_half"])
            raise KeyError("half_16" in SKIPS and timm.is_model("inner_net"))

    with pytest.raises(KeyError, match="True"):
        load_and_fail()
    assert parts() == before


def test_a_file_that_fails_leaves_no_part_behind(fresh, tmp_path, monkeypatch):
    # What others keep among the builtins is no table of timm's, and need not be copied.
    monkeypatch.setattr(builtins, "capsule", _datetime.datetime_CAPI, raising=False)
    code = SKIP.format("cut_16") + "import no_such_module"
    write_plugin(tmp_path / "x", "plugin_cut", code, entry_point=False)
    with pytest.raises(InputError, match="No module named 'no_such_module'"):
        load_plugins([str(tmp_path / "x" / "plugin_cut.py")])
    assert "cut_16" not in SKIPS
    assert "plugin_cut" not in sys.modules


def test_a_command_imports_its_plugins(fresh, tmp_path, monkeypatch, capsys):
    write_plugin(tmp_path, "plugin_c", SKIP.format("c_16"), entry_point=False)
    monkeypatch.chdir(tmp_path)
    for words, code in ((["--plugin", "plugin_c.py"], 0), (["--plugin", "plugin_d.py"], 65)):
        monkeypatch.setattr(sys, "argv", ["fcn-bench", "list", "skips", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code
    said = capsys.readouterr()
    assert "c_16" in said.out
    assert said.err.startswith("error: --plugin plugin_d.py cannot be imported")


def test_without_plugins_torch_is_not_loaded(tmp_path):
    program = "import sys; from bench.plugins import load_plugins; load_plugins(); "
    program += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_the_example_package_is_installed_and_every_part_used_by_name(tmp_path):
    source = shutil.copytree(EXAMPLE, tmp_path / "source")  # building leaves files beside it
    site, runs = tmp_path / "site", tmp_path / "runs"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", site, source],
        check=True,
    )  # fmt: skip
    (tmp_path / "parts.yaml").write_text(SPEC)
    options = {"cwd": tmp_path, "paths": [site]}
    without = cli("check", "parts.yaml", cwd=tmp_path)
    assert without.returncode == 65
    ended = cli("run", "parts.yaml", "--runs", runs, "--devices", "cpu", "--slots", 1, **options)
    assert ended.returncode == 0, ended.stderr
    (folder,) = runs.glob("[0-9a-f][0-9a-f]/*")
    environment = json.loads((folder / "env.json").read_text())
    assert environment["plugins"].startswith("fcn_bench_example (fcn-bench-example 0.3, sha256 ")
    row = json.loads(cli("runs", "list", "--json", "--runs", runs, **options).stdout)[0]
    assert row["pixel_acc"] > 0.9
    page = (tmp_path / "out" / "parts" / "index.html").read_text()
    assert "<dt>mean F2" in page  # it decides
    assert '<section id="example-note">\n<h2>A note of the example</h2>' in page
    listed = cli("list", "metrics", "--json", **options).stdout
    assert {"name": "example_f2", "what": "F2 of each class; mean over classes."} in json.loads(
        listed
    )


@pytest.mark.slow
def test_a_plugin_of_one_command_reaches_every_process(tmp_path):
    """`run` with --plugin: the front door, the run's own process, and `predict`."""
    shutil.copy(EXAMPLE / "fcn_bench_example.py", tmp_path / "mine.py")
    (tmp_path / "parts.yaml").write_text(SPEC.replace("steps: 30", "steps: 2"))
    words = ("--runs", "runs", "--plugin", "mine.py")
    ended = cli("run", "parts.yaml", "--devices", "cpu", "--slots", 1, *words, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (folder,) = (tmp_path / "runs").glob("[0-9a-f][0-9a-f]/*")
    plugins = json.loads((folder / "env.json").read_text())["plugins"]
    assert plugins.startswith(f"{tmp_path / 'mine.py'} (sha256 ")
    image = tmp_path / "image.png"
    Image.new("RGB", (40, 24)).save(image)
    said = cli("predict", folder.name, image, "--device", "cpu", *words, cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "predictions" / "image-mask.png").exists()
