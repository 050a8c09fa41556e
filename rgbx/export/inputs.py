"""Inputs that an exported file is tried with."""

import torch
from torch import Generator, Tensor

__all__ = ["clicks", "coarse_masks", "images"]


def images(count: int, size: tuple[int, int], generator: Generator) -> Tensor:
    """Images (count,3,H,W) with values as normalised ones have: scenes and noise in turn.

    A scene is a slope of colour, a bright disc with a sharp border on it, and a little noise.
    """
    height, width = size
    noise = torch.randn(count, 3, height, width, generator=generator)
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    for image in noise[::2]:
        slope = torch.randn(3, 2, 1, 1, generator=generator)
        place = torch.rand(2, generator=generator) - 0.5
        disc = (y - place[0]) ** 2 + (x - place[1]) ** 2 < 0.2
        image.mul_(0.05).add_(slope[:, 0] * y + slope[:, 1] * x + 2 * disc)
    return noise


def clicks(
    count: int, tokens: int, size: tuple[int, int], generator: Generator
) -> tuple[Tensor, Tensor]:
    """Points (count,tokens,2) in pixels and labels (count,tokens): boxes and points in turn.

    Only prompts of two tokens can be boxes; the others are points and their padding.
    """
    extent = torch.tensor([size[1] - 1.0, size[0] - 1.0])
    points = torch.rand(count, tokens, 2, generator=generator) * extent
    labels = torch.randint(0, 2, (count, tokens), generator=generator)
    labels[:, -1], points[:, -1] = -1, 0.0
    if tokens == 2:
        corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values * extent
        points[::2], labels[::2] = corners[::2], torch.tensor([2, 3])
    return points, labels


def coarse_masks(count: int, size: tuple[int, int], generator: Generator) -> Tensor:
    """Masks (count,1,H/4,W/4) of 0 and 255: a ragged half of the image."""
    noise = torch.rand(count, 1, size[0] // 4, size[1] // 4, generator=generator)
    slope = torch.linspace(-1, 1, size[1] // 4)
    return 255.0 * (noise + slope > 0.5)
