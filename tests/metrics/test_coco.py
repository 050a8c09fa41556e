import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbx.errors import DataError
from rgbx.metrics.coco import CocoResults
from rgbx.metrics.coco_files import SGINW, CocoInstances, sginw_sets

SIZE = 40, 60
THRESHOLDS = np.arange(10) * 0.05 + 0.5


def square(x: int, y: int, side: int = 10) -> dict:
    """A square of ``side`` x ``side`` pixels as a polygon."""
    corners = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {"segmentation": [corners], "bbox": [x, y, side, side], "area": side * side}


def pixels(x: int, y: int, width: int = 10, height: int = 10) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def write(folder: Path, annotations: list[dict], images: int = 2, **changes: object) -> Path:
    """An annotation file, and its images next to it (empty files: nothing here opens them)."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"pic#{i}.png" for i in range(images)]
    for name in names:
        (folder / name).write_bytes(b"")
    content = {
        "images": [
            {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "cow"}],
        "annotations": [
            {"id": 100 + i, "category_id": 1, "iscrowd": 0, **annotation}
            for i, annotation in enumerate(annotations)
        ],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(content | changes))
    return path


ANNOTATIONS = [
    {"image_id": 0, **square(5, 5)},
    {"image_id": 0, **square(30, 20), "category_id": 2},
    {"image_id": 1, **square(10, 10)},
    {"image_id": 1, **square(40, 0), "iscrowd": 1},
]


@pytest.fixture
def instances(tmp_path) -> CocoInstances:
    return CocoInstances(write(tmp_path, ANNOTATIONS), tmp_path)


def test_instances_are_read_image_by_image_without_crowds(instances):
    groups = list(instances)
    assert [[one.id for one in group] for group in groups] == [[100, 101], [102]]
    assert (len(instances), instances.image_count) == (2, 2)
    first, second = groups[0]
    assert np.array_equal(first.mask, pixels(5, 5))
    assert first.box.tolist() == [5, 5, 15, 15]
    assert (first.path.name, first.image_id, first.category_id) == ("pic#0.png", 0, 1)
    assert second.category_id == 2


def test_boxes_without_area_are_taken_from_the_mask(tmp_path):
    annotation = {"image_id": 0, **square(5, 6), "bbox": [0, 0, 0, 0]}
    ((one,),) = CocoInstances(write(tmp_path, [annotation]), tmp_path)
    assert one.box.tolist() == [5, 6, 14, 15]


def test_run_length_codes_and_missing_keys(tmp_path):
    counts = [3 * 40 + 4, 8, 32, 8, 40 * 60 - 3 * 40 - 4 - 48]  # by column: rows 4-11 of 2 columns
    code = {"counts": counts, "size": list(SIZE)}
    path = write(tmp_path, [{"image_id": 0, "segmentation": code, "iscrowd": 0}])
    instances = CocoInstances(path, tmp_path)
    ((one,),) = instances
    assert np.array_equal(one.mask, pixels(3, 4, 2, 8))
    assert one.box.tolist() == [3, 4, 4, 11]
    results = CocoResults(instances)  # pycocotools itself needs `area`
    results.add(0, 1, one.mask)
    assert results.compute() == pytest.approx({"AP": 1.0, "AP50": 1.0})


def test_instances_without_pixels_are_counted_and_missed(tmp_path):
    nothing = {"image_id": 0, "segmentation": [[5, 5, 5, 5, 5, 5]], "bbox": [5, 5, 0, 0], "area": 0}
    instances = CocoInstances(write(tmp_path, [nothing, ANNOTATIONS[0]]), tmp_path)
    ((one,),) = instances
    assert (one.id, instances.empty) == (101, 1)
    results = CocoResults(instances)
    results.add(0, 1, one.mask)
    # one of two found: precision 1 up to recall 0.5, which 51 of 101 recalls do not exceed
    assert results.compute()["AP"] == pytest.approx(51 / 101)


def test_perfect_masks_have_ap_1(instances):
    results = CocoResults(instances)
    for group in instances:
        for one in group:
            results.add(one.image_id, one.category_id, torch.from_numpy(one.mask))
    assert len(results) == 3
    assert results.compute() == pytest.approx({"AP": 1.0, "AP50": 1.0}, abs=1e-9)
    assert results.compute() == results.compute()


@pytest.mark.parametrize("width", [10, 9, 8, 7, 6, 5, 4])
def test_one_imperfect_mask_counts_at_the_thresholds_it_reaches(tmp_path, width):
    instances = CocoInstances(write(tmp_path, ANNOTATIONS[:1]), tmp_path)
    results = CocoResults(instances)
    results.add(0, 1, pixels(5, 5, width))  # IoU = width / 10
    expected = np.mean(width / 10 >= THRESHOLDS - 1e-9)
    assert results.compute()["AP"] == pytest.approx(expected)
    assert results.compute()["AP50"] == pytest.approx(float(width >= 5))


def test_mixed_case_by_hand(instances):
    results = CocoResults(instances)
    results.add(0, 1, pixels(5, 5), 0.9)  # exact
    results.add(1, 1, pixels(10, 10, 6), 0.8)  # IoU 0.6: right at 0.50, 0.55, 0.60
    results.add(0, 2, pixels(0, 0), 1.0)  # nowhere near
    results.add(0, 2, pixels(30, 20, 8), 0.5)  # IoU 0.8, behind a wrong one: precision 1/2
    # class 1: AP 1 at three thresholds, else precision 1 up to recall 1/2 (51 of 101 recalls)
    first = (3 * 1 + 7 * 51 / 101) / 10
    # class 2: precision 1/2 at all recalls for the seven thresholds up to 0.80
    second = 7 * 0.5 / 10
    found = results.compute()
    assert found["AP"] == pytest.approx((first + second) / 2)
    assert found["AP50"] == pytest.approx((1 + 0.5) / 2)


def test_scores_order_the_predictions(instances):
    def ap(first: float, second: float) -> float:
        results = CocoResults(instances)
        results.add(0, 2, pixels(0, 0), first)  # wrong
        results.add(0, 2, pixels(30, 20), second)  # right
        return results.compute()["AP50"]

    assert ap(0.2, 0.9) == pytest.approx(0.5)  # class 2 perfect, class 1 all missed
    assert ap(0.9, 0.2) == pytest.approx(0.25)


def test_nothing_predicted_and_nothing_there(instances, tmp_path):
    assert CocoResults(instances).compute() == {"AP": 0.0, "AP50": 0.0}
    for name, annotations in (("crowd", ANNOTATIONS[3:]), ("empty", [])):
        with pytest.raises(DataError, match=f"{name}/annotations.json has "):
            CocoInstances(write(tmp_path / name, annotations), tmp_path / name)


def test_evaluation_prints_nothing(instances, capsys):
    results = CocoResults(instances)
    results.add(0, 1, pixels(5, 5))
    results.compute()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("image", "mask", "text"),
    [
        (7, pixels(0, 0), "no image 7"),
        (0, pixels(0, 0).T, r"Image 0 is 40 x 60: .* got bool \(60, 40\)"),
        (0, pixels(0, 0).astype(float), "got float64"),
    ],
)
def test_wrong_predictions_are_refused(instances, image, mask, text):
    results = CocoResults(instances)
    with pytest.raises(ValueError, match=text):
        results.add(image, 1, mask)
    assert len(results) == 0


def test_missing_images_are_counted(tmp_path):
    path = write(tmp_path, ANNOTATIONS)
    (tmp_path / "pic#1.png").unlink()
    with pytest.raises(DataError, match=r"^1 of the 2 images that .* first pic#1.png; give the"):
        CocoInstances(path, tmp_path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "Cannot read the annotations .*: No such file"),
        ("{", "is no readable JSON"),
        ("[]", "is no COCO annotation file: it holds a list"),
        ('{"images": [], "annotations": []}', "it has no list 'categories'"),
    ],
)
def test_other_files_are_refused(tmp_path, content, text):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=text):
        CocoInstances(path, tmp_path)


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        "none",
        None,
        [5, 5, 9, 9, 5, 9],
        [[5, 5, 9]],
        {"counts": [2400]},
        {"counts": [1, 2], "size": [40, 60]},
        {"counts": [2400], "size": [60, 40]},
        {"counts": None, "size": [40, 60]},
        {"counts": "z" * 22, "size": [40, 60]},
        {"counts": "o" * 10**6, "size": [40, 60]},
        {"counts": "é", "size": [40, 60]},
        {"counts": "P", "size": [40, 60]},
        {"counts": [-1, 2401], "size": [40, 60]},
        {"counts": ["2400"], "size": [40, 60]},
        [["a"] * 6],
        [[{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]],
        [[5, 5, math.nan, 9, 5, 9]],
        [[5, 5, 1e12, 9, 5, 9]],
    ],
)
def test_broken_segmentations_name_the_annotation(tmp_path, segmentation):
    annotation = {"image_id": 0, "segmentation": segmentation, "area": 4}
    path = write(tmp_path, [ANNOTATIONS[0] | {"id": 7}, annotation])
    with pytest.raises(DataError, match=r"annotations.json: annotation 101: its segmentation "):
        CocoInstances(path, tmp_path)


def test_an_id_of_0_counts_and_equal_ids_stay_two_objects(tmp_path):
    same = [annotation | {"id": 0} for annotation in ANNOTATIONS[:3]]
    instances = CocoInstances(write(tmp_path, same), tmp_path)
    found = [one for group in instances for one in group]
    assert [one.id for one in found] == [0, 0, 0] and len(instances) == 2
    results = CocoResults(instances)
    for one in found:
        results.add(one.image_id, one.category_id, one.mask)
    assert results.compute() == pytest.approx({"AP": 1.0, "AP50": 1.0})


@pytest.mark.parametrize("area", [-100, -1e-3, 1e11])
def test_areas_that_cannot_be_hide_no_object(tmp_path, area):
    annotations = [{"image_id": 0, **square(5, 5)}, {"image_id": 1, **square(10, 10)}]
    scores = []
    for name, given in (("right", 100), ("wrong", area)):
        for annotation in annotations:
            annotation["area"] = given
        path = write(tmp_path / name, annotations)
        results = CocoResults(CocoInstances(path, path.parent))
        results.add(0, 1, pixels(5, 5))  # one of two is found
        scores.append(results.compute())
    assert scores[0] == scores[1] == pytest.approx({"AP": 51 / 101, "AP50": 51 / 101})


def test_polygons_without_area_are_left_out(tmp_path):
    whole = square(5, 5)["segmentation"][0]
    lines = [[25.0, 20.0, 25.0, 30.0], [1, 2], whole]
    annotations = [
        {"image_id": 0, "segmentation": lines, "bbox": None, "area": None},
        {"image_id": 0, "segmentation": lines[:2]},
    ]
    instances = CocoInstances(write(tmp_path, annotations), tmp_path)
    ((one,),) = instances
    assert np.array_equal(one.mask, pixels(5, 5)) and instances.empty == 1


@pytest.mark.parametrize("seed", range(8))
def test_compressed_codes_are_read_as_pycocotools_writes_them(tmp_path, seed):
    from pycocotools import mask as codes

    rng = np.random.default_rng(seed)
    mask = rng.random(SIZE) < (0.5, 0.02, 0.98, 0.2)[seed % 4]
    mask[:, :: 1 + seed] = mask[:1, :: 1 + seed]  # long runs, and differences below 0
    mask[0, 0] = bool(seed % 2)
    mask[20, 20] = True
    code = codes.encode(np.asfortranarray(mask, dtype=np.uint8))
    code["counts"] = code["counts"].decode()
    path = write(tmp_path, [{"image_id": 0, "segmentation": code}])
    ((one,),) = CocoInstances(path, tmp_path)
    assert np.array_equal(one.mask, mask)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": None}, "'images' is null"),
        ({"annotations": None}, "'annotations' is null"),
        ({"categories": {}}, "'categories' is dict"),
        ({"categories": [1]}, "entry 0 of 'categories' is int"),
        ({"categories": [{"id": 1}, {"id": 1}]}, "two entries share the category id 1"),
        ({"categories": [{"id": "1"}]}, "the id of category number 0 is '1'"),
        ({"categories": [{"id": 3}]}, "annotation 100: its category_id is 1, "),
    ],
)
def test_lists_are_checked_whole(tmp_path, change, named):
    path = write(tmp_path, ANNOTATIONS)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError) as error:
        CocoInstances(path, tmp_path)
    assert str(path) in str(error.value) and named in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("id", None, "annotation None: its id is None"),
        ("id", "7", "annotation '7': its id is '7'"),
        ("image_id", 0.0, "its image_id is 0.0"),
        ("category_id", None, "its category_id is None"),
        ("category_id", True, "its category_id is True"),
        ("iscrowd", "no", "its iscrowd is 'no'"),
        ("bbox", ["a", 1, 2, 3], "its bbox is ['a', 1, 2, 3]"),
        ("bbox", [1, 2, 3], "its bbox is [1, 2, 3]"),
        ("area", "large", "its area is 'large'"),
    ],
)
def test_values_of_annotations_are_checked(tmp_path, key, value, named):
    path = write(tmp_path, [ANNOTATIONS[0], ANNOTATIONS[1] | {key: value}])
    with pytest.raises(DataError) as error:
        CocoInstances(path, tmp_path)
    assert str(path) in str(error.value) and named in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height", None),
        ("height", "x"),
        ("width", 0),
        ("width", 2**40),
        ("width", 60.0),
        ("file_name", None),
        ("file_name", ""),
    ],
)
def test_values_of_images_are_checked(tmp_path, key, value):
    path = write(tmp_path, ANNOTATIONS)
    content = json.loads(path.read_text())
    content["images"][1][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"annotations.json: .*{key}") as error:
        CocoInstances(path, tmp_path)
    assert "image 1" in str(error.value)


def test_a_predicted_class_that_the_file_has_not_is_refused(instances):
    with pytest.raises(ValueError, match="no category 9"):
        CocoResults(instances).add(0, 9, pixels(0, 0))


def test_annotations_of_unknown_images_are_refused(tmp_path):
    path = write(tmp_path, [{"image_id": 9, **square(1, 1)}])
    with pytest.raises(DataError, match="annotation 100: its image_id is 9, "):
        CocoInstances(path, tmp_path)


def test_sginw_has_25_sets(tmp_path):
    assert len(set(SGINW)) == 25
    for name in SGINW:
        folder = tmp_path / name / "valid"
        folder.mkdir(parents=True)
        (folder / "_annotations_min1cat.coco.json").write_text("{}")
    found = sginw_sets(tmp_path)
    assert list(found) == list(SGINW)
    assert found["Cows"][1] == tmp_path / "Cows/valid"
    (tmp_path / "Cows/valid/_annotations_min1cat.coco.json").unlink()
    with pytest.raises(DataError, match=r"holds 24 of SGinW's 25 data sets; Cows/valid/_annot"):
        sginw_sets(tmp_path)
