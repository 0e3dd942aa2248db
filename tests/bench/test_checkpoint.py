"""Checkpoints by themselves: whatever happens to their bytes, no wrong value is ever loaded."""

import json

import pytest
import torch
from torch import nn

from bench.run.checkpoint import NUM_KEPT, load_checkpoint, remove_checkpoints, save_checkpoint
from bench.run.optim import create_optimizer
from bench.spec import TrainSpec
from bench.store.runs import EXACT_KEYS

HERE = dict.fromkeys(EXACT_KEYS, "this")


class Training:
    """A layer that has learned something else at each step."""

    def __init__(self):
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.optimizer = create_optimizer(self.layer, TrainSpec(steps=9))

    def step(self):
        self.optimizer.zero_grad()
        self.layer(torch.ones(1, 3)).sum().backward()
        self.optimizer.step()

    def state(self):
        momenta = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        return torch.cat([t.flatten() for t in (*self.layer.parameters(), *momenta)])


@pytest.fixture
def saved(tmp_path):
    """Save checkpoints of steps 1 to 4; return their folder, and the state after each step."""
    training, states = Training(), {}
    for step in range(1, 5):
        training.step()
        states[step] = training.state().clone()
        save_checkpoint(tmp_path, training.layer, training.optimizer, step, HERE)
    return tmp_path, states


def load(folder, environment=HERE):
    training = Training()
    resumed = load_checkpoint(folder, training.layer, training.optimizer, environment)
    return resumed, training.state() if resumed.step else None


def newest(folder, suffix):
    return max(folder.glob(f"checkpoint-*{suffix}"))


def test_the_last_two_are_kept_and_the_newest_is_loaded(saved):
    folder, states = saved
    names = {path.name for path in folder.iterdir()}
    assert names == {
        f"checkpoint-{step:09d}{end}" for step in (3, 4) for end in (".json", ".safetensors")
    }
    assert NUM_KEPT == 2
    resumed, state = load(folder)
    assert (resumed.step, resumed.notes) == (4, ())
    assert torch.equal(state, states[4])


@pytest.mark.parametrize(("suffix", "stride"), [(".json", 2), (".safetensors", 7)])
def test_no_flipped_bit_is_taken_for_a_value(saved, suffix, stride):
    """All over the file: the older one is loaded, or what was changed means nothing."""
    folder, states = saved
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    damaged, harmless = newest(folder, suffix), 0
    for byte in range(0, len(whole[damaged]), stride):
        for path, content in whole.items():
            path.write_bytes(content)
        content = bytearray(whole[damaged])
        content[byte] ^= 1 << byte // stride % 8
        damaged.write_bytes(content)
        resumed, state = load(folder)
        assert torch.equal(state, states[resumed.step])
        if resumed.step == 4:  # space between values, of which JSON knows several kinds
            assert resumed.notes == ()
            harmless += 1
            continue
        assert resumed.step == 3
        assert f"checkpoint {damaged.stem} was damaged" in resumed.notes[0]
        assert not damaged.exists()
        assert (folder / "quarantine" / damaged.name).read_bytes() == content
    assert harmless < 10 if suffix == ".json" else harmless == 0


@pytest.mark.parametrize("keep", [0, 1, -1])
def test_nothing_is_left_but_damage_so_training_starts_again(saved, keep):
    """Both checkpoints emptied, or cut: recorded, one note for each."""
    folder, _ = saved
    for path in folder.glob("checkpoint-*.safetensors"):
        path.write_bytes(path.read_bytes()[:keep])
    resumed, _ = load(folder)
    assert resumed.step == 0
    assert [note.split()[1] for note in resumed.notes] == [
        "checkpoint-000000004",
        "checkpoint-000000003",
    ]
    assert len(list((folder / "quarantine").iterdir())) == 4
    assert not list(folder.glob("checkpoint-*"))


def test_nothing_is_left_of_a_finished_run(saved):
    """Also where a kill came between a manifest's end and that of its tensors."""
    folder, _ = saved
    (folder / "checkpoint-000000001.safetensors").write_bytes(b"left")
    (folder / "checkpoint-of-mine.safetensors").write_bytes(b"mine")
    remove_checkpoints(folder)
    assert [path.name for path in folder.iterdir()] == ["checkpoint-of-mine.safetensors"]


def test_tensors_without_a_manifest_are_no_checkpoint(saved):
    """Killed between the two: what is written last makes it one."""
    folder, _ = saved
    newest(folder, ".json").unlink()
    assert load(folder)[0].step == 3


@pytest.mark.parametrize("key", EXACT_KEYS)
def test_what_changes_bits_is_recorded_and_noted(saved, key):
    folder, states = saved
    assert json.loads(newest(folder, ".json").read_bytes())["environment"] == HERE
    resumed, state = load(folder, {**HERE, key: "other"})
    assert resumed.notes == (f"resumed inexactly at step 4: {key} 'this' -> 'other'",)
    assert torch.equal(state, states[4])
