"""MCA-SAM without its losses is SAM-Adapter; sizes; what moves in training; evaluation is plain."""

import copy
import math

import pytest
import torch

from rgbx.backbones.sam import SAM_PRESETS, build_sam
from rgbx.checkpoints.trained import keep_trained
from rgbx.errors import RGBXError
from rgbx.models import MCASAM
from rgbx.models.mca_sam import contrast, high_pass, module
from rgbx.models.mca_sam.features import removed_half_side
from rgbx.models.mca_sam.watch import Watch
from tests.grouped import MCA_SAM, grouped
from tests.models.mca_toy import PLAIN, PlainSAMAdapter, batch, model, moved


def count(part: torch.nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


SIZES = {"vit_b": (63_312, 89_712), "vit_l": (116_544, 175_680), "vit_h": (186_960, 291_920)}


@pytest.mark.slow
@pytest.mark.parametrize("encoder", SIZES)
def test_the_sizes_of_the_paper_on_the_meta_device(encoder):
    with torch.device("meta"):
        plain = MCASAM(encoder=encoder, **grouped(MCA_SAM, PLAIN))
        whole = MCASAM(encoder=encoder)
    assert (count(plain.network.generator), count(whole.network.generator)) == SIZES[encoder]
    assert count(whole.network.sam.mask_decoder) == 4_058_340
    dim, depth = SAM_PRESETS[encoder].dim, SAM_PRESETS[encoder].depth
    r = dim // 32
    assert SIZES[encoder][1] - SIZES[encoder][0] == depth * (r * r + r) + (r * dim + dim)
    with torch.device("meta"):
        sam = build_sam(encoder)
    assert list(whole.network.sam.state_dict()) == list(sam.state_dict())
    trained = {n for n, p in whole.named_parameters() if p.requires_grad}
    assert all(n.startswith(("network.generator.", "network.sam.mask_decoder.")) for n in trained)
    assert not any("iou_prediction_head" in n for n in trained)


def test_each_adaptor_on_hidden_tokens_has_its_own_bottleneck():
    with torch.device("meta"):
        one = MCASAM(encoder="vit_b", **grouped(MCA_SAM, {"adaptor_input": "hidden", **PLAIN}))
        two = MCASAM(encoder="vit_b", adaptor={"input": "hidden"})
    assert count(one.network.generator) == 12 * 37_656
    assert count(two.network.generator) == 24 * 37_656


def test_without_its_losses_it_is_sam_adapter():
    ours = model(**PLAIN).double().eval()
    moved(ours.network.generator)
    state = {k: v.float() for k, v in ours.network.sam.export_state().items()}
    plain = PlainSAMAdapter(state, ours.network.generator.state_dict())
    rgb = batch(2, (256, 256))["rgb"].double()
    with torch.no_grad():
        expected, found = plain(rgb), ours(rgb)
        frozen = model(**PLAIN).double().eval()(rgb)
    assert found.shape == (2, 1, 256, 256)
    assert (found - expected).abs().max() < 1e-6
    assert (found - frozen).abs().max() > 1e-3  # the adaptors matter


def test_the_branches_are_summed_as_one_product():
    both = moved(model().network.generator)
    features = torch.randn(2, 3, 4, 8)
    token, sample = both.narrow(1, features)
    expected = both.token.up(token) + both.sample.up(sample)
    assert torch.allclose(both.lift(1, token, sample), expected, atol=1e-6)
    assert not torch.allclose(both.lift(1, token, sample), both.token.up(token), atol=1e-3)


def test_a_zero_sc_branch_adds_nothing_and_then_learns():
    rgb = batch()["rgb"]
    plain, zero = model(**PLAIN).eval(), model(zero_init_sc=True)
    with torch.no_grad():
        assert torch.allclose(plain(rgb), zero.eval()(rgb), atol=1e-6)
        assert not torch.allclose(plain(rgb), model().eval()(rgb), atol=1e-4)
    losses, measures = zero.train().measured_losses(batch(4))
    sum(losses.values()).backward()
    assert float(measures["sample_raw"]) == pytest.approx(math.log(4), abs=1e-6)
    weight = zero.network.generator.sample.up.weight
    assert torch.isfinite(weight.grad).all() and weight.grad.abs().max() > 0


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (112, 80)])
def test_logits_have_the_size_of_the_image(size):
    rgb = batch(1, size)["rgb"] if min(size) > 48 else torch.randn(1, 3, *size)
    with torch.no_grad():
        assert model().eval()(rgb).shape == (1, 1, *size)


def test_a_size_that_patches_do_not_divide_is_refused():
    with pytest.raises(RGBXError, match=r"multiples of 16, .* 64 x 112"):
        model()(torch.zeros(1, 3, 64, 100))


# ---------------------------------------------------------------------- high frequencies
def wave(side: int, k: int) -> torch.Tensor:
    return torch.cos(2 * math.pi * k * torch.arange(side).double() / side).expand(1, 3, side, side)


