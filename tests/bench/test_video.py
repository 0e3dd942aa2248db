"""Videos as images: frames are those that were put in, whole, in order and as they are shown."""

import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli.predictions import predict_files
from bench.run.execute import Options, execute
from bench.run.images import find_images
from bench.run.video import Frames, count_frames
from fcn.errors import InputError

av = pytest.importorskip("av")

CPU = torch.device("cpu")
SIDEWAYS = (0, 1, 0, -1, 0, 0, 0, 0, 1 << 14)
"""The matrix of a phone held upright: what is shown is turned by a quarter, clockwise. The first
eight numbers are in units of 2**-16, the last in units of 2**-30 (ISO/IEC 14496-12, 8.3.2)."""


def draw(num_frames=3, height=48, width=64):
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (num_frames, height, width, 3), dtype=np.uint8)


def write_video(path, frames, codec="ffv1", pixels="bgr0"):
    """Write frames, by a codec that loses nothing unless another is named."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def test_each_frame_is_read_as_it_was_written(tmp_path):
    drawn = draw(5)
    write_video(tmp_path / "a.mkv", drawn)
    assert count_frames(tmp_path / "a.mkv") == 5
    frames = Frames(tmp_path / "a.mkv")
    for number in (0, 1, 3, 4, 2):  # also backwards, and over one
        np.testing.assert_array_equal(frames.read(number), drawn[number])
    with pytest.raises(InputError, match="ends before its frame 6"):
        frames.read(5)


def test_a_video_of_a_phone_is_turned_as_it_is_shown(tmp_path):
    """Its left half is dark as it lies in the file; turned clockwise, that is the upper half."""
    path = tmp_path / "phone.mp4"
    frame = np.full((1, 48, 64, 3), 200, np.uint8)
    frame[:, :, :32] = 20
    write_video(path, frame, "mpeg4", "yuv420p")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # version 0: 40 bytes before the matrix
    content[matrix : matrix + 36] = struct.pack(">9i", *(value << 16 for value in SIDEWAYS))
    path.write_bytes(content)
    shown = Frames(path).read(0)
    assert shown.shape == (64, 48, 3)
    assert shown[:28].max() < 60
    assert shown[36:].min() > 160


def test_masks_of_frames_are_those_of_the_same_images(tiny_run, tmp_path):
    store, run = tiny_run({"train.steps": 2, "evaluate.eval_every": 0})
    execute(store.run_dir(run.id), Options("cpu", 1))
    drawn = draw()
    (tmp_path / "images").mkdir()
    for number, frame in enumerate(drawn, start=1):
        Image.fromarray(frame).save(tmp_path / "images" / f"{number:06d}.png")
    write_video(tmp_path / "drive.MKV", drawn)

    def masks(given, out):
        paths = predict_files(store, run.id, [given], tmp_path / out, CPU, {}, overlays=False)
        return {path.relative_to(tmp_path / out).as_posix(): path.read_bytes() for path in paths}

    images = masks(tmp_path / "images", "of-images")
    frames = masks(tmp_path / "drive.MKV", "of-frames")
    assert frames == {f"drive/{name}": content for name, content in images.items()}
    assert masks(tmp_path / "drive.MKV", "of-frames") == frames  # once more, over itself


def test_what_is_no_video_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "drive.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(InputError, match=r"drive\.mp4 cannot be read as a video \(Invalid data"):
        find_images([path], tmp_path / "out")
    write_video(tmp_path / "a.mkv", draw(1))
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "000001.png")
    with pytest.raises(InputError, match=r"a/000001\.png is an image, and what a frame"):
        find_images([tmp_path / "a.mkv", tmp_path / "a"], tmp_path / "out")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"fcn-bench\[video\].*ffmpeg -i drive\.mp4 frames"):
        find_images([path], tmp_path / "out")
