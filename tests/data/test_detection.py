"""Data sets of boxes: layouts, classes by name, transforms, checks."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from rgbx import FLIR, KAIST, LLVIP, M3FD, FolderRGBXBoxes
from rgbx.data.checks.check import check, contact_sheet
from rgbx.data.synthetic.layouts import write_flir, write_kaist, write_llvip
from rgbx.data.transforms.boxes import PAD, BoxJitter, BoxTargets
from rgbx.data.transforms.normalise import Raw, Statistics
from rgbx.errors import DataError, RGBXError

COUNTS = {"train": 6, "val": 0, "test": 3}
SIZE = (64, 96)
PLAIN = Statistics((0, 0, 0), (1, 1, 1), 0, 1)


@pytest.fixture(scope="module")
def flir_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("flir") / "align"
    write_flir(root, COUNTS, SIZE, seed=1)
    return root


@pytest.fixture
def flir(flir_root, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(flir_root, tmp_path / "align")


def voc(path, rows, size=SIZE):
    objects = "".join(
        f"<object><name>{n}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for n, a, b, c, d in rows
    )
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation>{stated}{objects}</annotation>")


def boxes_of(data, split="train"):
    return {r.name: data.read_annotation(r) for r in data.find_records(split)}


# ---------------------------------------------------------------- layouts
def test_flir_aligned(flir_root):
    data = FLIR(str(flir_root), size=SIZE, val_share=0.34)
    sizes = {split: len(data.find_records(split)) for split in data.splits}
    assert sizes["train"] + sizes["val"] <= 6 and sizes["val"] >= 1 and sizes["test"] == 3
    record = data.find_records("test")[0]
    assert record.rgb.name == f"{record.name}_RGB.jpg"
    assert record.x.name == f"{record.name}_PreviewData.jpeg"
    assert len(data.scan("predict").records) == 9
    # the folder around it will do
    assert len(FLIR(str(flir_root.parent), size=SIZE).find_records("test")) == 3


def test_both_layouts_of_flir_give_the_same_boxes(flir, tmp_path):
    root = tmp_path / "FLIR_align"
    order = ["person", "bicycle", "car"]  # another order than the class's
    for split in ("train", "test"):
        data = FLIR(str(flir), size=SIZE, val_share=0.0, keep_empty=True)
        images, rows = [], []
        for number, record in enumerate(data.find_records(split)):
            for path in (record.rgb, record.x):
                (root / split).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, root / split / path.name)
            names = {"file_name": record.rgb.name, "file_name_lwir": record.x.name}
            images.append({"id": number, "height": 64, "width": 96} | names)
            found = data.annotation(record)
            for name, (x1, y1, x2, y2) in zip(found.names, found.corners.tolist(), strict=True):
                box = [x1, y1, x2 - x1, y2 - y1]
                owner = {"image_id": number, "category_id": order.index(name) + 4}
                rows.append({"id": len(rows), "bbox": box} | owner)
        categories = [{"id": i + 4, "name": n} for i, n in enumerate(order)]
        content = {"images": images, "annotations": rows, "categories": categories}
        (root / f"Annotation_{split}.json").write_text(json.dumps(content))
    packed = FLIR(str(root), size=SIZE, val_share=0.0, keep_empty=True)
    for split in ("train", "test"):
        first, second = boxes_of(data, split), boxes_of(packed, split)
        assert len(first) == len(second)
        for (name, a), b in zip(first.items(), second.values(), strict=True):
            assert np.array_equal(a.labels, b.labels) and np.allclose(a.boxes, b.boxes), name
    packed.setup("test")
    record = packed.records("test")[1]
    assert packed.image_id(str(record.rgb), 77) == 1
    assert [packed.category_id(i) for i in range(3)] == [6, 4, 5]  # car, person, bicycle


def test_unknown_classes_are_counted(flir):
    path = next((flir / "Annotations").glob("*.xml"))
    text = path.read_text().replace("</annotation>", "")
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    extra = f"<object><name>dog</name><bndbox>{corners}</bndbox></object>"
    path.write_text(f"{text}{extra}{extra}</annotation>")
    data = FLIR(str(flir), size=SIZE)
    report = check(data, progress=False)
    lines = [line for line in report.warnings if "other classes" in line]
    assert len(lines) == 1 and "2 boxes" in lines[0] and "dog (2)" in lines[0]
    assert all(t.labels.max(initial=0) < 3 for t in boxes_of(data).values())


def test_llvip(tmp_path):
    write_llvip(tmp_path, COUNTS, SIZE)
    data = LLVIP(str(tmp_path), size=SIZE, val_share=0.0, keep_empty=True)
    assert len(data.find_records("train")) == 6 and len(data.find_records("test")) == 3
    assert len(data.scan("predict").records) == 9
    voc(tmp_path / "Annotations/999999.xml", [])
    notes = data.scan("train").notes
    assert len(notes) == 1 and "999999" in notes[0]
    (tmp_path / "infrared/test/000007.jpg").unlink()
    with pytest.raises(DataError, match=r"000007 .*no x image"):
        data.find_records("test")


def test_real_llvip(samples):
    data = LLVIP(str(samples / "rgbir_detection/llvip"), size=(256, 320), val_share=0.34)
    train, val = boxes_of(data), boxes_of(data, "val")
    assert (len(train), len(val)) == (6, 3)
    assert sum(len(t) for t in (*train.values(), *val.values())) == 45
    with pytest.raises(DataError, match=r"9 samples of test [\s\S]*190001 .*no file of boxes"):
        data.find_records("test")


def test_real_msrs_in_yolo(samples):
    root = str(samples / "rgbir_detection/msrs")
    data = FolderRGBXBoxes(root, size=(240, 320), folders={"boxes": "labels_fusion"})
    assert data.class_names == ("person", "bicycle", "car")
    found = [t for split in data.splits for t in boxes_of(data, split).values()]
    assert sum(map(len, found)) > 20 and all((t.boxes[:, 2] <= 641).all() for t in found)


def test_kaist(tmp_path):
    write_kaist(tmp_path, {"train": 24, "val": 0, "test": 6}, SIZE)
    data = KAIST(str(tmp_path), size=SIZE, val_share=0.3, keep_empty=True)
    train, val = data.find_records("train"), data.find_records("val")
    assert len(train) + len(val) == 24 and val
    videos = [{r.name.rpartition("/")[0] for r in part} for part in (train, val)]
    assert not videos[0] & videos[1]  # whole videos are held out
    test = data.find_records("test")
    assert [r.subset for r in test] == ["day", "night"] * 3
    assert data.pedestrians and data.subsets == ("day", "night")
    data.setup("test")
    assert data.image_id(str(test[2].rgb), 9) == 2 and data.category_id(0) == 1
    (tmp_path / "KAIST_annotation.json").unlink()
    with pytest.raises(DataError, match="annotations_improved"):
        data.scan("test")
    with pytest.raises(DataError, match="annotations_paired"):
        KAIST(str(tmp_path), size=SIZE, train_annotations="paired").scan("train")


def test_kaist_ignores_people_and_cyclists(tmp_path):
    write_kaist(tmp_path, {"train": 2, "val": 0, "test": 0}, SIZE)
    path = sorted((tmp_path / "annotations_sanitized").rglob("*.txt"))[0]
    rows = ("person 5 5 10 30 1 0 0 0 0 0 0", "people 40 5 10 30 0", "cyclist 60 5 9 9 0")
    path.write_text("\n".join(["% bbGt version=3", *rows]))
    data = KAIST(str(tmp_path), size=SIZE, val_share=0.0, keep_empty=True)
    found = boxes_of(data)["set00/V000/I00019"]
    assert found.ignore.tolist() == [False, True, True]
    assert found.occlusion.tolist() == [1, 0, 0] and found.labels.tolist() == [0, 0, 0]


def pair_of_images(put, root, name, size=SIZE):
    rng = np.random.default_rng(len(name))
    put(root / "rgb" / f"{name}.png", rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    put(root / "x" / f"{name}.png", rng.integers(0, 255, size, dtype=np.uint8))


ROWS = [("car", 11, 11, 40, 30), ("person", 50, 5, 60, 45)]  # 1-based, the last one included


def write_voc(root, name):
    voc(root / "labels" / f"{name}.xml", ROWS)


def write_yolo(root, name):
    lines = []
    for kind, x1, y1, x2, y2 in ROWS:
        values = (x1 - 1 + x2) / 192, (y1 - 1 + y2) / 128, (x2 - x1 + 1) / 96, (y2 - y1 + 1) / 64
        lines.append(f"{int(kind == 'person')} {' '.join(map(str, values))}")
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels/classes.txt").write_text("car\nperson\n")
    (root / "labels" / f"{name}.txt").write_text("\n".join(lines))


def write_labelme(root, name):
    shapes = [
        {"label": n, "shape_type": "rectangle", "points": [[a - 1, b - 1], [c, d]]}
        for n, a, b, c, d in ROWS
    ]
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels" / f"{name}.json").write_text(json.dumps({"shapes": shapes}))


def write_coco(root, name):
    """c is the test split, the others train."""
    path = root / ("test.json" if name == "c" else "train.json")
    content = {"images": [], "annotations": []}
    if path.is_file():
        content = json.loads(path.read_text())
    number = len(content["images"])
    content["categories"] = [{"id": i, "name": n} for i, n in enumerate(("car", "person"))]
    content["images"].append({"id": number, "file_name": f"{name}.png", "height": 64, "width": 96})
    for kind, x1, y1, x2, y2 in ROWS:
        owner = {"image_id": number, "category_id": int(kind == "person")}
        box = [x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1]
        content["annotations"].append({"id": len(content["annotations"]), "bbox": box} | owner)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("write", [write_voc, write_yolo, write_labelme, write_coco])
def test_own_folders_in_every_format(put, tmp_path, write):
    for name in ("a", "b", "c"):
        pair_of_images(put, tmp_path, name)
        write(tmp_path, name)
    named = write in (write_yolo, write_coco)
    names = None if named else ["car", "person"]
    data = FolderRGBXBoxes(str(tmp_path), class_names=names, size=SIZE, val_share=0.34)
    assert data.class_names == ("car", "person")
    every = [t for split in data.splits for t in boxes_of(data, split).values()]
    assert len(every) == 3
    for one in every:
        assert np.allclose(one.boxes, [[10, 10, 40, 30], [49, 4, 60, 45]], atol=1e-3)
        assert one.labels.tolist() == [0, 1]


def test_class_map_and_unnamed_classes(put, tmp_path):
    for name in ("a", "b", "c"):
        pair_of_images(put, tmp_path, name)
        voc(tmp_path / "labels" / f"{name}.xml", [("auto", 5, 5, 30, 30)])
    data = FolderRGBXBoxes(str(tmp_path), class_names=["car"], class_map={"Auto": "car"}, size=SIZE)
    assert boxes_of(data, "test").popitem()[1].labels.tolist() == [0]
    with pytest.raises(RGBXError, match="'bus'"):
        FolderRGBXBoxes(str(tmp_path), class_names=["car"], class_map={"auto": "bus"})
    with pytest.raises(DataError, match=r"no training image .* auto"):
        FolderRGBXBoxes(str(tmp_path), class_names=["car"], size=SIZE).find_records("train")
    with pytest.raises(RGBXError, match="class_names"):
        FolderRGBXBoxes(str(tmp_path), size=SIZE).find_records("train")


def test_m3fd(put, tmp_path):
    root = tmp_path / "M3FD_Detection"
    for i in range(12):
        rng = np.random.default_rng(i)
        put(root / "Vis" / f"{i:05d}.png", rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
        put(root / "Ir" / f"{i:05d}.png", rng.integers(0, 255, SIZE, dtype=np.uint8))
        voc(root / "Annotation" / f"{i:05d}.xml", [("People", 5, 5, 30, 30), ("Lamp", 1, 1, 9, 9)])
    data = M3FD(str(tmp_path), size=SIZE)
    sizes = [len(data.find_records(split)) for split in ("train", "val", "test")]
    assert sum(sizes) == 12 and min(sizes) >= 1
    assert boxes_of(data).popitem()[1].labels.tolist() == [0, 4]


# ---------------------------------------------------------------- bad input
def test_images_without_objects_are_left_out_of_training(flir):
    empty = sorted((flir / "Annotations").glob("*.xml"))[:2]
    for path in empty:
        voc(path, [])
    few = FLIR(str(flir), size=SIZE, val_share=0.0)
    every = FLIR(str(flir), size=SIZE, val_share=0.0, keep_empty=True)
    with pytest.warns(UserWarning, match="2 images without objects"):
        assert len(few.find_records("train")) == 4
    assert len(every.find_records("train")) == 6


@pytest.mark.parametrize(
    ("rows", "size", "said"),
    [
        ([("car", 30, 5, 10, 9)], SIZE, "inverted"),
        ([("car", 1, 5, 10, 9)], (480, 640), "640 x 480 .* has 96 x 64"),
        ([("car", 1, 5, 10, 9)], SIZE[::-1], "64 x 96 .* has 96 x 64"),
    ],
)
def test_bad_annotations_name_the_file(flir, rows, size, said):
    path = sorted((flir / "Annotations").glob("*.xml"))[0]
    voc(path, rows, size)
    data = FLIR(str(flir), size=SIZE, val_share=0.0)
    with pytest.raises(DataError, match=said) as error:
        data.find_records("train")
    assert path.name in str(error.value)
    skipped = FLIR(str(flir), size=SIZE, val_share=0.0, on_bad="skip", keep_empty=True)
    assert len(skipped.find_records("train")) == 5


def test_a_pair_of_different_sizes_says_which_is_which(flir):
    path = sorted((flir / "JPEGImages").glob("*_PreviewData.jpeg"))[0]
    Image.new("L", (48, 32)).save(path)
    with pytest.raises(DataError) as error:
        FLIR(str(flir), size=SIZE, val_share=0.0).find_records("train")
    assert path.name in str(error.value)
    assert "48" in str(error.value) and "96" in str(error.value)


def test_lists_with_unknown_stems(flir):
    with (flir / "align_train.txt").open("a") as file:
        file.write("FLIR_12345_PreviewData\n")
    with pytest.raises(DataError, match=r"FLIR_12345 \(named in align_train.txt\)"):
        FLIR(str(flir), size=SIZE, val_share=0.0).find_records("train")


def test_no_such_data_set(tmp_path):
    for kind in (FLIR, LLVIP, KAIST):
        with pytest.raises(DataError, match=r"set data\.root"):
            kind(str(tmp_path), size=SIZE).scan("train")
        with pytest.raises(DataError, match="does not exist"):
            kind(str(tmp_path / "nowhere"), size=SIZE).scan("train")


# ---------------------------------------------------------------- checks
def test_check_data_notes_what_is_odd(flir):
    path = sorted((flir / "Annotations").glob("*.xml"))[0]
    voc(
        path,
        [
            ("car", 200, 10, 220, 30),
            ("car", 60, 10, 120, 40),
            ("car", 5, 5, 9, 40),
            ("person", 10, 10, 30, 40),
            ("person", 10, 10, 30, 40),
        ],
    )
    data = FLIR(str(flir), size=SIZE, val_share=0.0)
    report = check(data, progress=False)
    kinds = report.splits["train"].note_kinds
    lines = [line for line in report.warnings if "without an area" in line]
    assert len(lines) == 1 and "train: 1 boxes" in lines[0]
    names = ("outside", "over", "tiny", "double")
    assert {name: kinds[name] for name in names} == dict.fromkeys(names, 1)
    found = report.splits["train"]
    assert found.pixels[:-1].sum() == sum(len(t) for t in boxes_of(data).values())
    assert found.box_sides.sum() == found.pixels[:-1].sum() + 1  # the one outside has a side, too
    assert len(report.as_dict()["splits"]["train"]["box_sides"]) == 9
    assert contact_sheet(data, report).size[1] > 200
    assert sum(data.class_frequencies("train")) == pytest.approx(1)


def test_a_split_without_boxes_is_a_problem(flir):
    for path in (flir / "Annotations").glob("*.xml"):
        voc(path, [])
    report = check(FLIR(str(flir), size=SIZE, val_share=0.0), progress=False)
    assert any("no image of train has a box" in line for line in report.breaking)


# ---------------------------------------------------------------- transforms
def scene(box, size=(60, 90)):
    """A red rectangle in the visible image, a white one at the same place in x."""
    x1, y1, x2, y2 = box
    rgb, x = np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32)
    rgb[y1:y2, x1:x2, 0] = 255
    x[y1:y2, x1:x2] = 1
    targets = BoxTargets(
        np.array([box], np.float32), np.array([2]), np.array([False]), np.array([0])
    )
    return Raw(rgb, x, None), targets


def painted(image):
    """Corners of what is brighter than one half."""
    rows, columns = np.nonzero(image > 0.5)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


@pytest.mark.parametrize("seed", range(30))
def test_boxes_stay_on_their_objects(seed):
    raw, targets = scene((30, 20, 60, 50))
    jitter = BoxJitter((64, 96), PLAIN, flip=0.5, scale=(0.5, 2.0))
    moved, seen = jitter.with_boxes(raw, targets, seed)
    assert moved.rgb.shape == (64, 96, 3) and moved.x.shape == (64, 96)
    assert len(seen) == 1 and seen.labels.tolist() == [2]
    red = moved.rgb[..., 0] - moved.rgb[..., 1]  # the padding is grey
    white = np.where(np.isclose(moved.x, PAD / 255, atol=1e-3), 0, moved.x)
    for found in (painted(red), painted(white)):
        assert np.abs(found - seen.boxes[0]).max() <= 1.01
    again, same = jitter.with_boxes(raw, targets, seed)
    assert np.array_equal(again.rgb, moved.rgb) and np.array_equal(same.boxes, seen.boxes)


def test_views_without_an_object_are_drawn_again():
    raw, targets = scene((0, 0, 6, 6))
    jitter = BoxJitter((64, 96), PLAIN, scale=(3.0, 3.0))
    counts = [len(jitter.with_boxes(raw, targets, seed)[1]) for seed in range(40)]
    assert counts == [1] * 40


def test_clipped_and_tiny_boxes_go_with_their_labels():
    boxes = np.array([[-5, -5, 20, 20], [89.5, 10, 99, 20], [95, 10, 120, 30]], np.float32)
    targets = BoxTargets(boxes, np.array([0, 1, 2]), np.zeros(3, bool), np.array([0, 1, 2]))
    found = targets.clipped((60, 90), 1.0)
    assert found.boxes.tolist() == [[0, 0, 20, 20]]
    assert found.labels.tolist() == [0] and found.occlusion.tolist() == [0]
    assert len(targets.clipped((60, 90), 0.1)) == 2


@pytest.mark.parametrize("mode", ["pad", "squash"])
def test_evaluation_leaves_boxes_in_pixels_of_the_file(flir_root, mode):
    data = FLIR(str(flir_root), size=(128, 128), resize_mode=mode, x_mean=0.0, x_std=1.0)
    data.setup("test")
    sample = data.test_dataloader().dataset[0]
    record = data.records("test")[0]
    assert np.array_equal(sample["target"]["boxes"].numpy(), data.read_annotation(record).boxes)
    assert sample["size"] == SIZE and sample["rgb"].shape == (3, 128, 128)
    below = sample["x"][:, 90:]  # 96 x 64 fills 128 x 85
    assert bool((below == np.float32(PAD / 255)).all()) == (mode == "pad")


def test_training_batches_list_targets_and_seeds(flir_root):
    data = FLIR(str(flir_root), size=SIZE, batch_size=2, num_workers=0, val_share=0.0)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["rgb"].shape == (2, 3, *SIZE) and len(batch["target"]) == len(batch["seed"]) == 2
    for target in batch["target"]:
        assert target["boxes"].shape[1] == 4 and len(target["labels"]) == len(target["boxes"])
