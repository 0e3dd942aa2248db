"""A folder sent to a hub: huggingface_hub's own client, and a server that speaks its endpoints."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.cli.exports import _push
from bench.run.execute import Options, execute
from bench.run.export import export_run
from fcn.errors import InputError

hub = pytest.importorskip("huggingface_hub")
COMMIT = "a" * 40


class Handler(BaseHTTPRequestHandler):
    """What `create_repo` and `upload_folder` ask for."""

    def log_message(self, *_):
        pass

    def answer(self, value, code=200):
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def read_body(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline().strip(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def do_POST(self):
        body, server = self.read_body(), self.server
        if self.headers.get("authorization") != "Bearer hf_right":
            self.answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            server.created = json.loads(body)
            self.answer({"url": f"{server.address}/me/net"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/models/me/net/preupload/main":
            files = [one["path"] for one in json.loads(body)["files"]]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": path, **regular} for path in files]})
        elif self.path == "/api/models/me/net/commit/main":
            server.lines = [json.loads(line) for line in body.splitlines()]
            url = f"{server.address}/me/net/commit/{COMMIT}"
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
        else:
            self.answer({"error": self.path}, 404)


@pytest.fixture
def server(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        server.address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(hub.constants, "ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        yield server
        server.shutdown()


@pytest.fixture
def folder(tiny_run, tmp_path):
    store, run = tiny_run({"train.steps": 1, "evaluate.eval_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    export_run(store, run.id, "hf", tmp_path / "model", [])
    return tmp_path / "model"


def test_a_hub_gets_the_folder_as_it_is(server, folder):
    said = _push(folder, "me/net")
    assert COMMIT in said
    assert server.created["name"] == "net"
    sent = {one["value"]["path"]: one["value"] for one in server.lines if one["key"] == "file"}
    assert {"README.md", "config.json", "model.safetensors"} <= set(sent)
    for name, value in sent.items():
        assert base64.b64decode(value["content"]) == (folder / name).read_bytes()


@pytest.mark.parametrize("fault", ["token", "network", "name"])
def test_what_keeps_a_folder_from_a_hub_is_one_paragraph(server, folder, monkeypatch, fault):
    if fault == "token":
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    if fault == "network":
        monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="is written, and could not be sent") as said:
        _push(folder, "a/b/c" if fault == "name" else "me/net")
    assert "hf auth login" in str(said.value)
    assert "\n" not in str(said.value)
    assert (folder / "README.md").exists()
