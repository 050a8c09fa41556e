"""Which samples of a data set can be used, and what is said of the others."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.checks.files import audit_mask
from rgbx.data.checks.findings import SplitReport
from rgbx.data.checks.leaks import training_leaks
from rgbx.data.checks.mixed import mixed_x
from rgbx.data.decoding.files import Header, SampleError, probe
from rgbx.data.source import Source
from rgbx.data.splits.frequencies import class_frequencies
from rgbx.data.splits.records import Problem, Record, listed
from rgbx.errors import DataError

__all__ = ["UsableSource"]


class UsableSource(Source):
    """A data set on disk whose files are checked before they are used."""

    #: whether prediction shows a model the mean of X where images have none
    fills_x: bool = False
    _frequencies: dict[str, tuple[float, ...]]

    def records(self, split: str) -> list[Record]:
        """The samples of a split that are loaded; none without loaders."""
        return []

    def inspect(self, record: Record, decode: bool = False) -> list[Problem]:
        """Look for everything that is wrong with one sample's files.

        Args:
            record: what to check.
            decode: read every pixel and id; else only the files' headers.

        Returns:
            One problem for each file that is unreadable, differs in size, lacks channels or holds
            foreign ids.
        """
        problems = self._inspect_headers(record)
        if decode:
            problems += _failure(lambda: self.read_images(record))
        if decode or record.labelled is not None:  # only its pixels tell an empty scribble
            problems += _failure(lambda: self.read_labels(record))
        return list(dict.fromkeys(problems))

    def _inspect_headers(self, record: Record) -> list[Problem]:
        sizes: dict[Path, tuple[int, int]] = {}
        problems: list[Problem] = []
        for path in dict.fromkeys((record.rgb, record.x, record.mask, record.labelled)):
            if path is None:
                continue
            try:
                header = self.header(path, record)
                self.check_header(path, header, record)
                sizes[path] = (header.height, header.width)
            except SampleError as error:
                problems.append(Problem(error.kind, str(error)))
        if record.rgb not in sizes:
            return problems
        for path, size in sizes.items():
            if path != record.x or not self.resize_x:
                problems += _failure(
                    partial(self._check_size, path, size, record, sizes[record.rgb])
                )
        return problems

    def header(self, path: Path, record: Record) -> Header:
        """What the first bytes of one of a sample's files tell.

        Raises:
            SampleError: the file is missing, empty or no image.
        """
        return probe(path)

    def check_header(self, path: Path, header: Header, record: Record) -> None:
        """Check one file's header beyond its size; nothing here, data sets may.

        Raises:
            SampleError: the file is not of the kind the data set needs.
        """

    def find_records(self, split: str) -> list[Record]:
        """Return the usable samples of a split.

        Raises:
            DataError: files are missing or unusable and `on_bad` is "error" (the text lists the
                first ten), or no sample is left.
        """
        found = self.scan_split(split)
        problems = list(found.problems)
        records: list[Record] = []
        decode = self.on_bad == "skip"
        for record in tqdm(found.records, f"reading {split}", disable=not decode, leave=False):
            bad = self.inspect(record, decode=decode)
            problems += bad
            if not bad:
                records.append(record)
        if split == "train":
            leaks = training_leaks(self, records)
            problems += leaks.values()
            records = [record for record in records if str(record.rgb) not in leaks]
        self._report(split, problems)
        for text in mixed_x(self, records):
            rank_zero_warn(text)
        if not records:
            said = "".join(f"; {note}" for note in found.notes)
            name = type(self).__name__
            raise DataError(f"{self.root}: the {split} split of {name} is empty{said}")
        for note in found.notes:
            rank_zero_warn(note)
        if split == "predict" and self.fills_x:
            records = self._filled(records)
        usual = self.expected_size(split)
        if usual is not None and usual != len(records):
            rank_zero_warn(
                f"{type(self).__name__}: {split} has {len(records)} samples, {usual} are usual; "
                "scores may not be comparable with published ones"
            )
        for remark in self.remarks(split, records):
            rank_zero_warn(remark)
        return records

    def _filled(self, records: Sequence[Record]) -> list[Record]:
        """Samples to predict, those without X marked as such, and said."""
        alone = sum(record.x is None for record in records)
        if alone:
            rank_zero_warn(
                f"{self.root}: {alone} of {len(records)} images have no X; its mean stands in for "
                "it, so expect worse predictions than with both"
            )
        return [replace(record, absent="x") if record.x is None else record for record in records]

    def audit_labels(
        self, report: SplitReport, record: Record, labels: Any, rgb: NDArray[np.uint8]
    ) -> None:
        """Note what is odd about the labels of a usable sample.

        Args:
            report: of the split; takes the notes.
            record: the sample.
            labels: as `read_annotation` gives them.
            rgb: (h, w, 3) the visible image.
        """
        is_image = record.mask is not None and record.mask.suffix.lower() != ".json"
        if record.mask is not None and is_image and record.labelled is None:
            audit_mask(self, report, record.mask, labels)

    def judge_labels(self, split: str, found: SplitReport) -> list[str]:
        """What is wrong with the labels of a split as a whole, a sentence each."""
        if self.binary or not found.pixels[-1] or found.pixels[1:-1].any():
            return []
        # 255 means ignore in class-id maps, so nothing else would notice black-and-white masks
        said = "only 255 (ignored), so that nothing is labelled"
        if found.pixels[0]:
            said = "only 0 and 255 (ignored); for black-and-white masks use FolderRGBX with "
            said += "binary: true"
        return [f"{self.root}: the masks of {split} hold {said}"]

    def half_there(self) -> list[str]:
        """Name the parts of the data set of which some folders are there and others are not."""
        return []

    def share_by_design(self, first: str, second: str) -> bool:
        """Tell whether two splits are meant to have samples in common, as options say.

        Checkpoints that are chosen on test sets are validated on them.
        """
        return self.chooses_on_test and "val" in (first, second) and "train" not in (first, second)

    def remarks(self, split: str, records: Sequence[Record]) -> list[str]:
        """Say what is odd about the pairs of a split as a whole; nothing here, data sets may."""
        return []

    def class_frequencies(self, split: str = "train") -> tuple[float, ...]:
        """Share of each class among the labelled pixels of a split's masks (255 is left out).

        Masks are taken at the size of their files, without augmentation. They are read once.

        Args:
            split: one of `splits`.

        Returns:
            One share for each id, in [0, 1]; they sum to 1.

        Raises:
            DataError: there is no such split, its masks label nothing, or as `find_records`.
        """
        if split not in self.splits:
            raise DataError(
                f"{self.root} has no masks of a split {split!r}, so its classes cannot be counted; "
                f"it has {', '.join(self.splits)}"
            )
        if split not in self._frequencies:
            records = self.records(split) or self.find_records(split)
            self._frequencies[split] = class_frequencies(self, records, split)
        return self._frequencies[split]

    def leaves_out(self, problem: Problem) -> bool:
        """Tell whether the sample of a problem is left out instead of stopping everything."""
        return self.on_bad == "skip" or problem.kind in self.skipped

    def _report(self, split: str, problems: Sequence[Problem]) -> None:
        left_out = [problem for problem in problems if self.leaves_out(problem)]
        if left_out:
            kinds = ", ".join(
                f"{n} {kind}" for kind, n in Counter(p.kind for p in left_out).items()
            )
            rank_zero_warn(f"{self.root}: {len(left_out)} samples of {split} left out ({kinds})")
        problems = [problem for problem in problems if not self.leaves_out(problem)]
        if problems:
            raise listed(problems, self.root, split)


def _failure(read: Callable[[], object]) -> list[Problem]:
    try:
        read()
    except SampleError as error:
        return [Problem(error.kind, str(error))]
    return []
