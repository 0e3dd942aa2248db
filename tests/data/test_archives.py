"""Archives that lead elsewhere, pretend, or grow: each is refused, and nothing lies outside."""

import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from bench.data.fetching.archives import Limits, unpack
from fcn.errors import InputError

BAD_NAMES = [
    "../x",
    "a/../../x",
    "/tmp/x",
    "C:\\x",
    "a\\..\\x",
    "a//b",
    "a\x1b[2Jb",
    "n" * 300,
    "a/./b",
    "a\u202eb",
    "..",
]


def tar_of(path, members, mode="w"):
    """Write a tar of (name or TarInfo, content)."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return path


def typed(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def outside(tmp_path):
    """Everything beside the folder that is unpacked into, before and after."""

    def listing():
        return sorted(p for p in tmp_path.rglob("*") if tmp_path / "to" not in (p, *p.parents))

    return listing


WRITERS = {
    "tar": tar_of,
    "tar.gz": lambda path, members: tar_of(path, members, "w:gz"),
    "zip": zip_of,
}


@pytest.mark.parametrize("kind", WRITERS)
class TestAnyArchive:
    def test_what_is_wanted_arrives_and_the_rest_is_passed_over(self, tmp_path, kind):
        members = [("top/in/a.txt", b"a"), ("top/in/b/c.txt", b"c" * 5000), ("top/out.txt", b"o")]
        archive = WRITERS[kind](tmp_path / "it", members)
        assert unpack(archive, tmp_path / "to", inside="top/in") == 2
        found = {p.relative_to(tmp_path / "to").as_posix() for p in (tmp_path / "to").rglob("*.*")}
        assert found == {"a.txt", "b/c.txt"}
        assert (tmp_path / "to" / "b" / "c.txt").read_bytes() == b"c" * 5000

    @pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
    def test_a_name_that_leads_elsewhere_is_refused(self, tmp_path, outside, kind, name):
        archive = WRITERS[kind](tmp_path / "it", [(name, b"x")])
        before = outside()
        with pytest.raises(InputError, match="is no name for a file here"):
            unpack(archive, tmp_path / "to")
        assert outside() == before

    @pytest.mark.parametrize(
        "names",
        [("a", "a"), ("Dir/a", "dir/A"), ("\u00e9", "e\u0301"), ("./a", "a")],
        ids=ascii,
    )
    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_name_stands_once(self, tmp_path, kind, names):
        archive = WRITERS[kind](tmp_path / "it", [(name, b"x") for name in names])
        with pytest.raises(InputError, match="is there twice"):
            unpack(archive, tmp_path / "to")

    def test_a_file_is_no_folder_too(self, tmp_path, kind):
        archive = WRITERS[kind](tmp_path / "it", [("a", b"x"), ("a/b", b"y")])
        with pytest.raises(InputError, match="a file and a folder at once"):
            unpack(archive, tmp_path / "to")

    def test_too_many_files_are_refused(self, tmp_path, kind):
        archive = WRITERS[kind](tmp_path / "it", [(f"{i}", b"") for i in range(11)])
        assert unpack(archive, tmp_path / "some", limits=Limits(files=11)) == 11
        with pytest.raises(InputError, match="more than 10 files"):
            unpack(archive, tmp_path / "to", limits=Limits(files=10))

    def test_too_many_bytes_are_refused_before_they_are_written(self, tmp_path, kind):
        archive = WRITERS[kind](tmp_path / "it", [("a", b"\0" * 3_000_000), ("b", b"\0" * 10)])
        with pytest.raises(InputError, match="comes to more than"):
            unpack(archive, tmp_path / "to", limits=Limits(bytes=2_999_999))
        assert not (tmp_path / "to").exists()

    def test_a_cut_archive_is_damaged(self, tmp_path, kind):
        archive = WRITERS[kind](tmp_path / "it", [("a", os.urandom(50_000)), ("b", b"b")])
        archive.write_bytes(archive.read_bytes()[:30_000])
        with pytest.raises(InputError, match="is damaged"):
            unpack(archive, tmp_path / "to")

    def test_nothing_is_written_over(self, tmp_path, kind):
        archive = WRITERS[kind](tmp_path / "it", [("a", b"theirs")])
        (tmp_path / "to").mkdir()
        (tmp_path / "to" / "a").write_bytes(b"mine")
        with pytest.raises(InputError, match="holds 'a'"):
            unpack(archive, tmp_path / "to")
        assert (tmp_path / "to" / "a").read_bytes() == b"mine"

    def test_a_link_in_the_folder_is_not_written_through(self, tmp_path, kind):
        """No archive can make one: it would have to be there before."""
        archive = WRITERS[kind](tmp_path / "it", [("a", b"theirs")])
        (tmp_path / "precious").write_bytes(b"mine")
        (tmp_path / "to").mkdir()
        (tmp_path / "to" / "a").symlink_to(tmp_path / "precious")
        with pytest.raises(InputError):
            unpack(archive, tmp_path / "to")
        assert (tmp_path / "precious").read_bytes() == b"mine"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, outside, mode, kind):
    """A link alone, and one through which the next file would be written."""
    (tmp_path / "elsewhere").mkdir()
    link = typed("d", kind, str(tmp_path / "elsewhere"))
    archive = tar_of(tmp_path / "it", [(link, b""), ("d/x", b"x")], mode)
    before = outside()
    with pytest.raises(InputError, match="'d', which is neither a file nor a folder"):
        unpack(archive, tmp_path / "to")
    assert outside() == before


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    info = zipfile.ZipInfo("d")
    info.external_attr = (kind | 0o777) << 16
    archive = zip_of(tmp_path / "it", [(info, b"/etc"), ("d/x", b"x")])
    with pytest.raises(InputError, match="'d', which is neither a file nor a folder"):
        unpack(archive, tmp_path / "to")


def test_modes_and_owners_of_an_archive_are_not_taken_over(tmp_path):
    info = tarfile.TarInfo("run")
    info.mode, info.uid = 0o6777, 12345
    unpack(tar_of(tmp_path / "it", [(info, b"x")]), tmp_path / "to")
    found = (tmp_path / "to" / "run").stat()
    assert (stat.S_IMODE(found.st_mode) & 0o7111, found.st_uid) == (0, os.getuid())


class TestBombs:
    def test_a_zip_of_zeros(self, tmp_path):
        archive = zip_of(tmp_path / "it", [(f"{i}", b"\0" * 30_000_000) for i in range(6)])
        assert archive.stat().st_size < 200_000
        with pytest.raises(InputError, match=r"comes to more than 100\.0 MiB"):
            unpack(archive, tmp_path / "to")

    def test_a_compressed_tar_of_zeros(self, tmp_path):
        with gzip.open(tmp_path / "it", "wb", compresslevel=1) as file:
            file.write(header("a", 400_000_000))
            for _ in range(400):
                file.write(b"\0" * 1_000_000)
        with pytest.raises(InputError, match="comes to more than"):
            unpack(tmp_path / "it", tmp_path / "to")
        assert not (tmp_path / "to").exists()

    def test_one_that_is_passed_over_counts_too(self, tmp_path):
        with gzip.open(tmp_path / "it", "wb", compresslevel=1) as file:
            file.write(header("other/a", 400_000_000))
        with pytest.raises(InputError, match="comes to more than"):
            unpack(tmp_path / "it", tmp_path / "to", inside="mine")

    @pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
    def test_a_name_that_would_fill_memory(self, tmp_path, kind):
        """tarfile reads a long name, and notes, whole: a gigabyte of them from a megabyte."""
        with gzip.open(tmp_path / "it", "wb", compresslevel=1) as file:
            file.write(header("a", 2**30, kind))
            file.write(b"x" * 1_000_000)
        with pytest.raises(InputError, match="comes to more than"):
            unpack(tmp_path / "it", tmp_path / "to")

    def test_a_file_of_holes(self, tmp_path):
        """GNU's sparse files: 512 bytes in a tar that come to eight gigabytes of zeros."""
        with (tmp_path / "it").open("wb") as file:
            file.write(sparse_header("a", 8 * 2**30 - 1))
            file.write(b"\0" * 1024)
        with pytest.raises(InputError, match=r"neither a file nor a folder|comes to more"):
            unpack(tmp_path / "it", tmp_path / "to")

    def test_a_zip_whose_sizes_lie(self, tmp_path):
        archive = zip_of(tmp_path / "it", [("a", b"\0" * 5_000_000)])
        content = archive.read_bytes()
        # The size of the content as both records of it say it, made ten bytes.
        archive.write_bytes(content.replace(struct.pack("<L", 5_000_000), struct.pack("<L", 10)))
        with pytest.raises(InputError):
            unpack(archive, tmp_path / "to")
        assert not list(tmp_path.glob("to/**/*")) or (tmp_path / "to" / "a").stat().st_size <= 11


