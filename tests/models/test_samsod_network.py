"""SAMSOD's network against plain SAM 2, stream by stream and image by image."""

import copy
import pickle
import warnings
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from rgbx.backbones.freeze import fingerprint, is_frozen
from rgbx.backbones.sam2 import SAM2, build_sam2
from rgbx.errors import RGBXError
from rgbx.models.samsod.network import SAMSODNetwork

STREAMS = ("fusion", "rgb", "x")


def sam2() -> SAM2:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RANDOM weights")
        return build_sam2("tiny")


def network(**options) -> SAMSODNetwork:
    torch.manual_seed(0)
    return SAMSODNetwork(sam2(), **options).eval()


def trained(**options) -> SAMSODNetwork:
    """A network whose adapters no longer add zero, and whose gates differ between images."""
    net = network(**options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if "_adapters" in name:
                tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
    return net


def panels(batch: int = 2, size: Sequence[int] = (96, 160)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    rgb, x = torch.randn(2, batch, 3, *size, generator=generator)
    return rgb + torch.linspace(-2, 2, batch)[:, None, None, None], x.abs()


def plain(model: SAM2, maps: list[Tensor]) -> Tensor:
    """The package's own neck and decoder: no prompts, no dense embedding, one mask."""
    levels, _ = model.image_encoder.neck(maps)
    decoder, coarse = model.sam_mask_decoder, levels[2]
    coarse = coarse + model.no_mem_embed.reshape(1, -1, 1, 1)
    masks, *_ = decoder(
        image_embeddings=coarse,
        image_pe=model.sam_prompt_encoder.pe_layer(coarse.shape[-2:])[None],
        sparse_prompt_embeddings=coarse.new_empty(len(coarse), 0, coarse.shape[1]),
        dense_prompt_embeddings=torch.zeros_like(coarse),
        multimask_output=False,
        repeat_image=False,
        high_res_features=[decoder.conv_s0(levels[0]), decoder.conv_s1(levels[1])],
    )
    return masks


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["decoupled", "vanilla"])
@pytest.mark.parametrize("size", [(128, 128), (96, 160), (32, 224)])
def test_starts_as_plain_sam2_on_the_sum_and_on_each(adapter, size) -> None:
    net, model = network(adapter=adapter), sam2()
    assert model.no_mem_embed.abs().max() > 0.05
    rgb, x = panels(size=size)
    with torch.no_grad():
        found = net(rgb, x)
        f_rgb, f_x = model.image_encoder.trunk(rgb), model.image_encoder.trunk(x)
        sums = [a + b for a, b in zip(f_rgb, f_x, strict=True)]
        expected = dict(zip(STREAMS, (plain(model, m) for m in (sums, f_rgb, f_x)), strict=True))
    assert tuple(found) == STREAMS
    for name, logits in found.items():
        assert logits.shape == (2, 1, size[0] // 4, size[1] // 4)
        assert expected[name].std() > 0.1
        assert (logits - expected[name]).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"gate": "paper"}, {"adapter": "vanilla"}])
def test_one_batch_equals_one_by_one(options) -> None:
    """Streams, decodes and images: together or alone, the numbers are the same."""
    net = trained(**options)
    rgb, x = panels(3)
    with torch.no_grad():
        together = net(rgb, x)
        for i in range(3):
            alone = net(rgb[i : i + 1], x[i : i + 1])
            for name in STREAMS:
                assert torch.allclose(together[name][i : i + 1], alone[name], atol=1e-5)
        maps = net.encode(rgb, x)
        sums = [a + b for a, b in zip(maps["rgb"], maps["x"], strict=True)]
        for name, streams in (("fusion", sums), ("rgb", maps["rgb"]), ("x", maps["x"])):
            assert torch.allclose(net.decode([streams])[0], together[name], atol=1e-5)
    assert [tuple(m.shape) for m in maps["x"]] == [
        (3, 16, 24, 40),
        (3, 32, 12, 20),
        (3, 64, 6, 10),
        (3, 128, 3, 5),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rgb", "x"])
def test_one_stream_is_its_share_of_both(name) -> None:
    both = trained()
    single = network(modalities=name)
    state = {k: v for k, v in both.state_dict().items() if k in single.state_dict()}
    assert single.state_dict().keys() == state.keys() < both.state_dict().keys()
    single.load_state_dict(state)
    images = dict(zip(("rgb", "x"), panels(), strict=True))
    with torch.no_grad():
        found = single(**{"rgb": None, "x": None, name: images[name]})
        expected = both(**images)[name]
    assert list(found) == [name]
    assert torch.allclose(found[name], expected, atol=1e-5)


def test_gradients_keep_to_their_groups() -> None:
    net = trained().train()
    reach = {}
    for name in STREAMS:
        net.zero_grad(set_to_none=True)
        net(*panels())[name].sum().backward()
        with_gradient = {
            n for n, p in net.named_parameters() if p.grad is not None and p.grad.any()
        }
        reach[name] = {n.split(".")[0] for n in with_gradient}
    assert reach["rgb"] == {"rgb_adapters", "decoder"}
    assert reach["x"] == {"x_adapters", "decoder"}
    assert reach["fusion"] == {"rgb_adapters", "x_adapters", "decoder"}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"gate": "paper"}, {"adapter": "vanilla"}])
