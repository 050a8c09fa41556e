import pytest
import torch

from rgbx.errors import DataError
from rgbx.prompts import read_prompts, scale_prompt

SIZE = (100, 200)


@pytest.fixture
def prompts(tmp_path):
    """Write a file and read it."""

    def write(text, name="prompts.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read_prompts(path)

    return write


def test_json(prompts):
    text = '{"a": [{"box": [1, 2.5, 30, 40]}, {"points": [[5, 6], [7, 8]], "labels": [1, 0]}],\n'
    found = prompts(text + ' "b.PNG": [{"points": [[0, 0]]}], "c": []}', "prompts.json")
    assert found.names == ["a", "b"]
    box, points = found.prompts("a", SIZE)
    assert box["box"].tolist() == [1, 2.5, 30, 40] and box["kind"] == "box"
    assert points["points"].tolist() == [[5, 6], [7, 8]] and points["labels"].tolist() == [1, 0]
    assert points["labels"].dtype == torch.int64 and points["points"].dtype == torch.float32
    assert found.prompts("b", SIZE)[0]["labels"].tolist() == [1]
    assert found.prompts("unknown", SIZE) == []


def test_csv_of_boxes_and_names_with_all_sorts_of_signs(prompts):
    found = prompts(
        "\ufeffname,x_min,y_min,x_max,y_max\n1#A b#2,1,2,3,4\n\n"
        '"x, y.jpg", 5,6,7,8\n1#A b#2,0,0,200,100\n'
    )
    assert found.names == ["1#A b#2", "x, y"]
    assert [p["box"].tolist() for p in found.prompts("1#A b#2", SIZE)] == [
        [1, 2, 3, 4],
        [0, 0, 200, 100],
    ]


def test_csv_of_points_with_and_without_a_column_of_prompts(prompts):
    found = prompts("name,x,y,label,prompt\na,1,2,1,p\na,3,4,0,q\na,5,6,0,p\n")
    first, second = found.prompts("a", SIZE)
    assert first["points"].tolist() == [[1, 2], [5, 6]] and first["labels"].tolist() == [1, 0]
    assert second["points"].tolist() == [[3, 4]]
    (single,) = prompts("name,label,x,y\na,1,1,2\na,0,3,4\n").prompts("a", SIZE)
    assert single["points"].tolist() == [[1, 2], [3, 4]] and single["labels"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "prompts.csv line 1: the file is empty; its first line must be name,x_min"),
        ("name,x,y,lable\n", "line 1: column 'lable' is not known; the columns must be name,x_min"),
        ("name,x,y\n", "line 1: columns name,x,y; the columns must be"),
        ("name,x,y,label,x\n", "line 1: columns name,x,y,label,x"),
        ("name;x;y;label\n", "line 1: column 'name;x;y;label' is not known"),
        ("name,x,y,label\na,1,2,1\na,1,2\n", "line 3: 3 cells under 4 columns"),
        ("name,x,y,label\n\na,1,left,1\n", "line 3: y is 'left', not a number"),
        ("name,x,y,label\na,1,2,7\n", "line 2: label 7 has no meaning; give 1 for"),
        ("name,x,y,label\na,nan,2,1\n", "line 2: points are pairs of numbers"),
        (
            "name,x_min,y_min,x_max,y_max\na,5,5,5,9\n",
            r"line 2: the box \[5.0, 5.0, 5.0, 9.0\] has",
        ),
        ("name,x_min,y_min,x_max,y_max\na,9,5,5,9\n", "x_max must exceed x_min"),
        ("name,x_min,y_min,x_max,y_max\na,1,5,inf,9\n", "line 2: a box is x_min, y_min"),
    ],
)
def test_errors_in_csv(prompts, text, message):
    with pytest.raises(DataError, match=message):
        prompts(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [\n', "prompts.json line 2: no JSON"),
        ("[]", "line 1: the file must be"),
        ('{\n"a": {"box": [1, 2, 3, 4]}}', r"line 2 \(a\): a list of prompts must follow"),
        ('{\n\n"a": [{"bbox": [1, 2, 3, 4]}]}', r"line 3 \(a, prompt 1\): 'bbox' is not known"),
        ('{"a": [], "a": []}', "line 1: 'a' stands there twice"),
        ('{"a": [{}]}', "give either a box, or points"),
        ('{"a": [[1, 2, 3, 4]]}', "a prompt is a mapping"),
        ('{"a": [{"box": [1, 2, 3, 4], "points": [[1, 2]]}]}', "give either a box, or points"),
        ('{"a": [{"box": [1, 2, 3]}]}', "a box is x_min, y_min, x_max, y_max, four numbers"),
        ('{"a": [{"box": "1 2 3 4"}]}', "box must hold lists of numbers, not"),
        ('{"a": [{"box": [1, 2, 1, 4]}]}', "has no area"),
        ('{"a": [{"points": [[1, 2]]}, {"points": []}]}', r"\(a, prompt 2\): points are pairs"),
        ('{"a": [{"points": 3}]}', "points must be a list of pairs"),
        ('{"a": [{"points": [[1, 2]], "labels": [1, 1]}]}', "1 points have 2 labels"),
        ('{"a": [{"points": [[1, 2]], "labels": [-1]}]}', "label -1 has no meaning"),
    ],
)
def test_errors_in_json(prompts, text, message):
    with pytest.raises(DataError, match=message):
        prompts(text, "prompts.json")


