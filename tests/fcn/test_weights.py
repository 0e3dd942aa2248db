"""Weights: every tensor from the file, or a refusal that says what to do."""

import hashlib
import http.server
import json
import threading
import time

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from fcn import create_model
from fcn.backbones.taps import create_backbone
from fcn.download import DownloadError, MissingError, fetch, reach
from fcn.errors import InputError
from fcn.libraries import create_external
from fcn.published import find_hub_digest
from fcn.weights import find_loaded, list_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)


def test_weights_of_another_network_are_refused(tmp_path):
    name = "resnet18.a1_in1k"
    path = tmp_path / "half.pth"
    state = timm.create_model(name).state_dict()
    torch.save({key: value for key, value in state.items() if "layer3" not in key}, path)
    with pytest.raises(InputError, match=r"half\.pth' leave \d+ of \d+ tensors .*'layer3.0.conv1"):
        create_backbone(name, pretrained=str(path))
    # Layers that are left out need no weights.
    create_backbone(name, pretrained=str(path), strides=(8,))


@pytest.mark.parametrize("source", ["resnet18", "smp/Unet(resnet18)"])
def test_weights_of_a_deeper_network_of_the_family_are_refused(tmp_path, source):
    """All that ResNet18 has is in ResNet34 too, by name and shape, between what it has not."""
    path = tmp_path / "deep.pth"
    with torch.device("meta"):
        deep = build(source.replace("18", "34"))
    torch.save({key: torch.empty_like(t, device="cpu") for key, t in deep.items()}, path)
    with pytest.raises(InputError, match=r"deep\.pth' has \d+ tensors between .*another network"):
        build(source, str(path))


def build(source, pretrained=False):
    """Return the tensors of a whole network of timm, a backbone with weights, or a library's."""
    if "/" in source:
        return create_external(source, num_classes=3, pretrained=pretrained).net.state_dict()
    if pretrained:
        return create_backbone(source, pretrained=pretrained).state_dict()
    return timm.create_model(source).state_dict()


def test_vgg_weights_are_checked_too(tmp_path):
    path = tmp_path / "vgg.pth"
    net = timm.create_model("vgg11", mlp_ratio=1 / 4096)
    torch.save({k: v for k, v in net.state_dict().items() if k != "features.0.bias"}, path)
    with pytest.raises(InputError, match=r"vgg\.pth"):
        create_backbone("vgg11", pretrained=str(path))