def test_a_zip_that_asks_for_a_password_or_another_method_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "it", "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("a", b"x")
    with pytest.raises(InputError, match="encrypted, or packed in an unusual way"):
        unpack(tmp_path / "it", tmp_path / "to")


def test_a_name_that_a_zip_hides_behind_a_nul_is_refused(tmp_path):
    archive = zip_of(tmp_path / "it", [("a.txtQ.sh", b"x")])
    archive.write_bytes(archive.read_bytes().replace(b"a.txtQ.sh", b"a.txt\0.sh"))
    with pytest.raises(InputError, match="is no name for a file here"):
        unpack(archive, tmp_path / "to")


def test_a_head_that_is_damaged_is_no_end(tmp_path):
    """tarfile ends at the first head that it cannot read, without a word."""
    archive = tar_of(tmp_path / "it", [("a", b"a"), ("b", b"b")])
    content = bytearray(archive.read_bytes())
    content[1024 + 150] ^= 1  # in the checksum of b's head
    archive.write_bytes(content)
    with pytest.raises(InputError, match="no file's head at byte 1024"):
        unpack(archive, tmp_path / "to")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 nothing", b"\x1f\x8bnothing"])
def test_what_is_no_archive_is_said(tmp_path, content):
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged, or no tar or zip|holds no file"):
        unpack(tmp_path / "it", tmp_path / "to")


def test_a_folder_that_is_not_in_it_is_said(tmp_path):
    archive = tar_of(tmp_path / "it", [("a", b"a")])
    with pytest.raises(InputError, match="holds no file below top"):
        unpack(archive, tmp_path / "to", inside="top")


def header(name, size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def sparse_header(name, real_size):
    """A head of GNU's first kind of sparse file: one piece of 512 bytes at the end."""
    head = bytearray(header(name, 512, tarfile.GNUTYPE_SPARSE))
    place = b"%011o\0" % (real_size - 512)
    head[386:410] = place + b"%011o\0" % 512
    head[483:495] = b"%011o\0" % real_size
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)
