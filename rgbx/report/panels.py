"""The panels of one image in the gallery, small: input, X, prediction, truth, errors."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["ERRORS", "encode", "error_map", "is_drawing", "palette", "photo", "second", "shown"]

Pixels = NDArray[np.uint8]

#: what the colours of an error map mean
ERRORS = {
    "false alarm": (230, 129, 0),
    "missed": (38, 132, 235),
    "wrong class": (226, 94, 178),
    "right object": (128, 134, 139),
    "right background": (32, 35, 38),
    "not scored": (88, 88, 88),
}
_IGNORE = 255
_IGNORE_COLOUR = (211, 211, 211)
_LARGEST = 1024  # errors are found at no more pixels than this on the longer side
#: what PIL raises on missing, damaged and enormous files
_BAD = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file as PIL opens it; never by its path, of which raw TIFFs that are turned go wrong."""
    with path.open("rb") as stream, Image.open(stream) as file:
        yield file


def _upright(file: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, which `rgbx.data` has done too."""
    file.load()
    try:
        return ImageOps.exif_transpose(file)
    except (SyntaxError, ValueError, struct.error):  # damaged entries are passed over
        return file


def photo(path: Path, side: int) -> Image.Image | None:
    """The visible image; None if the file is missing or damaged."""
    try:
        with _opened(path) as file:
            file.draft("RGB", (2 * side, 2 * side))  # JPEG is decoded small; others are not
            panel = _upright(file)
            if panel.mode.startswith(("I", "F")):
                return _fitted(_stretched(np.asarray(panel)), side)
            return _fitted(panel.convert("RGB"), side)
    except _BAD:
        return None


def second(path: Path, rgb: Path | None, side: int) -> Image.Image | None:
    """The second modality, from its darkest to its brightest value; None if it is unusable.

    In a file that also has the visible image it is the fourth channel.
    """
    try:
        with _opened(path) as file:
            if path == rgb:
                return _fitted(_stretched(np.asarray(_upright(file))[..., 3]), side)
            file.draft(file.mode, (2 * side, 2 * side))  # of JPEG, which is faster
            panel = _upright(file)
            if panel.mode.startswith(("I", "F")):
                values = np.asarray(panel)
            else:  # 8 bits are made small first, which is faster
                grey = panel.convert("L" if panel.mode == "L" else "RGB")
                values = np.asarray(_fitted(grey, side))
    except (*_BAD, IndexError):
        return None
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    return _fitted(_stretched(values), side)


def shown(path: Path, side: int) -> Image.Image | None:
    """A prediction or a truth as an image: ids and drawings in their colours, maps in grey."""
    try:
        with _opened(path) as file:
            if file.mode != "P":
                return _fitted(file.convert("RGB" if file.mode == "RGB" else "L"), side)
            ids, colours = np.asarray(file), file.getpalette() or []
    except _BAD:
        return None
    table = np.zeros((256, 3), np.uint8)
    known = np.asarray(colours[:768], np.uint8).reshape(-1, 3)
    table[: len(known)] = known
    table[_IGNORE] = _IGNORE_COLOUR
    return _fitted(Image.fromarray(table[ids]), side, smooth=False)


def is_drawing(path: Path) -> bool:
    """Whether a prediction is drawn on its image, as boxes are, so that no pixel of it is wrong."""
    try:
        with _opened(path) as file:
            return file.mode == "RGB"
    except _BAD:
        return False


def palette(path: Path, count: int) -> list[str]:
    """Colours of the first class ids of a prediction, as ``#rrggbb``; none if it has no ids."""
    try:
        with _opened(path) as file:
            colours = (file.getpalette() or []) if file.mode == "P" else []
    except _BAD:
        return []
    triples = [colours[3 * i : 3 * i + 3] for i in range(min(count, len(colours) // 3))]
    return ["#" + "".join(f"{value:02x}" for value in triple) for triple in triples]


def error_map(prediction: Path, truth: Path, side: int) -> Image.Image | None:
    """Where a prediction is wrong, in the colours of :data:`ERRORS`; None if a file is unusable.

    Errors of maps are as strong as the map is off; thin ones stay visible when it is made small.
    """
    try:
        with _opened(prediction) as file, _opened(truth) as other:
            target = _small(other)
            found = _small(file, target.size)
            is_ids = other.mode == "P"
            values, wanted = np.asarray(found), np.asarray(target)
    except _BAD:
        return None
    painted = _class_errors(values, wanted) if is_ids else _map_errors(values, wanted)
    return _fitted(Image.fromarray(painted), side)


def encode(panel: Image.Image, quality: int) -> bytes:
    """The image as WebP: lossless where it has few colours, else at the quality given."""
    out = io.BytesIO()
    if panel.mode == "RGB" and panel.getcolors(64) is not None:
        panel.save(out, "WEBP", lossless=True, quality=40, method=2)
    else:
        panel.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()


def _class_errors(found: Pixels, wanted: Pixels) -> Pixels:
    """Class ids against class ids and 255."""
    names = list(ERRORS)
    kinds = np.full(wanted.shape, names.index("wrong class"), np.uint8)
    # later ones win over earlier ones
    kinds[wanted == 0] = names.index("false alarm")
    kinds[found == 0] = names.index("missed")
    right = found == wanted
    kinds[right] = names.index("right object")
    kinds[right & (wanted == 0)] = names.index("right background")
    kinds[wanted == _IGNORE] = names.index("not scored")
    return np.array(list(ERRORS.values()), np.uint8)[kinds]


def _map_errors(found: Pixels, wanted: Pixels) -> Pixels:
    """Grey values 0 to 255 against 0 and 255: the larger the error, the more of its colour."""
    share = np.linspace(0, 1, 256)[:, None]
    colours = {name: np.array(colour) for name, colour in ERRORS.items()}
    outside = colours["right background"] * (1 - share) + colours["false alarm"] * share
    inside = colours["right object"] * share + colours["missed"] * (1 - share)
    table = np.rint(np.stack((outside, inside))).astype(np.uint8)
    return table[(wanted > 128).astype(np.uint8), found]


def _small(file: Image.Image, size: tuple[int, int] | None = None) -> Image.Image:
    """The raw values at the given size, or at one that is not too large."""
    panel = file if file.mode in ("P", "L") else file.convert("L")
    if size is None:
        return _fitted(panel, _LARGEST, smooth=False)
    return panel.resize(size, Image.Resampling.NEAREST)


def _fitted(panel: Image.Image, side: int, smooth: bool = True) -> Image.Image:
    factor = side / max(panel.size)
    if factor >= 1:
        return panel.copy()
    size = (max(1, round(panel.width * factor)), max(1, round(panel.height * factor)))
    way = Image.Resampling.BOX if smooth else Image.Resampling.NEAREST
    return panel.resize(size, way)


def _stretched(values: NDArray[np.generic]) -> Image.Image:
    numbers = values.astype(np.float32)
    known = numbers[np.isfinite(numbers)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    scaled = np.nan_to_num((numbers - low) / max(high - low, 1e-8), posinf=1, neginf=0)
    return Image.fromarray(np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8))
