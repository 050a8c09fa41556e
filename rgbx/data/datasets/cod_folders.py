"""Where COD10K, CAMO, CHAMELEON and NC4K lie: the usual packs, and the original archives."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rgbx.data.splits.folders import MASK, Found, Parts, find_parts, first_parts, nested
from rgbx.data.splits.index import all_stems
from rgbx.data.splits.records import find_folder, index_images
from rgbx.errors import RGBXError

__all__ = ["COD_SETS", "CODFolders", "canonical"]

# The first name is the one used in tables; the others are the same set.
COD_SETS: Mapping[str, tuple[str, ...]] = {
    "CAMO": ("CAMO", "CAMO-V.1.0-CVIU2019", "CAMO_TestingDataset"),
    "CHAMELEON": ("CHAMELEON", "CHAMELEON_TestingDataset"),
    "COD10K": ("COD10K", "COD10K-v3", "COD10K-v2", "COD10K_TestingDataset"),
    "NC4K": ("NC4K",),
}
_OUTER = ("COD", "Dataset", "Datasets")
_TRAIN_PACKS = ("TrainDataset", "TrainValDataset")
_TEST_PACKS = ("TestDataset", "Test")


def canonical(name: str) -> str:
    """The name of a set that tables use.

    Raises:
        RGBXError: the set is unknown.
    """
    for usual, aliases in COD_SETS.items():
        if name.lower() in {alias.lower() for alias in aliases}:
            return usual
    raise RGBXError(f"COD knows no set {name!r}; choose among {', '.join(COD_SETS)}")


@dataclass(frozen=True)
class CODFolders:
    """Looks for sets below a root; the layouts are those of `rgbx.data.COD`."""

    root: Path

    def find_pack(self) -> Found | None:
        """The training pack that mixes the sets: ``TrainDataset/{Imgs,GT}``."""
        folders = [f for base in self._bases() if (f := find_folder(base, _TRAIN_PACKS))]
        folders += [f for base in self._bases() if (f := find_folder(base, ("Train",)))]
        for parts in _all_parts(folders):
            if parts.mask is None or parts.mask.name.lower() != "gt_object":
                return Found(parts)
        return None

    def find_train(self, name: str) -> Found | None:
        """The training part of one set."""
        return self._find(name, ("Train",), "-TR")

    def find_test(self, name: str) -> Found | None:
        """A test set."""
        packs = (find_folder(base, _TEST_PACKS) for base in self._bases())
        packed = _first(f for pack in packs for f in self._named(pack, name))
        if packed is not None:
            return packed
        divided = self._find(name, ("Test",), "-TE")
        if divided is not None:
            return divided
        # CAMO's archive holds its training images too, so its folder is no test set by itself
        whole = [f for base in self._bases() for f in self._named(base, name)]
        whole += [self.root] if self._is_root(name) else []
        return next((found for f in whole if (found := _whole(f)) is not None), None)

    def _bases(self) -> list[Path]:
        return list(nested(self.root, _OUTER, depth=1))

    def _is_root(self, name: str) -> bool:
        return self.root.name.lower() in {alias.lower() for alias in COD_SETS[name]}

    def _named(self, parent: Path | None, name: str, suffix: str = "") -> Iterator[Path]:
        for alias in COD_SETS[name]:
            folder = None if parent is None else find_folder(parent, (alias + suffix,))
            if folder is not None:
                yield folder

    def _find(self, name: str, split: tuple[str, ...], suffix: str) -> Found | None:
        """One part of a set that has training and test images."""
        own = [f for base in self._bases() for f in self._named(base, name)]
        own += [inner for f in own for inner in self._named(f, name)]
        if self._is_root(name):
            own.append(self.root)
        separate = [f for base in self._bases() for f in self._named(base, name, suffix)]
        places = [*separate, *(f for base in own if (f := find_folder(base, split)))]
        found = _first(places)
        if found is not None:
            return found
        if name == "COD10K":
            return self._loose_cod10k(split)
        archives = [*own, *self._bases()] if name == "CAMO" else []
        return next((camo for base in archives if (camo := _camo(base, split[0]))), None)

    def _loose_cod10k(self, split: tuple[str, ...]) -> Found | None:
        """``{Train,Test}/{Image,GT_Object}`` in the root itself."""
        for parts in _all_parts(f for b in self._bases() if (f := find_folder(b, split))):
            if parts.mask is not None and parts.mask.name.lower() == "gt_object":
                return Found(parts)
        return None


def _all_parts(folders: Iterable[Path]) -> Iterator[Parts]:
    for folder in folders:
        parts = find_parts(folder, ())
        if parts is not None:
            yield parts


def _first(folders: Iterable[Path]) -> Found | None:
    parts = first_parts(folders, ())
    return None if parts is None else Found(parts)


def _whole(folder: Path) -> Found | None:
    """A folder of images and masks that is not divided any further."""
    parts = find_parts(folder, ())
    if parts is None or find_folder(parts.rgb, ("Train", "Test")) is not None:
        return None
    return Found(parts)


def _camo(base: Path, split: str) -> Found | None:
    """CAMO's archive: ``Images/{Train,Test}`` with ``GT``, or with ``{Train,Test}_gt``."""
    images = find_folder(base, ("Images", "Image", "Imgs"))
    rgb = None if images is None else find_folder(images, (split,))
    if rgb is None:
        return None
    mask = find_folder(base, (f"{split}_gt", f"{split}_GT", *MASK))
    inner = None if mask is None else find_folder(mask, (split,))
    # GT holds the masks of both parts, so only the images say what belongs to this one
    return Found(Parts(rgb, None, inner or mask), all_stems([index_images(rgb)]))
