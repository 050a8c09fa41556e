import dataclasses

import pytest
import torch
from segment_anything import sam_model_registry
from torch import nn

from rgbx.backbones import attention
from rgbx.backbones.init import randomise
from rgbx.backbones.sam import SAM, SAM_PRESETS, build_sam
from rgbx.backbones.vit import ViT, join_qkv, split_qkv
from rgbx.errors import RGBXError


@pytest.fixture
def vit() -> ViT:
    vit = ViT(SAM_PRESETS["tiny"])
    randomise(vit)
    return vit


def perturb(module: nn.Module) -> None:
    """Make every tensor non-trivial, also zero biases and unit norms."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)


@pytest.mark.parametrize("size", [(256, 256), (64, 64), (96, 160), (320, 176), (480, 640)])
def test_equals_the_package_at_any_size(vit, size, official_encoder) -> None:
    perturb(vit)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = official_encoder(vit, *size)(images)
        found = vit(images)
    assert found.shape == (2, 64, size[0] // 16, size[1] // 16)
    assert torch.allclose(found, expected, atol=2e-5)


@pytest.mark.slow
def test_equals_the_package_at_1024_for_vit_b(official_encoder) -> None:
    """A block of each kind: the other ten are made of the same code, see the next test."""
    preset = dataclasses.replace(SAM_PRESETS["vit_b"], depth=2, global_blocks=(1,))
    vit = ViT(preset).eval()
    randomise(vit)
    perturb(vit)
    assert vit.pos_embed.abs().max() > 0.05
    assert all(block.attn.rel_pos_h.abs().max() > 0.05 for block in vit.blocks)
    images = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = vit(images)
        encoder = official_encoder(vit, 1024, 1024)
        del vit
        expected = encoder(images)
    assert expected.std() > 0.3
    assert (found - expected).abs().max() < 1e-4


@pytest.mark.parametrize("encoder", ["vit_b", "vit_l", "vit_h"])
def test_blocks_have_the_windows_and_heads_of_the_package(encoder: str) -> None:
    with torch.device("meta"):
        ours = ViT(SAM_PRESETS[encoder]).blocks
        theirs = sam_model_registry[encoder]().image_encoder.blocks
    assert [block.window for block in ours] == [block.window_size for block in theirs]
    assert [block.attn.heads for block in ours] == [block.attn.num_heads for block in theirs]
    assert {0, 14} == {block.window for block in ours}


@pytest.mark.parametrize("size", [(256, 256), (96, 160)])
def test_gradients_equal_the_package(vit, size, official_encoder) -> None:
    perturb(vit)
    encoder = official_encoder(vit, *size)
    images = torch.randn(1, 3, *size)
    slope = torch.randn(1, 64, size[0] // 16, size[1] // 16)
    gradients = []
    for module in (vit, encoder):
        leaf = images.clone().requires_grad_()
        module(leaf).backward(slope)
        named = {n: p.grad for n, p in module.named_parameters() if n != "pos_embed"}
        gradients.append({**named, "image": leaf.grad})
    ours, theirs = join_qkv(gradients[0]), gradients[1]
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        error = (ours[name] - expected).abs().max() / expected.abs().max()
        assert error < 1e-4, name


def test_composition_is_open(vit: ViT) -> None:
    images = torch.randn(1, 3, 96, 128)
    tokens = vit.patch_embed(images) + vit.position(6, 8)
    for block in vit.blocks:
        tokens = vit.run_block(block, tokens)
    assert tokens.shape == (1, 6, 8, 64)
    assert torch.equal(vit.project(tokens), vit(images))


def test_checkpointing_changes_no_bit(vit: ViT) -> None:
    images = torch.randn(1, 3, 96, 128)
    gradients = []
    for checkpoint in (False, True):
        vit.checkpoint_blocks = checkpoint
        vit.zero_grad()
        vit(images).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in vit.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_checkpointing_recomputes(vit: ViT) -> None:
    calls = []
    vit.blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    vit.checkpoint_blocks = True
    vit(torch.randn(1, 3, 64, 64)).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        vit(torch.randn(1, 3, 64, 64))
    assert len(calls) == 3


@pytest.mark.parametrize(("size", "valid"), [((500, 640), "512 x 640"), ((480, 641), "480 x 656")])
def test_refuses_other_sizes(vit: ViT, size: tuple[int, int], valid: str) -> None:
    with pytest.raises(RGBXError, match=f"{size[0]} x {size[1]} .* next valid size is {valid}"):
        vit(torch.zeros(1, 3, *size))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_stays_close(vit: ViT, dtype: torch.dtype) -> None:
    images = torch.randn(1, 3, 96, 128)
    exact = vit(images)
    with torch.autocast("cpu", dtype=dtype):
        rough = vit(images)
    rough.float().square().mean().backward()
    assert (rough.float() - exact).abs().max() < 0.1 * exact.abs().max()
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in vit.parameters())


def test_qkv_round_trip_is_exact(vit: ViT) -> None:
    state = vit.state_dict()
    fused = join_qkv(state)
    assert fused["blocks.0.attn.qkv.weight"].shape == (192, 64)
    assert not any(".attn.q." in name for name in fused)
    again = split_qkv(fused)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    assert all(torch.equal(join_qkv(again)[name], fused[name]) for name in fused)


@pytest.mark.parametrize("encoder", ["vit_b", "vit_l", "vit_h"])
def test_exports_the_official_names_and_shapes(encoder: str) -> None:
    with torch.device("meta"):
        ours = build_sam(encoder).export_state()
        theirs = sam_model_registry[encoder]().state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


def test_tiny_is_small_and_feeds_the_decoder() -> None:
    with pytest.warns(UserWarning, match="RANDOM weights because `weights` is null"):
        sam = build_sam("tiny")
    assert isinstance(sam, SAM)
    assert sum(p.numel() for p in sam.parameters()) < 600_000
    features = sam.image_encoder(torch.randn(1, 3, 256, 256))
    sparse, dense = sam.prompt_encoder(
        points=(torch.tensor([[[40.0, 60.0]]]), torch.ones(1, 1)), boxes=None, masks=None
    )
    masks, quality = sam.mask_decoder(
        image_embeddings=features,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    assert masks.shape == (1, 3, 64, 64)
    assert quality.shape == (1, 3)
    assert masks.std() > 0


def test_unknown_encoder_names_the_nearest() -> None:
    with pytest.raises(RGBXError, match="no SAM encoder 'vit_x'; choose from tiny, vit_b"):
        build_sam("vit_x")


class TestAttentionForms:
    """Both forms against the sum written out."""

    grid = (3, 5)

    def inputs(self, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        widths = (4, 4, 4, *self.grid)
        shapes = [(2, 3, 15, width) for width in widths]
        return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]

    def reference(self, *inputs: torch.Tensor) -> torch.Tensor:
        q, k, v, rel_h, rel_w = inputs
        logits = q @ k.transpose(-1, -2) / 2
        for key in range(15):
            logits[..., key] = logits[..., key] + rel_h[..., key // 5] + rel_w[..., key % 5]
        return logits.softmax(-1) @ v

    @pytest.mark.parametrize("form", ["chunked_attention", "widened_attention"])
    @pytest.mark.parametrize("chunk", [1, 40, 2**20])
    def test_value_and_gradient(
        self, form: str, chunk: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(attention, "_CHUNK", chunk)
        inputs, slope = self.inputs(), torch.randn(2, 3, 15, 4, dtype=torch.float64)
        expected = self.reference(*inputs)
        found = getattr(attention, form)(*inputs)
        assert torch.allclose(found, expected, atol=1e-12)
        wanted = torch.autograd.grad(expected, inputs, slope)
        for a, b in zip(torch.autograd.grad(found, inputs, slope), wanted, strict=True):
            assert torch.allclose(a, b, atol=1e-12)

    @pytest.mark.parametrize("form", ["chunked_attention", "widened_attention"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, form: str, dtype: torch.dtype) -> None:
        inputs = self.inputs()
        expected = self.reference(*inputs)
        found = getattr(attention, form)(*(t.to(dtype) for t in inputs))
        assert found.dtype == dtype
        assert (found.double() - expected).abs().max() < 0.05
        wanted = torch.autograd.grad(expected.sum(), inputs)
        gradients = torch.autograd.grad(found.sum(), inputs)
        for a, b in zip(gradients, wanted, strict=True):
            assert (a - b).abs().max() < 0.1

    def test_chunks_cover_everything_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for budget, heads, tokens in [(7, 3, 5), (60, 7, 5), (1, 2, 9), (10**6, 4, 6)]:
            monkeypatch.setattr(attention, "_CHUNK", budget)
            seen = torch.zeros(heads, tokens, dtype=torch.int64)
            for chunk in attention._chunks(heads, tokens):
                seen[chunk] += 1
            assert (seen == 1).all()
