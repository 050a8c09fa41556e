"""A network whose output is NaN is scored by nobody."""

import math

import pytest
import torch

from rgbx.errors import RGBXError
from rgbx.models import SAMSOD, TASeg


@pytest.mark.parametrize("step", ["validation_step", "predict_step"])
def test_classes(step):
    model = TASeg(encoder="tiny", text=False, num_classes=2, class_names=["a", "b"])
    model.low_resolution = lambda *_: torch.full((1, 2, 8, 8), math.nan)
    model.forward = model.low_resolution
    batch = {"rgb": torch.zeros(1, 3, 32, 32), "x": torch.zeros(1, 3, 32, 32)}
    batch |= {"mask": torch.zeros(1, 8, 8).long(), "size": [(8, 8)]}
    with pytest.raises(RGBXError, match="output holds NaN"):
        getattr(model, step)(batch, 0)


def test_maps():
    model = SAMSOD(encoder="tiny")
    model.logits = lambda *_: torch.full((1, 1, 8, 8), math.nan)
    batch = {"rgb": torch.zeros(1, 3, 32, 32), "x": torch.zeros(1, 3, 32, 32)}
    with pytest.raises(RGBXError, match="output holds NaN"):
        model.maps(batch, [(8, 8)])
