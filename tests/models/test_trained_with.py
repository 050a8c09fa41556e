"""Arguments that change what a network computes are compared with those of its checkpoint."""

import inspect
import warnings

import pytest
import torch

from rgbx.checkpoints.trained_with import compare_arguments, compare_input
from rgbx.errors import RGBXError, WeightsError
from rgbx.models import MCASAM, SAMSOD, StableSAM, TASeg, UniRGBIRSaliency, UniRGBIRSemantic

TWO = {"num_classes": 2, "class_names": ["zebra", "tractor"]}
NAMES = ["candle", "harbour"]
BUILT = {"optimizer", "schedule", "weights", "text_weights", "checkpoint_blocks"}
UNIRGB_IR = {"class_weights", "bce_weight", "iou_weight", "ssim_weight", "aux_weight"}
MAPS = {"scores", "evaluation"}
#: what may differ between training and test; everything else is refused
FREE = {
    TASeg: {"loss"},
    SAMSOD: {"surgery", "lsc_weight", "smoothness_weight", "accumulate", "clip"} | MAPS,
    UniRGBIRSemantic: UNIRGB_IR,
    UniRGBIRSaliency: UNIRGB_IR | MAPS,
    MCASAM: MAPS
    | {
        "task",
        "loss",
        "contrast",
        "augmented_loss",
    },
    StableSAM: {
        "loss",
        "points",
        "bce_weight",
        "dice_weight",
        "decode_batch",
        "evaluation",
    },
}


@pytest.fixture(autouse=True)
def _random_weights():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RANDOM weights")
        yield


def stored(model) -> dict:
    torch.manual_seed(1)
    checkpoint = {
        "state_dict": dict(model.state_dict()),
        "hyper_parameters": dict(model.hparams),
        **{"epoch": 0, "global_step": 1, "pytorch-lightning_version": "2.6.6"},
    }
    model.on_save_checkpoint(checkpoint)
    return checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("model", FREE)
def test_every_argument_counts_unless_it_is_known_not_to(model):
    built = model(encoder="tiny")
    known = dict(built.hparams)
    for name in set(inspect.signature(model).parameters) - BUILT:
        before = {**known, name: "another"}
        if name in FREE[model]:
            compare_arguments(built, before)
        else:
            with pytest.raises(WeightsError, match=rf"\b{name} = 'another'"):
                compare_arguments(built, before)


CHANGES = {
    "alpha": (TASeg, TWO, {"lora": {"alpha": 64.0}}, ("lora.alpha", "16.0", "64.0")),
    "grid": (
        TASeg,
        TWO,
        {"point_grid": 2, "dffm": {"x_position": False}},
        ("point_grid", "dffm.x_position"),
    ),
    "names": (TASeg, TWO, {"class_names": NAMES}, ("zebra", "candle")),
    "ids": (UniRGBIRSemantic, TWO, {"class_names": ["tractor", "zebra"]}, ("class_names",)),
    "camera": (UniRGBIRSemantic, TWO, {"main_modality": "ir"}, ("'rgb'", "'ir'")),
    "path": (UniRGBIRSaliency, {}, {"drop_path": 0.1}, ("drop_path", "0.1")),
    "sum": (SAMSOD, {}, {"unimodal_supervision": False}, ("True", "False")),
    "offset": (
        StableSAM,
        {},
        {"plugin": {"max_offset": 2.0, "border": "zeros"}},
        ("plugin.max_offset", "plugin.border"),
    ),
    "spectrum": (MCASAM, {}, {"adaptor": {"freq_nums": 0.5}}, ("adaptor.freq_nums", "0.25", "0.5")),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CHANGES)
def test_another_function_is_refused_by_name_or_said(case, tmp_path):
    model, common, changed, words = CHANGES[case]
    torch.save(stored(model(encoder="tiny", **common)), tmp_path / "run.ckpt")
    with pytest.raises(WeightsError) as refused:
        model.load_from_checkpoint(tmp_path / "run.ckpt", **changed)
    for word in ("run.ckpt", "override", *words):
        assert word in str(refused.value)
    with pytest.warns(UserWarning, match=next(iter(changed))):
        loaded = model.load_from_checkpoint(tmp_path / "run.ckpt", override=True, **changed)
    for name, value in changed.items():
        found = loaded.hparams[name]
        if isinstance(value, dict):
            found = {key: found[key] for key in value}
        assert found == value


@pytest.mark.slow
@pytest.mark.parametrize("model", FREE)
def test_nothing_is_said_without_a_difference(model, tmp_path):
    torch.save(stored(model(encoder="tiny")), tmp_path / "run.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = model.load_from_checkpoint(tmp_path / "run.ckpt")
    assert loaded.data_info == {} and not loaded.override


def test_an_argument_that_is_younger_than_the_checkpoint_has_its_default():
    model = TASeg(encoder="tiny", **TWO)
    older = {k: v for k, v in model.hparams.items() if k != "point_grid"}
    compare_arguments(model, older)
    with pytest.raises(WeightsError, match="point_grid = 0, the configuration asks for 2"):
        compare_arguments(TASeg(encoder="tiny", point_grid=2, **TWO), older)


@pytest.mark.slow
def test_other_names_are_encoded_anew():
    model = TASeg(encoder="tiny", **TWO)
    model.encode_text()
    checkpoint = stored(model)
    fresh, other = (TASeg(encoder="tiny", num_classes=2, class_names=NAMES) for _ in range(2))
    fresh.encode_text()
    other.override = True
    with pytest.warns(UserWarning, match="class_names.*candle.*zebra"):
        other.on_load_checkpoint(checkpoint)
    other.load_state_dict(checkpoint["state_dict"])
    assert torch.equal(other.text_embeddings, fresh.text_embeddings)
    assert not torch.equal(other.text_embeddings, model.text_embeddings)


def test_an_argument_that_no_model_has_is_named(tmp_path):
    torch.save(stored(TASeg(encoder="tiny")), tmp_path / "run.ckpt")
    with pytest.raises(RGBXError, match="TASeg has no argument lora_alpa"):
        TASeg.load_from_checkpoint(tmp_path / "run.ckpt", lora_alpa=64)
    with pytest.raises(RGBXError, match="weights_only"):
        TASeg.load_from_checkpoint(tmp_path / "run.ckpt", weights_only=False)


def test_what_a_checkpoint_does_not_know_is_said():
    here = {"size": [64, 96], "x_mean": 0.5, "x_std": 0.25}
    with pytest.warns(UserWarning) as said:
        compare_input(here, {"class": "MFNet", "size": [480, 640]}, "FolderRGBX")
    changed, unknown = (str(one.message) for one in said)
    assert "size [64, 96] (checkpoint: [480, 640])" in changed and "x_mean" not in changed
    assert "x_mean 0.5" in unknown and "x_std 0.25" in unknown and "size" not in unknown
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compare_input(here, {"inputs": here}, "FolderRGBX")
