"""Scores of maps and masks that lie in a folder, whoever predicted them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from rgbx.data.base import RGBXDataModule
from rgbx.data.decoding.files import SampleError, read_ids, read_pixels
from rgbx.data.splits.index import Index, find_folder, index_images, subfolders
from rgbx.data.splits.records import Record
from rgbx.errors import DataError
from rgbx.metrics.evaluator import Evaluator
from rgbx.metrics.semantic import SegmentationScores
from rgbx.tasks.map_evaluation import OVERALL, MapEvaluator, MapScoring, overall_sentence

__all__ = ["find_methods", "read_map", "score_folder"]

_SHOWN = 10  # names in a message
_SIZE = "at the size of each mask"
_READ = ", predictions read from files of that size"


def find_methods(folder: Path, splits: Sequence[str]) -> dict[str, Path]:
    """The folders of predictions by method, as evaluation tool boxes lay them out.

    Args:
        folder: of one method (images, or a folder for each of `splits`), or of several such.
        splits: names of the test sets.

    Raises:
        DataError: there is no image in it or below.
    """
    if _is_method(folder, splits):
        return {folder.name: folder}
    methods = {path.name: path for path in subfolders(folder) if _is_method(path, splits)}
    if not methods:
        state = "holds no predictions" if folder.is_dir() else "is no folder"
        layout = f"{', '.join(f'{split}/' for split in splits)} with images"
        raise DataError(
            f"{folder} {state}: expected images, {layout}, or folders of methods with these inside"
        )
    return methods


def _is_method(folder: Path, splits: Sequence[str]) -> bool:
    if any(find_folder(folder, (split,)) for split in splits):
        return True
    return len(splits) == 1 and folder.is_dir() and bool(index_images(folder))


def score_folder(
    folder: Path, data: RGBXDataModule, scoring: MapScoring, progress: bool = False
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, str], dict[str, dict[str, Tensor]]]:
    """Score the predictions of one method as `rgbx test` scores a model's.

    Two-class data are scored by maps, of which 8 bits count from 0 to 255; other data by class ids.
    A prediction has the size of its mask: nothing is resized.

    Args:
        folder: images, or a folder of them for each test set; names are those of the data set.
        data: set up for "test".
        scoring: which scores of maps are taken.
        progress: whether to show a bar.

    Returns:
        Split -> subset -> score -> value; metric -> sentence; split -> curves over thresholds.

    Raises:
        DataError: predictions are missing (the first ten are named), or one cannot be scored.
    """
    evaluator: Evaluator | MapEvaluator
    if data.binary:
        evaluator = MapEvaluator(scoring, data.test_splits, data.subsets)
        protocol = {name: _read(text) for name, text in scoring.protocol().items()}
    else:
        ignored = tuple(i for i in data.ignore_ids if i < data.num_classes)
        scores = SegmentationScores(data.num_classes, unscored=ignored)
        evaluator = Evaluator(scores, data.test_splits, data.subsets)
        protocol = {k: f"{v}; scored {_SIZE}{_READ}" for k, v in scores.protocol().items()}
    for split in data.test_splits:
        pairs = _pairs(_index(folder, split, len(data.test_splits)), data, split)
        for record, path in tqdm(pairs, f"scoring {split}", disable=not progress, leave=False):
            labels = data.read_labels(record)
            if labels is None:
                raise DataError(f"{record.rgb}: it has no mask to score {path} with")
            mask = torch.from_numpy(labels.astype(np.int64))
            if isinstance(evaluator, MapEvaluator):
                map_ = torch.from_numpy(_fitting(path, read_map(path), labels, record))
                evaluator.update(split, record.subset, map_, map_[None], mask)
            else:
                ids = data.checked_ids(path, read_ids(path))
                found = torch.from_numpy(_fitting(path, ids, labels, record).astype(np.int64))
                evaluator.update(split, record.subset, found, mask)
    curves = evaluator.curves() if isinstance(evaluator, MapEvaluator) else {}
    results = evaluator.results()
    if OVERALL in results:
        protocol[OVERALL] = overall_sentence(data.test_splits)
    return results, protocol, curves


def _read(text: str) -> str:
    """The sentence of a score of maps, which a model makes and a file holds."""
    head, _, _ = text.partition(_SIZE)
    return f"{head}{_SIZE}{_READ}"


def read_map(path: Path) -> NDArray[np.float32]:
    """A map of probabilities (H,W) in [0, 1]: 8 bits over 255, 16 bits over 65535, or floats.

    Raises:
        SampleError: it is no image, has colours, or floats outside [0, 1].
    """
    image = read_pixels(path)
    if image.ndim == 3:
        colour = image[..., :3] if image.shape[2] >= 3 else image[..., :1]
        if not (colour == colour[..., :1]).all():
            raise SampleError(f"{path}: a map of probabilities is grey, and this has colours")
        image = colour[..., 0]
    full = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(image.dtype, 1)
    values = image.astype(np.float32) / np.float32(full)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise SampleError(
            f"{path}: it holds {values.min():g} to {values.max():g}; maps of {image.dtype} lie in "
            "0 to 1",
            "values",
        )
    return values


def _fitting(
    path: Path, found: NDArray[Any], labels: NDArray[np.uint8], record: Record
) -> NDArray[Any]:
    if found.shape != labels.shape:
        (height, width), (wanted_height, wanted_width) = found.shape, labels.shape
        raise SampleError(
            f"{path}: it is {height} x {width} (height x width), but {record.mask} is "
            f"{wanted_height} x {wanted_width}; predict at the size of the masks",
            "size",
        )
    return found


def _index(folder: Path, split: str, splits: int) -> Index:
    below = find_folder(folder, (split,))
    if below is None and splits > 1:
        raise DataError(f"{folder} has no folder {split}; every test set needs its predictions")
    return index_images(below or folder, nested=True)


def _pairs(
    index: Mapping[str, Path], data: RGBXDataModule, split: str
) -> list[tuple[Record, Path]]:
    """Every sample with its prediction, by the name of its files or its own."""
    known = data.file_names(split)
    pairs, missing = [], []
    for record in data.records(split):
        names = (known.get(str(record.rgb), record.name), record.name)
        path = next((index[name] for name in names if name in index), None)
        if path is None:
            missing.append(record.name)
        else:
            pairs.append((record, path))
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise DataError(
            f"{data.root}: {len(missing)} of {len(data.records(split))} images of {split} have no "
            f"prediction: {shown}"
        )
    used = {path for _, path in pairs}
    if surplus := [name for name, path in index.items() if path not in used]:
        shown = ", ".join(surplus[:_SHOWN]) + (", ..." if len(surplus) > _SHOWN else "")
        rank_zero_warn(f"{split}: {len(surplus)} predictions of no image are not scored: {shown}")
    return pairs
