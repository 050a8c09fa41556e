"""Where the parts of HQSeg-44K lie below a root, and how their files pair."""

from pathlib import Path
from typing import NamedTuple

from rgbx.data.splits.index import all_stems, subfolders
from rgbx.data.splits.lists import is_there
from rgbx.data.splits.records import Scan, find_folder, index_images, join, pair, read_list

__all__ = ["TEST", "TRAIN", "Part", "find_part", "half_part", "scan_part"]

_JPEG = frozenset({".jpg", ".jpeg"})
_PNG = frozenset({".png"})
_OUTER = ("data", "HQSeg-44K", "HQSeg44K", "sam-hq-training")


class Part(NamedTuple):
    """One of the data sets that HQSeg-44K is made of.

    Args:
        pairs: usual number of pairs.
        places: (images, masks) below the root, the first that are there count; the same folder
            twice means that ``.jpg`` are images and ``.png`` masks.
        split: names of the lists ``list/NAME.txt`` in the folder above, for a whole set.
    """

    pairs: int
    places: tuple[tuple[str, str], ...]
    split: str = ""


class Found(NamedTuple):
    """Folders of a part; `names` is the list of its stems, where it has one."""

    images: Path
    masks: Path
    names: list[str] | None = None


def _same(folder: str) -> tuple[str, str]:
    return folder, folder


_THIN = "thin_object_detection/"
_THIN5K = f"{_THIN}ThinObject5K/"
TRAIN = {
    "DIS5K-TR": Part(3000, (("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt"),)),
    "ThinObject5K-TR": Part(
        4748,
        (
            (f"{_THIN5K}images_train", f"{_THIN5K}masks_train"),
            (f"{_THIN5K}images", f"{_THIN5K}masks"),
        ),
        "train",
    ),
    "FSS": Part(10000, (_same("cascade_psp/fss_all"), _same("cascade_psp/fss"))),
    "DUTS-TR": Part(10553, (_same("cascade_psp/DUTS-TR"),)),
    "DUTS-TE": Part(5019, (_same("cascade_psp/DUTS-TE"),)),
    "ECSSD": Part(1000, (_same("cascade_psp/ecssd"),)),
    "MSRA10K": Part(10000, (_same("cascade_psp/MSRA_10K"),)),
}
TEST = {
    "DIS": Part(470, (("DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt"),)),
    "COIFT": Part(280, ((f"{_THIN}COIFT/images", f"{_THIN}COIFT/masks"),)),
    "HRSOD": Part(
        287,
        (
            (f"{_THIN}HRSOD/images", f"{_THIN}HRSOD/masks_max255"),
            (f"{_THIN}HRSOD/images", f"{_THIN}HRSOD/masks"),
        ),
    ),
    "ThinObject": Part(
        500,
        (
            (f"{_THIN5K}images_test", f"{_THIN5K}masks_test"),
            (f"{_THIN5K}images", f"{_THIN5K}masks"),
        ),
        "test",
    ),
}


def find_part(root: Path, part: Part) -> Found | None:
    """Find the folders of a part below the root, or below ``data`` in it; None if it is absent."""
    for base in _roots(root):
        for images, masks in part.places:
            found = _walk(base, images), _walk(base, masks)
            if found[0] is None or found[1] is None:
                continue
            if not part.split or images.endswith(part.split):
                return Found(found[0], found[1])
            listed = found[0].parent / "list" / f"{part.split}.txt"
            if is_there(listed):
                known = all_stems([index_images(found[0]), index_images(found[1])])
                return Found(found[0], found[1], read_list(listed, known))
    return None


def half_part(root: Path, part: Part) -> str:
    """What there is of a part that cannot be found, and what is missing; empty if it is absent."""
    for base in _roots(root):
        for images, masks in part.places:
            found = {place: _walk(base, place) for place in (images, masks)}
            there = [path for path in found.values() if path is not None]
            if len(there) == 2 and images != masks:  # a whole set, without the list of this part
                return f"{there[0].parent} has no list/{part.split}.txt"
            if len(there) == 1:
                lacks = next(place for place, path in found.items() if path is None)
                return f"{there[0]} is there, but {base / lacks} is not"
    return ""


def _roots(root: Path) -> list[Path]:
    return [root, *(f for name in _OUTER if (f := find_folder(root, (name,))) is not None)]


def _walk(folder: Path, path: str) -> Path | None:
    place: Path | None = folder
    for name in path.split("/"):
        place = None if place is None else find_folder(place, (name,))
    return place


def scan_part(found: Found, labelled: bool = True) -> Scan:
    """Pair the files of a part; names of images in folders of their own are ``FOLDER/STEM``."""
    if found.images != found.masks:
        return _pair(found, "", labelled)
    classes = subfolders(found.images)
    inner = [_pair(Found(p, p), f"{p.name}/", labelled) for p in classes]
    return join([_pair(found, "", labelled), *inner])


def _pair(found: Found, prefix: str, labelled: bool) -> Scan:
    shared = found.images == found.masks
    images = index_images(found.images, suffixes=_JPEG) if shared else index_images(found.images)
    masks = index_images(found.masks, suffixes=_PNG) if shared else index_images(found.masks)
    parts = {"rgb": images, "mask": masks} if labelled else {"rgb": images}
    named = {part: index.renamed(prefix.__add__) for part, index in parts.items()}
    stems = all_stems(named.values()) if found.names is None else found.names
    return pair(stems, named, where=str(found.images))