def test_steps_train_everything_trainable_and_nothing_else(options) -> None:
    net = network(**options).train()
    frozen = {n: p.clone() for n, p in net.named_parameters() if not p.requires_grad}
    before = fingerprint(net)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        sum((logits**2).mean() for logits in net(*panels()).values()).backward()
        optimizer.step()
    trainable = {n: p for n, p in net.named_parameters() if p.requires_grad}
    assert [n for n, p in trainable.items() if p.grad is None or not p.grad.any()] == []
    assert all(torch.equal(net.get_parameter(n), p) for n, p in frozen.items())
    assert fingerprint(net) == before
    heads = {n.split(".")[0] for n in trainable}
    assert heads == {"rgb_adapters", "x_adapters", "decoder"}
    idle = {".".join(n.split(".")[1:3]) for n in frozen if n.startswith("decoder.")}
    assert idle == {
        *(f"output_hypernetworks_mlps.{i}" for i in (1, 2, 3)),
        "iou_prediction_head.layers",
        "pred_obj_score_head.layers",
    }
    assert {"decoder.conv_s0.weight", "decoder.conv_s1.bias"} < trainable.keys()


def test_modes() -> None:
    net = network().train()
    assert is_frozen(net.image_encoder)
    assert not any(part.training for part in net.image_encoder.modules())
    assert all(part.training for part in net.rgb_adapters.modules())
    assert net.decoder.training
    assert not net.decoder.iou_prediction_head.training


def hooks(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


@pytest.mark.slow
def test_nothing_is_left_behind_even_after_an_error() -> None:
    net = trained()
    rgb, x = panels()
    with torch.no_grad():
        expected = net(rgb, x)["fusion"]
    block = net.image_encoder.trunk.blocks[3]

    def fail(*_: object) -> None:
        raise ValueError("in the middle of a block")

    with block.mlp.register_forward_pre_hook(fail), pytest.raises(ValueError, match="middle"):
        net(rgb, x)
    assert hooks(net) == 0
    with torch.no_grad():
        assert torch.equal(net(rgb, x)["fusion"], expected)
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert torch.equal(other(rgb, x)["fusion"], expected)
            other.x_adapters[0].foreground.up.weight.fill_(1.0)
            assert not torch.equal(other(rgb, x)["fusion"], expected)
        assert torch.equal(net(rgb, x)["fusion"], expected)


def test_double_precision_agrees() -> None:
    net = trained(adapter="vanilla")  # without TopK, whose choice may turn on the last bit
    rgb, x = panels()
    with torch.no_grad():
        single = net(rgb, x)["fusion"]
        double = net.double()(rgb.double(), x.double())["fusion"]
    assert double.dtype == torch.float64
    assert (single - double).abs().max() < 1e-4


def test_bfloat16_autocast_stays_close() -> None:
    net = trained()
    rgb, x = panels()
    with torch.no_grad():
        expected = net(rgb, x)["fusion"]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = net(rgb, x)["fusion"].float()
    assert (found - expected).abs().median() < 0.1 * expected.std()


@pytest.mark.parametrize(
    ("size", "valid"), [((100, 160), "128 x 160"), ((96, 1), "96 x 32"), ((16, 47), "32 x 64")]
)
def test_refuses_sizes_without_a_whole_stride_32_map(size, valid) -> None:
    with pytest.raises(RGBXError, match=f"multiples of 32; the next valid size is {valid}"):
        network()(*panels(1, size))


def test_refuses_images_that_do_not_belong_together() -> None:
    net = network()
    rgb, x = panels(1)
    with pytest.raises(RGBXError, match="one is missing"):
        net(rgb, None)
    with pytest.raises(RGBXError, match=r"same shape, .*\(1, 3, 96, 160\) and \(1, 3, 96, 128\)"):
        net(rgb, x[..., :128])
    with pytest.raises(RGBXError, match="adapter = 'lora'"):
        SAMSODNetwork(sam2(), adapter="lora")


@pytest.mark.parametrize(("encoder", "millions"), [("hiera_l", 224.1), ("hiera_t", 32.7)])
def test_size_is_the_papers(encoder: str, millions: float) -> None:
    with torch.device("meta"):
        net = SAMSODNetwork(build_sam2(encoder))
    tensors = [*net.parameters(), *(b for n, b in net.named_buffers() if "k_gate" in n)]
    total = sum(t.numel() for t in tensors) / 1e6
    assert abs(total - millions) < 0.2
    groups = {"rgb_adapters": 0, "x_adapters": 0, "decoder": 0}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups[name.split(".")[0]] += parameter.numel()
    assert groups["rgb_adapters"] == groups["x_adapters"]
    assert groups["decoder"] == sum(p.numel() for p in net.decoder.parameters() if p.requires_grad)
