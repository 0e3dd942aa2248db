"""Published sets fetched: from a server of this machine, since no publisher's is reached here."""

import hashlib
import io
import re
import tarfile
import zipfile
from dataclasses import replace

import pytest
import torchvision.datasets
from serving import serve
from small_datasets import write_camvid, write_pets
from typer.testing import CliRunner

from bench.cli.data import data_app
from bench.data.fetching.fetch import content_digest, fetch_dataset
from bench.data.fetching.published import PUBLISHED
from bench.data.registry import DATASETS, open_dataset
from bench.spec import DataSpec
from fcn.download import Wanted
from fcn.errors import InputError


def tar_gz(root, *folders):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for folder in folders:
            tar.add(root / folder, folder)
    return file.getvalue()


def zip_below(root, top):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("README", "not wanted")
        for path in sorted(root.rglob("*.*")):
            opened.write(path, f"{top}/{path.relative_to(root).as_posix()}")
    return file.getvalue()


def known(content):
    return Wanted("sha256:" + hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """A server of a small copy of Oxford Pets, known as the real one is."""
    root = write_pets(tmp_path / "made")
    contents = {f"/{name}.tar.gz": tar_gz(root, name) for name in ("images", "annotations")}
    with serve(contents) as site:
        published = PUBLISHED["pets"]
        archives = tuple(
            replace(one, address=site.address + path, wanted=known(contents[path]))
            for one, path in zip(published.archives, contents, strict=True)
        )
        monkeypatch.setitem(PUBLISHED._parts, "pets", replace(published, archives=archives))
        yield site


def test_it_is_fetched_once_and_opens(pets, tmp_path):
    told = []
    place = fetch_dataset("pets", tmp_path / "data", progress=lambda *all: told.append(all))
    dataset = open_dataset(DataSpec(dataset="pets"), tmp_path / "data")
    assert dataset.root == place == tmp_path / "data" / "oxford-iiit-pet"
    assert dataset.splits == {"train": ("Abyssinian_1", "beagle_2"), "test": ("pug_3",)}
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["oxford-iiit-pet"]
    assert {name for name, *_ in told} == {"images.tar.gz", "annotations.tar.gz"}
    before = content_digest(place)
    with pytest.raises(InputError, match="is there already, and nothing is written over"):
        fetch_dataset("pets", tmp_path / "data")
    assert (len(pets.asked), content_digest(place)) == (2, before)


def test_the_command_says_where_it_is_and_whose(pets, tmp_path):
    ran = CliRunner().invoke(
        data_app, ["fetch", "pets", "--data", str(tmp_path), "--keep-archives"]
    )
    assert ran.exit_code == 0, ran.output
    assert "CC BY-SA 4.0" in ran.output
    assert "train: 2 images, test: 1 image" in ran.output
    kept = {p.name for p in (tmp_path / "oxford-iiit-pet.part" / "downloaded").iterdir()}
    assert kept == {"images.tar.gz", "annotations.tar.gz"}


def test_what_broke_off_is_gone_on_with(pets, tmp_path):
    pets.dies = True
    with pytest.raises(InputError, match=r"broke after .* The same command goes on with what has"):
        fetch_dataset("pets", tmp_path)
    assert not (tmp_path / "oxford-iiit-pet").exists()
    pets.dies = False
    fetch_dataset("pets", tmp_path)
    assert [asked and int(asked[6:-1]) > 0 for _, asked, _ in pets.asked] == [None, True, None]


@pytest.mark.parametrize("fault", ["bytes", "size", "missing", "http"])
def test_what_is_not_the_published_file_is_not_unpacked(pets, tmp_path, fault):
    path = "/annotations.tar.gz"
    content = pets.contents[path]
    if fault == "bytes":
        pets.contents[path] = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
    if fault == "size":
        pets.contents[path] = content + b"\0"
    if fault == "missing":
        del pets.contents[path]
    if fault == "http":
        pets.redirects[path] = "http://example.org/annotations.tar.gz"
    said = {"bytes": "sha256 is", "size": "it has .* bytes, not", "missing": "404"}
    with pytest.raises(InputError, match=said.get(fault, "is not https")):
        fetch_dataset("pets", tmp_path)
    (place,) = tmp_path.glob("oxford-iiit-pet*")
    left = [p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()]
    assert left == ["downloaded/images.tar.gz"]


def test_an_archive_that_leads_elsewhere_leaves_nothing_of_it(pets, tmp_path, monkeypatch):
    """One that has the digest that is known, for digests say nothing of what is in a file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("annotations/list.txt"))
        tar.addfile(tarfile.TarInfo("../../../escaped"))
    pets.contents["/annotations.tar.gz"] = file.getvalue()
    published = PUBLISHED["pets"]
    images, annotations = published.archives
    evil = (images, replace(annotations, wanted=known(file.getvalue())))
    monkeypatch.setitem(PUBLISHED._parts, "pets", replace(published, archives=evil))
    with pytest.raises(InputError, match=r"'\.\./\.\./\.\./escaped', which is no name"):
        fetch_dataset("pets", tmp_path / "a" / "b" / "c")
    assert not list(tmp_path.rglob("escaped"))
    assert not list(tmp_path.rglob("oxford-iiit-pet"))
    assert not list(tmp_path.rglob("unpacked*"))


def test_an_archive_made_anew_for_each_is_known_by_its_files(tmp_path, monkeypatch):
    root = write_camvid(tmp_path / "made")
    published = PUBLISHED["camvid"]
    (one,) = published.archives
    path = "/archive.zip"
    with serve({path: zip_below(root, one.inside)}) as site:
        archive = replace(one, address=site.address + path)
        served = replace(published, archives=(archive,), content=content_digest(root))
        monkeypatch.setitem(PUBLISHED._parts, "camvid", served)
        fetch_dataset("camvid", tmp_path / "data")
        assert open_dataset(DataSpec(dataset="camvid"), tmp_path / "data").splits["train"]
        (root / "train.txt").write_text("changed")
        site.contents[path] = zip_below(root, one.inside)
        file = tmp_path / "again" / "camvid.part" / "downloaded" / "archive.zip"
        for content in (None, b"no archive"):
            if content:
                file.write_bytes(content)
            with pytest.raises(InputError, match=f"Delete {file}, and the same command"):
                fetch_dataset("camvid", tmp_path / "again")
            assert not (tmp_path / "again" / "camvid").exists()


def test_offline_it_says_so_and_takes_a_file_that_is_put_there(pets, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE .* put it at (.*), and give"):
        fetch_dataset("pets", tmp_path)
    put = {tmp_path / "oxford-iiit-pet.part" / path[1:]: c for path, c in pets.contents.items()}
    for path, content in put.items():
        path.write_bytes(content[:-1])
        with pytest.raises(InputError, match=rf"it has .* bytes, not .*\. Delete {path}, and the"):
            fetch_dataset("pets", tmp_path)
        path.write_bytes(content)
    fetch_dataset("pets", tmp_path)
    assert pets.asked == []
    assert {path: path.read_bytes() for path in put} == put  # what somebody put there stays theirs


def test_too_little_room_is_said_first(pets, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 100}))
    with pytest.raises(InputError, match="100 B are free"):
        fetch_dataset("pets", tmp_path)
    assert pets.asked == []


@pytest.mark.parametrize(
    ("name", "said"), [("pest", "did you mean 'pets'"), ("cityscapes", "asks for a login")]
)
def test_what_is_not_served_is_said(tmp_path, name, said):
    ran = CliRunner().invoke(data_app, ["fetch", name, "--data", str(tmp_path)])
    assert isinstance(ran.exception, InputError)
    assert said in str(ran.exception)


class TestCatalogue:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_each_comes_by_https_and_is_known(self, name):
        published = PUBLISHED[name]
        assert not published.folder.startswith("/")
        assert published.terms
        assert all(other in PUBLISHED for other in published.beside)
        for one in published.archives:
            assert one.address.startswith("https://")
            assert one.wanted.limit <= 4 * 2**30 or one.wanted.size
            if not published.content:
                assert re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", one.wanted.digest)

    @pytest.mark.parametrize("name", [name for name in PUBLISHED if name in DATASETS])
    def test_it_goes_where_its_loader_looks(self, name, tmp_path):
        """Which says, where it is not there, how it is fetched; and what else, where it is."""
        for folder in (tmp_path, None):
            with pytest.raises(InputError, match=f"`fcn-bench data fetch {name} --data") as said:
                open_dataset(DataSpec(dataset=name), folder)
        assert str(tmp_path) not in str(said.value)

    def test_addresses_and_digests_are_those_of_torchvision(self):
        voc = torchvision.datasets.voc.DATASET_YEAR_DICT
        theirs = {
            "voc2011": [(voc["2011"]["url"], voc["2011"]["md5"])],
            "sbd": [(torchvision.datasets.SBDataset.url, torchvision.datasets.SBDataset.md5)],
            "voc2012": [(voc["2012"]["url"], voc["2012"]["md5"])],
            "pets": torchvision.datasets.OxfordIIITPet._RESOURCES,
        }
        for name, files in theirs.items():
            for one, (address, md5) in zip(PUBLISHED[name].archives, files, strict=True):
                # The host of some has another name in other versions of torchvision.
                assert one.address.rpartition("/")[2] == address.rpartition("/")[2]
                if one.wanted.digest.startswith("md5:"):
                    assert one.wanted.digest == f"md5:{md5}"
