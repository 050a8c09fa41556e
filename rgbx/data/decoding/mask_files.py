"""Two-class masks: which pixels are the object, as every viewer shows them.

Bright is the object. Black-and-white masks come as 1-bit, 8-bit, 16-bit and float images, as 0 and
1, as palettes whose indices say nothing, in one colour on black, and as cut-outs that hold the
object in the alpha channel only. What more than one reading fits is refused with the file's name.
"""

from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decoding.decode import SampleError, read_colours
from rgbx.prompts import foreground

__all__ = ["is_jpeg", "read_binary", "read_soft"]

_CUT = 128 / 255  # PySODMetrics' and HQ-SAM's: above it is the object
_RINGING = 16 / 255  # what JPEG leaves on black
_FEW = 0.01  # share of pixels that may disagree
_LARGEST_ID = 16  # values up to it look like class ids
_IDS = "maps of class ids are read by FolderRGBX with class_names and without binary: true"


def read_binary(path: Path) -> NDArray[np.int64]:
    """Read a two-class mask: 1 where it is above 128 of 255, as PySODMetrics cuts masks.

    JPEG ringing around the object stays background, and anti-aliased borders are cut in the middle.

    Returns:
        (H, W) int64, 0 or 1.

    Raises:
        SampleError: as `read_soft`.
    """
    return foreground(read_soft(path)).astype(np.int64)


def read_soft(path: Path) -> NDArray[np.float32]:
    """Read a two-class mask with its grey borders: the share of foreground in each pixel.

    The values decide the scale: booleans and masks in which nothing exceeds 1 are taken as they
    are, else 255 is full, and 65535 where a value exceeds 255. A palette counts by its colours, not
    by its indices. One colour on black counts by its strongest channel; else a channel that alone
    varies is the mask, alpha included.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        SampleError: the file is missing, truncated or no image; its values are neither 0 and 1 nor
            black and white; or it has several colours, or colours and an alpha channel that
            contradict each other, so that the object cannot be told.
    """
    array = read_colours(path)
    grey = _grey(path, array)
    share = _share(path, grey)
    _require_meaning(path, grey, share)
    return share


def _grey(path: Path, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The one channel (H, W) that tells the object."""
    if array.ndim == 2:
        return array
    if array.shape[2] > 4:
        _refuse(path, f"it has {array.shape[2]} channels; a mask has 1, or up to 4 with alpha")
    if array.shape[2] in (1, 3):
        return _without_alpha(path, array)
    colour, alpha = array[..., :-1], array[..., -1]
    opaque = foreground(_share(path, alpha))
    if opaque.all() or not opaque.any():
        return _without_alpha(path, colour)
    if _is_constant(colour):
        return alpha
    grey = _without_alpha(path, colour)
    differ = foreground(_share(path, grey)) != opaque
    if differ.mean() > _FEW:
        _refuse(
            path,
            f"its colours and its alpha channel show different objects ({differ.mean():.0%} of the "
            "pixels); store the one that is meant as a grey image",
        )
    return grey


def _is_constant(colour: NDArray[np.generic]) -> bool:
    return bool((colour == colour[:1, :1]).all())


def _without_alpha(path: Path, colour: NDArray[np.generic]) -> NDArray[np.generic]:
    """One channel of (H, W, 1) or (H, W, 3); of colours on black the strongest channel, 0 to 1."""
    first = colour[..., 0]
    if (colour == first[..., None]).all():
        return first
    values = colour.astype(np.float32)
    strongest = values.max(axis=2)
    top = float(strongest.max())
    if float((strongest - values.min(axis=2)).max()) <= _RINGING * top:
        return first  # grey, but for the noise of its coding
    bright = strongest > top * _CUT
    if bright.all() and not _is_constant(colour):
        varying = np.flatnonzero((colour != colour[:1, :1]).any(axis=(0, 1)))
        if varying.size == 1:
            return colour[..., varying[0]]
        _refuse(path, "it has several colours and no black, so the object cannot be told")
    kinds = ((values > top * _CUT) @ np.array([1, 2, 4])).astype(np.int64)[bright]
    shares = np.bincount(kinds) / kinds.size
    if (shares > _FEW).sum() > 1:
        _refuse(path, "it has several colours on black; a two-class mask has one")
    return strongest / np.float32(top)


def _share(path: Path, grey: NDArray[np.generic]) -> NDArray[np.float32]:
    """Values on the scale that they fill, in [0, 1]."""
    values = grey.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(values).all():
        _refuse(path, "it holds NaN or infinity")
    if low < 0 or high > 65535:
        _refuse(path, f"it holds {low:g} to {high:g}; black-and-white masks hold 0 to 255, or 0, 1")
    full = next(scale for scale in (1, 255, 65535) if high <= scale)
    return values / np.float32(full)


def _require_meaning(path: Path, grey: NDArray[np.generic], share: NDArray[np.float32]) -> None:
    """Refuse values that are neither 0 and 1 nor black and white, as those of class ids."""
    if not foreground(share).any():
        is_ringing = float(share.max()) <= _RINGING and is_jpeg(path)
        if (share > 0).mean() > _FEW and not is_ringing:
            hint = _IDS if grey.max() <= _LARGEST_ID else "make the object white"
            shown = f"{grey.min():g} to {grey.max():g}"
            _refuse(path, f"it holds {shown}, and nothing above half of its scale; {hint}")
        return
    if grey.dtype != np.uint8 or grey.max() != 255:
        return
    counts = np.bincount(grey.ravel(), minlength=256)
    small = counts[1 : _LARGEST_ID + 1].sum()
    if small > _FEW * grey.size and not counts[_LARGEST_ID + 1 : 255].any() and not is_jpeg(path):
        shown = ", ".join(str(value) for value in np.flatnonzero(counts))
        _refuse(path, f"it holds {shown}, as class ids with 255 for no label do; {_IDS}")


def is_jpeg(path: Path) -> bool:
    """Tell by its first bytes, whatever its suffix, whether a file is JPEG."""
    with path.open("rb") as file:
        return file.read(2) == b"\xff\xd8"


def _refuse(path: Path, reason: str) -> NoReturn:
    raise SampleError(f"{path}: this is no two-class mask: {reason}", "values")
