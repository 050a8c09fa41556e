import math

import numpy as np
import pytest
from PIL import Image

from rgbx.visualization.curves import Panel, draw_curves

LINE = ([0.0, 0.5, 1.0], [1.0, 0.8, 0.2])
BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def _pixels(path, colour) -> np.ndarray:
    """Whether each pixel is (nearly) of a colour; lines are drawn with soft borders."""
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (np.abs(image - colour).max(axis=2) < 12).nonzero()


@pytest.mark.slow
def test_panels_stand_in_rows_and_columns(tmp_path):
    panels = [Panel(f"panel {i}", "x", "y", {"a": LINE}) for i in range(4)]
    draw_curves(panels[:1], tmp_path / "one.png")
    draw_curves(panels, tmp_path / "four.png", columns=3)
    one, four = (Image.open(tmp_path / f"{name}.png") for name in ("one", "four"))
    assert one.size == (660, 510)
    assert four.size == (3 * one.width, 2 * one.height)
    rows, columns = _pixels(tmp_path / "four.png", BLUE)
    cells = {(r // 510, c // 660) for r, c in zip(rows, columns, strict=True)}
    assert cells == {(0, 0), (0, 1), (0, 2), (1, 0)}


def test_a_falling_line_falls(tmp_path):
    draw_curves([Panel("t", "x", "y", {"a": LINE}, (0, 1), (0, 1))], tmp_path / "c.png")
    rows, columns = _pixels(tmp_path / "c.png", BLUE)
    left, right = rows[columns == columns.min()], rows[columns == columns.max()]
    assert left.mean() < right.mean() - 200


def test_the_range_places_the_line(tmp_path):
    level = {"a": ([0, 1], [0.5, 0.5])}
    heights = []
    for top in (0.55, 1.0, 4.0):
        draw_curves([Panel("t", "x", "y", level, (0, top))], tmp_path / "c.png")
        heights.append(_pixels(tmp_path / "c.png", BLUE)[0].mean())
    assert heights == sorted(heights) and heights[2] > heights[0] + 200


def test_only_several_lines_get_a_legend(tmp_path):
    draw_curves([Panel("t", "x", "y", {"a": LINE}, (0, 1), (0, 1))], tmp_path / "one.png")
    both = {"a": LINE, "b": ([0, 1], [0, 0.1])}
    draw_curves([Panel("t", "x", "y", both, (0, 1), (0, 1))], tmp_path / "two.png")
    alone, beside = (len(_pixels(tmp_path / f"{n}.png", BLUE)[0]) for n in ("one", "two"))
    assert beside > alone + 30  # the legend's stroke
    assert len(_pixels(tmp_path / "two.png", ORANGE)[0]) > 100


def test_one_point_is_a_dot_and_nan_a_gap(tmp_path):
    draw_curves([Panel("t", "x", "y", {"a": ([3], [2.0])})], tmp_path / "dot.png")
    assert 5 < len(_pixels(tmp_path / "dot.png", BLUE)[0]) < 200
    gap = {"a": ([0, 1, 2, 3], [1.0, 1.0, math.nan, 1.0])}
    draw_curves([Panel("t", "x", "y", gap, (0, 2), (0, 3))], tmp_path / "gap.png")
    columns = _pixels(tmp_path / "gap.png", BLUE)[1]
    assert columns.max() < 330  # only from 0 to 1 of 3


def test_a_logarithmic_axis_leaves_out_zero(tmp_path):
    decades = {"a": ([0, 1, 2, 3], [100.0, 10.0, 1.0, 0.0])}
    draw_curves([Panel("t", "x", "y", decades, x_range=(0, 3), log_y=True)], tmp_path / "c.png")
    rows, columns = _pixels(tmp_path / "c.png", BLUE)
    start, end = columns.min(), columns.max()
    middle = rows[np.abs(columns - (start + end) // 2) <= 1].mean()
    ends = (rows[columns == start].mean() + rows[columns == end].mean()) / 2
    assert abs(middle - ends) < 6  # a straight line, which stops before 0


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ([], "no panel to draw"),
        ([Panel("loss", "x", "y", {"a": ([1, 2], [1])})], "loss, a: 2 xs but 1 ys"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, panels, message):
    with pytest.raises(ValueError, match=message):
        draw_curves(panels, tmp_path / "c.png")
    assert not list(tmp_path.iterdir())


def test_a_image_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "c.png").mkdir()
    with pytest.raises(OSError, match=r"c\.png"):
        draw_curves([Panel("t", "x", "y", {"a": LINE})], tmp_path / "c.png")
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"]
