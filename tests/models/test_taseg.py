"""TASeg: starts as SAM, trains only what it should, every ablation row is a configuration."""

import copy

import pytest
import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer

from rgbx.backbones.clip_text import build_clip_text
from rgbx.backbones.sam import SAM_PRESETS, build_sam
from rgbx.checkpoints.trained import keep_trained
from rgbx.errors import RGBXError
from rgbx.models import TASeg
from rgbx.models.taseg.decoder import TextAttention
from rgbx.models.taseg.network import dffm_default_width
from tests.grouped import TASEG, grouped


def images(height=64, width=96, batch=2):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(batch, 3, height, width, generator=generator) for _ in range(2))


@pytest.fixture(scope="module")
def model():
    return TASeg(encoder="tiny").eval()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 112), (1024, 1024)])
@pytest.mark.parametrize("fusion", ["dffm", "concat", "none"])
def test_at_step_0_the_encoder_is_sam_on_rgb(fusion, size):
    rgb, x = images(*size, batch=1)  # 80 x 112: neither square nor a multiple of the window
    model = TASeg(encoder="tiny", fusion=fusion).eval()
    sam = build_sam("tiny", None).eval()
    with torch.no_grad():
        ours = model.network.encoder(rgb, None if fusion == "none" else x)
        assert torch.allclose(ours, sam.image_encoder(rgb), atol=1e-5)
    assert ours.abs().max() > 0.01


def test_x_reaches_the_output_once_training_has_moved_conv_c(model):
    rgb, x = images()
    moved = copy.deepcopy(model)
    for dffm in moved.network.encoder.dffm:
        torch.nn.init.normal_(dffm.conv_c.weight, std=0.1)
    with torch.no_grad():
        assert torch.equal(model(rgb, x), model(rgb, 0 * x))
        assert (moved(rgb, x) - moved(rgb, 0 * x)).abs().max() > 1e-3


@pytest.mark.parametrize("text", [False, True])
def test_without_training_the_decoder_is_sams_with_one_token_per_class(text):
    classes, preset = 5, SAM_PRESETS["tiny"]
    names = [f"class {k}" for k in range(classes)]
    model = TASeg(encoder="tiny", num_classes=classes, class_names=names, text=text).eval()
    sam = build_sam("tiny", None)
    reference = reference_decoder(sam.mask_decoder, classes, preset.decoder_dim)
    embedding = torch.randn(1, preset.decoder_dim, 5, 7)
    with torch.no_grad():
        text_embeddings = None
        if text:
            model.encode_text()
            text_embeddings = model.text_embeddings
        ours = model.network.decoder(embedding, text_embeddings)
        dense = sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(embedding)
        position = sam.prompt_encoder.pe_layer((5, 7))[None]
        sparse = torch.zeros(1, 0, preset.decoder_dim)
        masks, _ = reference.predict_masks(embedding, position, sparse, dense)
    assert ours.shape == (1, classes, 20, 28)
    assert torch.allclose(ours, masks, atol=1e-5)


def reference_decoder(decoder, classes, dim):
    """segment_anything's own decoder with K equal mask tokens."""
    transformer = TwoWayTransformer(depth=2, embedding_dim=dim, mlp_dim=2048, num_heads=8)
    reference = MaskDecoder(
        transformer_dim=dim, transformer=transformer, num_multimask_outputs=classes - 1
    )
    reference.transformer = copy.deepcopy(decoder.transformer)
    reference.iou_token = decoder.iou_token
    reference.output_upscaling = decoder.output_upscaling
    reference.mask_tokens.weight.data = decoder.mask_tokens.weight[:1].expand(classes, -1).clone()
    for head in reference.output_hypernetworks_mlps:
        head.load_state_dict(decoder.output_hypernetworks_mlps[0].state_dict())
    return reference.eval()


