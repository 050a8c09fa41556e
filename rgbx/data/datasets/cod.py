"""COD10K, CAMO, CHAMELEON and NC4K: camouflaged objects."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from tqdm import tqdm

from rgbx.data.datasets.cod_folders import COD_SETS, CODFolders, canonical
from rgbx.data.decoding.files import SampleError, probe, read_binary
from rgbx.data.splits.folders import Found
from rgbx.data.splits.records import Record, Scan, join
from rgbx.data.two_class import TwoClassDataModule

__all__ = ["COD"]

_TRAIN_COUNTS = {"COD10K": 3040, "CAMO": 1000}
_TEST_COUNTS = {"CAMO": 250, "CHAMELEON": 76, "COD10K": 2026, "NC4K": 4121}
_LEAKED = ("COD10K-CAM-1-Aquatic-3-Crab-32", "COD10K-CAM-2-Terrestrial-23-Cat-1506")


class COD(TwoClassDataModule):
    """Camouflaged objects: trained on COD10K and CAMO (4040 images), tested on up to 4 sets.

    Each test set that is there is a test split: CAMO (250 images), CHAMELEON (76), COD10K (2026),
    NC4K (4121). Layouts, which may be mixed:

    * the usual packs, ``TrainDataset/{Imgs,GT}`` (COD10K's 3040 and CAMO's 1000 in one folder) and
      ``TestDataset/NAME/{Imgs,GT}``; also ``Image`` and ``Mask``, ``Train`` and ``Test``;
    * COD10K's own, ``{Train,Test}/{Image,GT_Object}``, in the root or in ``COD10K`` or
      ``COD10K-v3`` below it. Images without a camouflaged object ("NonCAM" in the name) are left
      out, and counted in a warning;
    * CAMO's own, ``Images/{Train,Test}`` with ``GT`` or with ``Train_gt`` and ``Test_gt``, in the
      root or in ``CAMO`` below it;
    * ``NAME-TR`` and ``NAME-TE``, or ``NAME`` for a test set, with ``Image`` and ``Mask`` inside.

    Masks that are all black (NonCAM images under other names) are named in a warning. Files are
    paired by stem. Two images of COD10K are in its training and in its test list; they stay
    unless `drop_leaked`.

    Args:
        root: folder of the data sets.
        test_sets: names of the sets to test on; by default all that are there.
        drop_leaked: leave the two images that are also tested on out of training.
        choose_on_test: as `choose_on` with all test sets.
        **kwargs: options of `TwoClassDataModule`.

    Raises:
        RGBXError: a set is unknown.
    """

    class_names = ("background", "camouflaged")
    known_leaks = _LEAKED
    tree = (
        "TrainDataset/{Imgs,GT} and TestDataset/NAME/{Imgs,GT} (NAME is CAMO, CHAMELEON, COD10K or "
        "NC4K), or COD10K/{Train,Test}/{Image,GT_Object}, or CAMO/Images/{Train,Test} and CAMO/GT"
    )

    def __init__(
        self,
        root: str,
        test_sets: list[str] | None = None,
        drop_leaked: bool = False,
        choose_on_test: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, choose_on_test=choose_on_test, **kwargs)
        self.test_sets = test_sets
        self.drop_leaked = drop_leaked
        self._folders = CODFolders(self.root)
        there = [name for name in COD_SETS if self._folders.find_test(name)]
        wanted = there if test_sets is None else [canonical(name) for name in test_sets]
        self.test_splits = tuple(dict.fromkeys(wanted))
        total = sum(_TRAIN_COUNTS[name] for name in self._train_parts() or _TRAIN_COUNTS)
        self.expected = {**_TEST_COUNTS, **self.usual(total - 2 * drop_leaked)}
        self._other: dict[str, list[str]] = {}

    def _train_parts(self) -> dict[str, Found]:
        """Training sets in folders of their own; empty where one pack holds them all."""
        if self._folders.find_pack() is not None:
            return {}
        found = {name: self._folders.find_train(name) for name in _TRAIN_COUNTS}
        return {name: part for name, part in found.items() if part is not None}

    def scan_train(self) -> Scan:
        """Pair the images of the training pack, or of the training sets that are there."""
        pack = self._folders.find_pack()
        found = self._train_parts() if pack is None else {"COD10K and CAMO": pack}
        if not found:
            raise self.missing("training set")
        places = ", ".join(f"{name} in {part.parts.rgb}" for name, part in found.items())
        rank_zero_info(f"COD: trained on {places}")
        self._other["train"] = []
        scan = join(self._pair(part, "train") for part in found.values())
        leaked = [name for name in _LEAKED if name in {r.name for r in scan.records}]
        if not leaked:
            return scan
        if self.drop_leaked:
            rank_zero_info(f"COD: {', '.join(leaked)} left out of train; they are tested on")
            return scan._replace(records=[r for r in scan.records if r.name not in leaked])
        rank_zero_info(
            f"COD: {', '.join(leaked)} of train are in COD10K's test list too; drop_leaked: true "
            "leaves them out"
        )
        return scan

    def scan_test(self, name: str) -> Scan:
        """Pair the images of one test set."""
        found = self._folders.find_test(name)
        if found is None:
            raise self.missing(f"folder of the test set {name}")
        self._other[name] = []
        return self._pair(found, name)

    def scan_predict(self) -> Mapping[str, Scan]:
        """Every image below the root, or those of `test_sets` if they are named."""
        found = {name: self._folders.find_test(name) for name in self.test_splits}
        for name in [name for name, part in found.items() if part is None]:
            raise self.missing(f"folder of the test set {name}")
        if self.test_sets is None:
            found["train"] = self._folders.find_pack()
            found |= {f"{name}-train": part for name, part in self._train_parts().items()}
            if not any(found.values()) and (here := self.parts(self.root)) is not None:
                found[self.root.name] = Found(here)
        return {name: part.scan(labelled=False) for name, part in found.items() if part}

    def _pair(self, found: Found, split: str) -> Scan:
        self.need_masks(found.parts, "training" if split == "train" else split)
        names = found.parts.stems() if found.names is None else found.names
        other = [name for name in names if "noncam" in name.lower()]
        self._other[split] += other
        return found.parts.scan(names=[name for name in names if name not in set(other)])

    def remarks(self, split: str, records: Sequence[Record]) -> list[str]:
        """Count NonCAM images that were left out, and name masks that are all black."""
        said = []
        other = self._other.get(split, [])
        if other:
            said.append(
                f"{self.root}: {len(other)} images of {split} are left out, as they show nothing "
                f"camouflaged (NonCAM in the name): {_some(other)}"
            )
        checked = tqdm(records, f"black masks in {split}?", leave=False)
        black = [record.name for record in checked if _is_black(record)]
        if black:
            said.append(
                f"{self.root}: {len(black)} masks of {split} are all black, as those of COD10K's "
                f"NonCAM images are: {_some(black)}; take them out of the folder, they are no "
                "camouflaged objects"
            )
        return said


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _is_black(record: Record) -> bool:
    """Tell whether a mask is all black; only files small enough to be so are decoded.

    A black PNG has at most a byte for 200 pixels, whichever program wrote it, and hardly any mask
    of an object is as small.
    """
    if record.mask is None:
        return False
    try:
        header = probe(record.mask)
        limit = 1000 + header.height * header.width // 200
        if record.mask.suffix.lower() == ".png" and record.mask.stat().st_size > limit:
            return False
        return not read_binary(record.mask).any()
    except SampleError:  # reported with its reason when the samples are checked
        return False
