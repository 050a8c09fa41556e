"""The plug-in on a real decoder: budget, identity, hooks, sampling (checks 1 to 5)."""

import copy

import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer

from rgbx.errors import RGBXError
from rgbx.models.stable_sam import Plugin, StableSAMNetwork, attach
from rgbx.models.stable_sam.plugin import DRP, PluginLayer
from rgbx.models.stable_sam.sampling import DSP, SpatialAttention, resample
from tests.models.sam_toy import all_forms, box, moved, points, toy_sam


@pytest.fixture(scope="module")
def sam():
    return toy_sam()


@pytest.fixture(scope="module")
def embedding(sam):
    panel = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return sam.image_encoder(panel)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---------------------------------------------------------------------- check 1: the budget
def test_the_plug_in_has_the_papers_81829_parameters():
    assert count(Plugin(256)) == 81_829
    assert (count(DSP(256)), count(DRP(256))) == (73_474, 261 * 32 + 3)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"use_drp": False}, 73_474),
        ({"dsp_kind": "none"}, 8_355),
        ({"dsp_kind": "spatial_attention"}, 8_355 + 2 * 49 + 1),
        ({"learnable_scale": False}, 81_828),
        ({"layers": (0, 1)}, 2 * 81_829),
        ({"amp": "gate", "border": "zeros", "resample_pe": True, "init": "default"}, 81_829),
    ],
    ids=str,
)
def test_what_switches_cost(options, wanted):
    assert count(Plugin(256, **options)) == wanted


# ---------------------------------------------------------------------- check 2: identity
@pytest.mark.slow
def test_it_starts_as_sam_and_leaves_nothing_behind(sam, embedding):
    network = StableSAMNetwork(sam, Plugin(256))
    keys, before = list(sam.state_dict()), copy.deepcopy(sam.state_dict())
    with torch.no_grad():
        attached, alpha = network.decode(embedding, all_forms(), (256, 256))
        plain, _ = network.decode(embedding, all_forms(), (256, 256), plugin=False)
    assert attached.shape == (7, 1, 64, 64) and plain.std() > 0.1
    assert (attached - plain).abs().max() < 1e-6
    torch.testing.assert_close(alpha, torch.full((7, 2), 0.5), rtol=0, atol=0)
    assert list(sam.state_dict()) == keys
    assert all(torch.equal(before[name], sam.state_dict()[name]) for name in keys)
    fresh = toy_sam()
    fresh.load_state_dict(before, strict=True)


def test_it_attaches_to_the_packages_own_decoder(sam, embedding):
    """Through MaskDecoder.forward, as anybody else would call it; and off again, bit for bit."""
    decoder, encoder = sam.mask_decoder, sam.prompt_encoder

    def answer() -> torch.Tensor:
        with torch.no_grad():
            sparse, dense = encoder(None, torch.tensor([[20.0, 30, 200, 180]]), None)
            return decoder(embedding, encoder.get_dense_pe(), sparse, dense, False)[0]

    plain = answer()
    attachment = attach(Plugin(256), decoder)
    assert (answer() - plain).abs().max() < 1e-6
    attachment.detach()
    attachment.detach()
    with attach(moved(Plugin(256)), decoder):
        assert (answer() - plain).abs().max() > 1e-3
    assert torch.equal(answer(), plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in decoder.modules())


def test_a_second_attachment_is_refused(sam):
    first = attach(Plugin(256), sam.mask_decoder)
    with pytest.raises(RGBXError, match="attached to this mask decoder already"):
        attach(Plugin(256), sam.mask_decoder)
    first.detach()
    with attach(Plugin(256), sam.mask_decoder):
        pass


def test_a_decoder_layer_that_is_not_there_is_refused(sam):
    with pytest.raises(RGBXError, match=r"has the layers 0 to 1, .* layer 2"):
        attach(Plugin(256, layers=(1, 2)), sam.mask_decoder)
    assert not any(m._forward_hooks for m in sam.mask_decoder.modules())


