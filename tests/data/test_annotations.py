"""Box annotations in five formats: real files, written ones, and bad ones."""

import gzip
import json

import numpy as np
import pytest

from rgbx.data.annotations.boxes import Boxes
from rgbx.data.annotations.coco import read_coco
from rgbx.data.annotations.kaist import read_kaist_json, read_kaist_txt
from rgbx.data.annotations.labelme import read_labelme
from rgbx.data.annotations.voc import read_voc
from rgbx.data.annotations.yolo import read_class_list, read_yolo
from rgbx.data.decoding.files import SampleError
from rgbx.errors import DataError

CORNERS = [[10.0, 20.0, 50.5, 100.0], [0.0, 0.0, 16.0, 16.0], [300.0, 100.0, 380.0, 140.25]]
NAMES = ["car", "person", "car"]
SIZE = (512, 640)


def voc_text(corners=CORNERS, names=NAMES, shift=1.0):
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{b[0] + shift}</xmin><ymin>{b[1] + shift}</ymin>"
        f"<xmax>{b[2]}</xmax><ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in zip(names, corners, strict=True)
    )
    size = f"<size><width>{SIZE[1]}</width><height>{SIZE[0]}</height><depth>1</depth></size>"
    return f"<annotation>{size}{objects}</annotation>"


def width_height(b):
    return [b[0], b[1], b[2] - b[0], b[3] - b[1]]


def coco_content(corners=CORNERS, names=NAMES):
    classes = {"person": 7, "car": 3}
    return {
        "images": [{"id": 5, "file_name": "a/x.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": i, "name": n} for n, i in classes.items()],
        "annotations": [
            {"id": k, "image_id": 5, "category_id": classes[n], "bbox": width_height(b)}
            for k, (n, b) in enumerate(zip(names, corners, strict=True))
        ],
    }


def labelme_content():
    shapes = [
        {"label": n, "shape_type": "rectangle", "points": [[b[2], b[1]], [b[0], b[3]]]}
        for n, b in zip(NAMES, CORNERS, strict=True)
    ]
    return {"shapes": shapes, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}


def yolo_text():
    rows = []
    for name, (x1, y1, x2, y2) in zip(NAMES, CORNERS, strict=True):
        values = ((x1 + x2) / 2 / 640, (y1 + y2) / 2 / 512, (x2 - x1) / 640, (y2 - y1) / 512)
        rows.append(f"{int(name == 'person')} " + " ".join(f"{v:.8f}" for v in values))
    return "\r\n".join(rows) + "\r\n"


def check(found: Boxes):
    assert found.names == tuple(NAMES)
    assert np.abs(found.corners - np.array(CORNERS)).max() < 1e-3
    assert not found.ignore.any() and found.corners.dtype == np.float32


