"""What gradient surgery saw, step by step: kept in checkpoints, drawn after the run."""

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbx.disk import whole_file
from rgbx.optim.surgery import conflict_share, cosine
from rgbx.visualization.curves import Panel, draw_curves

__all__ = ["SurgeryHistory", "surgery_statistics"]

_WINDOWS = 60  # points per drawn line; each is the mean over one stretch of the run


def surgery_statistics(
    products: Mapping[str, Tensor],
    losses: Mapping[str, Sequence[str]],
    compare: tuple[str, str] | None = None,
) -> dict[str, float]:
    """Numbers that describe the gradients of one step.

    Args:
        products: group -> Gram matrix (T, T) of its losses' gradients.
        losses: group -> names of its losses, in the order of the rows.
        compare: two groups, for the ratio of the norms of their summed gradients (SAMSOD's
            G_R / G_T, Fig. 3: above 1 the first modality learns faster).

    Returns:
        ``GROUP/cos_A_B`` for every pair of losses (Fig. 4), ``GROUP/conflict`` (share of pairs
        with a negative cosine) where there are several losses, and ``ratio``.
    """
    found: dict[str, float] = {}
    for group, gram in products.items():
        names = losses[group]
        for i, j in combinations(range(len(names)), 2):
            found[f"{group}/cos_{names[i]}_{names[j]}"] = cosine(gram, i, j)
        if len(names) > 1:
            found[f"{group}/conflict"] = conflict_share(gram)
    if compare:
        # the sum's squared norm is the sum over the Gram matrix; a frozen group's is 0
        one, other = (max(float(products[group].sum()), 0.0) ** 0.5 for group in compare)
        found["ratio"] = one / other if other else float("nan")
    return found


class SurgeryHistory:
    """The statistics of every optimiser step of a run, interrupted or not."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.rows: list[list[float]] = []

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add one optimiser step; a number that others do not have is NaN there."""
        found = {"step": float(step), **values}
        if new := [name for name in found if name not in self.columns]:
            self.columns = [*self.columns, *new]
            self.rows = [[*row, *[math.nan] * len(new)] for row in self.rows]
        self.rows.append([found.get(name, math.nan) for name in self.columns])

    def state(self) -> dict[str, Any]:
        """Plain form for a checkpoint."""
        # float64: step numbers above 2**24, and ratios beyond float32
        return {"columns": list(self.columns), "rows": torch.tensor(self.rows, dtype=torch.float64)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what a checkpoint holds."""
        self.columns, self.rows = list(state["columns"]), state["rows"].tolist()

    def write(self, folder: Path) -> None:
        """Write ``surgery.csv`` (every step) and ``surgery.png`` into a run's folder."""
        if not self.rows:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "surgery.csv"
        with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows([[int(row[0]), *(f"{v:.6g}" for v in row[1:])] for row in self.rows])
        draw_curves(self._panels(), folder / "surgery.png")

    def _panels(self) -> list[Panel]:
        lines = {name: self._line(i) for i, name in enumerate(self.columns) if i}
        panels = []
        for group in dict.fromkeys(name.split("/")[0] for name in lines if "/" in name):
            cosines = {
                _pair(name.split("/cos_")[1]): line
                for name, line in lines.items()
                if name.startswith(f"{group}/cos_")
            }
            title = f"{group}: cosine between gradients"
            panels.append(Panel(title, "step", "cosine", cosines | _level(lines, 0.0), (-1, 1)))
        shares = {n.split("/")[0]: line for n, line in lines.items() if n.endswith("/conflict")}
        if shares:
            panels.append(Panel("conflicting pairs", "step", "share", shares, (0, 1)))
        if "ratio" in lines:
            ratio = {"ratio": lines["ratio"]} | _level(lines, 1.0)
            panels.append(Panel("gradient norm ratio of the modalities", "step", "ratio", ratio))
        return panels

    def _line(self, column: int) -> tuple[list[float], list[float]]:
        """Steps and values, averaged over stretches of the run so that a trend shows."""
        width = max(1, len(self.rows) // _WINDOWS)
        xs, ys = [], []
        for start in range(0, len(self.rows), width):
            part = self.rows[start : start + width]
            known = [row[column] for row in part if row[column] == row[column]]
            xs.append(part[len(part) // 2][0])
            ys.append(sum(known) / len(known) if known else float("nan"))
        return xs, ys


def _pair(name: str) -> str:
    """`a / b` from `a_b`; names with underscores of their own stay as they are."""
    return name.replace("_", " / ") if name.count("_") == 1 else name


def _level(
    lines: Mapping[str, tuple[list[float], list[float]]], value: float
) -> dict[str, tuple[list[float], list[float]]]:
    """A horizontal line to compare with."""
    xs = next(iter(lines.values()))[0]
    return {f"{value:g}": ([xs[0], xs[-1]], [value, value])}