def test_nothing_is_remembered_after_a_failure(sam, embedding):
    def fail(*_: object) -> None:
        raise ValueError("stop here")

    network = StableSAMNetwork(sam, Plugin(256))
    with attach(network.plugin, sam.mask_decoder) as attachment:
        handle = sam.mask_decoder.transformer.layers[1].norm1.register_forward_hook(fail)
        with pytest.raises(ValueError, match="stop here"):
            sam.mask_decoder.transformer(embedding, embedding, torch.zeros(1, 6, 256))
        handle.remove()
        assert attachment._position is None and attachment._token is None
        sam.mask_decoder.transformer(embedding, embedding, torch.zeros(1, 6, 256))
        assert attachment._position is None and attachment._token is None
    with pytest.raises(ValueError, match="stop here"):
        network.decode(embedding, [box(1, 2, 30, 40)], (256, 256), listener=fail)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in sam.modules())


def test_a_copy_of_an_attached_decoder_works_alone(sam, embedding):
    plugin = moved(Plugin(256))
    tokens = torch.randn(2, 7, 256, generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), attach(plugin, sam.mask_decoder):
        wanted = sam.mask_decoder.transformer(embedding, embedding, tokens)[0]
        other = copy.deepcopy(sam.mask_decoder)
        torch.testing.assert_close(other.transformer(embedding, embedding, tokens)[0], wanted)


# ---------------------------------------------------------------------- check 3: known offsets
class Constant(DSP):
    """Offsets that are given; x* stays what the convolution makes of it."""

    moves = (1.0, 0.0)

    def forward(self, features):
        amplified = self.conv_amp(features)
        offsets = torch.tensor(self.moves).reshape(1, 2, 1, 1)
        return amplified, offsets.expand(len(features), 2, *features.shape[-2:])


class First(torch.nn.Module):
    def forward(self, token):
        return torch.tensor([[1.0, 0.0]]).expand(len(token), 2)


def test_an_offset_of_one_column_shifts_the_second_layers_keys(sam):
    plugin = Plugin(256)
    plugin.layers["1"].dsp = moved(Constant(256))
    plugin.layers["1"].drp = First()
    seen: dict[str, torch.Tensor] = {}
    layer = sam.mask_decoder.transformer.layers[1]
    pe = torch.randn(1, 256, 5, 7, generator=torch.Generator().manual_seed(3))

    def original(_, inputs, kwargs):
        seen["x_p"], seen["q"] = kwargs["v"], kwargs["q"]

    def given(_, inputs, kwargs):
        seen.update({name: kwargs[name] for name in "kv"}, after=kwargs["q"])

    handles = [
        layer.cross_attn_token_to_image.register_forward_pre_hook(original, with_kwargs=True)
    ]
    with torch.no_grad(), attach(plugin, sam.mask_decoder):
        handles.append(
            layer.cross_attn_token_to_image.register_forward_pre_hook(given, with_kwargs=True)
        )
        image = torch.randn(1, 256, 5, 7, generator=torch.Generator().manual_seed(4))
        sam.mask_decoder.transformer(image, pe, torch.randn(3, 6, 256))
        features = seen["x_p"].transpose(1, 2).unflatten(2, (5, 7))
        amplified = plugin.layers["1"].dsp.conv_amp(features)
    for handle in handles:
        handle.remove()
    shifted = torch.cat([amplified[..., 1:], amplified[..., -1:]], dim=-1)  # the border repeats
    values = seen["v"].transpose(1, 2).unflatten(2, (5, 7))
    torch.testing.assert_close(values, shifted, rtol=0, atol=1e-4)
    keys = seen["k"].transpose(1, 2).unflatten(2, (5, 7))
    torch.testing.assert_close(keys - values, pe.expand_as(keys), rtol=0, atol=1e-4)
    assert torch.equal(seen["after"], seen["q"])


def test_only_the_chosen_layer_is_touched_and_image_to_token_attention_sees_the_original(sam):
    """Layer 1 gets SAM's own keys, and so does image-to-token attention of layer 2."""
    layers = sam.mask_decoder.transformer.layers
    found: dict[str, list[torch.Tensor]] = {}

    def keep(name, key):
        def hook(_, inputs, kwargs):
            found.setdefault(name, []).append(kwargs[key].clone())

        return hook

    image, tokens = torch.randn(1, 256, 4, 6), torch.randn(2, 6, 256)
    for plugin in (Plugin(256), moved(Plugin(256))):
        with torch.no_grad(), attach(plugin, sam.mask_decoder):
            parts = {
                "first": (layers[0].cross_attn_token_to_image, "v"),
                "second": (layers[1].cross_attn_token_to_image, "v"),
                "back": (layers[1].cross_attn_image_to_token, "q"),
            }
            handles = [
                part.register_forward_pre_hook(keep(name, key), with_kwargs=True)
                for name, (part, key) in parts.items()
            ]
            sam.mask_decoder.transformer(image, torch.zeros(1, 256, 4, 6), tokens)
            for handle in handles:
                handle.remove()
    assert torch.equal(*found["first"])
    assert torch.equal(*found["back"])
    assert (found["second"][0] - found["second"][1]).abs().max() > 0.1