class Evil:
    """Opens a file for writing when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return (open, (str(self.canary), "w"))


def test_a_pickled_object_is_refused_and_not_run(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"

    torch.save(Evil(canary), path)
    with pytest.raises(InputError, match=r"evil\.pth' .* save the weights alone, as torch\.save"):
        create_backbone("resnet18", pretrained=str(path))
    assert not canary.exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_an_empty_weights_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"empty.{suffix}"
    path.touch()
    with pytest.raises(InputError, match=f"empty.{suffix}"):
        create_backbone("resnet18", pretrained=str(path))


def test_offline_is_said_at_once_with_the_file_and_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name, file in (
        ("googlenet", "googlenet-1378be20.pth"),
        ("resnet10t", "timm/resnet10t.c3_in1k/resolve/main/model.safetensors"),
    ):

        def refuse(*_, **__):
            raise OSError("no route to host")

        monkeypatch.setattr("socket.create_connection", refuse)
        start = time.monotonic()
        with pytest.raises(InputError) as refusal:
            create_backbone(name, pretrained=True)
        assert time.monotonic() - start < 5
        assert file in str(refusal.value)
        assert f"put it at {tmp_path}/hub/checkpoints/" in str(refusal.value)
        assert "model.pretrained" in str(refusal.value)
    assert list(tmp_path.rglob("*.*")) == []


def test_what_was_loaded_is_remembered(tmp_path):
    path = tmp_path / "resnet10t.safetensors"
    net = timm.create_model("resnet10t")
    save_file(net.state_dict(), path)
    model = create_model("resnet10t", num_classes=2, pretrained=str(path))
    loaded = find_loaded(model)
    assert loaded.source == str(path)
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.num_tensors == len(model.backbone.state_dict())
    theirs = net.state_dict()
    for key, tensor in model.backbone.net.state_dict().items():
        assert torch.equal(tensor, theirs[key])
    assert find_loaded(create_model("resnet10t", num_classes=2)) is None


def test_a_file_of_torchvision_fits_timms_network_of_that_name(tmp_path):
    path = tmp_path / "torchvision.pth"
    net = torchvision.models.resnet18()
    torch.save(net.state_dict(), path)
    backbone = create_backbone("resnet18", pretrained=str(path)).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        net.eval()
        stem = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        theirs = net.layer4(net.layer3(net.layer2(net.layer1(stem))))
        torch.testing.assert_close(backbone(images)[32], theirs)


def test_each_tag_brings_its_own_mean_and_deviation():
    tags = {tag: create_meta("convnext_base", tag) for tag in ("fb_in1k", "clip_laion2b")}
    assert tags["fb_in1k"].mean == pytest.approx(IMAGENET_MEAN)
    assert tags["clip_laion2b"].mean == pytest.approx((0.4815, 0.4578, 0.4082), abs=1e-4)
    assert create_meta("googlenet", "tv_in1k").mean == (0.5, 0.5, 0.5)
    assert create_meta("alexnet", True).std == pytest.approx((0.229, 0.224, 0.225))


def create_meta(name, pretrained):
    with torch.device("meta"):
        return create_backbone(name, pretrained=pretrained)


def test_one_channel_sums_the_weights_of_three_and_four_repeat_them(tmp_path):
    path = tmp_path / "resnet10t.pth"
    net = timm.create_model("resnet10t")
    torch.save(net.state_dict(), path)
    weight = net.conv1[0].weight
    one, four = (create_backbone("resnet10t", pretrained=str(path), in_chans=c) for c in (1, 4))
    torch.testing.assert_close(one.net.conv1[0].weight, weight.sum(1, keepdim=True))
    expected = torch.cat([weight, weight[:, :1]], dim=1) * (3 / 4)
    torch.testing.assert_close(four.net.conv1[0].weight, expected)


def test_tags_are_listed_and_the_default_is_first():
    assert list_weights("googlenet") == ["tv_in1k"]
    tags = list_weights("resnet18")
    assert {"a1_in1k", "tv_in1k"} <= set(tags)
    assert timm.models.get_pretrained_cfg("resnet18").tag == tags[0]
    assert list_weights("no_such_network") == []


class Server(http.server.BaseHTTPRequestHandler):
    """Gives the files of `Server.files`; a path may be cut short, redirected or hashed."""

    files, cut, redirects, hashes, asked = {}, set(), {}, {}, []

    def do_GET(self):
        self.asked.append(self.path)
        if self.path in self.redirects:
            self.send_response(302)
            self.send_header("Location", self.redirects[self.path])
            if self.path in self.hashes:
                self.send_header("X-Linked-Etag", f'"{self.hashes[self.path]}"')
            self.end_headers()
        elif self.path in self.files:
            body = self.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if self.path in self.cut else body)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    Server.files, Server.cut, Server.redirects, Server.hashes, Server.asked = {}, set(), {}, {}, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_download_is_whole_and_made_once(server, tmp_path):
    content = b"weights" * 1000
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    Server.files[f"/{name}"] = content
    for _ in range(2):
        assert fetch(f"{server}/{name}", tmp_path / name).read_bytes() == content
    assert Server.asked == [f"/{name}"]


def test_what_can_be_had_is_asked_for_and_not_downloaded(server, tmp_path):
    path = tmp_path / "cache" / "net.pth"
    Server.files["/bucket"], Server.redirects["/net.pth"] = b"weights" * 1_000_000, "/bucket"
    reach(f"{server}/net.pth", path)
    assert Server.asked == ["/net.pth", "/bucket"]
    assert not path.parent.exists()
    with pytest.raises(MissingError, match="404"):
        reach(f"{server}/other.pth", path)
    with pytest.raises(DownloadError, match="is not https"):
        reach("http://example.org/net.pth", path)
    path = tmp_path / "net-12345678.pth"
    path.write_bytes(b"not that")
    with pytest.raises(DownloadError, match="not 12345678"):
        reach(f"{server}/{path.name}", path)


@pytest.mark.parametrize("fault", ["bytes", "cut", "missing", "file:", "http:", "server hash"])
def test_a_download_that_is_not_right_leaves_nothing(server, tmp_path, fault):
    content = b"weights" * 1000
    right = hashlib.sha256(content).hexdigest()
    name = f"net-{right[:8]}.pth"
    messages = {
        "bytes": f"sha256 starts with .*, not {right[:8]}",
        "cut": "broke after 3500 of 7000 bytes",
        "missing": "404",
        "file:": "not allowed",
        "http:": "'http://example.org/' is not https",
        "server hash": "sha256",
    }
    if fault != "missing":
        Server.files[f"/{name}"] = b"other" if fault == "bytes" else content
    if fault == "cut":
        Server.cut.add(f"/{name}")
    if fault == "file:":
        Server.redirects[f"/{name}"] = "file:///etc/hostname"
    if fault == "http:":
        Server.redirects[f"/{name}"] = "http://example.org/"
    if fault == "server hash":
        Server.redirects["/first"], Server.hashes["/first"] = f"/{name}", "0" * 64
    folder = tmp_path / "cache"
    address = f"{server}/{'first' if fault == 'server hash' else name}"
    with pytest.raises(DownloadError, match=messages[fault]):
        fetch(address, folder / name)
    assert list(folder.iterdir()) == []


def test_a_damaged_file_in_the_cache_is_noticed(tmp_path):
    path = tmp_path / "net-12345678.pth"
    path.write_bytes(b"not that")
    with pytest.raises(DownloadError, match="not 12345678"):
        fetch("https://example.org/net-12345678.pth", path)


@pytest.fixture
def hub(server, monkeypatch):
    """A hub that nobody has asked before; its address."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    return server


