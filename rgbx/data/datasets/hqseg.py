"""HQSeg-44K: fine masks for training, four sets of thin and detailed objects for test."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from rgbx.data.datasets.hqseg_folders import TEST, TRAIN, Part, find_part, half_part, scan_part
from rgbx.data.prompt_dataset import ResizeMode
from rgbx.data.promptable import PromptableDataModule
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.records import Scan, held_out
from rgbx.errors import DataError, RGBXError
from rgbx.prompts import RTS, PromptMixture

__all__ = ["HQSeg44K"]

_TREE = (
    "DIS5K/{DIS-TR,DIS-VD}/{im,gt}, thin_object_detection/ThinObject5K/{images,masks}_{train,test},"
    " thin_object_detection/{COIFT,HRSOD}/{images,masks}, "
    "cascade_psp/{fss_all,DUTS-TR,DUTS-TE,ecssd,MSRA_10K}"
)
_SHOT_SEED = 0


class HQSeg44K(PromptableDataModule):
    """HQSeg-44K (Ke et al., 2023): 44,320 training images from six sources, 1,537 for test.

    Layout (that of HQ-SAM, also below ``data/`` in the root)::

        DIS5K/DIS-TR/{im,gt}                                       DIS5K-TR         3000
        thin_object_detection/ThinObject5K/{images,masks}_train    ThinObject5K-TR  4748
        cascade_psp/fss_all                                        FSS             10000
        cascade_psp/DUTS-TR                                        DUTS-TR         10553
        cascade_psp/DUTS-TE                                        DUTS-TE          5019
        cascade_psp/ecssd                                          ECSSD            1000
        cascade_psp/MSRA_10K                                       MSRA10K         10000
        DIS5K/DIS-VD/{im,gt}                                       test DIS          470
        thin_object_detection/COIFT/{images,masks}                 test COIFT        280
        thin_object_detection/HRSOD/{images,masks_max255}          test HRSOD        287
        thin_object_detection/ThinObject5K/{images,masks}_test     test ThinObject   500

    In ``cascade_psp``, ``NAME.jpg`` is the image and ``NAME.png`` its mask. Also understood:
    ``cascade_psp/fss/CLASS/``, HRSOD's ``masks`` (0 and 1), and ThinObject5K undivided, as
    ``{images,masks}`` with ``list/{train,test}.txt``. Sets that are absent are named in a warning;
    each test set that is there is a test split. There is no validation set: the paper trains for a
    fixed number of epochs.

    Masks are grey at their borders and stay so in training; scores take what exceeds 128 of 255.

    Args:
        root: folder of the data sets.
        size: (height, width) of the network's input.
        mixture: weights of the kinds of prompts in training.
        occlusion: probability of synthetic occlusion in training.
        low_shot: train on so many images only (the paper: 220 and 440), drawn from all training
            images; the same ones for every `seed`, and fewer are part of more.
        sets: names of the training sets wanted; by default all that are there.
        val_share: part of the training set held out for validation by `seed`; 0 for none.
        resize_mode: "squash" or "pad", see `PromptableDataModule`.
        **kwargs: options of `PromptableDataModule`.

    Raises:
        RGBXError: a set is unknown, or `low_shot` is below 1.
    """

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (1024, 1024),
        mixture: PromptMixture = RTS,
        occlusion: float = 0.5,
        low_shot: int | None = None,
        sets: list[str] | None = None,
        val_share: float = 0.0,
        resize_mode: ResizeMode = "squash",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, size, mixture, occlusion, resize_mode, val_share=val_share, **kwargs)
        unknown = [name for name in sets or () if name not in TRAIN]
        if unknown or sets == []:
            raise RGBXError(
                f"sets {sets} are not those of HQSeg-44K; give some of {', '.join(TRAIN)}"
            )
        if low_shot is not None and low_shot < 1:
            raise RGBXError(f"low_shot {low_shot} leaves nothing to train on; give 1 or more")
        self.low_shot = low_shot
        self.sets = sets
        there = {name: part for name, part in TRAIN.items() if find_part(self.root, part)}
        self.train_sets = tuple(there if sets is None else dict.fromkeys(sets))
        self.test_splits = tuple(name for name, part in TEST.items() if find_part(self.root, part))
        total = sum(TRAIN[name].pairs for name in self.train_sets)
        val = held_out(total, self.val_share)
        self.expected = {name: TEST[name].pairs for name in self.test_splits}
        self.expected["train"] = total - val if low_shot is None else low_shot
        if self.has_val:
            self.expected["val"] = val

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        if split == "predict":
            return self._scan_predict()
        if split in TEST:
            return self._scan_sets({split: TEST[split]})
        if not self.train_sets:
            raise self._missing("training set of HQSeg-44K")
        scan = self._scan_sets({name: TRAIN[name] for name in self.train_sets})
        if self.has_val:
            scan = self.hold_out(scan, split)
        return self._few(scan) if split == "train" and self.low_shot else scan

    def half_there(self) -> list[str]:
        """Name the parts of which a folder or a list is missing."""
        wanted = {n: p for n, p in TRAIN.items() if self.sets is None or n in self.sets} | TEST
        found = {n: half_part(self.root, p) for n, p in wanted.items() if not self._has(p)}
        return [
            f"{text}: {name} of HQSeg-44K cannot be used" for name, text in found.items() if text
        ]

    def _has(self, part: Part) -> bool:
        return find_part(self.root, part) is not None

    def why_no_test(self) -> str:
        """Say why there is no test split."""
        return str(self._missing("validation set of HQSeg-44K"))

    def setup(self, stage: str | None = None) -> None:
        """Find the samples of a stage; sets that are absent are named in a warning."""
        wanted: Mapping[str, Part] = TEST if stage in ("test", "predict") else TRAIN
        used = self.test_splits if wanted is TEST else self.train_sets
        absent = [name for name in wanted if name not in used]
        if absent and used and stage != "predict" and (wanted is TEST or self.sets is None):
            rank_zero_warn(
                f"{self.root}: {', '.join(absent)} of HQSeg-44K are absent; scores are not "
                "comparable with published ones"
            )
        super().setup(stage)

    def _scan_sets(self, parts: Mapping[str, Part], labelled: bool = True) -> Scan:
        scans: dict[str, Scan] = {}
        for name, part in parts.items():
            found = find_part(self.root, part)
            if found is None:
                raise self._missing(f"folder of {name}")
            scans[name] = scan_part(found, labelled)
        return join_sets(scans)

    def _scan_predict(self) -> Scan:
        there = {n: p for n, p in (TRAIN | TEST).items() if find_part(self.root, p)}
        if not there:
            raise self._missing("part of HQSeg-44K; for images of your own use PromptFolder")
        return self._scan_sets(there, labelled=False)

    def _few(self, scan: Scan) -> Scan:
        """The low-shot part of the training images, in their order."""
        total = len(scan.records)
        assert self.low_shot is not None
        if self.low_shot > total:
            raise DataError(
                f"{self.root} has {total} training images, so low_shot cannot be {self.low_shot}"
            )
        order = np.random.default_rng([_SHOT_SEED, total]).permutation(total)
        chosen = sorted(order[: self.low_shot].tolist())
        rank_zero_info(f"HQSeg44K: {self.low_shot} of {total} training images are used")
        return scan._replace(records=[scan.records[i] for i in chosen])

    def _missing(self, what: str) -> DataError:
        state = f"has no {what}" if self.root.is_dir() else "does not exist"
        return DataError(f"{self.root} {state}; set data.root to a folder with some of {_TREE}")
