"""Options that decide what a network sees of given files are kept in checkpoints."""

import numpy as np
import pytest
from PIL import Image

from rgbx.data import (
    COD,
    ISTD,
    NEURSDDS,
    PST900,
    VT5000,
    FolderRGBX,
    HQSeg44K,
    KvasirSEG,
    MFNet,
    PromptFolder,
    RGBDSaliency,
)
from rgbx.data.base import RGBXDataModule
from rgbx.data.inputs import class_options, options_of
from rgbx.errors import RGBXError

#: options that change nothing of what a network sees of a file
ELSEWHERE = {
    "root",
    "batch_size",
    "eval_batch_size",
    "num_workers",
    "seed",
    "on_bad",
    "drop_last",  # reading
    "flip",
    "scale",
    "jitter",
    "enhance",
    "mixture",
    "occlusion",  # augmentation
    "val_share",
    "choose_on_test",
    "choose_on",
    "test_sets",
    "train_sets",
    "sets",
    "low_shot",  # which files
    "layout",
    "protocol",
    "split",
    "drop_leaked",
    "drop",
    "x_noise",
    "x_shift",
    "label_map",
    "scribbles",
    "prompts",
    "folders",
    "ignore_ids",  # of masks: what is scored
    "class_names",
    "palette",  # kept next to the inputs
}


@pytest.mark.parametrize(
    "data",
    [
        MFNet,
        PST900,
        VT5000,
        RGBDSaliency,
        NEURSDDS,
        COD,
        ISTD,
        KvasirSEG,
        HQSeg44K,
        PromptFolder,
        FolderRGBX,
    ],
)
def test_every_option_is_kept_or_known_to_be_of_no_matter(data):
    """A new option belongs into `inputs` or `x_inputs` of its class, or into the list above."""
    kept = {*data.inputs, *data.x_inputs, *data.mask_inputs}
    of_x = set(RGBXDataModule.x_inputs)  # nothing to sets of RGB alone
    assert options_of(data) - kept - of_x <= ELSEWHERE


def test_what_a_network_sees_comes_back(tmp_path):
    trained = PST900(
        str(tmp_path),
        "thermal_raw",
        (7000, 9000),
        **{"size": (32, 64), "x_channels": 3, "x_mean": [0.1, 0.2, 0.3], "rgb_std": 0.5},
        blank="rgb",
    )
    stored = trained.input_values()
    other = FolderRGBX(str(tmp_path), class_names=["a", "b"])
    taken = other.take_inputs(stored, given={"rgb_std"})
    assert other.statistics.x_mean == (0.1, 0.2, 0.3)
    assert (other.x_range, other.x_channels, other.size) == ((7000, 9000), 3, (32, 64))
    assert other.blank == "rgb" and other.rgb_std == (0.229, 0.224, 0.225)
    assert set(taken) == {"size", "x_range", "x_channels", "x_mean", "blank"}
    same = PST900(str(tmp_path))
    same.take_inputs(stored)
    assert same.input_values() == stored and same.x == "thermal_raw"
    assert same.take_inputs(stored) == {}
    with pytest.raises(RGBXError, match="x_std 7"):
        same.take_inputs({"x_std": 7.0})


def test_turned_depth_stays_turned_in_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("rgb", "x"):
        (tmp_path / part).mkdir()
        shape = (8, 8, 3) if part == "rgb" else (8, 8)
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(tmp_path / part / "a.png")
    info = RGBDSaliency(str(tmp_path), invert_depth=True, test_sets=[]).describe()
    turned = FolderRGBX.as_trained(info, str(tmp_path), size=(8, 8))
    plain = FolderRGBX.as_trained(info, str(tmp_path), size=(8, 8), invert_depth=False)
    first, second = (data.dataset("predict")[0]["x"] for data in (turned, plain))
    np.testing.assert_allclose(first.numpy(), 1 - second.numpy(), atol=1e-6)


def test_classes_of_a_checkpoint_fill_what_is_not_given():
    info = {
        "class_names": ["sky", "car"],
        "palette": [[0, 0, 0], [9, 8, 7]],
        "inputs": {"binary": True},
    }
    options = {"class_names", "palette", "binary"}
    assert class_options(info, options, {}) == {
        "class_names": ["sky", "car"],
        "palette": [(0, 0, 0), (9, 8, 7)],
        "binary": True,
    }
    given = {"class_names": ["a", "b", "c"], "binary": False}
    assert class_options(info, options, given) == {}
    assert class_options(info, {"root"}, {}) == {} == class_options({}, options, {})
