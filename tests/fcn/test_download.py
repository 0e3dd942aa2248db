"""Downloads that break: gone on with where that is right, begun again where it is not."""

import hashlib
import shutil
import ssl
import subprocess
import threading

import pytest
from serving import serve

from fcn.download import DownloadError, OfflineError, Wanted, announced_hash, fetch, reach

CONTENT = bytes(range(256)) * 4000
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def site():
    with serve({"/data.tar": CONTENT, "/other.tar": CONTENT}) as served:
        served.address += "/data.tar"
        yield served


def break_off(site, path, dies="cut"):
    site.dies = dies
    with pytest.raises(DownloadError, match="the connection broke after"):
        fetch(site.address, path, Wanted(SHA256))
    site.dies = False
    assert not path.exists()


@pytest.mark.parametrize("dies", ["cut", "reset"])
@pytest.mark.parametrize("mark", [{"ETag": '"one"'}, {"Last-Modified": "Mon, 01 Jan 2024"}])
def test_what_broke_off_is_gone_on_with(site, tmp_path, dies, mark):
    site.marks = mark
    break_off(site, tmp_path / "data.tar", dies)
    told = []
    path = fetch(
        site.address, tmp_path / "data.tar", Wanted(SHA256), lambda *both: told.append(both)
    )
    assert path.read_bytes() == CONTENT
    (_, asked, version) = site.asked[-1]
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= len(CONTENT) // 2
    assert version == next(iter(mark.values()))
    assert told[0][0] > start
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in tmp_path.iterdir()] == ["data.tar"]


def test_a_server_that_sends_all_again_is_believed(site, tmp_path):
    break_off(site, tmp_path / "data.tar")
    site.honours = False
    assert fetch(site.address, tmp_path / "data.tar", Wanted(SHA256)).read_bytes() == CONTENT


def test_parts_of_two_versions_are_never_put_together(site, tmp_path):
    break_off(site, tmp_path / "data.tar")
    site.contents["/data.tar"], site.marks = b"x" * len(CONTENT), {"ETag": '"two"'}
    assert fetch(site.address, tmp_path / "data.tar").read_bytes() == b"x" * len(CONTENT)
    assert site.asked[-1][2] == '"one"'


def test_nothing_is_kept_of_a_file_whose_version_nobody_can_tell(site, tmp_path):
    site.marks = {"ETag": 'W/"weak"'}
    break_off(site, tmp_path / "data.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_address_is_not_gone_on_with(site, tmp_path):
    break_off(site, tmp_path / "data.tar")
    other = site.address.replace("data", "other")
    assert fetch(other, tmp_path / "data.tar", Wanted(SHA256)).read_bytes() == CONTENT
    assert site.asked[-1] == ("/other.tar", None, None)


def test_a_part_that_is_longer_than_the_file_is_begun_again(site, tmp_path):
    break_off(site, tmp_path / "data.tar")
    with (tmp_path / ".data.tar.part").open("ab") as part:
        part.write(CONTENT)
    assert fetch(site.address, tmp_path / "data.tar", Wanted(SHA256)).read_bytes() == CONTENT
    assert [asked[1] is None for asked in site.asked] == [True, False, True]


def test_bytes_that_do_not_follow_are_refused_and_forgotten(site, tmp_path):
    break_off(site, tmp_path / "data.tar")
    site.off_by = 1
    with pytest.raises(DownloadError, match="another part of the file"):
        fetch(site.address, tmp_path / "data.tar")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("says_length", [True, False])
@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted("sha256:" + "0" * 64), "its sha256 is .*, not 000"),
        (Wanted("md5:" + "0" * 32), "its md5 is .*, not 000"),
        (Wanted(SHA256, size=5), "it has 1024000 bytes, not 5"),
        (Wanted(limit=1000), "more than the 1000 bytes"),
    ],
)
def test_another_file_than_is_wanted_leaves_nothing(site, tmp_path, wanted, said, says_length):
    site.says_length = says_length
    with pytest.raises(DownloadError, match=said):
        fetch(site.address, tmp_path / "data.tar", wanted)
    assert list(tmp_path.iterdir()) == []


def test_what_is_wanted_comes_and_is_asked_for_once(site, tmp_path):
    wanted = Wanted(MD5, size=len(CONTENT))
    for _ in range(2):
        assert fetch(site.address, tmp_path / "data.tar", wanted).read_bytes() == CONTENT
    assert len(site.asked) == 1
    (tmp_path / "data.tar").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DownloadError, match="its md5 is"):  # a file that is here is looked at too
        fetch(site.address, tmp_path / "data.tar", wanted)


@pytest.mark.parametrize("target", ["http://example.org/x", "file:///etc/hostname", "ftp://h/x"])
def test_a_redirect_leads_to_no_other_kind_of_address(site, tmp_path, target):
    site.redirects["/data.tar"] = target
    with pytest.raises(DownloadError, match=r"not https|not allowed"):
        fetch(site.address, tmp_path / "data.tar")
    assert list(tmp_path.iterdir()) == []


def test_two_may_fetch_the_same(site, tmp_path):
    """The second finds the part taken, and makes one of its own."""
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(fetch(site.address, tmp_path / "data.tar")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["data.tar"]
    assert (tmp_path / "data.tar").read_bytes() == CONTENT


def test_a_link_in_the_place_of_a_part_is_not_followed(site, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".data.tar.part").symlink_to(precious)
    with pytest.raises(OSError, match=r"\.data\.tar\.part"):
        fetch(site.address, tmp_path / "in" / "data.tar")
    assert precious.read_bytes() == b"mine"


def test_offline_nobody_is_asked(site, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for ask in (
        lambda: fetch(site.address, tmp_path / "data.tar"),
        lambda: reach(site.address, tmp_path / "data.tar"),
        lambda: announced_hash(site.address),
    ):
        with pytest.raises(OfflineError, match="HF_HUB_OFFLINE"):
            ask()
    assert site.asked == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_https_is_spoken_with_whom_the_system_trusts_alone(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            *subject,
            *files,
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serve({"/data.tar": CONTENT}, tls) as site:
        address = f"{site.address}/data.tar"
        with pytest.raises(DownloadError, match="certificate verify failed"):
            fetch(address, tmp_path / "data.tar")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(address, tmp_path / "data.tar", Wanted(SHA256)).read_bytes() == CONTENT
        site.redirects["/data.tar"] = "http://example.org/data.tar"  # to what is not encrypted
        with pytest.raises(DownloadError, match="is not https"):
            fetch(address, tmp_path / "again.tar")
