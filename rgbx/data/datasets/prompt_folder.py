"""Images of one's own for promptable models, with masks or with prompts."""

from pathlib import Path
from typing import Any

from rgbx.data.prompt_dataset import ResizeMode
from rgbx.data.promptable import PromptableDataModule
from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.index import all_stems, passed_over
from rgbx.data.splits.records import Scan, find_folder, index_images, pair, seeded_split
from rgbx.errors import DataError
from rgbx.prompts import RTS, PromptMixture

__all__ = ["PromptFolder"]

_IMAGES = ("im", "images", "image", "imgs", "img", "rgb")
_MASKS = ("gt", "masks", "mask")
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_TREE = (
    "im/ (or images, rgb) and gt/ (or masks, mask), or train/, val/, test/ with these inside; "
    "images alone are enough for prediction"
)


class PromptFolder(PromptableDataModule):
    """One's own images: with masks to train and test on, with prompts to predict.

    Either ``{train,val,test}/{im,gt}`` or ``im/ gt/``, files joined by stem, any image suffix;
    ``images`` and ``rgb``, ``mask`` and ``masks`` are understood too. ``im/ gt/`` alone is cut by
    `seed`: `val_share` of the pairs to val, as many to test, the rest to train. Of split folders,
    val is cut from train if it has none of its own; test may be absent.

    Prediction needs no masks: it takes the images of these folders, or those directly in the
    root, that the file of prompts names. The file is ``prompts.json`` or ``prompts.csv`` in the
    root unless `prompts` names another; see `rgbx.prompts.files`.

    Args:
        root: folder of the images.
        prompts: file of prompts for prediction.
        size: (height, width) of the network's input.
        mixture: weights of the kinds of prompts in training.
        occlusion: probability of synthetic occlusion in training.
        resize_mode: "squash" or "pad", see `PromptableDataModule`.
        val_share: part of the images held out for validation, and of ``im/ gt/`` for test too.
        **kwargs: options of `PromptableDataModule`.
    """

    def __init__(
        self,
        root: str,
        prompts: str | None = None,
        size: tuple[int, int] = (1024, 1024),
        mixture: PromptMixture = RTS,
        occlusion: float = 0.5,
        resize_mode: ResizeMode = "squash",
        val_share: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            root, size, mixture, occlusion, resize_mode, prompts, val_share=val_share, **kwargs
        )
        self._flat = find_folder(self.root, _IMAGES) is not None
        found = _split_folders(self.root)
        self._folders = {s: f for s, f in found.items() if find_folder(f, _IMAGES)}
        has_test = self.val_share > 0 if self._flat else "test" in self._folders
        self.test_splits = ("test",) if has_test else ()

    @property
    def own_val(self) -> str:
        """Its validation folder, where there is one."""
        return "its val folder" if not self._flat and "val" in self._folders else ""

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `RGBXDataModule.scan`."""
        if split == "predict":
            return self._scan_predict()
        if self._flat:
            return self._scan_flat(split)
        source = "train" if split == "val" and "val" not in self._folders else split
        if source not in self._folders:
            raise self._missing(f"{source} folder")
        scan = _pair(self._folders[source])
        cuts = source == "train" and "val" not in self._folders and self.val_share > 0
        return self.hold_out(scan, split) if cuts else scan

    def _scan_flat(self, split: str) -> Scan:
        scan = _pair(self.root)
        rest, val = seeded_split([r.name for r in scan.records], self.val_share, self.seed)
        train, test = seeded_split(rest, len(val) / max(len(rest), 1), self.seed)
        chosen = set({"train": train, "val": val, "test": test}[split])
        problems = scan.problems if split == "train" else []
        return Scan([r for r in scan.records if r.name in chosen], problems, scan.notes)

    def _scan_predict(self) -> Scan:
        if self._flat:
            return _pair(self.root, labelled=False)
        if self._folders:
            return join_sets({s: _pair(f, labelled=False) for s, f in self._folders.items()})
        index = index_images(self.root) if self.root.is_dir() else {}
        if names := all_stems([index]):
            notes = passed_over([index], names)
            return pair(names, {"rgb": index})._replace(notes=tuple(notes))
        raise self._missing("images")

    def half_there(self) -> list[str]:
        """Name split folders that have masks but no images."""
        folders = {} if self._flat else _split_folders(self.root)
        return [
            f"{folder} has masks ({masks.name}), but no folder of images ({', '.join(_IMAGES)}): "
            "it is not used"
            for split, folder in folders.items()
            if split not in self._folders and (masks := find_folder(folder, _MASKS)) is not None
        ]

    def why_no_test(self) -> str:
        """Say why there is no test split."""
        return str(self._missing("test set"))

    def _missing(self, what: str) -> DataError:
        state = f"has no {what}" if self.root.is_dir() else "does not exist"
        return DataError(f"{self.root} {state}; set data.root to a folder with {_TREE}")


def _split_folders(root: Path) -> dict[str, Path]:
    return {s: f for s, names in _SPLITS.items() if (f := find_folder(root, names))}


def _pair(folder: Path, labelled: bool = True) -> Scan:
    images, masks = find_folder(folder, _IMAGES), find_folder(folder, _MASKS)
    assert images is not None, "only folders with images get here"
    parts = {"rgb": index_images(images, nested=True)}
    if labelled:
        if masks is None:
            raise DataError(f"{folder} has no folder of masks (gt, masks or mask)")
        parts["mask"] = index_images(masks, nested=True)
    names = all_stems(parts.values())
    scan = pair(names, parts, where=str(folder))
    return scan._replace(notes=tuple(passed_over(parts.values(), names)))
