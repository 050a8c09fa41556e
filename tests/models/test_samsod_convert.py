"""The released SAMSOD file becomes a checkpoint that answers as the released network."""

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbx.checkpoints.trained import frozen_keys
from rgbx.cli.weights import main
from rgbx.errors import UsageError, WeightsError
from rgbx.models import SAMSOD
from rgbx.models.samsod.convert import Conversion, convert_released, match_released
from tests.models.samsod_released import Released

KEYS = Path(__file__).resolve().parents[3] / "shared/papers/samsod_released_keys.json"

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def released() -> Released:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Released("tiny")


def save(state: State, folder: Path) -> Path:
    path = folder / "released.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def converted(released, tmp_path_factory) -> tuple[Path, Conversion]:
    folder = tmp_path_factory.mktemp("convert")
    path = folder / "out.ckpt"
    return path, convert_released(save(released.state_dict(), folder), path)


def load(path: Path) -> SAMSOD:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*RANDOM weights")
        return SAMSOD.load_from_checkpoint(path, map_location="cpu", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(128, 128), (96, 160)])
def test_answers_as_the_released_network(released, converted, size) -> None:
    # float64: in float32 two activations can change places at rank k by rounding alone
    model, released = load(converted[0]).eval().double(), copy.deepcopy(released).double()
    layer = released.model.sam_prompt_encoder.pe_layer  # builds its grid in float32
    layer._pe_encoding = lambda grid: type(layer)._pe_encoding(layer, grid.double())
    generator = torch.Generator().manual_seed(3)
    rgb, x = torch.randn(2, 3, 3, *size, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        found = model(rgb, x)
        alone = [released(r[None], d[None]) for r, d in zip(rgb, x, strict=True)]
    assert list(found) == ["fusion", "rgb", "x"]
    for name, logits in found.items():
        expected = torch.cat([one[name] for one in alone])
        assert logits.shape == (3, 1, *size)
        assert expected.std() > 0.1
        assert (logits - expected).abs().max() < 1e-6  # the grid's rounding


@pytest.mark.slow
def test_checkpoint_carries_everything(released, converted) -> None:
    path, conversion = converted
    checkpoint = torch.load(path, weights_only=True)
    state, theirs = checkpoint["state_dict"], released.state_dict()
    assert conversion == Conversion("tiny", len(state), 3)
    assert conversion.converted + conversion.left_out == len(theirs)
    assert checkpoint["hyper_parameters"]["encoder"] == "tiny"
    assert checkpoint["rgbx"]["model"] == "SAMSOD"
    assert frozen_keys(load(path)) < set(state)
    total = sum(t.numel() for n, t in theirs.items() if "mem" not in n or "no_mem" in n)
    assert sum(t.numel() for t in state.values()) == total
    assert not any(t.is_meta for t in state.values())


def test_a_trained_frozen_part_may_differ_from_the_random_one(converted) -> None:
    """Self-contained: the frozen weights of the file win over those the model was built with."""
    model = load(converted[0])
    state = torch.load(converted[0], weights_only=True)["state_dict"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def prefixed(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def renamed(state: State) -> State:
    """Group names of the large model, kept for a smaller one: only order and length count."""
    names = {
        "rgb0_0": "rgb0_1",
        "rgb1_2": "rgb2_7",
        "rgb3_5": "rgb8_43",
        "rgb6_6": "rgb44_47",
        "depth0_0d": "depth0d",
        "depth1_2d": "depth1_2d",
        "depth3_5d": "depth3_5d",
        "depth6_6d": "depth6d",
    }
    found = {}
    for name, tensor in state.items():
        head, _, tail = name.partition(".")
        found[f"{names.get(head, head)}.{tail}"] = tensor
    return found


@pytest.mark.slow
@pytest.mark.parametrize("spell", [prefixed, renamed])
def test_other_spellings(released, converted, tmp_path, spell: Callable[[State], State]) -> None:
    path = tmp_path / "out.ckpt"
    convert_released(save(spell(released.state_dict()), tmp_path), path)
    state = torch.load(path, weights_only=True)["state_dict"]
    expected = torch.load(converted[0], weights_only=True)["state_dict"]
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in state)


def test_every_fault_is_listed(released, tmp_path) -> None:
    state = dict(released.state_dict())
    del state["rgb1_2.1.router.0.bias"]
    del state["model.no_mem_embed"]
    state["model.something_else"] = torch.zeros(2)
    state["depth3_5d.0.adaptmlp2.up_proj.bias"] = torch.zeros(2)
    state["depth0_0d.0.adaptmlp1.up_proj.bias"] = torch.zeros(5)
    with pytest.raises(WeightsError) as caught:
        convert_released(save(state, tmp_path), tmp_path / "out.ckpt")
    text = str(caught.value)
    assert "does not fit SAMSOD with tiny" in text
    for part in (
        "2 missing: ",
        "model.no_mem_embed",
        "rgb1_2.1.router.0.bias",
        "2 unexpected: ",
        "model.something_else",
        "depth3_5d.0.adaptmlp2.up_proj.bias",
        "1 of another shape: depth0_0d.0.adaptmlp1.up_proj.bias (5,) instead of (16,)",
    ):
        assert part in text
    assert not (tmp_path / "out.ckpt").exists()


@pytest.mark.parametrize("lost", ["rgb6_6", "depth"])
def test_a_lost_group_is_missing(released, tmp_path, lost: str) -> None:
    state = {n: t for n, t in released.state_dict().items() if not n.startswith(lost)}
    count = len(released.state_dict()) - len(state)
    with pytest.raises(WeightsError, match=f"{count} missing: {lost[:3]}"):
        convert_released(save(state, tmp_path), tmp_path / "out.ckpt")


def test_other_files_are_refused(released, converted, tmp_path) -> None:
    plain = save({n: t for n, t in released.state_dict().items() if "trunk" not in n}, tmp_path)
    with pytest.raises(WeightsError, match="is no released SAMSOD file"):
        convert_released(plain, tmp_path / "out.ckpt")
    with pytest.raises(WeightsError, match="does not exist"):
        convert_released(tmp_path / "absent.pth", tmp_path / "out.ckpt")
    with pytest.raises(WeightsError, match=r"out\.ckpt exists already"):
        convert_released(plain, converted[0])


@pytest.mark.slow
def test_the_published_names_and_shapes_fit_whole() -> None:
    if not KEYS.is_file():
        pytest.skip(f"no list of released tensors at {KEYS}")
    shapes = json.loads(KEYS.read_text())
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    model, names = match_released(state, "released.pth")
    own = model.network.state_dict()
    assert model.hparams["encoder"] == "hiera_l"
    assert names.keys() == own.keys()
    assert all(own[name].shape == state[place].shape for name, place in names.items())
    assert names["x_adapters.9.foreground.up.bias"] == "depth8_43d.1.adaptmlp.up_proj.bias"
    assert names["rgb_adapters.47.background.down.bias"] == "rgb44_47.3.adaptmlp1.down_proj.bias"
    assert names["rgb_adapters.2.k_gate.weight"] == "rgb2_7.0.router.0.weight"
    assert names["rgb_adapters.2.gate.weight"] == "rgb2_7.0.router_2.0.weight"
    left = {name.split(".")[1] for name in state.keys() - set(names.values())}
    assert left == {
        "maskmem_tpos_enc",
        "mask_downsample",
        "memory_attention",
        "memory_encoder",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "obj_ptr_proj",
    }


def test_command_line(released, tmp_path, capsys) -> None:
    source, target = save(released.state_dict(), tmp_path), tmp_path / "out.ckpt"
    assert main(["convert", "samsod", str(source), str(target)]) == 0
    text = capsys.readouterr().out
    assert "SAMSOD with tiny" in text
    assert "left out: 3" in text
    assert target.is_file()
    with pytest.raises(UsageError, match="invalid choice: 'taseg'"):
        main(["convert", "taseg", str(source), str(target)])