def test_text_attention_is_equation_8():
    torch.manual_seed(0)
    attention = TextAttention(4, 6).double()
    torch.nn.init.eye_(attention.project.weight)
    pixels, text = torch.randn(2, 4, 3, 5).double(), torch.randn(7, 6).double()
    out = attention(pixels, text)
    e = pixels[1, :, 2, 3]
    keys, values = text @ attention.key.weight.T, text @ attention.value.weight.T
    weights = torch.softmax(keys @ (attention.query.weight @ e) / 4**0.5, dim=0)
    assert torch.allclose(out[1, :, 2, 3], weights @ values, atol=1e-12)


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (112, 80)])
def test_logits_have_the_size_of_the_input(model, size):
    rgb, x = images(*size, batch=1)
    with torch.no_grad():
        assert model(rgb, x).shape == (1, 9, *size)
        assert model.low_resolution(rgb, x).shape == (1, 9, size[0] // 4, size[1] // 4)


@pytest.mark.slow
@pytest.mark.parametrize("points", [1, 3])
def test_a_point_grid_adds_prompts(points):
    plain, prompted = TASeg(encoder="tiny").eval(), TASeg(encoder="tiny", point_grid=points).eval()
    grid = prompted.network.decoder._points()
    assert grid.shape == (1, points**2 + 1, SAM_PRESETS["tiny"].decoder_dim)
    with torch.no_grad():
        assert not torch.allclose(plain(*images()), prompted(*images()))
    # SAM's own embedding of the same points, with its padding point
    encoder = build_sam("tiny", None).prompt_encoder
    encoder.input_image_size = (64, 96)
    centres = (torch.arange(points) + 0.5) / points
    ys, xs = torch.meshgrid(centres * 64, centres * 96, indexing="ij")
    coordinates = torch.stack([xs, ys], -1).reshape(1, -1, 2) - 0.5  # SAM adds half a pixel
    labels = torch.ones(1, points**2, dtype=torch.int)
    with torch.no_grad():
        expected = encoder._embed_points(coordinates, labels, pad=True)
    assert torch.allclose(grid, expected, atol=1e-5)


def three_steps(model):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    rgb, x = images()
    mask = torch.zeros(2, 64, 96, dtype=torch.long)
    mask[:, 16:48, 24:72] = 1
    values = []
    model.train()
    for _ in range(3):
        loss = sum(model.losses(model(rgb, x), mask).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    return values


def test_only_trained_parts_move():
    model = TASeg(encoder="tiny")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    values = three_steps(model)
    assert values[-1] < values[0]
    for name, p in model.named_parameters():
        if not p.requires_grad:
            assert torch.equal(p, before[name]), name
        else:
            assert p.grad is not None, name
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert any("dffm.0.conv_c" in n for n in moved)
    assert all(part in " ".join(moved) for part in ("x_patch_embed", "lora_B", "text_attention"))


def test_only_the_q_and_v_thirds_of_qkv_change():
    model = TASeg(encoder="tiny")
    start = build_sam("tiny", None).image_encoder.state_dict()
    three_steps(model)
    model.merge_lora()
    end = model.network.encoder.vit.state_dict()
    assert start.keys() == end.keys()
    changed = {n.rsplit(".", 2)[-2] for n in start if not torch.equal(start[n], end[n])}
    assert changed == {"q", "v"}


def test_frozen_parts_stay_in_eval_mode(model):
    copied = copy.deepcopy(model).train()
    assert copied.network.decoder.hypernetworks.training
    assert not copied.network.encoder.vit.training
    assert not copied.network.decoder.transformer.training


def test_vit_h_has_the_papers_number_of_trainable_parameters():
    with torch.device("meta"):
        model = TASeg(encoder="vit_h", num_classes=9)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(model.parameter_summary())
    assert abs(trained / 28.77e6 - 1) < 0.02, trained
    assert dffm_default_width(1280) == 192
    assert dffm_default_width(768) == 112


def test_a_vit_b_checkpoint_is_a_few_percent_of_the_model():
    with torch.device("meta"):
        model = TASeg(encoder="vit_b", num_classes=9)
        clip = build_clip_text("ViT-L-14", None)
    state = model.state_dict()
    kept = keep_trained(model, state)
    stored = sum(v.numel() for v in kept.values())
    sam = sum(v.numel() for v in state.values())
    whole = sam + sum(p.numel() for p in clip.parameters())
    print(
        f"{stored / 1e6:.2f} M stored, {stored / whole:.2%} of all, {stored / sam:.2%} without CLIP"
    )
    assert stored / whole < 0.05
    assert not [k for k in kept if "base_layer" in k or "prompt_encoder" in k]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "options"),
    [
        (1, {"fusion": "concat", "decoder_lora": False, "text": False}),
        (2, {"fusion": "concat", "decoder_lora": True, "text": False}),
        (3, {"fusion": "concat", "decoder_lora": True, "text": True}),
        (4, {"fusion": "dffm", "decoder_lora": False, "text": False}),
        (5, {"fusion": "dffm", "decoder_lora": False, "text": True}),
        (6, {"fusion": "dffm", "decoder_lora": True, "text": False}),
        (7, {"fusion": "dffm", "decoder_lora": True, "text": True}),
    ],
)
def test_every_row_of_table_3_is_a_configuration(row, options):
    model = TASeg(encoder="tiny", **grouped(TASEG, options))
    values = three_steps(model)
    assert values[-1] < values[0]
    trained = " ".join(n for n, p in model.named_parameters() if p.requires_grad)
    assert ("dffm" in trained) == (options["fusion"] == "dffm")
    assert ("decoder.transformer" in trained) == options["decoder_lora"]
    assert ("text_attention" in trained) == options["text"]
    idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_class_names_must_match_the_number_of_classes():
    with pytest.raises(RGBXError, match="num_classes is 3, but 2 class names were given"):
        TASeg(encoder="tiny", num_classes=3, class_names=["road", "car"])


@pytest.mark.slow
def test_checkpointed_blocks_give_the_same_gradients():
    model = TASeg(encoder="tiny")
    torch.nn.init.normal_(model.network.encoder.dffm[0].conv_c.weight)
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        model.network.encoder.vit.checkpoint_blocks = recompute
        model(*images()).square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name
    assert TASeg(encoder="tiny", checkpoint_blocks=True).network.encoder.vit.checkpoint_blocks
