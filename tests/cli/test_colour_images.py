"""How predictions show X on their sheet: grey as before, and in colour where it has colours."""

import numpy as np
import pytest
import torch

from rgbx.callbacks.test_results import _result
from rgbx.data import FolderRGBX, collate
from rgbx.tasks.base import RGBXModule
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.dense_files import DenseFiles
from tests.cli.conftest import write_checkpoint

COLOUR = np.stack(np.broadcast_arrays(np.arange(60) * 4, np.arange(40)[:, None] * 6, 90), 2)


@pytest.fixture
def shown(tmp_path, put):
    """Write the prediction for one image; returns X as the sheet shows it."""

    def show(x: np.ndarray, **options) -> np.ndarray:
        put(tmp_path / "rgb" / "a.jpg", np.zeros((40, 60, 3), np.uint8))
        put(tmp_path / "x" / "a.png", x.astype(np.uint8))
        data = FolderRGBX(
            str(tmp_path), class_names=["a", "b"], size=(40, 60), num_workers=0, **options
        )
        data.setup("predict")
        batch = collate([data._sets["predict"][0]])
        draw = DenseFiles(tmp_path / "out").write(
            BatchImage(data, batch, 0, "predict", "a"), torch.zeros(40, 60, dtype=torch.int64)
        )
        panels, titles = draw()
        assert titles == ["a", "X", "prediction"]
        return panels[1]

    return show


@pytest.mark.parametrize("means", [{}, {"x_mean": [0.7, 0.3, 0.4], "x_std": [0.3, 0.2, 0.1]}])
def test_colours_are_shown_as_stored_whatever_the_means(shown, means):
    panel = shown(COLOUR, x_channels=3, **means)
    assert panel.shape == (40, 60, 3) and panel.dtype == np.uint8
    low, high = COLOUR.min(), COLOUR.max()
    np.testing.assert_allclose(panel, (COLOUR - low) / (high - low) * 255, atol=1)


def test_grey_is_stretched_as_ever(shown):
    grey = COLOUR[..., 0] // 2 + 50
    for channels in (1, 3):
        panel = shown(grey, x_channels=channels)
        assert panel.shape == (40, 60) and panel.min() == 0 and panel.max() == 255
        np.testing.assert_allclose(panel, (grey - 50) / 118 * 255, atol=1)


def test_three_means_over_one_channel_still_look_grey(shown):
    panel = shown(COLOUR[..., 0], x_mean=[0.7, 0.3, 0.4], x_std=[0.3, 0.2, 0.1])
    assert np.ptp(panel.astype(int), axis=2).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_a_panel_too(shown, channels):
    panel = shown(COLOUR, blank="x", blank_with="noise", x_channels=channels)
    assert panel.ndim == (2 if channels == 1 else 3) and panel.std() > 20


class Toy(RGBXModule):
    def __init__(self) -> None:
        super().__init__(torch.optim.SGD, None)
        self.results = {"test": {"all": {"mIoU": 0.5}}}

    def protocol(self):
        return {}


@pytest.mark.parametrize(("kind", "word"), [("mean", "its mean"), ("noise", "noise")])
def test_results_say_what_a_blanked_modality_was_replaced_by(tmp_path, put, kind, word):
    put(tmp_path / "rgb" / "a.png", np.zeros((8, 8, 3), np.uint8))
    data = FolderRGBX(str(tmp_path), class_names=["a"], blank="x", blank_with=kind)
    result = _result(Toy(), data, write_checkpoint(tmp_path / "a.ckpt"), 0, None)
    assert result.protocol["ablation"] == f"x was blanked (replaced by {word}) in every image"
