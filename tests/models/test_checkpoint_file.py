"""Every way in which a checkpoint can be wrong has its sentence, which names the file."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rgbx.checkpoints.file import read_checkpoint
from rgbx.errors import WeightsError


def whole() -> dict[str, Any]:
    """A small checkpoint as rgbx writes it."""
    return {
        "state_dict": {"head.weight": torch.arange(200.0), "count": torch.tensor(3)},
        "rgbx": {
            **{"version": "1", "model": "TASeg", "frozen_sha256": "0" * 64},
            "data": {"class_names": ["road", "car"], "palette": [[0, 0, 0], [255, 1, 2]]},
        },
        "hyper_parameters": {"encoder": "tiny"},
        "pytorch-lightning_version": "2.6.6",
        **{"epoch": 4, "global_step": 20},
        **{"loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": []},
    }


def refusal(path: Path, mmap: bool = False) -> str:
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path, mmap=mmap)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_whole_one_comes_back(tmp_path: Path, mmap: bool, zipped: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(whole(), path, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(str(path), mmap=mmap)
    assert found.keys() == whole().keys()
    assert torch.equal(found["state_dict"]["head.weight"], torch.arange(200.0))
    assert found["rgbx"] == whole()["rgbx"]
    assert (found["epoch"], found["global_step"]) == (4, 20)


FOREIGN = {
    "text": (b"hello world\n", "text ('hello world')"),
    "json": (b'{"error": "not found"}', "text"),
    "page": (b"\n<!DOCTYPE html><html>" + b"x" * 900, "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
    "empty": (b"", "empty"),
    "zeros": (bytes(900), "unknown format"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(90), "PNG"),
    "gzip": (b"\x1f\x8b\x08" + bytes(90), "gzip"),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_called_what_they_are(tmp_path: Path, kind: str, mmap: bool) -> None:
    content, said = FOREIGN[kind]
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    assert said in refusal(path, mmap)


def test_other_archives_are_called_what_they_are(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip.ckpt", "w") as archive:
        archive.writestr("notes.txt", "")
    assert "notes.txt" in refusal(tmp_path / "zip.ckpt")
    save_file({"a": torch.zeros(2)}, tmp_path / "safe.ckpt")
    assert "safetensors" in refusal(tmp_path / "safe.ckpt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.ckpt")
    assert "TorchScript" in refusal(tmp_path / "script.ckpt")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, keep: float, zipped: bool) -> None:
    path = tmp_path / "cut.ckpt"
    torch.save(whole(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    assert f"{int(keep * len(data))} bytes" in refusal(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_anywhere(tmp_path: Path, zipped: bool) -> None:
    """Wherever 40 bytes are turned over, there is a sentence or a checkpoint, and nothing else."""
    path = tmp_path / "bad.ckpt"
    torch.save(whole(), path, _use_new_zipfile_serialization=zipped)
    data, refused = path.read_bytes(), 0
    starts = range(0, len(data) - 40, 60)
    for start in starts:
        turned = bytes(byte ^ 0x55 for byte in data[start : start + 40])
        path.write_bytes(data[:start] + turned + data[start + 40 :])
        try:
            assert "state_dict" in read_checkpoint(path)
        except WeightsError as error:
            assert path.name in str(error)
            refused += 1
    assert refused > len(starts) * (0.8 if zipped else 0.3)  # old files have no checksum


def test_one_bit_of_a_tensor(tmp_path: Path) -> None:
    """torch.load gives back another number, and says nothing."""
    path = tmp_path / "flipped.ckpt"
    torch.save(whole(), path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(90.0, 110.0).numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert not torch.equal(torch.load(path)["state_dict"]["head.weight"], torch.arange(200.0))
    assert "checksum" in refusal(path)


def test_files_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(whole(), tmp_path / "a.ckpt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_checkpoint(tmp_path / "a.ckpt")["epoch"] == 4


def test_no_file(tmp_path: Path) -> None:
    torch.save(whole(), tmp_path / "a.ckpt")
    assert "There is no" in refusal(tmp_path / "missing.ckpt")
    assert "There is no" in refusal(tmp_path / "a.ckpt" / "b.ckpt")
    (tmp_path / "to_nowhere.ckpt").symlink_to("nowhere")
    assert "There is no" in refusal(tmp_path / "to_nowhere.ckpt")
    assert "folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.ckpt")
    assert "pipe" in refusal(tmp_path / "pipe.ckpt")
    assert "device" in refusal(Path("/dev/zero"))
    with pytest.raises(WeightsError, match="cannot be opened"):
        read_checkpoint("x" * 5000)
    with pytest.raises(WeightsError, match="cannot be opened"):
        read_checkpoint("a\0b")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of a stand-in, because root may read everything."""
    torch.save(whole(), tmp_path / "mine.ckpt")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in refusal(tmp_path / "mine.ckpt")


def test_more_memory_than_there_is(tmp_path: Path) -> None:
    """A pickle that asks for an array of 2 ** 52 bytes."""
    path = tmp_path / "huge.ckpt"
    path.write_bytes(b"\x80\x02cbuiltins\nbytearray\n\x8a\x07\x00\x00\x00\x00\x00\x00\x10\x85R.")
    assert "more memory than there is" in refusal(path)