def test_high_pass_keeps_what_lies_outside_the_square():
    assert removed_half_side(1024, 1024, 0.25) == 256
    assert high_pass(torch.full((1, 3, 64, 64), 3.0), 0.25).abs().max() < 1e-6
    assert removed_half_side(64, 64, 0.25) == 16
    assert high_pass(wave(64, 10), 0.25).abs().max() < 1e-9
    kept = wave(64, 20)
    assert torch.allclose(high_pass(kept, 0.25), kept.abs(), atol=1e-9)
    # frequencies -n .. n - 1 are removed: of a cosine at n one half is left
    assert torch.allclose(high_pass(wave(64, 16), 0.25), wave(64, 16).abs() / 2, atol=1e-9)
    assert torch.allclose(high_pass(kept, 0.0), kept.abs(), atol=1e-9)
    assert high_pass(torch.randn(1, 3, 32, 48), 1.0).shape == (1, 3, 32, 48)


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (50, 34)])
def test_high_pass_is_the_shifted_formula(size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    (height, width), n = size, removed_half_side(*size, 0.25)
    spectrum = torch.fft.fftshift(torch.fft.fft2(images), dim=(-2, -1))
    spectrum[..., height // 2 - n : height // 2 + n, width // 2 - n : width // 2 + n] = 0
    expected = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real.abs()
    assert torch.allclose(high_pass(images, 0.25), expected, atol=1e-12)


# ---------------------------------------------------------------------- training
def steps(ours: MCASAM, data: dict, count: int) -> list[dict[str, float]]:
    optimizer = torch.optim.AdamW([p for p in ours.parameters() if p.requires_grad], lr=2e-3)
    found = []
    ours.train()
    for _ in range(count):
        losses, measures = ours.measured_losses(data)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        found.append({k: float(v.detach()) for k, v in (losses | measures).items()})
    return found


def test_three_steps_leave_the_frozen_weights_bit_identical():
    ours = model(sam_adapter_quirks=True)
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    steps(ours, batch(), 3)
    for name, p in ours.named_parameters():
        assert torch.equal(p, before[name]) is not p.requires_grad, name
    stored = keep_trained(ours, ours.state_dict())
    assert {n for n, p in ours.named_parameters() if p.requires_grad} <= set(stored)
    assert not any("image_encoder" in n or "prompt_encoder" in n for n in stored)
    assert "network.random_prompt.frequencies" in stored


@pytest.mark.slow
def test_four_images_are_learnt_and_all_losses_fall():
    ours = model(token_weight=0.1, sample_weight=0.1, scale_factor=4)
    found = steps(ours, batch(4, (64, 64)), 100)
    first, last = found[0], found[-1]
    print({k: (round(first[k], 3), round(last[k], 3)) for k in first})
    assert last["bce"] + last["iou"] < 0.5 * (first["bce"] + first["iou"])
    assert last["token_raw"] < 0.7 * first["token_raw"]
    mean = [sum(f["sample_raw"] for f in part) / 20 for part in (found[:20], found[-20:])]
    assert mean[1] < 0.8 * mean[0]
    assert last["token_top1"] > first["token_top1"]


def test_checkpointed_blocks_have_the_same_gradients():
    data, grads = batch(), []
    for checkpointed in (False, True):
        ours = model(checkpoint_blocks=checkpointed).train()
        torch.manual_seed(3)
        losses, _ = ours.measured_losses(data)
        sum(losses.values()).backward()
        grads.append({n: p.grad for n, p in ours.named_parameters() if p.requires_grad})
    assert all(torch.allclose(grads[0][n], grads[1][n], atol=1e-6) for n in grads[0])


# ---------------------------------------------------------------------- evaluation
def test_evaluation_runs_no_contrastive_code_and_draws_nothing(monkeypatch):
    def never(*_, **__):
        raise AssertionError("contrastive code in evaluation")

    ours = model(queue=4, projection=True).eval()
    rgb = batch()["rgb"]
    with torch.no_grad():
        expected = ours(rgb)
    monkeypatch.setattr(module, "colour_view", never)
    monkeypatch.setattr(contrast, "info_nce", never)
    monkeypatch.setattr(contrast, "gather_batch", never)
    monkeypatch.setattr(contrast.TokenContrast, "draw", never)
    monkeypatch.setattr(Watch, "__init__", never)
    state = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(ours(rgb), expected)
    ours.validation_step(batch(), 0)
    maps = ours.predict_step(batch() | {"size": [(30, 40), (64, 96)]}, 0)
    assert [tuple(m.shape) for m in maps] == [(30, 40), (64, 96)]
    assert torch.equal(state, torch.get_rng_state())
    assert int(ours.sample_contrast.queue.filled) == 0


def test_evaluation_does_not_depend_on_the_losses_options():
    rgb = batch()["rgb"]
    reference = model().eval()
    others = [
        {"token_weight": 0.0, "sample_weight": 0.0},
        {"token_weight": 1.0, "token_temperature": 0.5, "num_tokens": 4},
        {"sample_weight": 2.0, "sample_temperature": 0.05, "projection": True, "queue": 3},
    ]
    with torch.no_grad():
        for options in others:
            assert torch.equal(model(**options).eval()(rgb), reference(rgb)), options


def test_a_second_modality_is_not_looked_at():
    ours, data = model().eval(), batch()
    with torch.no_grad():
        alone = ours.maps(data, [(64, 96)] * 2)
        beside = ours.maps(data | {"x": torch.randn(2, 3, 64, 96)}, [(64, 96)] * 2)
    assert torch.equal(torch.stack(alone), torch.stack(beside))


def test_a_checkpoint_brings_the_queue_and_the_random_prompt(tmp_path):
    ours = model(queue=4, sam_adapter_quirks=True)
    steps(ours, batch(), 1)
    stored = keep_trained(ours, ours.state_dict())
    other = copy.deepcopy(ours)
    moved(other.network.generator)
    other.sample_contrast.queue.items.zero_()
    missing = other.load_state_dict(stored, strict=False).missing_keys
    assert all("sam." in name for name in missing)
    assert torch.equal(other.sample_contrast.queue.items, ours.sample_contrast.queue.items)
    assert int(other.sample_contrast.queue.filled) == 2


@pytest.mark.parametrize("size", [(64, 96), (80, 112), (63, 65)])
def test_the_high_pass_of_exported_graphs_is_that_of_the_transform(size, monkeypatch):
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    wanted = high_pass(images, 0.25)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    found = high_pass(images, 0.25)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert wanted.mean() > 0.1