def test_the_same_boxes_in_every_format(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text("\ufeff" + (content if isinstance(content, str) else json.dumps(content)))
        return path

    check(read_voc(write("x.xml", voc_text())))
    check(read_voc(write("y.xml", voc_text(shift=0.0)), one_based=False))
    check(read_yolo(write("x.txt", yolo_text()), ("car", "person"), SIZE))
    check(read_labelme(write("x.json", labelme_content())))
    coco = read_coco(write("coco.json", coco_content()))
    check(coco.images["x"].boxes)
    assert coco.class_names == ("person", "car")  # in the order of the file
    assert read_voc(write("x.xml", voc_text())).size == SIZE == coco.images["x"].boxes.size


def test_images_without_objects(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation></annotation>")
    (tmp_path / "a.txt").write_text("\n")
    (tmp_path / "a.json").write_text('{"shapes": []}')
    for found in (
        read_voc(tmp_path / "a.xml"),
        read_yolo(tmp_path / "a.txt", ("a",), SIZE),
        read_labelme(tmp_path / "a.json"),
    ):
        assert found.corners.shape == (0, 4) and len(found) == 0 and found.size is None


def test_coco_crowds_and_second_modality(tmp_path):
    content = coco_content()
    content["annotations"][1]["iscrowd"] = 1
    content["images"][0]["file_name_lwir"] = "b/x_ir.jpg"
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    image = read_coco(path).images["x"]
    assert image.boxes.ignore.tolist() == [False, True, False]
    assert image.other == "b/x_ir.jpg"


def test_coco_is_read_again_when_it_changes(tmp_path):
    import os

    path = tmp_path / "c.json"
    path.write_text(json.dumps(coco_content()))
    assert len(read_coco(path).images["x"].boxes) == 3
    path.write_text(json.dumps(coco_content(CORNERS[:1], NAMES[:1])))
    os.utime(path, ns=(1, 1))
    assert len(read_coco(path).images["x"].boxes) == 1


def test_real_llvip(samples):
    folder = samples / "rgbir_detection/llvip/Annotations"
    found = [read_voc(path) for path in sorted(folder.glob("*.xml"))]
    assert (len(found), sum(map(len, found))) == (9, 45)
    for boxes in found:
        assert set(boxes.names) == {"person"} and boxes.size == (1024, 1280)
        assert boxes.corners.min() >= 0 and (boxes.corners.max(0) <= [1280, 1024, 1280, 1024]).all()


def test_real_msrs(samples):
    root = samples / "rgbir_detection/msrs"
    names = read_class_list(root / "classes.txt")
    assert names == ("person", "bicycle", "car")
    found = [
        read_yolo(p, names, (480, 640)) for p in sorted((root / "labels_fusion").glob("*.txt"))
    ]
    assert len(found) == 12 and all((b.corners[:, 2:] > b.corners[:, :2]).all() for b in found)
    assert len(read_yolo(root / "labels_visible/01023N.txt", names, (480, 640))) == 0


def test_real_kaist(samples):
    path = samples / "rgbir_detection/kaist_metric/KAIST_annotation.json.gz"
    found = read_kaist_json(path)
    names = (samples / "rgbir_detection/kaist_metric/test-all-20.txt").read_text().split()
    assert list(found) == names and len(names) == 2252
    assert sum(map(len, found.values())) == 4254
    assert sum(int(b.ignore.sum()) for b in found.values()) == 864
    assert {int(o) for b in found.values() for o in b.occlusion} == {0, 1, 2}


def test_kaist_text(tmp_path):
    path = tmp_path / "I00001.txt"
    path.write_text(
        "% bbGt version=3\nperson 10 20 30 60 1 0 0 0 0 0 0\npeople 1 2 3 4 0 0 0 0 0 0 0\n"
        "person 5 5 9 9 2 0 0 0 0 1 0\nperson? 0 0 5 5\n"
    )
    found = read_kaist_txt(path)
    assert found.corners[0].tolist() == [10, 20, 40, 80]
    assert found.ignore.tolist() == [False, True, True, True]
    assert found.occlusion.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("<name>person</name>", ""), "object 2 has no name"),
        (("<xmin>1.0</xmin>", ""), r"object 2 \(person\) has no xmin"),
        (("<xmin>1.0</xmin>", "<xmin>nan</xmin>"), "xmin of object 2"),
        (("<xmax>16.0</xmax>", "<xmax>-3</xmax>"), "object 2 .* inverted"),
        (("</annotation>", ""), "no XML"),
        (("annotation>", "html>"), "root is <html>"),
        (("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>'), "document type"),
    ],
)
def test_bad_voc(tmp_path, change, named):
    path = tmp_path / "x.xml"
    text = voc_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1) if "<xm" in change[0] else text.replace(*change))
    with pytest.raises(SampleError, match=named) as error:
        read_voc(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("0 0.5 0.5", "line 2 has 3 words"),
        ("0 0.5 0.5 0.1 1.5", "height of line 2 is 1.5"),
        ("0 -0.5 0.5 0.1 0.1", "centre x of line 2 is -0.5"),
        ("0 0.5 0.5 0.1 inf", "height of line 2"),
        ("2 0.5 0.5 0.1 0.1", "class of line 2 is 2, but there are 2 classes"),
        ("0.5 0.5 0.5 0.1 0.1", "class of line 2 is 0.5"),
        ("0 0.5 0.5 0.1 0.1 0.98", "confidence"),
        ("0 0.5 0.5 0.1 0.1 0.2 0.3", "7 words.*polygon"),
        ("dog 0.5 0.5 0.1 0.1", "class of line 2 is dog, but there are 2 classes"),
        ("nan 0.5 0.5 0.1 0.1", "class of line 2 is nan"),
    ],
)
def test_bad_yolo(tmp_path, row, named):
    path = tmp_path / "x.txt"
    path.write_text(f"1 0.5 0.5 0.1 0.1\n{row}\n")
    with pytest.raises(SampleError, match=named) as error:
        read_yolo(path, ("car", "person"), SIZE)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("annotations", 1, "id"), None, "annotation number 1 has no id"),
        (("annotations", 1, "occlusion"), "2", "occlusion '2'"),
        (("annotations", 1, "occlusion"), 7, "occlusion 7"),
        (("annotations", 1, "image_id"), None, "annotation 1 has no image_id"),
        (("annotations", 1, "image_id"), "5", "image_id '5'"),
        (("annotations", 1, "image_id"), 99, "image_id 99"),
        (("annotations", 1, "category_id"), 99, "category_id 99"),
        (("annotations", 1, "category_id"), None, "annotation 1 has no category_id"),
        (("annotations", 1, "bbox"), None, "annotation 1 has no bbox"),
        (("annotations", 1, "iscrowd"), "0", "annotation 1 has the iscrowd '0'"),
        (("annotations", 1, "ignore"), "false", "annotation 1 has the ignore 'false'"),
        (("annotations", 1, "ignore"), 2, "annotation 1 has the ignore 2"),
        (("images", 0, "file_name"), ".", "image 5 has the file_name '.'"),
        (("images", 0, "height"), -5, "image 5 is -5 x 640 pixels"),
        (("images", 0, "file_name_lwir"), 3, "image 5 has no file_name_lwir"),
        (("categories", 0, "id"), 3, "two categories have the id 3"),
        (("annotations", 1, "bbox"), ["1", 2, 3, 4], "annotation 1 has the bbox"),
        (("annotations", 1, "bbox"), [1, 2, 3], "annotation 1 has the bbox"),
        (("annotations", 1, "bbox"), [1, 2, float("nan"), 4], "annotation 1 has the bbox"),
        (("annotations", 1, "bbox"), [1, 2, -3, 4], "width of -3"),
        (("images", 0, "id"), None, "image 0 has no id"),
        (("images", 0, "file_name"), None, "image 5 has no file_name"),
        (("images", 0, "height"), "512", "height '512'"),
        (("categories", 0, "name"), None, "category 0 has no name"),
        (("annotations",), {}, "no list `annotations`"),
    ],
)
def test_bad_coco(tmp_path, place, value, named):
    content = coco_content()
    *above, last = place
    entry = content
    for key in above:
        entry = entry[key]
    if value is None:
        del entry[last]
    else:
        entry[last] = value
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SampleError, match=named) as error:
        read_coco(path)
    assert str(path) in str(error.value)


