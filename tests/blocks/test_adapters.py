"""SAMSOD's adapters against their formulas, written token by token."""

import math

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, distributed

from rgbx.blocks import DecoupledAdapter, VanillaAdapter
from rgbx.blocks.adapters import _mean_of_processes
from rgbx.errors import RGBXError


def filled(adapter, seed=0, scale=0.4):
    """Every tensor of the adapter with values, none of them special."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in adapter.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
    return adapter


def gelu(z: float) -> float:
    return 0.5 * z * (1 + math.erf(z / math.sqrt(2)))


def by_hand(
    adapter: DecoupledAdapter, tokens: Tensor, alphas=(0.45, 0.35), beta=0.1, scale=0.5
) -> Tensor:
    """Eq. 21 to 23 for tokens (n, d) of which the gate's mean is taken, in Python floats."""
    first = adapter.gate if adapter.k_gate is None else adapter.k_gate
    shares = torch.softmax(tokens @ first.weight.T + first.bias, -1).mean(0).tolist()
    outputs = torch.softmax(tokens @ adapter.gate.weight.T + adapter.gate.bias, -1)
    if adapter.k_gate is None:  # Eq. 21 weighs nothing
        outputs = torch.ones_like(outputs)
    total = torch.zeros_like(tokens)
    parts = ((adapter.foreground, alphas[0], True), (adapter.background, alphas[1], False))
    for index, (part, alpha, largest) in enumerate(parts):
        k = int(32 * (alpha + beta * shares[index]))
        for n, token in enumerate(tokens):
            z = (part.down.weight @ token + part.down.bias).tolist()
            hidden = [gelu(v) for v in z]
            ranked = sorted(range(32), key=lambda i: hidden[i], reverse=largest)
            for i in ranked[k:]:
                hidden[i] = 0.0
            narrow = torch.tensor(hidden, dtype=tokens.dtype)
            up = scale * (part.up.weight @ narrow + part.up.bias)
            total[n] += outputs[n, index] * up
    return total


@pytest.mark.parametrize("gate", ["released", "paper"])
def test_decoupled_adapter_is_equations_21_to_23(gate):
    adapter = filled(DecoupledAdapter(6, gate=gate).double()).eval()
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    expected = torch.stack([by_hand(adapter, image) for image in x.flatten(1, 2)])
    with torch.no_grad():
        found = adapter(x)
        assert torch.allclose(found, expected.view_as(x), atol=1e-12)
        assert torch.equal(adapter(x.flatten(1, 2)), found.flatten(1, 2))
        whole = by_hand(adapter, x.flatten(0, 2)).view_as(x)
        assert torch.allclose(adapter.train()(x), whole, atol=1e-12)


@pytest.mark.parametrize("gate", ["released", "paper"])
def test_alpha_beta_and_scale_are_those_of_the_equations(gate):
    options = {"alpha_foreground": 0.2, "alpha_background": 0.6, "beta": 0.3, "scale": 1.5}
    adapter = filled(DecoupledAdapter(6, gate=gate, **options).double()).eval()
    tokens = torch.randn(1, 12, 6, dtype=torch.float64)
    expected = by_hand(adapter, tokens[0], (0.2, 0.6), 0.3, 1.5)
    with torch.no_grad():
        torch.testing.assert_close(adapter(tokens)[0], expected, rtol=0, atol=1e-12)
    usual = filled(DecoupledAdapter(6, gate=gate).double()).eval()
    assert (usual(tokens)[0] - expected).abs().max() > 0.1


@pytest.mark.parametrize("gate", ["released", "paper"])
def test_gates_start_as_torch_linear_layers_do(gate):
    torch.manual_seed(0)
    adapter = DecoupledAdapter(64, gate=gate)
    gates = [g for g in (adapter.gate, adapter.k_gate) if g is not None]
    assert len(gates) == (2 if gate == "released" else 1)
    drawn = torch.cat([tensor.flatten() for g in gates for tensor in (g.weight, g.bias)])
    bound = 1 / math.sqrt(64)
    assert 0.9 * bound < drawn.abs().max() <= bound
    assert all(g.bias.unique().numel() == 2 and g.bias.abs().min() > 1e-3 for g in gates)


