"""More prompts or classes than a byte has values."""

import numpy as np
import pytest

from rgbx.data import FolderRGBX
from rgbx.errors import RGBXError
from rgbx.tasks.prompt_files import flatten, prompt_colours, prompt_palette
from rgbx.visualization.drawing import overlay


@pytest.mark.parametrize("count", [1, 254, 255, 256, 600])
def test_every_prompt_has_its_colour_on_the_overlay(count):
    masks = np.eye(count, dtype=bool).reshape(count, 1, count)  # prompt i owns pixel i
    black = np.zeros((1, count, 3), np.uint8)
    painted = overlay(black, flatten(masks, (1, count)), prompt_palette(count), alpha=1)
    assert [tuple(pixel) for pixel in painted[0]] == list(prompt_colours(count))
    assert len(set(prompt_colours(count))) >= min(count, 200)


def test_ids_are_bytes_and_255_is_no_class():
    names = [f"class {i}" for i in range(300)]
    assert FolderRGBX("x", class_names=names[:255]).num_classes == 255
    with pytest.raises(RGBXError, match=r"data.class_names has 300 names, 255 are the most"):
        FolderRGBX("x", class_names=names)
