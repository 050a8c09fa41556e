"""ViTDet's form of the plain ViT: class row, tables of another size, no neck, stochastic depth."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import window_partition, window_unpartition

from rgbx.backbones import vit_parts
from rgbx.backbones.init import randomise
from rgbx.backbones.plain_vit import (
    from_official,
    load_plain,
    plain_kind,
    randomise_plain,
    to_official,
)
from rgbx.backbones.vit import ViT
from rgbx.backbones.vit_parts import Block, ViTConfig
from rgbx.errors import WeightsError

CONFIG = ViTConfig(
    dim=32,
    depth=3,
    heads=4,
    global_blocks=(2,),
    window=3,
    out_dim=None,
    pretrain_size=64,
    table_size=96,
    class_row=True,
)


@pytest.fixture
def vit() -> ViT:
    vit = ViT(CONFIG).eval()
    randomise(vit)
    return vit


def naive_attention(block: Block, cells: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """Attention in one window (s, s, dim), written out; `allowed` (s * s): keys that count."""
    side, _, dim = cells.shape
    attention, width = block.attn, dim // block.attn.heads
    flat = cells.reshape(-1, dim)
    out = torch.empty(side * side, dim)
    for head in range(attention.heads):
        part = slice(head * width, (head + 1) * width)
        q, k, v = (layer(flat)[:, part] for layer in (attention.q, attention.k, attention.v))
        logits = q @ k.T / width**0.5
        for i in range(side * side):
            for j in range(side * side):
                down, right = i // side - j // side, i % side - j % side
                logits[i, j] += q[i] @ attention.rel_pos_h[down + side - 1]
                logits[i, j] += q[i] @ attention.rel_pos_w[right + side - 1]
        out[:, part] = logits.masked_fill(~allowed, -torch.inf).softmax(-1) @ v
    return attention.proj(out).view(side, side, dim)


@torch.no_grad()
def test_padded_cells_are_real_keys(vit: ViT) -> None:
    """No mask: after the padding, q, k and v of the empty cells are the biases."""
    block, x = vit.blocks[0], torch.randn(1, 3, 2, 32)
    for layer in (block.attn.q, block.attn.k, block.attn.v):
        layer.bias.normal_()
    padded = F.pad(block.norm1(x), (0, 0, 0, 1))[0]
    inside = F.pad(torch.ones(3, 2), (0, 1)).bool().flatten()
    results = []
    for allowed in (torch.ones(9, dtype=torch.bool), inside):
        y = x + naive_attention(block, padded, allowed)[None, :, :2]
        results.append(y + block.mlp(block.norm2(y)))
    assert torch.allclose(block(x), results[0], atol=1e-5)
    assert (results[0] - results[1]).abs().max() > 0.01


@pytest.mark.parametrize("grid", [(4, 6), (32, 32), (30, 40), (14, 28)])
def test_windows_equal_the_package_bit_for_bit(grid: tuple[int, int]) -> None:
    x = torch.randn(2, *grid, 5)
    expected, padded = window_partition(x, 14)
    windows = vit_parts._partition(x, 14)
    assert torch.equal(windows, expected)
    assert torch.equal(vit_parts._merge(windows, 14, *grid), x)
    assert torch.equal(window_unpartition(windows, 14, padded, grid), x)


def test_the_class_row_is_kept_and_never_used(vit: ViT) -> None:
    assert vit.pos_embed.shape == (1, 17, 32)
    assert torch.equal(vit.position(4, 4), vit.pos_embed[:, 1:].view(1, 4, 4, 32))
    grid = vit.pos_embed[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    wide = F.interpolate(grid, size=(2, 7), mode="bicubic", align_corners=False)
    assert torch.equal(vit.position(2, 7), wide.permute(0, 2, 3, 1))
    vit(torch.randn(1, 3, 32, 48)).square().sum().backward()
    assert vit.pos_embed.grad is not None
    assert not vit.pos_embed.grad[:, 0].any()
    assert vit.pos_embed.grad[:, 1:].abs().min() > 0


def test_tables_and_output_without_a_neck(vit: ViT) -> None:
    rows = [len(block.attn.rel_pos_h) for block in vit.blocks]
    assert rows == [5, 5, 11]
    assert not list(vit.neck.parameters())
    images = torch.randn(1, 3, 96, 48)
    tokens = vit.embed(images)
    for block in vit.blocks:
        tokens = block(tokens)
    assert torch.equal(vit(images), tokens.permute(0, 3, 1, 2))


def test_stochastic_depth_skips_whole_branches(vit: ViT) -> None:
    block, x = vit.blocks[2], torch.randn(1, 3, 2, 32).expand(4000, -1, -1, -1)
    torch.manual_seed(0)
    with torch.no_grad():
        found = block(x, 0.25)
        attended = block.attn(block.norm1(x[:1])) / 0.75
        outcomes = []
        for first in (0, 1):
            y = x[:1] + first * attended
            mlp = block.mlp(block.norm2(y)) / 0.75
            outcomes += [y, y + mlp]
    distances = torch.stack([(found - o).abs().amax((1, 2, 3)) for o in outcomes])
    assert distances.amin(0).max() < 1e-5
    shares = torch.bincount(distances.argmin(0), minlength=4) / 4000
    expected = torch.tensor([1 / 16, 3 / 16, 3 / 16, 9 / 16])
    assert (shares - expected).abs().max() < 0.03


def test_without_stochastic_depth_nothing_is_drawn(vit: ViT) -> None:
    state = torch.get_rng_state()
    vit.train()
    vit(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)


def test_recomputation_skips_the_same(vit: ViT) -> None:
    x, gradients = torch.randn(6, 4, 6, 32), []
    for vit.checkpoint_blocks in (False, True):
        torch.manual_seed(3)
        leaf = x.clone().requires_grad_()
        y = vit.run_block(vit.blocks[0], leaf, 0.5)
        vit.run_block(vit.blocks[1], y, 0.5).square().sum().backward()
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)
    assert not torch.equal(gradients[0], 2 * x)


def test_official_names(vit: ViT) -> None:
    state = vit.state_dict()
    official = to_official(state)
    assert {n for n in official if n.startswith("blocks.1.")} == {
        f"blocks.1.{name}"
        for name in (
            "norm1.weight",
            "norm1.bias",
            "norm2.weight",
            "norm2.bias",
            "attn.rel_pos_h",
            "attn.rel_pos_w",
            "attn.qkv.weight",
            "attn.qkv.bias",
            "attn.proj.weight",
            "attn.proj.bias",
            "mlp.fc1.weight",
            "mlp.fc1.bias",
            "mlp.fc2.weight",
            "mlp.fc2.bias",
        )
    }
    again = from_official(official)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


def mae_file(vit: ViT) -> dict[str, torch.Tensor]:
    """What MAE publishes for this size, with the decoder of its other file."""
    encoder = {n: t for n, t in to_official(vit.state_dict()).items() if "rel_pos" not in n}
    names = ("cls_token", "norm.weight", "norm.bias", "mask_token", "decoder_blocks.0.norm1.weight")
    return encoder | {name: torch.zeros(32) for name in names}


def vitdet_file(vit: ViT) -> dict[str, torch.Tensor]:
    """What Detectron2 publishes for this size."""
    inside = {f"backbone.net.{n}": t for n, t in to_official(vit.state_dict()).items()}
    return {**inside, "backbone.simfp_2.0.weight": torch.zeros(2), "roi_heads.x": torch.zeros(1)}


@pytest.mark.parametrize(
    ("make", "kind", "left"), [(mae_file, "plain ViT", 5), (vitdet_file, "ViTDet", 6 + 2)]
)
def test_published_files_fill_all_but_the_tables(vit: ViT, make, kind: str, left: int) -> None:
    state, empty = make(vit), ViT(CONFIG)
    assert plain_kind(state) == kind
    assert load_plain(empty, state, "file") == left
    expected = vit.state_dict()
    for name, tensor in empty.state_dict().items():
        assert torch.equal(tensor, 0 * tensor if "rel_pos" in name else expected[name]), name


def test_what_does_not_fit_is_listed(vit: ViT) -> None:
    state = mae_file(vit)
    del state["blocks.2.mlp.fc2.bias"]
    state["head.weight"] = torch.zeros(1)
    state["pos_embed"] = torch.zeros(1, 26, 32)
    with pytest.raises(WeightsError) as caught:
        load_plain(ViT(CONFIG), state, "mine.pth")
    assert str(caught.value) == (
        "mine.pth does not fit ViT. 1 missing: blocks.2.mlp.fc2.bias; 1 unexpected: head.weight; "
        "1 of another shape: pos_embed (1, 26, 32) instead of (1, 17, 32)"
    )
    small = ViT(dataclasses.replace(CONFIG, depth=2))
    with pytest.raises(WeightsError, match=r"mine\.pth holds a ViT of width 32 with 3 blocks, but"):
        load_plain(small, mae_file(vit), "mine.pth")
    assert plain_kind({"image_encoder.patch_embed.proj.weight": 0}) is None


def test_random_weights_are_portable_and_see_smooth_images() -> None:
    first, second = ViT(CONFIG), ViT(CONFIG)
    randomise_plain(first)
    torch.manual_seed(99)
    randomise_plain(second)
    state = second.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in first.state_dict().items())
    assert not any(p.any() for name, p in first.named_parameters() if "rel_pos" in name)
    filters = first.patch_embed.proj.weight
    assert torch.equal(filters[:, :, :4, 4:8], filters[:, :, :1, 4:5].expand(-1, -1, 4, 4))
    assert filters[0, 0].unique().numel() == 16