def test_vanilla_adapter_is_equation_18():
    adapter = filled(VanillaAdapter(5, width=8).double())
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    part = adapter.bottleneck
    hidden = (x @ part.down.weight.T + part.down.bias).detach().apply_(gelu)
    assert torch.allclose(adapter(x), 0.5 * (hidden @ part.up.weight.T + part.up.bias))


@pytest.mark.parametrize("kind", [DecoupledAdapter, VanillaAdapter])
def test_starts_by_adding_zero_and_still_learns(kind):
    adapter = kind(96)
    x = torch.randn(2, 4, 4, 96)
    assert torch.equal(adapter(x), torch.zeros_like(x))
    bound = 1 / math.sqrt(96)  # Kaiming-uniform with a = sqrt 5
    named = dict(adapter.named_parameters())
    for name, tensor in named.items():
        if name.endswith("down.weight"):
            assert 0.9 * bound < tensor.abs().max() <= bound
        elif "gate" not in name:
            assert not tensor.any(), name
    (adapter(x) * torch.randn_like(x)).sum().backward()
    assert all(p.grad is not None for p in named.values())
    assert all(p.grad.any() for name, p in named.items() if name.endswith("up.weight"))


def test_only_the_output_gate_learns():
    released, paper = DecoupledAdapter(8), DecoupledAdapter(8, gate="paper")
    assert {n for n, _ in released.named_buffers()} == {"k_gate.weight", "k_gate.bias"}
    # the paper's one gate only sets k, and floor() passes no gradient
    assert {n for n, _ in paper.named_buffers()} == {"gate.weight", "gate.bias"}
    learns = {n for n, _ in released.named_parameters()} - {n for n, _ in paper.named_parameters()}
    assert learns == {"gate.weight", "gate.bias"}
    assert set(released.state_dict()) - set(paper.state_dict()) == {"k_gate.weight", "k_gate.bias"}


def counts(adapter: DecoupledAdapter, x: Tensor) -> list[Tensor]:
    """k_for and k_back of one stream's tokens (B, N, d), each (1 or B,)."""
    gate = torch.softmax(adapter.k_gate(x), dim=-1)
    return [k.flatten() for k in adapter.kept(gate[None]).unbind(-1)]


def test_k_is_whole_and_floored_in_float32_at_exact_boundaries():
    adapter = DecoupledAdapter(4)
    adapter.k_gate.weight.zero_()
    x = torch.randn(1, 7, 4)
    for bias in (0.0, 0.3, -0.7, 9.0, -9.0):
        adapter.k_gate.bias.copy_(torch.tensor([bias, 0.0]))
        shares = torch.softmax(adapter.k_gate.bias, 0)
        expected = [int(32 * (a + 0.1 * g)) for a, g in zip((0.45, 0.35), shares, strict=True)]
        assert [k.item() for k in counts(adapter, x)] == expected
    # G = 0.5 lies on a boundary: 32 * (0.45 + 0.05) is 16 exactly
    adapter.k_gate.bias.zero_()
    assert counts(adapter, x)[0].item() == 16


def test_exactly_k_are_kept_also_among_equal_values():
    adapter = DecoupledAdapter(4)
    activations = torch.randn(1, 1, 2, 32)
    activations[..., 5:20] = 0.25  # many equal ones
    for k in range(18):
        kept = adapter._mask(activations, torch.full((1, 1, 1, 2), float(k)))
        assert (kept != 0).sum(-1).flatten().tolist() == [k, k]
        for part, largest in ((0, True), (1, False)):
            ends = activations[0, 0, part].sort(descending=largest).values[:k]
            found = kept[0, 0, part]
            assert torch.equal(found[found != 0].sort(descending=largest).values, ends)
    equal = torch.full((1, 2 * 9, 2, 32), -0.125)  # two images of 9 tokens
    by_image = torch.tensor([[3.0, 11.0], [7.0, 2.0]])[None, :, None]
    kept = (adapter._mask(equal, by_image) != 0).sum(-1).view(2, 9, 2)
    assert kept.unique(dim=1)[:, 0].tolist() == [[3, 11], [7, 2]]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [DecoupledAdapter, VanillaAdapter])
