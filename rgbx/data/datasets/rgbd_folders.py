"""Where the packs of RGB-D saliency sets keep their training and test pairs."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rgbx.data.splits.folders import Found, Parts, find_parts, first_parts
from rgbx.data.splits.records import find_folder, read_list
from rgbx.errors import RGBXError

__all__ = ["DEPTH", "RGBD_SETS", "RGBDFolders", "canonical"]

# The first name is the one used in tables; the others are the same set.
RGBD_SETS: Mapping[str, tuple[str, ...]] = {
    "NLPR": ("NLPR", "NLPR_FULL", "RGBD1000"),
    "NJU2K": ("NJU2K", "NJUD", "NJU2000", "NJUD_FULL", "NJU2K_FULL", "NJU2000_FULL"),
    "STERE": ("STERE", "STEREO", "SSB", "STERE1000", "STEREO-1000", "STERE-1000", "STEREO1000"),
    "SIP": ("SIP",),
    "LFSD": ("LFSD",),
    "DES": ("DES", "RGBD135"),
    "SSD": ("SSD", "SSD100"),
    "DUT": ("DUT", "DUT-RGBD", "DUTLF-Depth", "DUT_RGBD"),
}
DEPTH = ("depth", "depths", "D")
_LISTS = ("lists", "list", "datasets", "splits")


def canonical(name: str) -> str:
    """The name of a set that tables use.

    Raises:
        RGBXError: the set is unknown.
    """
    for usual, aliases in RGBD_SETS.items():
        if name.lower() in {alias.lower() for alias in aliases}:
            return usual
    raise RGBXError(f"RGBDSaliency knows no set {name!r}; choose among {', '.join(RGBD_SETS)}")


@dataclass(frozen=True)
class RGBDFolders:
    """Looks for sets below a root; the layouts are those of `rgbx.data.RGBDSaliency`."""

    root: Path

    def _folders(self, parent: Path | None, name: str, suffix: str = "") -> Iterator[Path]:
        for alias in RGBD_SETS[name]:
            folder = None if parent is None else find_folder(parent, (alias + suffix,))
            if folder is not None:
                yield folder

    def find_train(self, name: str) -> Found | None:
        """A training set."""
        train = find_folder(self.root, ("train",))
        own = [*self._folders(train, name), *self._folders(train, name, "_TRAIN")]
        own += self._folders(self.root, name, "_TRAIN")
        own += [f for d in self._folders(self.root, name) if (f := find_folder(d, ("Train",)))]
        parts = _first(own)
        return Found(parts) if parts else self._listed(name, "train")

    def find_test(self, name: str) -> Found | None:
        """A test set; a whole set without lists counts as one, unless its name ends in _FULL."""
        test = find_folder(self.root, ("test",))
        own = [*self._folders(test, name), *self._folders(test, name, "_TEST")]
        own += self._folders(self.root, name, "_TEST")
        own += [f for d in self._folders(self.root, name) if (f := find_folder(d, ("Test",)))]
        if self.root.name.lower() in {alias.lower() for alias in RGBD_SETS[name]}:
            own.append(self.root)
        parts = _first(own)
        if parts is not None:
            return Found(parts)
        listed = self._listed(name, "test")
        if listed is not None:
            return listed
        parts = _first(self._folders(self.root, name))
        is_whole = parts is not None and parts.rgb.parent.name.lower().endswith("_full")
        return None if parts is None or is_whole else Found(parts)

    def _listed(self, name: str, split: str) -> Found | None:
        """The part of a whole set that its lists give to train or test."""
        parts = _first(self._folders(self.root, name))
        if parts is None:
            return None
        lists = {s: self._find_list(name, parts.rgb.parent, s) for s in ("train", "test")}
        own, other = lists.pop(split), next(iter(lists.values()))
        if own is not None:
            return Found(parts, read_list(own, parts.stems()))
        if other is None:
            return None
        taken = set(read_list(other, parts.stems()))
        return Found(parts, [name for name in parts.stems() if name not in taken])

    def _find_list(self, name: str, folder: Path, split: str) -> Path | None:
        aliases = "|".join(re.escape(alias.lower()) for alias in RGBD_SETS[name])
        named = re.compile(rf"(?:^|.*[^a-z0-9])(?:{aliases})(?:[^a-z0-9].*|$)")
        places = [find_folder(self.root, (n,)) for n in _LISTS]
        for place in (folder, self.root, *places):
            for path in sorted(place.iterdir()) if place is not None else ():
                stem = path.stem.lower()
                if path.suffix.lower() not in (".txt", ".lst") or split not in stem:
                    continue
                if place == folder or named.match(stem):
                    return path
        return None

    def find_merged(self) -> Parts | None:
        """``train/{RGB,depth,GT}``: all training sets in one folder."""
        return find_parts(find_folder(self.root, ("train",)), DEPTH)


def _first(folders: Iterable[Path]) -> Parts | None:
    return first_parts(folders, DEPTH)
