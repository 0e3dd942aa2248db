"""What belongs together: told by the folder or the names, kept beside the pack and with counts."""

import numpy as np
import pytest
from small_datasets import open_folder

from bench.data.packs.groups import GROUPS
from bench.data.packs.pack import open_pack, pack
from bench.run.evaluate import Evaluation, save_evaluation
from fcn.errors import InputError


def test_a_line_for_each_image_or_one_pattern_says_the_group(folder):
    assert open_folder(folder).groups == {}
    (folder / "groups.txt").write_text("a clip 1\nb clip_2\nc 3\nd 3\nunlisted 4\n")
    with pytest.raises(InputError, match="gives no group to 'a'"):
        open_folder(folder)  # 'a clip' is another stem: a group is the last word
    (folder / "groups.txt").write_text("a 1\nb 2\nc 3\nd 3\nunlisted 4\n")
    told = open_folder(folder)
    assert told.groups["train", "a"] == "1"
    assert told.groups["test", "d"] == "3"
    (folder / "groups.txt").write_text("pattern: [ab]|(c|d)\n")
    with pytest.raises(InputError, match="gives no group to 'a' and 1 more"):
        open_folder(folder)
    (folder / "groups.txt").write_text("pattern: ^.\n")
    assert open_folder(folder).groups["val", "c"] == "c"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1\nb\n", "has the line 'b'; write STEM GROUP"),
        ("a 1\na 2\nb 1\nc 1\nd 1\n", "puts 'a' into two groups"),
        ("pattern: (", "no regular expression"),
        ("a 1\n", "gives no group to 'b' and 2 more"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(folder, text, said):
    (folder / "groups.txt").write_text(text)
    with pytest.raises(InputError, match=r"groups\.txt") as caught:
        open_folder(folder)
    assert said in str(caught.value)


def test_groups_move_no_fingerprint_and_a_pack_learns_of_them_later(folder, tmp_path):
    before = pack(open_folder(folder), tmp_path)
    assert before.groups("train") == []
    (folder / "groups.txt").write_text("pattern: .\n")
    after = pack(open_folder(folder), tmp_path)
    assert after.folder == before.folder
    assert after.groups("train") == ["a", "b"]
    (folder / "groups.txt").write_text("a x\nb x\nc x\nd x\n")
    assert pack(open_folder(folder), tmp_path).groups("train") == ["x", "x"]
    (after.folder / GROUPS).write_text("{")
    with pytest.raises(InputError, match="delete it"):
        open_pack(tmp_path, after.fingerprint).groups("train")


def test_a_clip_of_camvid_is_a_group(make_dataset):
    dataset = make_dataset("camvid")
    assert dataset.groups["train", "a"] == "a"
    assert set(dataset.groups) == {(s, n) for s, names in dataset.splits.items() for n in names}


def test_groups_are_saved_with_the_counts(tmp_path):
    evaluation = Evaluation(["p", "q"], np.ones((2, 3, 3), np.int32), {})
    save_evaluation(tmp_path / "test.npz", evaluation, ["one", "other"])
    assert np.load(tmp_path / "test.npz")["groups"].tolist() == ["one", "other"]
    save_evaluation(tmp_path / "none.npz", evaluation)
    assert "groups" not in np.load(tmp_path / "none.npz")
