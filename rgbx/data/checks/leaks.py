"""Training images that other splits hold too."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning.pytorch.utilities import rank_zero_warn

from rgbx.data.checks.overlap import describe, shared_images
from rgbx.data.splits.records import Problem, Record
from rgbx.errors import DataError

if TYPE_CHECKING:
    from rgbx.data.usable import UsableSource

__all__ = ["training_leaks"]


def training_leaks(data: "UsableSource", train: Sequence[Record]) -> dict[str, Problem]:
    """Training images that other splits hold too and that ``on_bad: skip`` leaves out of training.

    Otherwise they are named loudly and trained on: scores that come of it are too good, but whoever
    fits a handful of images on purpose tests on them as well. `rgbx check-data` calls it a problem.

    Args:
        data: the data set; its `known_leaks` are left alone.
        train: its training samples.

    Returns:
        For the path of each such image what is wrong with it.
    """
    found: dict[str, Problem] = {}
    for split in data.splits:
        if split == "train" or data.share_by_design("train", split):
            continue
        try:
            others = data.scan_split(split).records
        except DataError:  # a split that cannot be read is reported where it is needed
            continue
        shared = [s for s in shared_images(train, others) if s.first.name not in data.known_leaks]
        if data.on_bad != "skip":
            for line in describe(shared, "train", split):
                rank_zero_warn(
                    f"PROBLEM in {data.root}: {line}: scores will be too good. on_bad: skip leaves "
                    "them out of train"
                )
            continue
        for one in shared:
            text = f"{one.first.rgb} is in train and in {split} ({one.second.rgb})"
            found.setdefault(str(one.first.rgb), Problem("leak", text))
    return found
