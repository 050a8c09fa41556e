"""What scribbles leave open: losses that compare a prediction with the image, without labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["edge_aware_smoothness", "local_saliency_coherence", "luminance"]

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_LAPLACE = ((-1.0, -1.0, -1.0), (-1.0, 8.0, -1.0), (-1.0, -1.0, -1.0))
_LUMA = (0.299, 0.587, 0.114)


def local_saliency_coherence(
    saliency: Tensor,
    image: Tensor,
    radius: int = 5,
    sigma_place: float = 6.0,
    sigma_colour: float = 0.1,
) -> Tensor:
    """Neighbours of like colour should be alike in saliency.

    With the neighbours K_i of pixel i, those in the square of ``2 radius + 1`` pixels around it
    that lie in the image,

        mean_i sum_{j in K_i} |s_i - s_j|
            exp(-|p_i - p_j|^2 / (2 sigma_place^2) - |c_i - c_j|^2 / (2 sigma_colour^2))

    Source: Yu et al., "Structure-Consistent Weakly Supervised Salient Object Detection with Local
    Saliency Coherence", AAAI 2021, with the constants of their code, which SAMSOD's script has
    too. That code pads the image with a border of zeros, whose pixels all count as lying at its
    upper left corner; here there is nothing beyond the border.

    Args:
        saliency: (B, 1, H, W) in [0, 1].
        image: (B, C, H, W), normalised as the sigma asks for (ImageNet's statistics).
        radius: largest distance of neighbours in rows and in columns, in pixels.
        sigma_place: width of the Gaussian of distances, in pixels.
        sigma_colour: the same of colours, in units of the image.

    Returns:
        Scalar >= 0 in float32 (float64 for float64 images).
    """
    with torch.autocast(saliency.device.type, enabled=False):
        saliency, image = _wide(saliency), _wide(image)
        total = saliency.new_zeros(())
        for down, right in _half_disc(radius):
            near = (down**2 + right**2) / (2 * sigma_place**2)
            colours = _shifted_difference(image, down, right).square().sum(dim=1, keepdim=True)
            kernel = torch.exp(-near - colours / (2 * sigma_colour**2))
            difference = _shifted_difference(saliency, down, right).abs()
            total = total + 2 * (kernel * difference).sum()  # each pair is seen from both ends
        return total / saliency.numel()


def edge_aware_smoothness(saliency: Tensor, grey: Tensor, alpha: float = 10.0) -> Tensor:
    """Saliency may change where the image does.

    With Sobel's derivatives of the saliency s and of the image g, the Laplacian L of 8 neighbours,
    and ``psi(v) = sqrt(v^2 + 1e-6)``,

        10 mean(psi(|ds/dx| e^(-alpha |dg/dx|)) + psi(|ds/dy| e^(-alpha |dg/dy|)))
            + mean(psi(|L s| e^(-alpha |L g|)))

    and zeros beyond the border.

    Source: Zhang et al., "Weakly-Supervised Salient Object Detection via Scribble Annotations",
    CVPR 2020, without their gate; the factors, the Laplacian and the border are those of their
    code, which SAMSOD's release ships.

    Args:
        saliency: (B, 1, H, W) in [0, 1].
        grey: luminance of the image, (B, 1, H, W) in [0, 1].
        alpha: how much the edges of the image forgive, >= 0.

    Returns:
        Scalar > 0 in float32 (float64 for float64 images).
    """
    with torch.autocast(saliency.device.type, enabled=False):
        saliency, grey = _wide(saliency), _wide(grey)
        sobel = torch.tensor(_SOBEL)
        filters = torch.stack([sobel, sobel.T, torch.tensor(_LAPLACE)])[:, None].to(saliency)
        maps = (saliency, grey.to(saliency))
        changes, edges = (F.conv2d(each, filters, padding=1).abs() for each in maps)
        penalty = ((changes * torch.exp(-alpha * edges)).square() + 1e-6).sqrt()
        across, along, second = penalty.unbind(dim=1)
        return 10 * (across + along).mean() + second.mean()


def luminance(image: Tensor) -> Tensor:
    """(B, 1, H, W) of (B, 3, H, W) red, green and blue, weighed as PIL does."""
    return torch.einsum("bchw,c->bhw", image, image.new_tensor(_LUMA))[:, None]


def _half_disc(radius: int) -> list[tuple[int, int]]:
    """Shifts (down, right) to one of each pair of opposite neighbours."""
    beside = [(0, right) for right in range(1, radius + 1)]
    below = [(d, r) for d in range(1, radius + 1) for r in range(-radius, radius + 1)]
    return beside + below


def _shifted_difference(maps: Tensor, down: int, right: int) -> Tensor:
    """Values of (B, C, H, W) minus those `down` rows below and `right` columns to the right."""
    height, width = maps.shape[-2:]
    rows = max(0, height - down)
    start, stop = max(0, -right), max(0, width - max(0, right))
    here = maps[..., :rows, start:stop]
    there = maps[..., height - rows :, start + right : stop + right]
    return here - there


def _wide(maps: Tensor) -> Tensor:
    """Half precision is widened, as in `rgbx.losses`."""
    return maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps
