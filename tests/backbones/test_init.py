import hashlib

import pytest
import torch
from torch import nn

from rgbx.backbones.freeze import fingerprint
from rgbx.backbones.init import randomise
from rgbx.backbones.sam import SAM, SAM_PRESETS

GOLDEN = "83744dfa426fa3d812f478e32caa456d5b6dba23ad949630ebede15e964f8e4e"
FIRST = [0.0714053064584732, 0.02339809015393257, -0.08292631059885025]


class Model(nn.Module):
    def __init__(self, extra: bool = False) -> None:
        super().__init__()
        if extra:
            self.before = nn.Linear(3, 3)
        self.linear = nn.Linear(300, 200)
        self.norm = nn.LayerNorm(200)
        self.up = nn.ConvTranspose2d(64, 8, 2, 2)
        self.words = nn.Embedding(50, 20)
        self.pos_embed = nn.Parameter(torch.zeros(1, 40, 30))
        self.gamma = nn.Parameter(torch.zeros(200))
        self.register_buffer("waves", torch.randn(2, 500))
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1), persistent=False)


def test_same_bits_everywhere() -> None:
    model = Model()
    randomise(model)
    bits = hashlib.sha256(model.linear.weight.detach().numpy().tobytes()).hexdigest()
    assert bits == GOLDEN
    assert model.linear.weight[0, :3].tolist() == FIRST


def test_ignores_and_keeps_the_global_generator() -> None:
    prints = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = Model()
        state = torch.get_rng_state()
        randomise(model)
        assert torch.equal(state, torch.get_rng_state())
        prints.append(fingerprint(dict(model.state_dict())))
    assert prints[0] == prints[1]


def test_neighbours_do_not_shift_each_other() -> None:
    alone, beside, other = Model(), Model(extra=True), Model()
    randomise(alone)
    randomise(beside)
    randomise(other, seed=1)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, beside.state_dict()[name])
    assert not torch.equal(alone.linear.weight, other.linear.weight)


def test_statistics() -> None:
    model = Model()
    randomise(model)
    weight = model.linear.weight
    assert weight.std().item() == pytest.approx(300**-0.5, rel=0.02)
    assert weight.abs().max() <= (3 / 300) ** 0.5
    assert abs(weight.mean().item()) < 1e-3
    assert model.up.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    assert model.words.weight.std().item() == pytest.approx(0.1, rel=0.1)
    assert model.pos_embed.std().item() == pytest.approx(0.1, rel=0.1)
    assert model.waves.std().item() == pytest.approx(1.0, rel=0.1)
    assert (model.norm.weight == 1).all()
    assert (model.norm.bias == 0).all()
    assert (model.gamma == 0).all()
    assert (model.mask.triu(1)[0, 1:] == float("-inf")).all()


def test_meta_device_is_skipped() -> None:
    with torch.device("meta"):
        model = SAM(SAM_PRESETS["tiny"])
    randomise(model)
    assert all(p.is_meta for p in model.parameters())


def test_sam_has_no_leftover_of_the_global_generator() -> None:
    prints = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        sam = SAM(SAM_PRESETS["tiny"])
        randomise(sam)
        prints.append(fingerprint(sam.state_dict()))
    assert prints[0] == prints[1]
