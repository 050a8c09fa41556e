"""images.csv as rows of the gallery."""

import pytest

from rgbx.report.find import find_sources
from rgbx.report.images import read_images
from tests.report.made import prompted_test, saliency_test, semantic_test


def images(folder):
    (test,) = find_sources([str(folder)])[1]
    return read_images(test)


def test_an_image_has_its_files_and_scores(tmp_path):
    rows, notes = images(semantic_test(tmp_path / "r"))
    assert notes == [] and len(rows) == 4
    row = rows[3]
    assert (row.split, row.subset, row.name, row.kind) == ("test", "night", "00003N", "")
    for path in (row.rgb, row.x, row.prediction, row.truth):
        assert path.is_file()
    assert row.scores == {"acc": 0.875, "miou_image": 0.875} and row.headline == 0.875


def test_every_kind_of_prompt_is_a_row(tmp_path):
    rows, _ = images(prompted_test(tmp_path / "r"))
    assert [(row.kind, row.scores) for row in rows] == [
        ("box", {"mIoU": 0.75, "mBIoU": 0.5}),
        ("point_1", {"mIoU": 0.25, "mBIoU": 0.125, "mSF": 0.5}),
    ]
    assert [row.prediction.name for row in rows] == ["a_box.png", "a_point_1.png"]
    assert all(row.x is None for row in rows)


def test_what_is_missing_is_said(tmp_path):
    rows, notes = images(saliency_test(tmp_path / "no_list"))
    assert rows == [] and "test again" in notes[0]
    path = semantic_test(tmp_path / "r") / "images.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:20]]))
    rows, notes = images(tmp_path / "r")
    assert len(rows) == 2 and "a line of images.csv" in notes[0]
    path.write_text("a,b\n1,2\n")
    assert "no images.csv of `rgbx test`" in images(tmp_path / "r")[1][0]


def test_without_saved_predictions_there_are_scores(tmp_path):
    path = semantic_test(tmp_path / "r") / "images.csv"
    head, *lines = [line.split(",") for line in path.read_text().splitlines()]
    keep = [i for i, name in enumerate(head) if name not in ("truth", "prediction")]
    path.write_text("".join(",".join(line[i] for i in keep) + "\n" for line in [head, *lines]))
    rows, notes = images(tmp_path / "r")
    assert len(rows) == 4 and "--save_predictions" in notes[0]
    assert rows[0].prediction is None and rows[0].scores["miou_image"] == 1


@pytest.mark.parametrize(("value", "expected"), [("nan", {}), ("", {}), ("x", {}), ("1", {"S": 1})])
def test_only_numbers_are_scores(tmp_path, value, expected):
    folder = saliency_test(tmp_path / "r")
    (folder / "images.csv").write_text(f"split,name,rgb,S\ntest,a,/a.png,{value}\n")
    assert images(folder)[0][0].scores == expected


def test_less_is_better_sorts_the_other_way(tmp_path):
    folder = saliency_test(tmp_path / "r")
    (folder / "images.csv").write_text("split,name,rgb,BER_image\nt,a,/a,0.3\nt,b,/b,0.1\n")
    rows, _ = images(folder)
    assert sorted(rows, key=lambda row: row.headline)[0].name == "a"
