"""Labels as tools write them: other ids, colours, CVAT's and VOC's folders, LabelMe, COCO."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from rgbx.cli import run
from rgbx.data import FolderRGBX
from rgbx.errors import DataError, RGBXError

NAMES = ["background", "road", "car"]
COLOURS = {0: (0, 0, 0), 1: (128, 64, 128), 2: (0, 0, 142), 255: (224, 224, 192)}
STEMS = "abcdef"


def truth(number: int, ignored: bool = True) -> np.ndarray:
    """Blobs of classes 1 and 2, and a corner that is not scored."""
    rng = np.random.default_rng(number)
    noise = cv2.GaussianBlur(rng.standard_normal((40, 60)).astype(np.float32), (0, 0), 4)
    ids = np.digitize(noise, np.quantile(noise, (0.5, 0.8))).astype(np.uint8)
    if ignored:
        ids[:5, :7] = 255
    return ids


@pytest.fixture
def folder(tmp_path, put):
    """Six pairs; ``write(mask_of, suffix)`` adds masks."""
    rng = np.random.default_rng(9)
    for stem in STEMS:
        put(tmp_path / "rgb" / f"{stem}.png", rng.integers(0, 255, (40, 60, 3), np.uint8))
        put(tmp_path / "x" / f"{stem}.png", rng.integers(0, 255, (40, 60), np.uint8))
    return tmp_path


def read(folder, **options) -> list[np.ndarray]:
    options = {"class_names": NAMES, "val_share": 0.2, "size": (32, 48), **options}
    data = FolderRGBX(str(folder), num_workers=0, **options)
    data.setup()
    pairs = {r.name: data.read(r).mask for split in data.splits for r in data.records(split)}
    assert sorted(pairs) == list(STEMS)
    return [pairs[stem] for stem in STEMS]


def check(found, ignored=True):
    for number, mask in enumerate(found):
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, truth(number, ignored))


def test_other_ids(folder, put):
    table = np.full(256, 99, np.uint8)
    table[[0, 1, 2, 255]] = 7, 26, 0, 33  # road is stored as 26, car as 0
    for number, stem in enumerate(STEMS):
        put(folder / "mask" / f"{stem}.png", table[truth(number)])
    label_map = {"7": "background", "26": 1, "0": "car", "*": "ignore"}
    check(read(folder, label_map=label_map))


def test_sixteen_bits_and_palettes_count_by_their_values(folder, put):
    (folder / "mask").mkdir()
    for number, stem in enumerate(STEMS):
        ids = truth(number).astype(np.uint16) * 100
        if number % 2:
            put(folder / "mask" / f"{stem}.png", ids)
        else:
            image = Image.fromarray(truth(number) % 250)  # 255 becomes 5
            image.putpalette([255 - i // 3 for i in range(768)])
            image.save(folder / "mask" / f"{stem}.png")
    label_map = {"0": 0, "1": 1, "2": 2, "5": "ignore", "100": 1, "200": 2, "25500": "ignore"}
    check(read(folder, label_map=label_map))


def coloured(ids: np.ndarray) -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    for label, colour in COLOURS.items():
        table[label] = colour
    return table[ids]


def test_colours_of_the_map(folder, put):
    for number, stem in enumerate(STEMS):
        put(folder / "mask" / f"{stem}.png", coloured(truth(number)))
    hexed = {f"#{r:02x}{g:02X}{b:02x}": i for i, (r, g, b) in COLOURS.items() if i < 255}
    check(read(folder, label_map={**hexed, "*": "ignore"}))


def test_colours_of_the_palette(folder, put):
    for number, stem in enumerate(STEMS):
        put(folder / "mask" / f"{stem}.png", coloured(truth(number, False)))
    check(read(folder, palette=[COLOURS[i] for i in range(3)]), ignored=False)


def test_folders_of_voc_with_cvats_colours(folder, put):
    (folder / "rgb").rename(folder / "JPEGImages")
    for number, stem in enumerate(STEMS):
        put(folder / "SegmentationClass" / f"{stem}.png", coloured(truth(number)))
    lines = ["# label:color_rgb:parts:actions", "background:0,0,0::", "street:128,64,128::"]
    lines += ["car:0,0,142::", "void:224,224,192::"]
    (folder / "labelmap.txt").write_text("\n".join(lines) + "\n")
    check(read(folder, label_map={"street": "road", "void": "ignore"}))


def labelme(shapes, size=(40, 60)) -> str:
    return json.dumps(
        {
            "shapes": [
                {"label": label, "shape_type": kind, "points": points}
                for label, kind, points in shapes
            ],
            "imageHeight": size[0],
            "imageWidth": size[1],
        }
    )


def test_polygons_of_labelme(folder):
    """Later shapes cover earlier ones; borders belong to the shape, as LabelMe draws."""
    shapes = [
        ("road", "rectangle", [[50, 30], [10, 10]]),
        ("auto", "polygon", [[20, 15], [29, 15], [29, 24], [20, 24]]),
        ("dirt", "polygon", [[0, 0], [4, 0], [4, 2], [0, 2]]),
        ("car", "point", [[1, 1]]),
    ]
    (folder / "mask").mkdir()
    for stem in STEMS:
        (folder / "mask" / f"{stem}.json").write_text(labelme(shapes))
    found = read(folder, label_map={"auto": "car", "dirt": "ignore"})
    expected = np.zeros((40, 60), np.uint8)
    expected[10:31, 10:51] = 1
    expected[15:25, 20:30] = 2
    expected[:3, :5] = 255
    assert all((mask == expected).all() for mask in found)


def test_round_trip_of_contours(folder):
    """Masks to LabelMe's polygons and back: contours through pixel centres lose nothing."""
    (folder / "mask").mkdir()
    masks = []
    for number, stem in enumerate(STEMS):
        shapes = []
        masks.append(np.zeros((40, 60), np.uint8))
        for label in (1, 2):  # class 2 lies on class 1
            centre, axes = (20 + 4 * number, 10 + 3 * number), (17 - 7 * label, 9 - 3 * label)
            area = np.zeros((40, 60), np.uint8)
            cv2.ellipse(area, centre, axes, 17.0 * number, 0, 360, 1, -1)
            masks[-1][area > 0] = label
            contours, _ = cv2.findContours(area, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            long = [c[:, 0].tolist() for c in contours if len(c) > 2]
            shapes += [(NAMES[label], "polygon", points) for points in long]
        (folder / "mask" / f"{stem}.json").write_text(labelme(shapes))
    for mask, expected in zip(read(folder), masks, strict=True):
        assert len(np.unique(expected)) == 3
        np.testing.assert_array_equal(mask, expected)


def test_one_file_of_coco(folder):
    entries = []
    for number in range(len(STEMS)):
        for label in (1, 2, 255):
            runs = coco_mask.encode(np.asfortranarray(truth(number) == label))
            runs["counts"] = runs["counts"].decode()
            entries.append(
                {
                    "id": len(entries) + 1,
                    "image_id": number,
                    "category_id": 5 if label == 255 else label + 2,
                    "segmentation": runs,
                    "iscrowd": int(label == 255),
                }
            )
    images = [
        {"id": i, "file_name": f"all/{stem}.png", "height": 40, "width": 60}
        for i, stem in enumerate(STEMS)
    ]
    names = {3: "road", 4: "car", 5: "crowd"}
    categories = [{"id": i, "name": name} for i, name in names.items()]
    content = {"images": images, "annotations": entries, "categories": categories}
    (folder / "mask").mkdir()
    (folder / "mask" / "instances.json").write_text(json.dumps(content))
    check(read(folder, label_map={"crowd": "ignore"}))


def test_a_coco_file_is_parsed_once_and_knows_images_by_name(folder, monkeypatch):
    """Files called NAME_rgb pair as NAME, which is what the COCO file calls them."""
    from rgbx.data.annotations import polygons

    for path in (folder / "rgb").iterdir():
        path.rename(path.with_name(f"{path.stem}_rgb.png"))
    images = [{"id": i, "file_name": f"{stem}.png"} for i, stem in enumerate(STEMS)]
    (folder / "mask").mkdir()
    file = folder / "mask" / "instances.json"
    file.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    parsed, read_json = [], polygons.read_json
    monkeypatch.setattr(polygons, "read_json", lambda p: parsed.append(p) or read_json(p))
    assert not any(mask.any() for mask in read(folder))
    assert parsed == [file]


def test_small_polygons_of_coco_cover_large_ones(folder):
    big, small = [10, 10, 30, 10, 30, 30, 10, 30], [15, 15, 20, 15, 20, 20, 15, 20]
    entries = [
        {"id": 9 * i + j, "image_id": i, "category_id": c, "segmentation": [points]}
        for i in range(len(STEMS))
        for j, (c, points) in enumerate([(2, small), (1, big)])
    ]
    content = {
        "images": [{"id": i, "file_name": f"{stem}.png"} for i, stem in enumerate(STEMS)],
        "annotations": entries,
        "categories": [{"id": i, "name": NAMES[i]} for i in (1, 2)],
    }
    (folder / "mask").mkdir()
    (folder / "mask" / "instances.json").write_text(json.dumps(content))
    for mask in read(folder):
        assert (mask == 2).sum() == 25 and (mask > 0).sum() == 400
        assert mask[17, 17] == 2 and mask[12, 12] == 1


def test_two_classes_of_polygons(folder):
    (folder / "mask").mkdir()
    for stem in STEMS:
        shape = ("polyp", "rectangle", [[2, 3], [11, 12]])
        (folder / "mask" / f"{stem}.json").write_text(labelme([shape]))
    options = {"class_names": None, "binary": True, "label_map": {"polyp": "foreground"}}
    assert all(mask.sum() == 100 for mask in read(folder, **options))
    data = FolderRGBX(str(folder), num_workers=0, soft_masks=True, size=(40, 60), **options)
    data.setup("fit")
    sample = data._sets["train"][0]
    assert sample["mask"].dtype.is_floating_point and sample["mask"].max() == 1


@pytest.mark.parametrize(
    ("mask", "options", "words"),
    [
        (np.full((40, 60), 7, np.uint8), {"label_map": {"1": 1}}, r"name the stored id 7"),
        (np.full((40, 60, 3), [1, 2, 3], np.uint8), {"palette": [(0, 0, 0)] * 3}, "#010203"),
        (labelme([("tree", "rectangle", [[0, 0], [3, 3]])]), {}, "'tree', which is no class"),
        (labelme([("car", "polygon", [[0, 0], [3, 3]])]), {}, "needs 3 points or more"),
        (labelme([("car", "polygon", "abc")]), {}, "shape 1 are no pairs of numbers"),
        (labelme([], (20, 60)), {}, "20 x 60"),
        ("{", {}, "it is no JSON"),
        ('{"a": 1}', {}, "no list `shapes`"),
    ],
)
def test_what_cannot_be_read_names_the_file(folder, put, mask, options, words):
    for stem in STEMS:
        if isinstance(mask, str):
            (folder / "mask").mkdir(exist_ok=True)
            (folder / "mask" / f"{stem}.json").write_text(mask)
        else:
            put(folder / "mask" / f"{stem}.png", mask.astype(np.uint8))
    with pytest.raises(DataError, match=words) as error:
        read(folder, on_bad="error", **options)
    assert "mask/" in str(error.value)


@pytest.mark.parametrize(
    ("label_map", "words"),
    [
        ({"1": "tree"}, "'tree', which is no class"),
        ({"1": 3}, "3, which is no class; give an id from 0 to 2"),
        ({"#12345": 1}, "'#12345' is no colour"),
    ],
)
def test_maps_that_cannot_be(tmp_path, label_map, words):
    with pytest.raises(RGBXError, match=words):
        FolderRGBX(str(tmp_path), class_names=NAMES, label_map=label_map)


def test_check_data_reads_them(folder, capsys):
    (folder / "mask").mkdir()
    for stem in STEMS:
        shape = ("road", "rectangle", [[2, 3], [11, 12]])
        (folder / "mask" / f"{stem}.json").write_text(labelme([shape, ("x", "point", [[0, 0]])]))
    arguments = ["--data", "FolderRGBX", "--data.root", str(folder), "--data.val_share", "0.2"]
    arguments += ["--data.class_names", json.dumps(NAMES), "--output", str(folder / "check")]
    arguments += ["--data.label_map", '{"street": "road", "7": 1, "*": "ignore"}']
    status = run(["check-data", *arguments])
    text = capsys.readouterr().out
    assert status == 0, text
    assert "4 train" in text or "train" in text
