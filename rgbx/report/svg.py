"""Lines over common axes as an inline SVG that takes its colours from the page's style."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from rgbx.visualization.curves import Panel

__all__ = ["line_chart", "thinned"]

_WIDTH, _HEIGHT = 380, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 10, 38
_POINTS = 240  # per line; more are no finer on a screen
_TICKS = 5

Line = tuple[Sequence[float], Sequence[float]]


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
    xs = _range([x for line in lines.values() for x in line[0]], panel.x_range, room=0)
    ys = _range([y for line in lines.values() for y in line[1]], panel.y_range, room=0.05)
    axes = _Axes(xs, ys)
    drawn = [_drawn(axes, name, line, styles[name]) for name, line in lines.items()]
    label = escape(f"{panel.title}: {panel.y_label} over {panel.x_label}", quote=True)
    items = (
        f'<li><span class="swatch s{styles[name] % 8}"></span>{escape(name)}</li>' for name in lines
    )
    names = f'<ul class="legend">{"".join(items)}</ul>'
    return (
        f'<figure class="chart"><figcaption>{escape(panel.title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" '
        f'data-x="{xs[0]:.8g} {xs[1]:.8g} {_LEFT} {_WIDTH - _RIGHT}" '
        f'data-y="{ys[0]:.8g} {ys[1]:.8g} {_HEIGHT - _BOTTOM} {_TOP}" '
        f'data-label="{escape(panel.x_label, quote=True)}">'
        f"{_grid(axes, panel)}{''.join(drawn)}</svg>"
        f"{names if legend or len(styles) > 1 else ''}</figure>"
    )


class _Axes:
    """From values to places on the drawing."""

    def __init__(self, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self.xs, self.ys = xs, ys

    def x(self, value: float) -> float:
        share = (value - self.xs[0]) / (self.xs[1] - self.xs[0])
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.ys[0]) / (self.ys[1] - self.ys[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _drawn(axes: _Axes, name: str, line: Line, style: int) -> str:
    """One line, in as many pieces as its gaps leave; a piece of one point is a dot."""
    pieces = list(_pieces(axes, line))
    path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in piece) for piece in pieces)
    dots = "".join(
        f'<circle cx="{piece[0][0]:.1f}" cy="{piece[0][1]:.1f}" r="2.5"/>'
        for piece in pieces
        if len(piece) == 1
    )
    dashes = f" d{style // 8 % 4}" if style >= 8 else ""
    return (
        f'<g class="line s{style % 8}{dashes}" data-name="{escape(name, quote=True)}">'
        f'<path d="{path}"/>{dots}</g>'
    )


def _pieces(axes: _Axes, line: Line) -> Iterator[list[tuple[float, float]]]:
    piece: list[tuple[float, float]] = []
    for x, y in zip(*line, strict=True):
        if math.isnan(y):
            if piece:
                yield piece
            piece = []
        else:
            piece.append((axes.x(x), axes.y(min(max(y, axes.ys[0]), axes.ys[1]))))
    if piece:
        yield piece


def _grid(axes: _Axes, panel: Panel) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for value, text in _ticks(axes.ys):
        y = axes.y(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{text}</text>')
    for value, text in _ticks(axes.xs):
        x = axes.x(value)
        parts.append(f'<path d="M{x:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="mid" x="{x:.1f}" y="{bottom + 15}">{text}</text>')
    middle = (_LEFT + right) / 2
    label = escape(panel.x_label)
    parts.append(f'<text class="mid label" x="{middle:.0f}" y="{_HEIGHT - 6}">{label}</text>')
    return f'<g class="grid">{"".join(parts)}</g>'


def _ticks(bounds: tuple[float, float]) -> list[tuple[float, str]]:
    """Round numbers within the bounds, and how they are written."""
    low, high = bounds
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    decimals = max(0, min(6, -math.floor(math.log10(step) + 1e-9) + (step / power == 2.5)))
    return [(i * step, _number(i * step, decimals)) for i in range(first, last + 1)]


def _number(value: float, decimals: int) -> str:
    if abs(value) >= 10_000:
        thousands = value / 1000
        return f"{thousands:g}k" if abs(value) < 1e6 else f"{value:.2g}"
    return f"{value + 0.0:.{decimals}f}"


def _range(
    values: Sequence[float], wanted: tuple[float, float] | None, room: float
) -> tuple[float, float]:
    if wanted:
        return wanted
    known = [value for value in values if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)) or low == high:
        return low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    return low - room * (high - low), high + room * (high - low)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
