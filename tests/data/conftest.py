"""Small helpers for writing image files."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def pairs(put):
    """Write rgb, thermal and ids of given stems into three folders, 32 x 48."""

    def write(root: Path, stems, rgb="rgb", x="x", mask="mask", ends=("", "", "")) -> Path:
        rng = np.random.default_rng(0)
        for stem in stems:
            put(root / rgb / f"{stem}{ends[0]}.png", rng.integers(0, 256, (32, 48, 3), np.uint8))
            if x:
                put(root / x / f"{stem}{ends[1]}.png", rng.integers(0, 256, (32, 48), np.uint8))
            if mask:
                put(root / mask / f"{stem}{ends[2]}.png", rng.integers(0, 3, (32, 48), np.uint8))
        return root

    return write
