"""The plug-in of a checkpoint on segment-anything's own predictor."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from segment_anything import SamPredictor
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from rgbx.backbones.sam import sam_preset
from rgbx.errors import WeightsError
from rgbx.models import StableSAM
from rgbx.models.stable_sam import attach, load_plugin
from rgbx.models.stable_sam.options import PluginConfig

DIM = sam_preset("tiny").decoder_dim


def saved(path, **options):
    """A checkpoint of a model whose parameters are not those that a new one starts with."""
    torch.manual_seed(3)
    model = StableSAM(encoder="tiny", **options)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return model


@pytest.fixture(scope="module")
def sam():
    """Segment-anything's own classes, for images of 128 x 128."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=128, embed_dim=32, depth=1, num_heads=2, out_chans=DIM, window_size=0
    )
    prompts = PromptEncoder(DIM, (8, 8), (128, 128), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=DIM, mlp_dim=64, num_heads=2)
    decoder = MaskDecoder(transformer_dim=DIM, transformer=transformer)
    return Sam(encoder, prompts, decoder).eval()


@pytest.mark.parametrize(
    "plugin",
    [PluginConfig(), PluginConfig(layers=(0, 1), use_drp=False), PluginConfig(use_dsp=False)],
    ids=["paper", "two layers", "DRP alone"],
)
def test_the_predictor_sees_the_trained_plug_in(sam, tmp_path, plugin):
    model = saved(tmp_path / "last.ckpt", plugin=plugin)
    loaded = load_plugin(tmp_path / "last.ckpt")
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    for name, value in model.plugin.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    predictor = SamPredictor(sam)
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (90, 128, 3), np.uint8))

    def predict():
        options = {"box": np.array([10, 12, 90, 70]), "multimask_output": False}
        return predictor.predict(**options, return_logits=True)[0]

    before, keys = predict(), list(sam.state_dict())
    with attach(loaded, sam.mask_decoder):
        with_loaded = predict()
        assert list(sam.state_dict()) == keys
    with attach(model.plugin.eval(), sam.mask_decoder):
        with_own = predict()
    assert with_loaded.shape == (1, 90, 128)
    np.testing.assert_array_equal(with_loaded, with_own)
    assert np.abs(with_loaded - before).max() > 1e-4
    np.testing.assert_array_equal(predict(), before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": "decoder"}, "holds no plug-in: it is a checkpoint of StableSAM without one"),
        ({"train_decoder": True}, "trained with train_decoder"),
    ],
)
def test_checkpoints_without_a_plug_in_of_its_own(tmp_path, options, words):
    saved(tmp_path / "last.ckpt", **options)
    with pytest.raises(WeightsError, match=words):
        load_plugin(tmp_path / "last.ckpt")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no checkpoint .*absent\.ckpt"):
        load_plugin(tmp_path / "absent.ckpt")
