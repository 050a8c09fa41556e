"""How often each class occurs in the masks of a split."""

from collections.abc import Sequence

import numpy as np
import torch.distributed as dist
from tqdm import tqdm

from rgbx.data.source import Source, count_ids
from rgbx.data.splits.records import Record
from rgbx.errors import DataError

__all__ = ["class_frequencies", "count_ids"]


def class_frequencies(source: Source, records: Sequence[Record], split: str) -> tuple[float, ...]:
    """Share of each class among the labelled pixels of some masks, at the size of their files.

    Every pixel of the set counts the same, whatever the size of its image.

    Args:
        source: reads the masks.
        records: what to read.
        split: name of the records, for the progress bar and messages.

    Returns:
        One share for each id, in [0, 1]; they sum to 1.

    Raises:
        DataError: there are no masks, or they label nothing.
        SampleError: a mask cannot be used.
    """
    counts = np.zeros(source.num_classes + 1, dtype=np.int64)
    quiet = dist.is_available() and dist.is_initialized() and dist.get_rank() > 0
    for record in tqdm(records, f"counting classes of {split}", disable=quiet, leave=False):
        mask = source.read_labels(record)
        if mask is None:
            raise DataError(
                f"{record.rgb} has no mask, so the classes of {split} cannot be counted; give "
                "masks, or class weights as numbers"
            )
        counts += count_ids(mask, source.num_classes)
    labelled = counts[:-1]
    if not labelled.any():
        raise DataError(
            f"{source.root}: the masks of {split} label no pixel (all are 255), so its classes "
            "cannot be counted"
        )
    return tuple((labelled / labelled.sum()).tolist())