def test_more_bad_files(tmp_path):
    path = tmp_path / "c.json"
    content = coco_content()
    content["images"] *= 2
    path.write_text(json.dumps(content))
    with pytest.raises(SampleError, match="two images have the id 5"):
        read_coco(path)
    path.write_text("{")
    with pytest.raises(SampleError, match="no JSON"):
        read_coco(path)
    with pytest.raises(SampleError, match="absent"):
        read_coco(tmp_path / "absent.json")
    path.write_text('{"shapes": [{"label": "a", "points": [[1, 2]]}]}')
    with pytest.raises(SampleError, match=r"shape 1 \(a\) needs two points"):
        read_labelme(path)
    packed = tmp_path / "k.json.gz"
    packed.write_bytes(gzip.compress(b"{}")[:-6])
    with pytest.raises(SampleError, match=r"k\.json\.gz"):
        read_kaist_json(packed)
    row = tmp_path / "I.txt"
    row.write_text("%\nperson 1 2 3\n")
    with pytest.raises(SampleError, match="line 2 has 4 words"):
        read_kaist_txt(row)
    row.write_text("")
    with pytest.raises(DataError, match="no class names"):
        read_class_list(row)


def test_class_lists(tmp_path):
    (tmp_path / "data.yaml").write_text("names:\n  1: b\n  0: a\n")
    assert read_class_list(tmp_path / "data.yaml") == ("a", "b")
    (tmp_path / "data.yaml").write_text("names: [c, d]\n")
    assert read_class_list(tmp_path / "data.yaml") == ("c", "d")
    (tmp_path / "classes.txt").write_text("0: a b\n1: c\n")
    assert read_class_list(tmp_path / "classes.txt") == ("a b", "c")
    (tmp_path / "classes.txt").write_text("1 a\n2 c\n")
    assert read_class_list(tmp_path / "classes.txt") == ("1 a", "2 c")
    (tmp_path / "data.yaml").write_text("nc: 3\n")
    with pytest.raises(DataError, match="names"):
        read_class_list(tmp_path / "data.yaml")
    twelve = "".join(f'  "{i}": n{i}\n' for i in range(12))  # as text, "10" is before "2"
    (tmp_path / "data.yaml").write_text(f"names:\n{twelve}")
    assert read_class_list(tmp_path / "data.yaml") == tuple(f"n{i}" for i in range(12))