def test_published_weights_come_from_the_hub_with_their_hash(hub, tmp_path):
    """The whole way: address, redirect, hash, cache, timm's loader, the record."""
    file = tmp_path / "model.safetensors"
    net = timm.create_model("resnet10t")
    save_file(net.state_dict(), file)
    page = "/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    Server.files["/bucket"] = file.read_bytes()
    Server.redirects[page], Server.hashes[page] = "/bucket", digest
    for pretrained in (True, "c3_in1k"):
        backbone = create_backbone("resnet10t", pretrained=pretrained)
        assert torch.equal(backbone.net.conv1[0].weight, net.conv1[0].weight)
        loaded = find_loaded(backbone)
        assert (loaded.source, loaded.sha256) == (hub + page, digest)
    assert Server.asked == [page, "/bucket"]


def test_a_pickle_from_the_network_is_refused_and_not_run(hub, tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "evil.bin"
    torch.save(Evil(canary), path)
    page = "/timm/resnet10t.c3_in1k/resolve/main/pytorch_model.bin"  # no .safetensors beside it
    Server.files[page] = path.read_bytes()
    with pytest.raises(InputError, match=r"pytorch_model\.bin' cannot be loaded"):
        create_backbone("resnet10t", pretrained=True)
    assert not canary.exists()


def publish(tmp_path, config):
    """Put ResNet10-T on the hub as someone/net, version v1; return its page and sha256."""
    file = tmp_path / "published.safetensors"
    save_file(timm.create_model("resnet10t").state_dict(), file)
    page, digest = "/someone/net/resolve/v1/", hashlib.sha256(file.read_bytes()).hexdigest()
    Server.files["/bucket"] = file.read_bytes()
    Server.files[f"{page}config.json"] = json.dumps(config).encode()
    Server.redirects[f"{page}model.safetensors"] = "/bucket"
    Server.hashes[f"{page}model.safetensors"] = digest
    return page, digest


def test_a_repository_of_the_hub_is_named_by_its_owner_and_version(hub, tmp_path):
    said = {"license": "mit", "source": "photographs", "pretrained_cfg": {"mean": IMAGENET_MEAN}}
    page, digest = publish(tmp_path, said)
    name = "hf-hub:someone/net@v1"
    assert find_hub_digest(name) == digest  # enters a run's id; nothing but a head was asked for
    kept = tmp_path / "torch" / "hub" / "checkpoints"
    assert not kept.exists()
    for _ in range(2):
        loaded = find_loaded(create_backbone("resnet10t", pretrained=name))
        assert (loaded.source, loaded.sha256) == (f"{hub}{page}model.safetensors", digest)
        assert (loaded.licence, loaded.origin) == ("mit", "photographs")
    assert Server.asked.count("/bucket") == 2  # for its digest, and once for its bytes
    names = {path.name for path in kept.iterdir()}
    assert names == {f"someone--net--v1--{name}" for name in ("config.json", "model.safetensors")}


def test_a_repository_whose_weights_want_other_images_is_refused(hub, tmp_path):
    publish(tmp_path, {"pretrained_cfg": {"mean": [0.5, 0.5, 0.5]}})
    with pytest.raises(InputError, match=r"0\.5, 0\.5, 0\.5"):
        create_backbone("resnet10t", pretrained="hf-hub:someone/net@v1")


def test_a_repository_that_cannot_be_had_says_where_its_file_belongs(hub, tmp_path, monkeypatch):
    name = "hf-hub:nobody/net"
    with pytest.raises(InputError, match=r"404.*nobody--net--model\.safetensors"):
        create_backbone("resnet10t", pretrained=name)
    assert find_hub_digest(name) is None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    asked = len(Server.asked)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE forbids"):
        create_backbone("resnet10t", pretrained=name)
    assert find_hub_digest(name) is None
    assert len(Server.asked) == asked
    with pytest.raises(InputError, match="hf-hub:OWNER/NAME@REVISION"):
        create_backbone("resnet10t", pretrained="hf-hub:nobody")
