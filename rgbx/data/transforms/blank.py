"""What a modality is replaced by where an ablation takes it away."""

from hashlib import sha256
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ["BlankWith", "blanked"]

BlankWith = Literal["mean", "noise"]


def blanked(image: Tensor, kind: BlankWith, name: str, seed: int) -> Tensor:
    """The replacement of a normalised image.

    Args:
        image: (C, H, W); only its shape counts.
        kind: "mean" gives zeros. "noise" gives standard normal values, a pure function of shape,
            name and seed: as strong as an image, and the same whenever the sample is seen, but
            with nothing to be read from it.
        name: of the sample.
        seed: of the data.

    Returns:
        (C, H, W) float32.
    """
    if kind == "mean":
        return torch.zeros_like(image)
    digest = int.from_bytes(sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    rng = np.random.default_rng([seed, digest])
    return torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))
