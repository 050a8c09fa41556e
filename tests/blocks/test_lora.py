"""LoRA: nothing at step 0, merged it is the same network, exported PEFT reads it back."""

import copy

import pytest
import torch
from peft import PeftModel

from rgbx.backbones.sam import build_sam
from rgbx.blocks.lora import inject_lora, merge_lora
from rgbx.errors import RGBXError
from rgbx.models import TASeg


@pytest.fixture(scope="module")
def trained():
    """A TASeg whose LoRA and fusion have left their zero initialisation."""
    torch.manual_seed(0)
    model = TASeg(encoder="tiny").eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "conv_c" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def images():
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.randn(2, 3, 64, 96, generator=generator) for _ in range(2))


def test_lora_is_w_plus_scaled_b_a():
    linear = torch.nn.Sequential(torch.nn.Linear(6, 4))
    weight = linear[0].weight.detach().clone()
    inject_lora(linear, "0", rank=2, alpha=6.0)
    layer = linear[0]
    x = torch.randn(5, 6)
    assert torch.allclose(linear(x), x @ weight.T + layer.base_layer.bias)
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = x @ (weight + 3.0 * product).T + layer.base_layer.bias
    assert torch.allclose(linear(x), expected, atol=1e-6)
    assert [n for n, p in linear.named_parameters() if not p.requires_grad] == [
        "0.base_layer.weight",
        "0.base_layer.bias",
    ]


@pytest.mark.slow
def test_merging_keeps_the_outputs_and_removes_the_adapters(trained):
    merged = copy.deepcopy(trained)
    with torch.no_grad():
        before = merged(*images())
        # q and v of 4 encoder blocks, and of the decoder's 7 attentions
        assert merged.merge_lora() == 2 * 4 + 2 * 7
        after = merged(*images())
    assert torch.allclose(before, after, atol=1e-5)
    assert not [n for n, _ in merged.named_modules() if "lora" in n]
    start = TASeg(encoder="tiny", lora={"rank": 0})
    assert merged.network.encoder.vit.state_dict().keys() == (
        start.network.encoder.vit.state_dict().keys()
    )


def test_peft_reads_the_export_back(trained, tmp_path):
    folders = trained.export_lora(tmp_path)
    assert [f.name for f in folders] == ["encoder", "decoder"]
    fresh = build_sam("tiny", None)
    reloaded = PeftModel.from_pretrained(fresh.image_encoder, tmp_path / "encoder")
    with torch.no_grad():
        expected = trained.network.encoder.vit(images()[0])
        assert torch.allclose(reloaded(images()[0]), expected, atol=1e-6)
        assert not torch.allclose(
            build_sam("tiny", None).image_encoder(images()[0]), expected, atol=1e-3
        )
    decoder = PeftModel.from_pretrained(fresh.mask_decoder.transformer, tmp_path / "decoder")
    ours = trained.network.decoder.transformer.state_dict()
    theirs = decoder.base_model.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_errors():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(RGBXError, match="matches no layer of Sequential"):
        inject_lora(module, "nothing", rank=2, alpha=2.0)
    with pytest.raises(RGBXError, match="rank must be at least 1"):
        inject_lora(module, "0", rank=0, alpha=2.0)
    with pytest.raises(RGBXError, match="no LoRA to export"):
        TASeg(encoder="tiny", lora={"rank": 0}).export_lora("nowhere")
    assert merge_lora(module) == 0
