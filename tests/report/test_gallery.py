"""The gallery keeps its budget, shares equal images, and counts what is missing."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgbx.report.find import find_sources
from rgbx.report.gallery import LEFT_OUT, MISSING, make_gallery, worst
from rgbx.report.images import ImageRow, read_images
from tests.report.made import panel, prompted_test, semantic_test


@pytest.fixture
def rows(tmp_path) -> list[ImageRow]:
    (test,) = find_sources([str(semantic_test(tmp_path / "r"))])[1]
    return read_images(test)[0]


def opened(code: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(code)))


def test_every_image_has_five_panels(rows):
    gallery = make_gallery(rows, 10**6, progress=False)
    assert [[caption for caption, _ in found] for found in gallery.panels] == [[0, 1, 2, 3, 4]] * 4
    assert all(opened(code).size == (24, 24) for code in gallery.data)
    assert not gallery.missing and not gallery.left_out


def test_equal_panels_are_stored_once(rows):
    gallery = make_gallery(rows + rows, 10**6, progress=False)
    assert gallery.panels[:4] == gallery.panels[4:]
    numbers = {n for found in gallery.panels for _, n in found}
    assert numbers == set(range(len(gallery.data)))
    assert len({found[3][1] for found in gallery.panels}) == 1  # one truth
    assert len({found[0][1] for found in gallery.panels}) == 4  # four inputs


def test_kinds_of_prompts_share_input_and_truth(tmp_path):
    (test,) = find_sources([str(prompted_test(tmp_path / "r"))])[1]
    gallery = make_gallery(read_images(test)[0], 10**6, progress=False)
    assert [[caption for caption, _ in found] for found in gallery.panels] == [[0, 2, 3, 4]] * 2
    assert gallery.panels[0][0] == gallery.panels[1][0]


def test_missing_panels_are_counted_and_named(rows):
    rows[1].rgb.unlink()
    rows[2].prediction.write_bytes(b"")
    gallery = make_gallery(rows, 10**6, progress=False)
    assert gallery.panels[1][0] == (0, MISSING) and gallery.panels[1][2][1] >= 0
    assert [gallery.panels[2][i][1] for i in (2, 4)] == [MISSING] * 2
    assert list(gallery.missing) == [rows[1].rgb, rows[2].prediction]


@pytest.mark.parametrize("budget", [0, 100, 1_000, 1_500])
def test_the_budget_is_never_exceeded(rows, budget):
    gallery = make_gallery(rows, budget, progress=False)
    assert sum(len(code) + 3 for code in gallery.data) <= budget
    assert len(gallery.panels) == 4
    empty = [found for found in gallery.panels if all(n == LEFT_OUT for _, n in found)]
    assert len(empty) == gallery.left_out >= 1
    assert (gallery.left_out == 4) == (budget <= 100)


@pytest.mark.slow
def test_panels_shrink_before_they_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (12, 400, 400, 3), np.uint8)
    rows = [
        ImageRow("t", "test", "", str(i), "", panel(tmp_path / f"{i}.png", n), *[None] * 3, {})
        for i, n in enumerate(noise)
    ]
    gallery = make_gallery(rows, 100_000, progress=False)
    assert not gallery.left_out and sum(map(len, gallery.data)) < 100_000
    assert max(opened(gallery.data[0]).size) < 320
    assert max(opened(make_gallery(rows, 10**7, progress=False).data[0]).size) == 320


def scored(test: str, scores) -> list[ImageRow]:
    return [
        ImageRow(
            test, "s", "", str(i), "", Path("a"), None, None, None, {} if v is None else {"S": v}
        )
        for i, v in enumerate(scores)
    ]


def test_the_worst_of_every_test_are_kept_in_order():
    a, b = scored("a", [0.9, 0.1, None, 0.5, 0.3]), scored("b", [0.95])
    kept = worst([*a, *b], 4)
    assert [(row.test, row.name) for row in kept] == [
        ("a", "1"),
        ("a", "3"),
        ("a", "4"),
        ("b", "0"),
    ]
    assert worst([*a, *b], 6) == [*a, *b]
    assert worst(a, 0) == []
    assert [row.name for row in worst(a, 4)] == ["0", "1", "3", "4"]  # without a score: last