@pytest.mark.parametrize("content", [[1, 2, 3], None, "text", torch.zeros(3), 7])
def test_no_mapping(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    assert type(content).__name__ in refusal(tmp_path / "a.ckpt")


def test_checkpoints_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({}, path)
    assert "`rgbx`" in refusal(path)
    torch.save({"image_encoder.pos_embed": torch.zeros(3)}, path)
    text = refusal(path)
    assert "image_encoder.pos_embed" in text
    assert "`model.weights.path`" in text  # where weights alone may be given
    for other in ({1: torch.zeros(1)}, {"state_dict": {"a": torch.zeros(1)}, "epoch": 3}):
        torch.save(other, path)
        assert "model.weights.path" not in refusal(path)


@pytest.mark.parametrize("value", [None, [1], "text", -1, 1.5, True, {1: 2}])
@pytest.mark.parametrize("key", [k for k in whole() if k != "pytorch-lightning_version"])
def test_entries_of_the_wrong_type(tmp_path: Path, key: str, value: Any) -> None:
    torch.save(whole() | {key: value}, tmp_path / "a.ckpt")
    assert f"`{key}`" in refusal(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seed", value) for value in ("x", 1.5, [1])),
        *(("window", value) for value in (3, {"sum": "x", "count": 1}, {"sum": torch.zeros(2)})),
    ],
)
def test_surgery_of_the_wrong_type(tmp_path: Path, key: str, value: Any) -> None:
    torch.save(whole() | {"surgery": {key: value}}, tmp_path / "a.ckpt")
    assert f"`surgery.{key}`" in refusal(tmp_path / "a.ckpt")
    right = {"seed": -3, "window": {"sum": torch.zeros(2), "count": 1}}
    torch.save(whole() | {"surgery": right}, tmp_path / "a.ckpt")
    assert read_checkpoint(tmp_path / "a.ckpt")["surgery"]["seed"] == -3


@pytest.mark.parametrize("value", [None, "text", 2, "2.6 or so"])
def test_versions(tmp_path: Path, value: Any) -> None:
    torch.save(whole() | {"pytorch-lightning_version": value}, tmp_path / "a.ckpt")
    assert "`pytorch-lightning_version`" in refusal(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", None),
        ("frozen_sha256", 7),
        ("version", [1]),
        ("data", "x"),
        *(("data", {key: 7}) for key in ("class_names", "palette", "size", "class", "choice")),
        ("data", {"class_names": ["a", 1]}),
        ("data", {"palette": [[0, 0, 256]]}),
        ("data", {"palette": [[0, 0]]}),
        ("data", {"size": [480]}),
    ],
)
def test_origin_of_the_wrong_type(tmp_path: Path, key: str, value: Any) -> None:
    content = whole()
    content["rgbx"][key] = value
    torch.save(content, tmp_path / "a.ckpt")
    inner = f".{next(iter(value))}" if isinstance(value, dict) else ""
    assert f"`rgbx.{key}{inner}`" in refusal(tmp_path / "a.ckpt")


@pytest.mark.parametrize("key", ["state_dict", "epoch", "global_step", "pytorch-lightning_version"])
def test_entries_that_are_not_there(tmp_path: Path, key: str) -> None:
    content = whole()
    del content[key]
    torch.save(content, tmp_path / "a.ckpt")
    assert f"lacks `{key}`" in refusal(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    "tensor", [torch.eye(3).to_sparse(), torch.zeros(2, device="meta"), [1.0], None]
)
def test_state_that_holds_no_numbers(tmp_path: Path, tensor: Any) -> None:
    torch.save(whole() | {"state_dict": {"w": tensor}}, tmp_path / "a.ckpt")
    assert "`state_dict`" in refusal(tmp_path / "a.ckpt")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite(tmp_path: Path, dtype: torch.dtype, value: str) -> None:
    bad = torch.zeros(5, dtype=dtype)
    bad[3] = float(value)
    state = whole()["state_dict"] | {"neck.bias": bad}
    torch.save(whole() | {"state_dict": state}, tmp_path / "a.ckpt")
    assert "1 of 3 tensors: neck.bias" in refusal(tmp_path / "a.ckpt")
    state["neck.bias"][3] = 1
    torch.save(whole() | {"state_dict": state}, tmp_path / "a.ckpt")
    assert read_checkpoint(tmp_path / "a.ckpt")["state_dict"]["neck.bias"].tolist()[3] == 1


class Trap:
    """Asks the reader to create a file."""

    def __init__(self, path: Path, how: Any) -> None:
        self.path, self.how = path, how

    def __reduce__(self) -> tuple:
        return self.how, (f"{self.path}", "w")


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_nothing_in_a_file_is_run(tmp_path: Path, mmap: bool, zipped: bool) -> None:
    path, mark = tmp_path / "evil.ckpt", tmp_path / "executed"
    torch.save(whole() | {"x": Trap(mark, open)}, path, _use_new_zipfile_serialization=zipped)
    assert "open" in refusal(path, mmap)
    path.write_bytes(pickle.dumps(whole() | {"x": Trap(mark, open)}, protocol=2))
    refusal(path, mmap)
    assert not mark.exists()