def test_prompts_outside_the_image(prompts):
    points = "name,x,y,label\na,199,99,1\nb,201,5,1\n"
    assert len(prompts(points).prompts("a", SIZE)) == 1
    with pytest.raises(
        DataError, match=r"line 3: \(201, 5\) lies outside b, which is 200 pixels w"
    ):
        prompts(points).prompts("b", SIZE)
    boxes = "name,x_min,y_min,x_max,y_max\na,0,0,200,100\nb,0,-1,5,5\nc,0,0,5,101\n"
    assert len(prompts(boxes).prompts("a", SIZE)) == 1
    with pytest.raises(DataError, match=r"line 3: \(0, -1\) lies outside b"):
        prompts(boxes).prompts("b", SIZE)
    with pytest.raises(DataError, match=r"line 4: \(5, 101\) lies outside c"):
        prompts(boxes).prompts("c", SIZE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("-0.4,5,60,50", [0, 5, 60, 50]),
        ("5,5,200.4,100.9", [5, 5, 200, 100]),
        ("5,-0.99,200,100", [5, 0, 200, 100]),
    ],
)
def test_a_box_that_rounding_left_outside_is_moved_to_the_border(prompts, given, expected):
    found = prompts(f"name,x_min,y_min,x_max,y_max\nb,1,2,3,4\na,{given}\n")
    with pytest.warns(UserWarning, match=r"prompts.csv line 3: 1 prompt of a "):
        found.warn_moved("a", SIZE)
    assert found.prompts("a", SIZE)[0]["box"].tolist() == expected


def test_points_that_rounding_left_outside_lie_on_the_last_pixel(prompts):
    found = prompts("name,x,y,label\na,200,99.9,1\na,-0.2,100.5,0\na,3,4,1\n")
    with pytest.warns(UserWarning, match="1 prompt of a "):
        found.warn_moved("a", SIZE)
    (moved,) = found.prompts("a", SIZE)
    torch.testing.assert_close(
        moved["points"], torch.tensor([[199.5, 99.9], [0, 99.5], [3, 4]]), rtol=0, atol=0
    )
    assert moved["labels"].tolist() == [1, 0, 1]


def test_prompts_inside_are_not_spoken_of(prompts, recwarn):
    found = prompts("name,x_min,y_min,x_max,y_max\na,0,0,200,100\n")
    found.warn_moved("a", SIZE)
    assert not recwarn.list


def test_a_box_with_no_area_left_inside_is_refused(prompts):
    found = prompts("name,x_min,y_min,x_max,y_max\na,-0.9,5,-0.1,50\n")
    with pytest.raises(DataError, match=r"line 2: \(-0.9, 5\) lies outside a"):
        found.prompts("a", SIZE)


def test_names_and_files_that_do_not_exist(prompts, tmp_path):
    found = prompts("name,x,y,label\ncat,1,2,1\ndog,1,2,1\n")
    found.check_names(["cat", "dog", "bird"])
    with pytest.raises(DataError, match=r"prompts.csv line 3: there is no image 'dog'"):
        found.check_names(["cat"])
    with pytest.raises(DataError, match="the prompts cannot be read"):
        read_prompts(tmp_path / "none.json")
    with pytest.raises(DataError, match="prompts are read from"):
        read_prompts(tmp_path / "prompts.txt")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="it is not UTF-8 text"):
        read_prompts(tmp_path / "binary.csv")


def test_scaling_to_the_frame(prompts):
    box, points = prompts(
        '{"a": [{"box": [20, 10, 200, 100]}, {"points": [[50, 25]]}]}', "prompts.json"
    ).prompts("a", SIZE)
    assert scale_prompt(box, SIZE, (64, 64))["box"].tolist() == pytest.approx([6.4, 6.4, 64, 64])
    assert scale_prompt(points, SIZE, (32, 64))["points"].tolist() == [[16, 8]]
    assert points["points"].tolist() == [[50, 25]]  # the prompt itself stays
