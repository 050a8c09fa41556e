"""TorchScript: the same tensors as torch reads, and nothing of the program is run."""

import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rgbx.backbones.torchscript import read_torchscript
from rgbx.backbones.weights import Weights, read_state
from rgbx.errors import WeightsError


class Part(nn.Module):
    """Parameters, buffers, and attributes that are neither."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2))
        self.register_buffer("count", torch.arange(3))
        self.mask = torch.full((3,), float("-inf"))  # as CLIP's: no weight
        self.sizes = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.weight.T).masked_fill(self.mask > 0, 0.0) * self.sizes[0]


class Whole(nn.Module):
    """Shared, transposed and half-precision tensors, and modules in lists."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Part()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4))
        self.again = self.layers[0]
        self.turned = nn.Parameter(torch.randn(4, 6).T)
        self.low = nn.Parameter(torch.randn(5).half())
        self.empty = nn.Parameter(torch.zeros(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.part(x)) + self.low.float().sum() + self.turned.sum()


@pytest.mark.parametrize("how", ["script", "trace"])
def test_the_same_as_torch_itself(tmp_path: Path, how: str) -> None:
    path, model = tmp_path / "model.pt", Whole().eval()
    made = torch.jit.script(model) if how == "script" else torch.jit.trace(model, torch.ones(2, 2))
    made.save(str(path))
    wanted, found = torch.jit.load(path).state_dict(), read_torchscript(path)
    assert found.keys() == wanted.keys() == model.state_dict().keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


RESTORES_ITSELF = """
import torch
class Weights(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.zeros(4)
        self.training = False
    def forward(self, x):
        return x + self.w
    @torch.jit.export
    def __getstate__(self):
        return (self.w, self.training)
    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.training = state[1]
        self.w = torch.from_file("MARK", True, 4).fill_(2.0)
"""


def test_code_that_restores_a_module_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "executed"
    source = RESTORES_ITSELF.replace("MARK", str(mark))
    (tmp_path / "module_that_restores_itself.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    from module_that_restores_itself import Weights as Evil

    torch.jit.script(Evil()).save(str(path))
    monkeypatch.delitem(sys.modules, "module_that_restores_itself")
    mark.unlink(missing_ok=True)
    with pytest.raises(WeightsError, match=r"evil\.pth .* asks to run .*Weights\.__setstate__"):
        read_state(Weights(str(path)))
    assert not mark.exists()
    torch.jit.load(path)  # which is how it would have been run
    assert mark.exists()


def with_pickle(path: Path, content: bytes) -> None:
    """An archive like TorchScript's with another pickle in it."""
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in parts.items():
            new.writestr(name, content if name.endswith("/data.pkl") else data)


class Trap:
    """Asks the reader to create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


def test_the_pickle_inside_runs_nothing(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pt", tmp_path / "executed"
    with_pickle(path, pickle.dumps(Trap(mark), protocol=2))
    with pytest.raises(WeightsError, match=r"evil\.pt .* asks to run .*open"):
        read_state(Weights(str(path)))
    assert not mark.exists()


STORAGE = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK%ctQ"
BEYOND = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + STORAGE % 4 + b"K\0(K\x09t(K\1ttR."


@pytest.mark.parametrize(
    "content", [b"hello", b"", BEYOND, b"\x80\x02" + STORAGE[1:] % 7 + b".", b"\x80\x02K\1Q."]
)
def test_junk_inside(tmp_path: Path, content: bytes) -> None:
    with_pickle(tmp_path / "junk.pt", content)
    with pytest.raises(WeightsError, match=r"junk\.pt .* damaged TorchScript"):
        read_state(Weights(str(tmp_path / "junk.pt")))
