"""Lines over a common axis as one image: precision-recall, scores by threshold, training losses.

Draws with matplotlib's objects alone: no window, no global figure, safe next to other plots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rgbx.disk import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Panel", "draw_curves"]

Line = tuple[Sequence[float], Sequence[float]]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("-", "--", ":", "-.")  # beyond seven lines the colours come again, dashed
_SIZE = (4.4, 3.4)  # of one panel, in inches
_DPI = 150


@dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
        title: Printed above it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        lines: Name -> (xs, ys) of equal length, one-dimensional; NaN leaves a gap. A line of one
            point is shown as a dot.
        y_range: (lowest, highest) value shown; by default what the lines need.
        x_range: As ``y_range``.
        log_y: Whether the vertical axis is logarithmic; values at or below 0 are left out.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Line]
    y_range: tuple[float, float] | None = None
    x_range: tuple[float, float] | None = None
    log_y: bool = False


def draw_curves(panels: Sequence[Panel], path: str | Path, columns: int = 3) -> None:
    """Draw panels side by side and write them as a PNG, whole or not at all.

    Args:
        panels: One or more.
        path: File to write; one of the same name is replaced.
        columns: Panels per row.

    Raises:
        ValueError: There is no panel, or a line's xs and ys differ in length.
        OSError: The file cannot be written.
    """
    # imported here: it takes a while, and only who draws needs it
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("no panel to draw")
    for panel in panels:
        for name, (xs, ys) in panel.lines.items():
            if len(xs) != len(ys):
                raise ValueError(f"{panel.title}, {name}: {len(xs)} xs but {len(ys)} ys")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(_SIZE[0] * columns, _SIZE[1] * rows), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, panel in enumerate(panels):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), panel)
    with whole_file(path) as draft, draft.open("wb") as file:
        canvas.print_png(file)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    for index, (name, (xs, ys)) in enumerate(panel.lines.items()):
        axes.plot(
            [float(x) for x in xs],
            [float(y) for y in ys],
            label=name,
            color=_COLOURS[index % len(_COLOURS)],
            linestyle=_DASHES[index // len(_COLOURS) % len(_DASHES)],
            linewidth=1.4,
            marker="o" if len(xs) == 1 else None,
            markersize=3,
        )
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.log_y:
        axes.set_yscale("log", nonpositive="mask")
    if panel.x_range:
        axes.set_xlim(*panel.x_range)
    if panel.y_range:
        axes.set_ylim(*panel.y_range)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(panel.lines) > 1:
        axes.legend(fontsize="small", frameon=False)
