"""Lines over common axes as an inline SVG that takes its colours from the page's style."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from rgbx.visualization.curves import Panel

__all__ = ["Axis", "line_chart", "thinned"]

_WIDTH, _HEIGHT = 380, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 370, 10, 212  # of the area with lines
_POINTS = 240  # per line; more are no finer on a screen
_TICKS = 5

Line = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high`` on a drawing from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value is drawn; one outside of the axis at its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Where round numbers are drawn, and how they are written."""
        raw = (self.high - self.low) / _TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        factor = next(factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
        step = power * factor
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        decimals = max(0, min(6, -math.floor(math.log10(step) + 1e-9) + (factor == 2.5)))
        return [(self.at(i * step), _number(i * step, decimals)) for i in range(first, last + 1)]

    def __str__(self) -> str:
        """As the page's script reads it."""
        return f"{self.low:.8g} {self.high:.8g} {self.start} {self.end}"


def thinned(xs: Sequence[float], ys: Sequence[float], points: int = _POINTS) -> Line:
    """At most so many points, each the mean of a stretch of the line; NaN counts nowhere."""
    width = -(-len(xs) // points)
    if width <= 1:
        return xs, ys
    stretches = [slice(start, start + width) for start in range(0, len(xs), width)]
    return [_mean(xs[part]) for part in stretches], [_mean(ys[part]) for part in stretches]


def line_chart(
    panel: Panel, styles: Mapping[str, int], legend: bool = False, points: int = _POINTS
) -> str:
    """A ``<figure>`` with the chart and a legend.

    Args:
        panel: What to draw; ``log_y`` is not supported and ignored.
        styles: Name of a line -> number of its colour, so that a run has one colour everywhere.
        legend: Whether there is a legend if there is but one name.
        points: Per line at most.
    """
    lines = {name: thinned(*line, points) for name, line in panel.lines.items()}
    x_range = panel.x_range or _range([x for xs, _ in lines.values() for x in xs], room=0)
    y_range = panel.y_range or _range([y for _, ys in lines.values() for y in ys], room=0.05)
    x, y = Axis(*x_range, _LEFT, _RIGHT), Axis(*y_range, _BOTTOM, _TOP)
    drawn = "".join(_drawn(x, y, name, line, styles[name]) for name, line in lines.items())
    items = (
        f'<li><span class="swatch s{styles[name] % 8}"></span>{escape(name)}</li>' for name in lines
    )
    names = f'<ul class="legend">{"".join(items)}</ul>'
    return (
        f'<figure class="chart"><figcaption>{escape(panel.title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(f"{panel.title}: {panel.y_label} over {panel.x_label}")}" '
        f'data-x="{x}" data-y="{y}" data-label="{escape(panel.x_label)}">'
        f"{_grid(x, y, panel.x_label)}{drawn}</svg>"
        f"{names if legend or len(styles) > 1 else ''}</figure>"
    )


def _drawn(x: Axis, y: Axis, name: str, line: Line, style: int) -> str:
    """One line, in as many pieces as its gaps leave; a piece of one point is a dot."""
    points = [
        "" if math.isnan(a + b) else f"{x.at(a):.1f} {y.at(b):.1f}"
        for a, b in zip(*line, strict=True)
    ]
    pieces = [list(piece) for known, piece in groupby(points, bool) if known]
    path = "".join("M" + "L".join(piece) for piece in pieces)
    dots = "".join(
        '<circle cx="{}" cy="{}" r="2.5"/>'.format(*piece[0].split())
        for piece in pieces
        if len(piece) == 1
    )
    dashes = f" d{style // 8 % 4}" if style >= 8 else ""
    return (
        f'<g class="line s{style % 8}{dashes}" data-name="{escape(name)}">'
        f'<path d="{path}"/>{dots}</g>'
    )


def _grid(x: Axis, y: Axis, label: str) -> str:
    parts = []
    for place, text in y.ticks():
        parts.append(f'<path d="M{_LEFT} {place:.1f}H{_RIGHT}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 6}" y="{place + 4:.1f}">{text}</text>')
    for place, text in x.ticks():
        parts.append(f'<path d="M{place:.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(f'<text class="mid" x="{place:.1f}" y="{_BOTTOM + 15}">{text}</text>')
    middle = (_LEFT + _RIGHT) / 2
    parts.append(
        f'<text class="mid label" x="{middle:.0f}" y="{_HEIGHT - 6}">{escape(label)}</text>'
    )
    return f'<g class="grid">{"".join(parts)}</g>'


def _number(value: float, decimals: int) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k" if abs(value) < 1e6 else f"{value:.2g}"
    return f"{value + 0.0:.{decimals}f}"


def _range(values: Sequence[float], room: float) -> tuple[float, float]:
    known = [value for value in values if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    return low - room * (high - low), high + room * (high - low)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