@pytest.mark.parametrize(
    ("names", "named"),
    [
        ("{0: a, 2: b}", "keys of `names` are 0, 2"),
        ("{0: a, x: b}", "keys of `names` are 0, x"),
        ("[a, null]", "class 1 of `names` is None"),
        ("[a, {b: c}]", "class 1 of `names`"),
    ],
)
def test_bad_class_lists(tmp_path, names, named):
    path = tmp_path / "data.yaml"
    path.write_text(f"names: {names}\n")
    with pytest.raises(DataError, match=named) as error:
        read_class_list(path)
    assert str(path) in str(error.value)


def test_coco_ids_of_many_digits(tmp_path):
    content = coco_content()
    content["images"][0]["id"] = 20160725120000
    for annotation in content["annotations"]:
        annotation["image_id"] = 20160725120000
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    check(read_coco(path).images["x"].boxes)


@pytest.mark.parametrize("second", ["a/x.jpg", "a/x.png"])
def test_coco_images_of_one_name(tmp_path, second):
    content = coco_content()
    content["images"].append({"id": 6, "file_name": second})
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content))
    with pytest.raises(SampleError, match="images 5 and 6 are both called 'a/x'"):
        read_coco(path)


def test_json_number_of_thousands_of_digits(tmp_path):
    path = tmp_path / "c.json"
    path.write_text('{"shapes": [' + "1" * 5000 + "]}")
    for read in (read_coco, read_labelme):
        with pytest.raises(SampleError, match="no JSON"):
            read(path)


def test_labelme_skips_and_counts_other_shapes(tmp_path):
    content = labelme_content()
    content["shapes"] += [
        {"label": "car", "shape_type": "point", "points": [[1, 2]]},
        {"label": "car", "shape_type": "circle", "points": [[1, 2], [3, 4]]},
    ]
    content["shapes"][0].update(shape_type="polygon", points=[[50.5, 20], [10, 60], [30, 100]])
    path = tmp_path / "l.json"
    path.write_text(json.dumps(content))
    check(read_labelme(path))
    content["shapes"][1]["points"][0][0] = "16"
    path.write_text(json.dumps(content))
    with pytest.raises(SampleError, match=r"shape 2 \(person\) holds '16'"):
        read_labelme(path)
