"""Formats of labelling tools, taken in: the pixels of each class are those that were drawn."""

import json

import numpy as np
import pytest
from intake_samples import (
    NAMES,
    H,
    W,
    counted,
    draw,
    expected,
    grey,
    photograph,
    save,
    take,
    write,
)
from PIL import Image

from bench.data.intake.drawing import VOID
from fcn.errors import InputError


class TestImports:
    def test_labelme_draws_later_over_earlier(self, tmp_path):
        for k, name in enumerate(NAMES):
            save(tmp_path / "data" / f"{name}.jpg", photograph(k))
            boxes = {"car": (2, 2, 12, 9), "person": (8, 5, 20, 15), "__ignore__": (25, 18, 30, 22)}
            shapes = [
                {
                    "label": label,
                    "shape_type": "polygon",
                    "points": [[x0, y0], [x1, y0], [x1, y1], [x0, y1]],
                }
                for label, (x0, y0, x1, y1) in boxes.items()
            ]
            values = {
                "imagePath": f"{name}.jpg",
                "imageWidth": W,
                "imageHeight": H,
                "shapes": shapes,
            }
            (tmp_path / "data" / f"{name}.json").write_text(json.dumps(values))
        report, _, _ = take(tmp_path, tmp_path, "data", "data", source="labelme")
        # Outlines belong to a shape: both ends count.
        person, ignored = 13 * 11, 6 * 5
        car = 11 * 8 - 5 * 5
        rest = H * W - person - ignored - car
        wanted = {"background": 5 * rest, "car": 5 * car, "person": 5 * person}
        assert counted(report) == wanted
        assert sum(p.num_ignored for p in report.images) == 5 * ignored

    def test_panoptic_segments_are_their_categories(self, tmp_path):
        drawn = {name: draw(k, [0, 1, 2]) for k, name in enumerate(NAMES)}
        images, annotations = [], []
        for k, (name, mask) in enumerate(drawn.items()):
            save(tmp_path / "images" / f"{name}.jpg", photograph(k))
            ids = np.where(mask == 0, 0, mask * 70_000 + k)
            rgb = np.dstack([ids & 255, ids >> 8 & 255, ids >> 16]).astype(np.uint8)
            save(tmp_path / "panoptic" / f"{name}.png", Image.fromarray(rgb))
            images.append({"id": k, "file_name": f"{name}.jpg", "height": H, "width": W})
            segments = [{"id": c * 70_000 + k, "category_id": 10 * c} for c in (1, 2)]
            annotations.append(
                {"image_id": k, "file_name": f"{name}.png", "segments_info": segments}
            )
        categories = [{"id": 10, "name": "tree"}, {"id": 20, "name": "wall"}]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "panoptic.json").write_text(json.dumps(whole))
        report, _, _ = take(tmp_path, tmp_path, "images", "panoptic.json", source="coco")
        pixels = expected(drawn)
        assert {n: c for n, c in counted(report).items() if c} == {
            "tree": pixels[1],
            "wall": pixels[2],
        }
        assert sum(p.num_ignored for p in report.images) == pixels[0]

    def test_polygons_and_run_lengths_lie_the_small_over_the_large(self, tmp_path):
        masks = pytest.importorskip("pycocotools.mask")
        small, large = np.zeros((H, W), np.uint8), np.zeros((H, W), np.uint8)
        small[5:9, 6:10], large[2:20, 3:25] = 1, 1
        runs = masks.encode(np.asfortranarray(small))
        images, annotations = [], []
        for k, name in enumerate(NAMES):
            save(tmp_path / "images" / f"{name}.jpg", photograph(k))
            images.append({"id": k, "file_name": f"{name}.jpg", "height": H, "width": W})
            annotations += [
                {
                    "image_id": k,
                    "category_id": 3,
                    "segmentation": {"size": [H, W], "counts": runs["counts"].decode()},
                },
                {"image_id": k, "category_id": 1, "segmentation": [[3, 2, 25, 2, 25, 20, 3, 20]]},
            ]
        categories = [{"id": 1, "name": "table"}, {"id": 3, "name": "cup"}]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "instances.json").write_text(json.dumps(whole))
        report, _, _ = take(tmp_path, tmp_path, "images", "instances.json", source="coco")
        cup, table = int(small.sum()), int(large.sum() - small.sum())
        rest = H * W - cup - table
        assert counted(report) == {"background": 5 * rest, "table": 5 * table, "cup": 5 * cup}

    def test_annotations_of_other_sizes_are_told_as_such(self, tmp_path):
        square = [[2, 2, 9, 2, 9, 9, 2, 9]]
        images = [
            {"id": k, "file_name": f"{name}.jpg", "height": 2 * H, "width": 2 * W}
            for k, name in enumerate(NAMES)
        ]
        annotations = [
            {"image_id": k, "category_id": 1, "segmentation": square} for k in range(len(NAMES))
        ]
        whole = {"images": images, "annotations": annotations}
        whole["categories"] = [{"id": 1, "name": "cup"}]
        (tmp_path / "instances.json").write_text(json.dumps(whole))
        for k, name in enumerate(NAMES):
            save(tmp_path / "images" / f"{name}.jpg", photograph(k))
        with pytest.raises(InputError) as refused:
            take(tmp_path, tmp_path, "images", "instances.json", source="coco")
        said = str(refused.value)
        assert f"pixels, and what is annotated on it is for {2 * W}x{2 * H}; give the" in said
        assert "(the same in 4 more: b.jpg, c.jpg, and 2 more)" in said
        assert ".mine-" not in said  # a folder that is gone by now

    def test_cvats_masks_have_the_names_of_its_label_map(self, tmp_path):
        rgb = {0: (0, 0, 0), 1: (250, 50, 83), 2: (51, 221, 255)}
        drawn = {name: draw(k, [0, 1, 2]) for k, name in enumerate(NAMES)}
        painted = {
            n: Image.fromarray(np.array([[rgb[v] for v in row] for row in m], np.uint8))
            for n, m in drawn.items()
        }
        write(tmp_path, painted, mask="export/SegmentationClass/{}.png")
        write(tmp_path, painted, mask="export/SegmentationObject/{}.png")
        lines = [
            "# label:color_rgb:parts:actions",
            "background:0,0,0::",
            "cat:250,50,83::",
            "dog:51,221,255::",
        ]
        (tmp_path / "export" / "labelmap.txt").write_text("\n".join(lines))
        report, _, _ = take(tmp_path, tmp_path, masks="export", source="cvat")
        pixels = expected(drawn)
        assert counted(report) == {"background": pixels[0], "cat": pixels[1], "dog": pixels[2]}

    def test_label_studios_parts_are_laid_over_their_images(self, tmp_path):
        drawn = {name: draw(k, [0, 1, 2]) for k, name in enumerate(NAMES)}
        tasks = []
        for k, (name, mask) in enumerate(drawn.items()):
            save(tmp_path / "images" / f"{name}.jpg", photograph(k))
            for value, tag in {1: "road", 2: "sky"}.items():
                part = Image.fromarray(np.where(mask == value, 255, 0).astype(np.uint8))
                path = tmp_path / "export" / f"task-{k + 7}-annotation-{k}-by-1-tag-{tag}-0.png"
                save(path, part)
            tasks.append({"id": k + 7, "data": {"image": f"/data/upload/1/0a1b2c3d-{name}.jpg"}})
        with pytest.raises(InputError, match=r"no JSON in .* says which image"):
            take(tmp_path, tmp_path, masks="export", source="label-studio")
        (tmp_path / "export" / "tasks.json").write_text(json.dumps(tasks))
        report, _, _ = take(tmp_path, tmp_path, masks="export", source="label-studio")
        pixels = expected(drawn)
        assert counted(report) == {"background": pixels[0], "road": pixels[1], "sky": pixels[2]}

    def test_a_folder_for_each_class(self, tmp_path):
        drawn = {name: draw(k, [0, 1, 2]) for k, name in enumerate(NAMES)}
        for k, (name, mask) in enumerate(drawn.items()):
            save(tmp_path / "images" / f"{name}.jpg", photograph(k))
            for value, tag in {1: "road", 2: "sky"}.items():
                part = Image.fromarray(np.where(mask == value, 255, 0).astype(np.uint8))
                save(tmp_path / "masks" / tag / f"{name}.png", part)
        report, _, _ = take(tmp_path, tmp_path, source="folders")
        pixels = expected(drawn)
        assert counted(report) == {"background": pixels[0], "road": pixels[1], "sky": pixels[2]}

    def test_an_unknown_source_suggests_the_nearest(self, tmp_path):
        write(tmp_path, {name: grey(draw(k, [0, 1, 2])) for k, name in enumerate(NAMES)})
        with pytest.raises(InputError, match="did you mean 'labelme'"):
            take(tmp_path, tmp_path, source="labelm")
        assert VOID == 255
