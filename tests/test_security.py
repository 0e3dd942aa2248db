"""Laws of security: what the code never does, and that offline no connection is tried.

Other promises of SECURITY.md are held where their parts are: weights in fcn/test_weights.py,
downloads in fcn/test_download.py, archives in data/test_archives.py, YAML in
bench/test_yaml_file.py, images in data/test_pack.py, pages in reports/test_page.py, plots in
reports/test_figures.py, tables in reports/test_exports.py, terminals in bench/test_terminal.py,
clusters in bench/test_ray.py, plugins in plugins/test_plugins.py.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from bench.text import require_file_name, require_path_below
from fcn.errors import InputError

ROOT = Path(__file__).parent.parent
FILES = [
    path for top in ("ablations", "bench", "fcn", "reports") for path in (ROOT / top).rglob("*.py")
]

NEVER_IMPORTED = {
    *("pickle", "cPickle", "joblib", "shelve", "marshal", "dill", "cloudpickle"),
    *("socketserver", "http.server", "xmlrpc", "telnetlib", "ftplib"),
    *("requests", "httpx", "aiohttp", "urllib3"),
}
"""What unpickles, what serves, and what would fetch past `fcn.download`."""
MAY_IMPORT = {("fcn/weights_state.py", "pickle.UnpicklingError")}  # for its name alone
MAY_FETCH = {"fcn/download.py"}
NEVER_CALLED = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "torch.hub.load"),
    *("ssl._create_unverified_context", "shutil.unpack_archive"),
}
NEVER_METHODS = {
    *("load_state_dict_from_url", "load_url", "urlopen", "urlretrieve", "read_pickle"),
    *("extractall", "extract"),
}
"""Of any module or object: what fetches or unpickles; and what unpacks, which is done by hand."""
NEVER_GIVEN = {("allow_pickle", True), ("weights_only", False), ("shell", True), ("verify", False)}
LOADERS = {"_Loader", "_STORED_LOADER", "yaml.SafeLoader"}


def breaches(tree, name):
    """Yield what a file does that none may."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            imported = []
        for one in imported:
            parts = {one, one.split(".")[0], ".".join(one.split(".")[:2])}
            if parts & NEVER_IMPORTED and (name, one) not in MAY_IMPORT:
                yield f"imports {one}"
            if one.startswith("urllib.request") and name not in MAY_FETCH:
                yield f"imports {one}"
        if isinstance(node, ast.Call):
            yield from breaches_of_call(node)


def breaches_of_call(node):
    called = ast.unparse(node.func)
    given = {k.arg: k.value for k in node.keywords}
    if called in NEVER_CALLED or called.rpartition(".")[2] in NEVER_METHODS:
        yield f"calls {called}"
    for key, value in given.items():
        if isinstance(value, ast.Constant) and (key, value.value) in NEVER_GIVEN:
            yield f"calls {called} with {key}={value.value}"
    if called in ("torch.load", "load_state_dict") and "weights_only" not in given:
        yield f"calls {called} without weights_only"  # the second is timm's
    if called in ("yaml.load", "yaml.parse", "yaml.compose"):
        loader = ast.unparse(given["Loader"]) if "Loader" in given else "none"
        if loader not in LOADERS:
            yield f"calls {called} with {loader}"
    if called.rpartition(".")[2] == "Environment":
        safe = given.get("autoescape")
        if not (isinstance(safe, ast.Constant) and safe.value is True):
            yield f"calls {called} without autoescape=True"


def test_nothing_is_unpickled_evaluated_served_or_fetched_past_the_one_way():
    found = {}
    for path in FILES:
        name = path.relative_to(ROOT).as_posix()
        found |= {(name, one): 1 for one in breaches(ast.parse(path.read_text()), name)}
    assert list(found) == []
    assert len(FILES) > 300


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import http.server",
        "from http.server import HTTPServer",
        "import urllib.request",
        "eval('1')",
        "__import__('x')",
        "tar.extractall('x')",
        "zip.extract(member)",
        "torch.load(path)",
        "load_state_dict(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pd.read_pickle(path)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "subprocess.run(line, shell=True)",
        "Environment(loader=x)",
        "jinja2.Environment(autoescape=select_autoescape())",
        "torch.hub.load_state_dict_from_url(url)",
    ],
)
def test_the_law_sees_what_breaks_it(code):
    assert list(breaches(ast.parse(code), "bench/x.py"))


def test_the_oldest_torch_has_no_known_hole_in_weights_only():
    """CVE-2025-32434 went with 2.6, CVE-2026-24747 with 2.10."""
    import tomllib

    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (torch,) = [one for one in map(Requirement, needed["dependencies"]) if one.name == "torch"]
    assert Version("2.9.9") not in torch.specifier
    (ray,) = map(Requirement, needed["optional-dependencies"]["ray"])
    assert Version("2.58.9") not in ray.specifier  # 2.59 asks for a token by itself


