"""Reading the colours of a second modality, where they say more than their mean."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decoding.files import read_pixels, to_unit, warn_if_constant

__all__ = ["read_colour"]


def read_colour(
    path: Path,
    value_range: tuple[float, float] | None = None,
    invalid: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """Read the second modality (pseudo-coloured thermal) as three channels.

    One channel is repeated; alpha is dropped, never blended. Values are scaled as in
    `rgbx.data.decoding.files.to_unit`, all channels alike, so that colours keep their hue.

    Returns:
        (H, W, 3) float32 in [0, 1]: red, green, blue; upright.

    Raises:
        SampleError: the file is missing, truncated or no image.
    """
    array = read_pixels(path)
    if array.ndim == 3:
        array = array[..., :3] if array.shape[2] >= 3 else array[..., 0]
    scaled = to_unit(array, value_range, invalid)
    warn_if_constant(path, scaled)
    if scaled.ndim == 2:
        scaled = np.repeat(scaled[..., None], 3, axis=2)
    return np.ascontiguousarray(scaled)
