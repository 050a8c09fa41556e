"""Pickled weight files: arrays come through, and nothing in the file is run."""

import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbx.backbones.pickles import read_pickle
from rgbx.backbones.weights import Weights, read_state
from rgbx.errors import WeightsError


def arrays() -> dict[str, np.ndarray]:
    return {
        "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        "a.bias": np.array([1.5, -2.5], dtype=np.float16),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "count": np.array(7),
        "big_endian": np.arange(3, dtype=">f4"),
    }


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", ["numpy._core", "numpy.core"])
def test_detectron_files(tmp_path: Path, protocol: int, core: str) -> None:
    """Both of NumPy's names for its inner package; in text opcodes they can be swapped."""
    content = {"model": OrderedDict(arrays()), "__author__": "Detectron2 Model Zoo"}
    data = pickle.dumps(content, protocol=protocol)
    if protocol < 4:
        data = data.replace(b"cnumpy._core.", f"c{core}.".encode())
    path = tmp_path / "model_final.pkl"
    path.write_bytes(data)
    state = read_state(Weights(str(path)))
    assert state.keys() == arrays().keys()
    for name, array in arrays().items():
        assert state[name].numpy().dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(state[name].numpy(), array), name


@pytest.mark.parametrize(
    "array", [np.zeros((0, 3), np.float32), np.array(1.5), np.array([True, False]), np.eye(2)]
)
@pytest.mark.parametrize("protocol", range(6))
def test_shapes_and_types(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"w": array, "end": np.ones(1)}, protocol=protocol))
    found = read_state(Weights(str(path)))["w"].numpy()
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(found, array)


class Pointers:
    """An array whose bytes NumPy itself takes for addresses of objects: reading it crashes."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> tuple:
        if self.how == "buffer":
            return np.ndarray, ((1,), "O", b"A" * 8)
        return np.ndarray, ((1,), np.dtype([("a", "O")]), b"A" * 8)


@pytest.mark.parametrize("how", ["buffer", "structured"])
def test_bytes_never_become_pointers(tmp_path: Path, how: str) -> None:
    content = {"w": np.ones(2), "evil": Pointers(how), "objects": np.array([{}], dtype=object)}
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    assert list(read_state(Weights(str(path)))) == ["w"]
    torch.save({"w": torch.ones(2), "evil": Pointers(how)}, tmp_path / "evil.pth")
    assert list(read_state(Weights(str(tmp_path / "evil.pth")))) == ["w"]


def test_other_values_stay_beside_the_tensors(tmp_path: Path) -> None:
    path = tmp_path / "mixed.pkl"
    odd = {"w": np.ones(2), "n": np.float32(2.5), "names": np.array(["a"]), "list": [1, "x", None]}
    path.write_bytes(pickle.dumps(odd))
    content = read_pickle(path)
    assert torch.equal(content["w"], torch.ones(2, dtype=torch.float64))
    assert content["n"] == 2.5
    assert content["names"].tolist() == ["a"]
    assert content["list"] == [1, "x", None]
    assert list(read_state(Weights(str(path)))) == ["w"]


class Trap:
    """Asks the reader to create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_anything_else_is_refused_by_name(tmp_path: Path, protocol: int) -> None:
    path, mark = tmp_path / "evil.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"model": arrays(), "x": Trap(mark)}, protocol=protocol))
    with pytest.raises(
        WeightsError, match=r"evil\.pkl is refused: it asks to run (_?io|builtins)\.open"
    ):
        read_state(Weights(str(path)))
    assert not mark.exists()


@pytest.mark.parametrize(
    "call", [b"cos\nsystem\n(S'true'\ntR.", b"cnumpy\nload\n.", b"cbuiltins\neval\n(S'1'\ntR."]
)
def test_hand_written_programs_are_refused(tmp_path: Path, call: bytes) -> None:
    path = tmp_path / "evil.pkl"
    path.write_bytes(call)
    with pytest.raises(WeightsError, match="is refused: it asks to run"):
        read_pickle(path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.pkl"
    data = pickle.dumps({"model": arrays()})
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(WeightsError, match=r"cut\.pkl \(\d+ bytes\) cannot be read as a weight"):
        read_state(Weights(str(path)))


@pytest.mark.parametrize(
    "junk", [b"<html>not found</html>", b"\x80\x04K\x05.", b"\x00" * 40, b"0."]
)
def test_no_pickle_of_weights(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "junk.pkl"
    path.write_bytes(junk)
    with pytest.raises(WeightsError, match=r"cannot be read as a weight file|holds no state dict"):
        read_state(Weights(str(path)))


def test_a_torch_file_may_be_called_pkl(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(3)}, tmp_path / "mine.pkl")
    assert read_state(Weights(str(tmp_path / "mine.pkl")))["w"].tolist() == [0, 1, 2]


class HistoryBuffer:
    """Pickles as mmengine's log does: arrays, numbers, and references to its own methods."""

    def __init__(self) -> None:
        self.history, self.count = np.arange(3.0), np.float64(2)

    def mean(self) -> float:
        return float(self.history.mean())

    def __getstate__(self) -> dict:
        return {**self.__dict__, "kinds": np.arange(2), "methods": {"mean": HistoryBuffer.mean}}


def test_the_log_of_an_mmengine_checkpoint_is_stepped_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "mmengine.logging.history_buffer"
    module = types.ModuleType(name)
    module.HistoryBuffer = HistoryBuffer
    for parent in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(HistoryBuffer, "__module__", name)
    monkeypatch.setattr(HistoryBuffer.mean, "__module__", name)
    path, before = tmp_path / "epoch_12.pth", set(torch.serialization.get_safe_globals())
    hub = {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"lr": np.float32(1)}}
    torch.save(
        {"meta": {"epoch": 12}, "state_dict": {"w": torch.ones(2)}, "message_hub": hub}, path
    )
    for loaded in (name, "mmengine.logging", "mmengine"):
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(pickle.UnpicklingError, match="HistoryBuffer"):
        torch.load(path, weights_only=True)
    assert read_state(Weights(str(path)))["w"].tolist() == [1, 1]
    assert set(torch.serialization.get_safe_globals()) == before
