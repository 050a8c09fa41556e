"""Losses without labels against their formulas, pixel by pixel in Python floats."""

import math

import pytest
import torch

from rgbx.losses.scribbles import edge_aware_smoothness, local_saliency_coherence, luminance


def drawn(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coherence_by_hand(saliency, image, radius, place, colour):
    """Yu et al., one pair of pixels after the other."""
    (_, channels, height, width), total = image.shape, 0.0
    for b in range(len(image)):
        for y in range(height):
            for x in range(width):
                for v in range(max(0, y - radius), min(height, y + radius + 1)):
                    for u in range(max(0, x - radius), min(width, x + radius + 1)):
                        far = (y - v) ** 2 + (x - u) ** 2
                        unlike = sum(
                            float(image[b, c, y, x] - image[b, c, v, u]) ** 2
                            for c in range(channels)
                        )
                        kernel = math.exp(-far / (2 * place**2) - unlike / (2 * colour**2))
                        total += kernel * abs(float(saliency[b, 0, y, x] - saliency[b, 0, v, u]))
    return total / saliency.numel()


@pytest.mark.slow
@pytest.mark.parametrize(("radius", "size"), [(1, (4, 5)), (2, (5, 3)), (5, (4, 9)), (5, (12, 13))])
def test_coherence_is_its_formula(radius, size):
    saliency, image = drawn(2, 1, *size), 0.3 * drawn(2, 3, *size, seed=1)
    for place, colour in ((6.0, 0.1), (1.5, 0.4)):
        expected = coherence_by_hand(saliency, image, radius, place, colour)
        found = local_saliency_coherence(saliency, image, radius, place, colour)
        assert float(found) == pytest.approx(expected, rel=1e-12)
    assert expected > 0.01


def test_coherence_costs_where_like_colours_differ_in_saliency():
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8:] = 2.0
    with_the_image, across = torch.zeros(2, 1, 1, 16, 16)
    with_the_image[..., 8:] = 1.0
    across[..., 8:, :] = 1.0
    assert local_saliency_coherence(with_the_image, image) < 1e-6
    assert local_saliency_coherence(across, image) > 1
    assert local_saliency_coherence(torch.full_like(across, 0.7), image) == 0


def smoothness_by_hand(saliency, grey):
    """Zhang et al., with the authors' factors, zeros beyond the border."""
    sobel = {(-1, -1): -1, (-1, 1): 1, (0, -1): -2, (0, 1): 2, (1, -1): -1, (1, 1): 1}
    turned = {(x, y): factor for (y, x), factor in sobel.items()}
    laplace = {(y, x): 8 if (y, x) == (0, 0) else -1 for y in (-1, 0, 1) for x in (-1, 0, 1)}
    _, _, height, width = grey.shape

    def response(maps, b, y, x, filter_):
        return abs(
            sum(
                factor * float(maps[b, 0, y + dy, x + dx])
                for (dy, dx), factor in filter_.items()
                if 0 <= y + dy < height and 0 <= x + dx < width
            )
        )

    total = 0.0
    for b in range(len(grey)):
        for y in range(height):
            for x in range(width):
                for filter_, factor in ((sobel, 10), (turned, 10), (laplace, 1)):
                    change = response(saliency, b, y, x, filter_)
                    change *= math.exp(-10 * response(grey, b, y, x, filter_))
                    total += factor * math.sqrt(change**2 + 1e-6)
    return total / grey.numel()


@pytest.mark.parametrize("size", [(3, 3), (6, 5), (1, 7)])
def test_smoothness_is_its_formula(size):
    saliency, grey = drawn(2, 1, *size), 0.1 * drawn(2, 1, *size, seed=1)
    expected = smoothness_by_hand(saliency, grey)
    assert float(edge_aware_smoothness(saliency, grey)) == pytest.approx(expected, rel=1e-12)
    assert expected > 1


def test_edges_of_the_image_forgive_edges_of_the_saliency():
    grey, beside = torch.zeros(2, 1, 1, 20, 20)
    grey[..., 10:] = 1.0
    beside[..., 5:] = 1.0
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # away from the border
    with_it = edge_aware_smoothness(grey[inside], grey[inside])
    assert with_it < 0.3 * edge_aware_smoothness(beside[inside], grey[inside])


@pytest.mark.slow
@pytest.mark.parametrize("loss", [local_saliency_coherence, edge_aware_smoothness])
def test_gradients_are_right_and_half_precision_is_widened(loss):
    channels = 3 if loss is local_saliency_coherence else 1
    image = drawn(2, channels, 6, 7, seed=3) * 0.2
    saliency = drawn(2, 1, 6, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, image), saliency)
    half = loss(saliency.detach().bfloat16(), image.bfloat16())
    assert half.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(saliency.detach().float(), image.float())
    torch.testing.assert_close(mixed, loss(saliency.detach().float(), image.float()))


def test_luminance_is_pils():
    image = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.25, 0.5, 0.75]).view(3, 3, 1, 1)
    expected = torch.tensor([0.299, 0.587, 0.25 * 0.299 + 0.5 * 0.587 + 0.75 * 0.114])
    torch.testing.assert_close(luminance(image).flatten(), expected)
