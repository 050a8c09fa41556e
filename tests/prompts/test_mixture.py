from collections import Counter

import numpy as np
import pytest
import torch

from rgbx.errors import DataError, RGBXError
from rgbx.prompts import HQ, RTS, PromptMixture, box_iou, stack_prompts, tight_box

MASK = np.zeros((64, 96), np.float32)
MASK[20:50, 30:70] = 1


def kinds(mixture, count=4000):
    rng = np.random.default_rng(0)
    drawn = Counter(mixture.draw(MASK, rng)["kind"] for _ in range(count))
    return {kind: number / count for kind, number in drawn.items()}


@pytest.mark.slow
def test_robust_mixture_is_uniform_over_four_kinds_then_over_counts():
    shares = kinds(RTS)
    points = {f"point_{k}": 1 / 16 for k in (1, 3, 5, 10)}
    expected = {"box": 0.25, "noisy_box": 0.25, "coarse_mask": 0.25} | points
    assert shares.keys() == expected.keys()
    for kind, share in expected.items():
        assert shares[kind] == pytest.approx(share, abs=0.02), kind


def test_hq_sams_mixture():
    shares = kinds(HQ, 2000)
    assert shares.keys() == {"box", "point_10", "coarse_mask"}
    assert all(share == pytest.approx(1 / 3, abs=0.03) for share in shares.values())


def test_weights_and_what_is_drawn():
    assert kinds(PromptMixture(box=0, noisy_box=3, coarse_mask=0, counts=(2,)), 1000) == {
        "noisy_box": pytest.approx(0.75, abs=0.03),
        "point_2": pytest.approx(0.25, abs=0.03),
    }
    rng, tight = np.random.default_rng(0), tight_box(MASK)
    for _ in range(200):
        prompt = RTS.draw(MASK, rng)
        assert len({"box", "points", "mask"} & prompt.keys()) == 1
        if prompt["kind"] == "box":
            assert torch.equal(prompt["box"], tight)
        elif prompt["kind"] == "noisy_box":
            assert box_iou(prompt["box"].double().numpy()[None], tight.double().numpy())[0] >= 0.5
        elif "points" in prompt:
            assert prompt["labels"].tolist() == [1] * len(prompt["points"])
            assert prompt["labels"].dtype == torch.int64
        else:
            assert prompt["mask"].shape == (1, 16, 24)
    only = PromptMixture(box=0, noisy_box=0, points=0, mask_scale="logits")
    assert set(only.draw(MASK, rng)["mask"].unique().tolist()) == {-10, 10}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"box": 0, "noisy_box": 0, "points": 0, "coarse_mask": 0}, "more than 0 for one at least"),
        ({"box": -1}, "give 0 or more"),
        ({"counts": ()}, "give 1 or more"),
        ({"counts": (0, 3)}, "counts \\[0, 3\\] of points cannot be drawn"),
        ({"min_iou": 1.5}, "min_iou 1.5 must lie in"),
    ],
)
def test_values_that_cannot_work(options, text):
    with pytest.raises(RGBXError, match=text):
        PromptMixture(**options)


def test_empty_full_and_one_pixel_masks():
    rng = np.random.default_rng(0)
    single = np.zeros((32, 32))
    single[4, 7] = 1
    for _ in range(60):
        with pytest.raises(DataError, match="is empty"):
            RTS.draw(np.zeros((32, 32)), rng)
        full, dot = RTS.draw(np.ones((32, 32)), rng), RTS.draw(single, rng)
        if full["kind"] == "box":
            assert full["box"].tolist() == [0, 0, 31, 31]
        if "box" in dot:
            assert dot["box"].tolist() == [7, 4, 7, 4]
        if "points" in dot:
            assert (dot["points"] == torch.tensor([7.0, 4.0])).all()


def test_stacks_hold_every_prompt_once_in_its_form():
    rng = np.random.default_rng(0)
    prompts = [RTS.draw(MASK, rng) for _ in range(40)]
    stacks = stack_prompts(prompts)
    assert sorted(i for stack in stacks for i in stack.positions) == list(range(40))
    assert len(stacks) == 6  # boxes, masks, and four numbers of points
    for stack in stacks:
        for row, i in enumerate(stack.positions):
            if stack.boxes is not None:
                assert torch.equal(stack.boxes[row], prompts[i]["box"])
            elif stack.masks is not None:
                assert torch.equal(stack.masks[row], prompts[i]["mask"])
            else:
                assert torch.equal(stack.points[row], prompts[i]["points"])
                assert torch.equal(stack.labels[row], prompts[i]["labels"])
    assert stack_prompts([]) == []
    with pytest.raises(RGBXError, match="holds nothing; give exactly one"):
        stack_prompts([{"kind": "box"}])
    with pytest.raises(RGBXError, match="holds box and mask"):
        stack_prompts([{"box": torch.zeros(4), "mask": torch.zeros(1, 2, 2)}])
