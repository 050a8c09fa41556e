import pytest
import torch

from rgbx.metrics import stability


def strips(*spans: tuple[int, int]) -> torch.Tensor:
    """One mask per span of columns."""
    masks = torch.zeros(len(spans), 4, 12, dtype=torch.bool)
    for mask, (first, last) in zip(masks, spans, strict=True):
        mask[:, first:last] = True
    return masks


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (((2, 5), (2, 5), (2, 5)), 1.0),  # identical
        (((0, 3), (3, 6)), 0.5),  # disjoint, equal
        (((0, 2), (0, 4)), 0.75),  # nested, areas 1 and 2
        (((0, 3), (3, 6), (6, 9), (9, 12)), 0.25),  # the least that four masks can have
        (((0, 4), (2, 6), (0, 0)), (4 + 4 + 0) / 6 / 3),  # an empty one counts 0
        (((1, 4),), 1.0),
    ],
)
def test_known_cases(spans, expected):
    assert stability(strips(*spans)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_all_empty_gives_the_chosen_value(value):
    assert stability(strips((0, 0), (3, 3)), empty_union=value) == value


def test_equals_the_definition_on_random_masks():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(20, 30, 40, generator=generator) < torch.rand(20, 1, 1, generator=generator)
    union = masks.any(0)
    ious = [(mask & union).sum() / (mask | union).sum() for mask in masks]
    assert stability(masks) == pytest.approx(float(torch.stack(ious).mean()), abs=1e-7)
    assert stability(masks.flip(0)) == stability(masks)


def test_input_is_left_alone():
    masks = strips((0, 3), (3, 6))
    before = masks.clone()
    stability(masks)
    assert torch.equal(masks, before)


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4)])
def test_no_masks_are_refused(shape):
    with pytest.raises(ValueError, match=r"masks \(B, h, w\) with B >= 1, got \("):
        stability(torch.zeros(shape, dtype=torch.bool))