def test_two_streams_side_by_side_are_each_alone(kind, training):
    torch.manual_seed(0)
    adapters = [filled(kind(16).double()).train(training) for _ in range(2)]
    if kind is DecoupledAdapter:
        for adapter in adapters:
            torch.nn.init.normal_(adapter.k_gate.weight)
    x = torch.randn(6, 3, 5, 16, dtype=torch.float64, requires_grad=True)
    together = kind.side_by_side(adapters, x)
    alone = torch.cat([adapter(half) for adapter, half in zip(adapters, x.chunk(2), strict=True)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    params = [x, *(p for adapter in adapters for p in adapter.parameters())]
    pull = torch.randn_like(together)
    both = [torch.autograd.grad(out, params, pull) for out in (together, alone)]
    for ours, theirs in zip(*both, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


def test_eval_does_not_depend_on_the_batch_but_training_does():
    adapter = filled(DecoupledAdapter(16)).eval()
    x = torch.randn(6, 5, 5, 16) + torch.linspace(-3, 3, 6)[:, None, None, None]
    assert len(counts(adapter, x.flatten(1, 2))[0].unique()) > 1  # else this would test nothing
    alone = torch.cat([adapter(image[None]) for image in x])
    torch.testing.assert_close(adapter(x), alone, rtol=0, atol=1e-5)
    adapter.train()
    assert (adapter(x) - alone).abs().max() > 1e-2


def test_bfloat16_autocast_keeps_the_mean_and_the_gradients_in_float32():
    adapter = filled(DecoupledAdapter(16))
    x = torch.randn(2, 8, 8, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = adapter(x)
        found = counts(adapter, x.flatten(1, 2))
    mixed.float().sum().backward()
    assert mixed.dtype == torch.bfloat16
    assert all(k.dtype == torch.float32 for k in found)
    assert all(p.grad.dtype == torch.float32 for p in adapter.parameters())
    with torch.no_grad():
        exact = adapter(x)
    # a channel at the k-th place may change sides, most values only carry bfloat16's error
    assert (mixed - exact).abs().median() < 0.02 * exact.abs().median()


def test_shares_outside_0_1_are_refused():
    with pytest.raises(RGBXError, match=r"alpha_foreground = 0\.95.*must lie in \[0, 1\]"):
        DecoupledAdapter(8, alpha_foreground=0.95)
    with pytest.raises(RGBXError, match=r"beta = -0\.1"):
        DecoupledAdapter(8, beta=-0.1)
    with pytest.raises(RGBXError, match="beta = nan"):
        DecoupledAdapter(8, beta=math.nan)
    DecoupledAdapter(8, alpha_foreground=0.7, beta=0.3)  # 1 is a share


@pytest.mark.parametrize("kind", [DecoupledAdapter, VanillaAdapter])
def test_widths_and_factors_that_cannot_be_are_refused(kind):
    with pytest.raises(RGBXError, match="adapter_width = 0"):
        kind(8, width=0)
    for scale in (0.0, -0.5, math.nan, math.inf):
        with pytest.raises(RGBXError, match=f"scale = {scale}"):
            kind(8, scale=scale)
    with pytest.raises(RGBXError, match="gate = 'both'"):
        DecoupledAdapter(8, gate="both")


def _rank(rank: int, file: str, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    adapter, x = _case()
    torch.save(adapter(x.chunk(2)[rank]), f"{folder}/{rank}.pt")
    adapter.eval()(x[:1])  # no exchange: one rank alone may evaluate
    distributed.destroy_process_group()


def _case() -> tuple[DecoupledAdapter, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4, 3, 3, 16, generator=generator, dtype=torch.float64)
    return filled(DecoupledAdapter(16).double()), x + torch.linspace(-3, 3, 4)[:, None, None, None]


def test_two_processes_share_the_gates_mean(tmp_path):
    places = (str(tmp_path / "rendezvous"), str(tmp_path))
    mp.start_processes(_rank, args=places, nprocs=2, start_method="fork")
    adapter, x = _case()
    halves = torch.cat([torch.load(tmp_path / f"{rank}.pt") for rank in range(2)])
    assert torch.allclose(halves, adapter(x), atol=1e-12)
    separate = torch.cat([adapter(half) for half in x.chunk(2)])
    assert not torch.allclose(halves, separate, atol=1e-3)


def test_one_process_leaves_the_mean_alone():
    means = torch.tensor([0.25, 0.75])
    assert torch.equal(_mean_of_processes(means.clone()), means)
