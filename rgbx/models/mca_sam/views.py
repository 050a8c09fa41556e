"""The second view: other colours and sharpness, the same geometry."""

import torch
import torchvision.transforms.v2.functional as V
from torch import Tensor

__all__ = ["colour_view"]

# brightness, contrast, saturation within 1 -+ 0.4, hue within -+ 0.1 of the colour circle
_JITTER, _HUE, _JITTER_P = 0.4, 0.1, 0.8
_GREY_P, _BLUR_P = 0.2, 0.5
_SIGMA = (0.1, 2.0)
_KERNEL = 13  # three stds of the widest blur on either side


def colour_view(rgb: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Colours jittered (p 0.8), grey (p 0.2), blurred (p 0.5), drawn for each image alone.

    MCA-SAM names colour jitter and grey-scale; strengths, probabilities and the blur are those of
    SimCLR (Chen et al., ICML 2020, appendix A), at half its strength of colour. What is drawn comes
    from torch's generator on the CPU, so that a step's views depend on its seed and not on the
    device.

    Args:
        rgb: (B,3,H,W), normalised.
        mean: (3,), the mean that was subtracted from values in [0, 1].
        std: (3,), the std that they were divided by.

    Returns:
        (B,3,H,W), normalised in the same way, without gradient.
    """
    with torch.no_grad(), torch.autocast(rgb.device.type, enabled=False):
        mean, std = (t.to(rgb.device, torch.float32).reshape(3, 1, 1) for t in (mean, std))
        images = (rgb.float() * std + mean).clamp(0, 1)
        views = torch.stack([_change(image) for image in images])
        return ((views - mean) / std).to(rgb.dtype)


def _change(image: Tensor) -> Tensor:
    """One (3,H,W) image in [0, 1]."""
    jitter, grey, blur = torch.rand(3).tolist()
    if jitter < _JITTER_P:
        image = _jitter(image)
    if grey < _GREY_P:
        image = V.rgb_to_grayscale(image, num_output_channels=3)
    if blur < _BLUR_P:
        sigma = float(torch.empty(()).uniform_(*_SIGMA))
        image = V.gaussian_blur(image, [_KERNEL, _KERNEL], [sigma, sigma])
    return image


def _jitter(image: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue, one after the other in random order."""
    factors = torch.empty(3).uniform_(1 - _JITTER, 1 + _JITTER).tolist()
    hue = float(torch.empty(()).uniform_(-_HUE, _HUE))
    for change in torch.randperm(4).tolist():
        if change == 0:
            image = V.adjust_brightness(image, factors[0])
        elif change == 1:
            image = V.adjust_contrast(image, factors[1])
        elif change == 2:
            image = V.adjust_saturation(image, factors[2])
        else:
            image = V.adjust_hue(image, hue)
    return image
