"""What the two-class sets of plain RGB images have in common: camouflage, shadows, polyps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgbx.data.saliency import SaliencyDataModule
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.records import Scan, held_out
from rgbx.data.transforms.corruption import Drop

__all__ = ["TwoClassDataModule"]


class TwoClassDataModule(SaliencyDataModule):
    """Images without a second modality, and masks of one kind of thing in them.

    A subclass names what is looked for (`class_names`) and its folders (`tree`), sets
    `test_splits`, and writes `scan_train`, `scan_test` and `scan_predict`. Samples have no ``x``.
    Masks are cut at > 128 of 255 before anything is resized, and class ids are resized by nearest
    neighbour; test masks keep the size of their file. The whole image is squashed to `size`.

    There is no validation list: `val_share` of the training images is held out by `seed`; with
    `val_share` 0 nothing is held out and nothing is validated.

    Args:
        root: folder of the data set.
        size: (height, width) of the network's input.
        flip: probability of a horizontal flip in training.
        enhance: change brightness, contrast, colour and sharpness strongly in training.
        soft_masks: training masks are float32 in [0, 1] with their grey borders, not class ids.
        choose_on_test: as `choose_on` with all test sets.
        **kwargs: options of `RGBXDataModule`, those of the second modality excepted.
    """

    x_inputs = ()

    def __init__(
        self,
        root: str,
        size: tuple[int, int] = (1024, 1024),
        flip: float = 0.5,
        enhance: bool = False,
        soft_masks: bool = False,
        choose_on_test: bool = False,
        **kwargs: Any,
    ) -> None:
        # What is spelled out here is no option of these sets.
        super().__init__(
            root,
            size,
            flip=flip,
            enhance=enhance,
            soft_masks=soft_masks,
            choose_on_test=choose_on_test,
            resize_x=False,
            blank=None,
            x_mean=None,
            x_std=None,
            x_channels=1,
            x_invalid=None,
            blank_with="mean",
            drop=Drop(),
            x_noise=0.0,
            x_shift=0,
            **kwargs,
        )

    @property
    def split_note(self) -> str:
        """Which division into train and test was used, where there are several; else empty."""
        return ""

    def usual(self, total: int) -> dict[str, int]:
        """Usual sizes of train and val for a usual total of training images."""
        val = held_out(total, self.held_out_share)
        return {"train": total - val, **({"val": val} if val else {})}

    def scan_train(self) -> Scan:
        """Pair all training images with their masks, those included that are held out.

        Raises:
            DataError: there is no training set.
        """
        raise NotImplementedError

    def scan_test(self, name: str) -> Scan:
        """Pair the images of one of `test_splits` with their masks.

        Raises:
            DataError: there is no such test set.
        """
        raise NotImplementedError

    def scan_predict(self) -> Mapping[str, Scan]:
        """Find every image below the root, by set; masks are not asked for."""
        raise NotImplementedError

    def families(self, scan: Scan) -> Mapping[Path, str] | None:
        """Which training images must not be parted by the cut; None if each stands alone."""
        return None

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        if split == "predict":
            found = self.scan_predict()
            if not found:
                raise self.missing("images")
            return join_sets(found)
        if split in ("train", "val"):
            whole = self.scan_train()
            return self.hold_out(
                whole, split, self.families(whole) if self.held_out_share else None
            )
        return self.scan_test(split)