# ---------------------------------------------------------------------- check 4: clamping
def test_huge_offsets_stay_inside_and_a_grid_of_one_cell_works():
    features = torch.arange(12.0).reshape(1, 1, 3, 4)
    far = torch.full((1, 2, 3, 4), 1e6)
    for moves, corner in ((far, 11.0), (-far, 0.0)):
        sampled = resample(features, moves)
        torch.testing.assert_close(sampled, torch.full((1, 1, 3, 4), corner), rtol=0, atol=1e-5)
    assert torch.equal(resample(features, far, "zeros"), torch.zeros(1, 1, 3, 4))
    one = torch.full((1, 256, 1, 1), 3.0)
    for move in (0.0, 4.9, -1e6):
        assert torch.equal(resample(one, torch.full((1, 2, 1, 1), move)), one)
    layer = moved(PluginLayer(256))
    out = layer(one, torch.randn(1, 256), one).features
    assert out.shape == (1, 256, 1, 1) and out.isfinite().all()


@pytest.mark.parametrize("border", ["clamp", "zeros"])
def test_sampling_equals_bilinear_interpolation_by_hand(border):
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(2, 3, 4, 6, generator=generator, dtype=torch.float64)
    offsets = 8 * torch.rand(2, 2, 4, 6, generator=generator, dtype=torch.float64) - 4
    sampled = resample(features, offsets, border)

    def value(n, row, column):
        inside = 0 <= row < 4 and 0 <= column < 6
        return features[n, :, row, column] if inside else torch.zeros(3, dtype=torch.float64)

    for n in range(2):
        for i in range(4):
            for j in range(6):
                x, y = j + float(offsets[n, 0, i, j]), i + float(offsets[n, 1, i, j])
                if border == "clamp":
                    x, y = min(max(x, 0), 5), min(max(y, 0), 3)
                x0, y0 = int(x // 1), int(y // 1)
                fx, fy = x - x0, y - y0
                wanted = (1 - fy) * ((1 - fx) * value(n, y0, x0) + fx * value(n, y0, x0 + 1))
                wanted += fy * ((1 - fx) * value(n, y0 + 1, x0) + fx * value(n, y0 + 1, x0 + 1))
                torch.testing.assert_close(sampled[n, :, i, j], wanted, rtol=0, atol=1e-12)


def test_offsets_are_bounded_by_s_p():
    dsp = DSP(16, max_offset=2.0, init="default")
    with torch.no_grad():
        dsp.off.weight.mul_(1000)
        _, offsets = dsp(torch.randn(2, 16, 5, 4))
    assert offsets.shape == (2, 2, 5, 4)
    assert 1.9 < float(offsets.abs().max()) <= 2.0


def test_offsets_keep_their_precision_in_half_precision():
    """A coordinate of 8 bits would be a quarter of a cell off at the end of a 64-cell grid."""
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    offsets = torch.full((1, 2, 64, 64), -0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sampled = resample(ramp, offsets.bfloat16())
    exact = -0.30078125  # -0.3 in bfloat16
    torch.testing.assert_close(sampled[0, 0, 5, 1:], ramp[0, 0, 5, 1:] + exact, rtol=0, atol=1e-4)


# ---------------------------------------------------------------------- parts
def test_gate_and_projection_and_spatial_attention_by_hand():
    features = torch.randn(2, 16, 5, 6)
    gate, project = moved(DSP(16, amp="gate")), moved(DSP(16, amp="project"))
    with torch.no_grad():
        mixed = torch.einsum("oc,nchw->nohw", gate.conv_amp.weight[:, :, 0, 0], features)
        mixed = mixed + gate.conv_amp.bias.reshape(1, -1, 1, 1)
        torch.testing.assert_close(gate(features)[0], features * (1 + mixed))
        torch.testing.assert_close(project(features)[0], project.conv_amp(features))
        spatial = SpatialAttention()
        torch.testing.assert_close(spatial(features), features * torch.sigmoid(torch.tensor(4.0)))
        moved(spatial)
        summary = torch.stack([features.mean(1), features.max(1).values], dim=1)
        weight = spatial.conv(summary).sigmoid()
        assert weight.std() > 0.01
        torch.testing.assert_close(spatial(features), features * weight)


def test_routing_weights_are_a_scaled_softmax_of_the_token():
    drp, token = moved(DRP(256)), torch.randn(3, 256)
    alpha = drp(token)
    assert alpha.shape == (3, 2)
    torch.testing.assert_close(alpha.sum(1), drp.scale.expand(3))
    assert (alpha[0] - alpha[1]).abs().max() > 1e-3
    fixed = DRP(256, learnable_scale=False)
    assert torch.equal(fixed(token), torch.full((3, 2), 0.5))


@pytest.mark.parametrize("resample_pe", [False, True])
def test_the_position_encoding_moves_only_on_request(resample_pe):
    layer = moved(PluginLayer(16, resample_pe=resample_pe))
    features, token = torch.randn(2, 16, 4, 5), torch.randn(2, 16)
    position = torch.randn(1, 16, 4, 5)
    with torch.no_grad():
        routing = layer(features, token, position)
    if not resample_pe:
        assert routing.position is position
        return
    sampled = resample(position.expand(2, -1, -1, -1), routing.offsets)
    first, second = routing.alpha[:, :, None, None, None].unbind(1)
    torch.testing.assert_close(routing.position, first * sampled + second * position)


def test_without_routing_the_resampled_features_stand_alone():
    layer = moved(PluginLayer(16, use_drp=False))
    features, position = torch.randn(2, 16, 4, 5), torch.randn(1, 16, 4, 5)
    with torch.no_grad():
        routing = layer(features, torch.randn(2, 16), position)
        amplified, offsets = layer.dsp(features)
    assert routing.alpha is None
    assert torch.equal(routing.features, resample(amplified, offsets))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dsp_kind": "deformable"}, "dsp_kind is 'deformable': choose deform or"),
        ({"amp": "x"}, "amp is 'x'"),
        ({"border": "wrap"}, "border is 'wrap': choose clamp or zeros"),
        ({"init": "zero"}, "init is 'zero'"),
        ({"layers": ()}, r"layers is \[\]: name each decoder layer once"),
        ({"layers": (1, 1)}, r"layers is \[1, 1\]"),
        ({"max_offset": 0.0}, "max_offset is 0.0: give the largest offset in cells"),
        ({"dsp_kind": "none", "use_drp": False}, "there is no plug-in to train"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_named(options, text):
    with pytest.raises(RGBXError, match=text):
        Plugin(16, **options)


# ---------------------------------------------------------------------- check 5: any size
@pytest.mark.parametrize("size", [(64, 160), (160, 48), (16, 16)], ids=str)
def test_embeddings_of_any_shape_equal_the_packages_decoder_built_for_that_shape(sam, size):
    """rgbx reads sizes from tensors; the package is told them by its constructor."""
    height, width = size
    encoder = PromptEncoder(256, (height // 16, width // 16), size, 16)
    encoder.load_state_dict(sam.prompt_encoder.state_dict())
    network = StableSAMNetwork(sam, Plugin(256))
    panel = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(6))
    embedding = network.embed(panel)
    forms = all_forms(height, width)
    with torch.no_grad():
        ours, _ = network.decode(embedding, forms, size)
        for prompt, logits in zip(forms, ours, strict=True):
            clicks = (
                (prompt["points"][None], prompt["labels"][None]) if "points" in prompt else None
            )
            corners = prompt["box"][None] if "box" in prompt else None
            mask = prompt["mask"][None] if "mask" in prompt else None
            sparse, dense = encoder(clicks, corners, mask)
            decoder = sam.mask_decoder
            theirs = decoder(embedding, encoder.get_dense_pe(), sparse, dense, False)[0]
            assert logits.shape == (1, height // 4, width // 4)
            torch.testing.assert_close(logits, theirs[0], rtol=0, atol=2e-5)


def test_prompts_answered_together_equal_prompts_answered_alone(sam, embedding):
    network = StableSAMNetwork(sam, moved(Plugin(256)))
    forms = all_forms()
    calls: list[int] = []
    transformer = sam.mask_decoder.transformer
    handle = transformer.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[2])))
    with torch.no_grad():
        together, alpha = network.decode(embedding, forms, (256, 256))
        assert sorted(calls) == [1, 2, 4]  # two points; masks; boxes with single points
        alone = [network.decode(embedding, [prompt], (256, 256)) for prompt in forms]
        network.decode_batch = 3
        calls.clear()
        pieces, _ = network.decode(embedding, forms, (256, 256))
    handle.remove()
    assert sorted(calls) == [1, 1, 2, 3]
    torch.testing.assert_close(together, torch.cat([z for z, _ in alone]), rtol=0, atol=2e-5)
    torch.testing.assert_close(together, pieces, rtol=0, atol=2e-5)
    torch.testing.assert_close(alpha, torch.cat([a for _, a in alone]), rtol=0, atol=1e-5)
    assert (together[0] - together[4]).abs().max() > 0.1


def test_a_batch_of_images_with_one_prompt_each_equals_image_by_image(sam):
    network = StableSAMNetwork(sam, moved(Plugin(256)))
    panels = torch.randn(7, 3, 64, 96, generator=torch.Generator().manual_seed(7))
    forms = all_forms(64, 96)
    with torch.no_grad():
        embeddings = network.embed(panels)
        together, _ = network.decode(embeddings, forms, (64, 96))
        alone = [network.decode(embeddings[i : i + 1], [forms[i]], (64, 96))[0] for i in range(7)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=2e-5)


def test_padding_points_to_one_length_would_change_the_masks(sam, embedding):
    """Why prompts of different lengths are not joined: the decoder attends to padding as well."""
    encoder, decoder = sam.prompt_encoder, sam.mask_decoder
    place, mark = torch.tensor([[[50.0, 60.0]]]), torch.tensor([[1]])
    with torch.no_grad():
        answers = []
        for extra in (0, 2):
            places = torch.cat([place, torch.zeros(1, extra, 2)], dim=1)
            marks = torch.cat([mark, torch.full((1, extra), -1)], dim=1)
            sparse, dense = encoder((places, marks), None, None)
            answers.append(decoder(embedding, encoder.get_dense_pe(), sparse, dense, False)[0])
    assert (answers[0] - answers[1]).abs().max() > 1e-2


def test_no_prompts_give_no_masks(sam, embedding):
    logits, alpha = StableSAMNetwork(sam, Plugin(256)).decode(embedding, [], (256, 256))
    assert logits.shape == (0, 1, 64, 64) and alpha is None


@pytest.mark.parametrize("prompt", [{}, {**box(1, 2, 3, 4), **points((1, 2))}], ids=["none", "two"])
def test_a_prompt_is_exactly_one_thing(sam, embedding, prompt):
    with pytest.raises(RGBXError, match="give exactly one of box, points and mask"):
        StableSAMNetwork(sam, Plugin(256)).decode(embedding, [prompt], (256, 256))


def test_it_fits_a_decoder_built_by_hand():
    """Any two-way transformer of the package, whatever its width."""
    transformer = TwoWayTransformer(depth=3, embedding_dim=32, num_heads=4, mlp_dim=64)
    decoder = MaskDecoder(transformer_dim=32, transformer=transformer).eval()
    image, tokens = torch.randn(1, 32, 3, 5), torch.randn(2, 6, 32)
    position = torch.randn(1, 32, 3, 5)
    with torch.no_grad():
        plain = transformer(image, position, tokens)
        with attach(Plugin(32, layers=(0, 2)), decoder):
            same = transformer(image, position, tokens)
        with attach(moved(Plugin(32, layers=(0, 2))), decoder):
            other = transformer(image, position, tokens)
    torch.testing.assert_close(same[0], plain[0], rtol=0, atol=1e-5)
    assert other[0].shape == (2, 6, 32) and (other[0] - plain[0]).abs().max() > 1e-3
