"""Charts: where points lie, ticks, gaps, names."""

import math
import re
import xml.etree.ElementTree as ET

import pytest

from rgbx.report.svg import line_chart, thinned
from rgbx.visualization.curves import Panel


def drawn(panel: Panel, **options) -> ET.Element:
    """The figure, which must be well-formed."""
    styles = {name: i for i, name in enumerate(panel.lines)}
    return ET.fromstring(line_chart(panel, styles, **options))


def paths(figure: ET.Element) -> list[list[list[tuple[float, float]]]]:
    """Per line its pieces of (x, y)."""
    found = []
    for group in figure.iterfind("svg/g[@data-name]"):
        pieces = group.find("path").get("d").split("M")[1:]
        numbers = [[float(n) for n in re.findall(r"-?[\d.]+", piece)] for piece in pieces]
        found.append([list(zip(n[::2], n[1::2], strict=True)) for n in numbers])
    return found


def test_corners_of_the_axes():
    panel = Panel("t", "x", "y", {"a": ([0, 10], [0, 1])}, y_range=(0, 1), x_range=(0, 10))
    figure = drawn(panel)
    left, right, bottom, top = (
        float(v) for k in ("x", "y") for v in figure.find("svg").get(f"data-{k}").split()[2:]
    )
    assert paths(figure) == [[[(left, bottom), (right, top)]]]


def test_gaps_and_single_points():
    nan = math.nan
    panel = Panel("t", "x", "y", {"a": (range(6), [0, 1, nan, 2, nan, 3])})
    (pieces,) = paths(drawn(panel))
    assert [len(piece) for piece in pieces] == [2, 1, 1]
    assert len(drawn(panel).findall("svg/g/circle")) == 2


@pytest.mark.parametrize(
    ("ys", "expected"),
    [
        ([0, 1], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([-1, 1], ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([0, 25000], ["0", "5000", "10k", "15k", "20k", "25k"]),
    ],
)
def test_ticks_are_round_numbers(ys, expected):
    panel = Panel("t", "x", "y", {"a": ([0, 1], ys)}, y_range=tuple(ys))
    texts = [t.text for t in drawn(panel).iterfind("svg/g/text[@class='end']")]
    assert texts == expected


@pytest.mark.parametrize(
    "ys", [[0.5, 0.5], [math.nan, math.nan], [1e9, 1e9 + 1], [1e-9, 2e-9], [0]]
)
def test_odd_ranges_are_drawn(ys):
    figure = drawn(Panel("t", "x", "y", {"a": (range(len(ys)), ys)}))
    assert all(
        math.isfinite(v) for line in paths(figure) for piece in line for p in piece for v in p
    )


def test_names_are_escaped_and_keep_their_colour():
    name = '<img src=x onerror="alert(1)">&'
    panel = Panel(name, name, name, {name: ([0, 1], [0, 1])})
    text = line_chart(panel, {name: 9, "other": 0})
    assert "<img" not in text
    figure = ET.fromstring(text)
    assert figure.find("figcaption").text == name
    assert figure.find("svg/g[@data-name]").get("class") == "line s1 d1"
    assert figure.find("ul/li/span").tail == name


def test_thinning_keeps_means():
    xs, ys = thinned(range(1000), [float(i % 2) for i in range(1000)], points=100)
    assert len(xs) == 100 and set(ys) == {0.5}
    assert (xs[0], xs[-1]) == (4.5, 994.5)
    assert thinned([1, 2], [3, 4], points=2) == ([1, 2], [3, 4])