HOSTILE = ["..", ".", "", " ", "...", "a/b", "a\\b", "C:x", "a\0b", "a\nb", "\x1b[2J", "a\u202eb"]


@pytest.mark.parametrize("name", [*HOSTILE, "\ud800", "n" * 300, "\u00e9" * 150], ids=ascii)
def test_a_hostile_name_is_no_files(name):
    with pytest.raises(ValueError, match=r"is used as the name|is too long"):
        require_file_name(name)


@pytest.mark.parametrize("name", ["/etc/passwd", "a/../../b", "../a", "a//b", "a/", "./a", "~/.."])
def test_no_path_leads_out_of_a_folder(name):
    with pytest.raises(ValueError, match="is used as the name"):
        require_path_below(name)


@pytest.mark.parametrize("name", ["-rf", "CON", "\u0430bc", "a b", "~", "$HOME", "*", "n" * 200])
def test_an_odd_name_stays_one_file_below_its_folder(tmp_path, name):
    """Neither a shell nor an option parser ever sees it: it is opened below a folder, as it is."""
    path = tmp_path / require_file_name(name)
    path.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.resolve().parent == tmp_path.resolve()


NO_SOCKETS = """
import os, socket, sys
real = socket.socket
class Refused(real):
    def __init__(self, family=-1, *rest, **more):
        if family in (socket.AF_INET, socket.AF_INET6, -1):
            with open(os.environ["TOUCHED"], "a") as file:
                file.write(" ".join(sys.argv) + "\\n")
            raise RuntimeError("a socket was opened")
        super().__init__(family, *rest, **more)
def ask(*where, **_):
    with open(os.environ["TOUCHED"], "a") as file:
        file.write(repr(where) + "\\n")
    raise RuntimeError("a name was looked up")
socket.socket = Refused
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = ask
"""


@pytest.fixture
def offline(tmp_path):
    """Run commands of which every process, at any depth, fails where it opens a socket."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_SOCKETS)
    touched = tmp_path / "touched"

    def run(*words):
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "TORCH_HOME": str(tmp_path / "torch"),
            "HF_HOME": str(tmp_path / "hub"),
            "TOUCHED": str(touched),
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)]),
        }
        ran = subprocess.run(
            [sys.executable, "-m", "ablations.cli", *map(str, words)],
            capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=250,
        )  # fmt: skip
        assert not touched.exists(), touched.read_text()
        return ran

    return run


def test_the_sockets_of_these_tests_fail(offline, tmp_path):
    """Else the next ones would hold whatever the code did."""
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    environment = {
        **os.environ,
        "TOUCHED": str(tmp_path / "seen"),
        "PYTHONPATH": str(tmp_path / "site"),
    }
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert ran.returncode
    assert (tmp_path / "seen").exists()


def test_offline_what_is_missing_is_said_and_nobody_asked(offline, tmp_path):
    ran = offline("data", "fetch", "pets", "--data", tmp_path / "data")
    assert ran.returncode == 65
    assert "HF_HUB_OFFLINE forbids" in ran.stderr


QUESTION = """
question: Does a skip help?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: shapes, options: {size: 32, num_train: 4, num_val: 2, num_test: 2}}
  train: {steps: 2, batch_size: 2, optimizer: adamw, lr: 1e-3}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn16s}
baseline: coarse
"""


@pytest.mark.slow
def test_offline_a_grid_is_run_and_reported_without_a_socket(offline, tmp_path):
    (tmp_path / "question.yaml").write_text(QUESTION)
    for engine in ("local", "warm"):
        words = ("--runs", engine, "--out", f"out-{engine}", "--engine", engine)
        ran = offline("run", "question.yaml", *words)
        assert ran.returncode == 0, ran.stderr
        assert (tmp_path / f"out-{engine}" / "index.html").exists()
    ran = offline("run", "question.yaml", "--runs", "none", "--set", "model.pretrained=true")
    assert ran.returncode == 65
    assert "HF_HUB_OFFLINE forbids" in ran.stderr


def test_offline_no_published_weights_are_asked_for(monkeypatch):
    """In this process, for every kind of name that a spec may give."""
    import socket

    from fcn import create_model
    from fcn.published import fetch_hub_config, find_hub_digest

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", "/nowhere")
    for pretrained in (True, "hf-hub:owner/name"):
        with pytest.raises(InputError, match="HF_HUB_OFFLINE forbids"):
            create_model(num_classes=3, backbone="resnet18", pretrained=pretrained)
    assert find_hub_digest("hf-hub:owner/name") is None
    fetch_hub_config("hf-hub:owner/name")
