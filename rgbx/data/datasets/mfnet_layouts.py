"""How the published copies of MFNet lie on disk."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LAYOUTS", "Layout"]


@dataclass(frozen=True)
class Layout:
    """Where one of the published copies keeps its files; no `x` means a 4-channel `rgb`."""

    rgb: tuple[str, ...]
    mask: tuple[str, ...]
    x: tuple[str, ...] = ()
    rgb_ending: str = ""
    x_ending: str = ""
    tree: str = ""


_LABELS = ("labels", "label")
LAYOUTS: Mapping[str, Layout] = {
    "B": Layout(
        ("images",), _LABELS, tree="images/ (4-channel PNG), labels/, train.txt, test_day.txt"
    ),
    "A": Layout(("images",), _LABELS, tree="images/ (4-channel PNG), labels/, train.txt"),
    "C": Layout(
        ("seperated_images", "separated_images"),
        _LABELS,
        ("seperated_images", "separated_images"),
        "_rgb",
        "_th",
        "seperated_images/ (NAME_rgb.png, NAME_th.png), labels/, train.txt",
    ),
    "D": Layout(
        ("RGB",),
        _LABELS,
        ("Thermal", "THE", "ther", "T"),
        tree="RGB/, Thermal/, Label/, train.txt",
    ),
    "E": Layout(
        ("images",), ("annotations",), tree="images/{train,val} (4-channel PNG), annotations/"
    ),
}
