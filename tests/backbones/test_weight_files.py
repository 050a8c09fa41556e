import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from torch import nn

from rgbx.backbones import sam as sam_module
from rgbx.backbones import weights as weights_module
from rgbx.backbones.freeze import fingerprint
from rgbx.backbones.init import randomise
from rgbx.backbones.known import KNOWN, KnownWeights, known_file
from rgbx.backbones.sam import SAM, SAM_PRESETS, build_sam
from rgbx.backbones.sam2 import build_sam2
from rgbx.backbones.weights import Weights, load_strict, read_state
from rgbx.errors import WeightsError
from rgbx.models.unirgb_ir.build import build_backbone


@pytest.fixture
def tiny() -> SAM:
    sam = SAM(SAM_PRESETS["tiny"])
    randomise(sam, seed=5)
    return sam


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_official_layout_loads_strictly(tiny: SAM, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    state = {name: tensor.contiguous() for name, tensor in tiny.export_state().items()}
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    loaded = build_sam("tiny", Weights(str(path)))
    assert fingerprint(loaded.state_dict()) == fingerprint(tiny.state_dict())
    assert not loaded.training


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_wrapped_and_legacy_files(tiny: SAM, tmp_path: Path, wrapper: str) -> None:
    path = tmp_path / "old.pth"
    content = {wrapper: tiny.export_state(), "epoch": 3}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    loaded = build_sam("tiny", Weights(str(path)))
    assert fingerprint(loaded.state_dict()) == fingerprint(tiny.state_dict())


def test_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"mine\.pth does not exist; .* weights fetch sam_vit_h"):
        build_sam("vit_h", Weights(str(tmp_path / "mine.pth")))
    with pytest.raises(WeightsError, match=r"get it with: rgbx weights fetch sam_vit_b$"):
        build_sam("vit_h", Weights("weights/sam_vit_b_01ec64.pth"))


def test_partial_state_lists_every_fault() -> None:
    module = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    state = module.state_dict()
    state = {n: t for n, t in state.items() if not n.endswith("bias")}
    state["0.weight"] = torch.zeros(3, 2)
    state["head.weight"] = torch.zeros(1)
    before = module[5].weight.clone()
    state["5.weight"] = before + 1
    with pytest.raises(WeightsError) as caught:
        load_strict(module, state, "some.pth")
    text = str(caught.value)
    assert text.startswith("some.pth does not fit Sequential. 12 missing: 0.bias, 1.bias")
    assert "9.bias and 2 more; 1 unexpected: head.weight" in text
    assert "1 of another shape: 0.weight (3, 2) instead of (2, 2)" in text
    assert torch.equal(module[5].weight, before)


def test_weights_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device("meta"):
        state = sam_model_registry["vit_b"]().state_dict()
    monkeypatch.setattr(sam_module, "read_state", lambda *_, **__: state)
    with pytest.raises(WeightsError, match="width 768 with 12 blocks, but vit_h has width 1280"):
        build_sam("vit_h", Weights("x.pth"))
    with pytest.raises(WeightsError, match=r"fits `encoder: vit_b`, .* fetch sam_vit_h"):
        build_sam("vit_h", Weights("x.pth"))


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_truncated_file(tiny: SAM, tmp_path: Path, keep: float) -> None:
    path = tmp_path / "cut.pth"
    torch.save(tiny.export_state(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(WeightsError, match=r"cut\.pth \(\d+ bytes\) cannot be read .* fetch it"):
        build_sam("tiny", Weights(str(path)))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_garbage_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"junk{suffix}"
    path.write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(WeightsError, match="cannot be read as a weight file"):
        read_state(Weights(str(path)))


def test_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state(Weights(str(tmp_path / "plain.pth")))


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"a": torch.zeros(1), "b": Trap()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_state(Weights(str(tmp_path / "evil.pth")))
    assert not (tmp_path / "executed").exists()


FOREIGN = {
    "text.pth": (b"hello world\n", "text ('hello world')"),
    "page.pkl": (b"<!doctype html><p>" * 50, "web page"),
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "empty.safetensors": (b"", "empty"),
    "zeros.pth": (bytes(900), "unknown format"),
    "cut.safetensors": (b'\x40\0\0\0\0\0\0\0{"a":', "safetensors"),
}


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_state(Weights(str(path)))
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_called_what_they_are(tmp_path: Path, name: str) -> None:
    content, said = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    assert said in refusal(tmp_path / name)


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    assert "pipe" in refusal(tmp_path / "pipe.pth")
    assert "device" in refusal(Path("/dev/zero"))
    assert "does not exist" in refusal(tmp_path / ("x" * 300))


def test_a_damaged_end_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "bad_end.pth"
    torch.save({"a.b": torch.zeros(3)}, path)
    data = bytearray(path.read_bytes())
    data[-200:-30] = bytes(byte ^ 0x55 for byte in data[-200:-30])
    path.write_bytes(data)
    assert "damaged" in refusal(path)


def test_one_bit_of_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "flipped.pth"
    torch.save({"a": torch.arange(50.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.arange(20.0, 30.0).numpy().tobytes())] ^= 1
    path.write_bytes(data)
    assert "checksum" in refusal(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({1: torch.zeros(1)}, "under 1 "),
        ({"a": torch.zeros(1), 2: torch.zeros(1)}, "under 2 "),
        ({"encoder": {"a": torch.zeros(1)}, "decoder": {}}, "encoder, decoder"),
        ([torch.zeros(1)], "a list"),
        ({}, "nothing"),
        ({"a": torch.eye(2).to_sparse()}, "sparse"),
        ({"a": torch.zeros(2, device="meta")}, "meta"),
    ],
)
def test_content_that_is_no_state_dict(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert said in refusal(tmp_path / "a.pth")


def test_a_safetensors_file_of_another_name(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3)}, tmp_path / "mine.pth")
    assert read_state(Weights(str(tmp_path / "mine.pth")))["a"].tolist() == [0, 1, 2]
    torch.save({"a": torch.arange(4)}, tmp_path / "mine.safetensors")
    assert read_state(Weights(str(tmp_path / "mine.safetensors")))["a"].tolist() == [0, 1, 2, 3]


def test_numbers_of_another_kind_or_none(tiny: SAM, tmp_path: Path) -> None:
    path, name = tmp_path / "mine.pth", "image_encoder.pos_embed"
    state = tiny.export_state()
    torch.save(state | {name: state[name].long()}, path)
    with pytest.raises(WeightsError, match=rf"{name} torch\.int64 instead of torch\.float32"):
        build_sam("tiny", Weights(str(path)))
    for value in (float("nan"), float("inf")):
        torch.save(state | {name: state[name] * 0 + value}, path)
        with pytest.raises(WeightsError, match=rf"mine\.pth holds .* in 1 of \d+ tensors: {name}"):
            build_sam("tiny", Weights(str(path)))
    torch.save(state | {name: state[name].half()}, path)
    assert build_sam("tiny", Weights(str(path))).image_encoder.pos_embed.dtype == torch.float32


@pytest.mark.parametrize("build", [build_sam, build_sam2, build_backbone])
def test_names_that_fit_and_shapes_that_lead_nowhere(tmp_path: Path, build: Any) -> None:
    """A number where a model looks for a length; a fused tensor that is no multiple of three."""
    path = tmp_path / "odd.pth"
    names = ["patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.attn.rel_pos_h"]
    names += ["pos_embed", "adapter_level_embed"]
    for shape in ((), (2,), (0, 0, 0, 0)):
        odd = {
            f"{part}{name}": torch.zeros(shape)
            for part in ("", "image_encoder.", "image_encoder.trunk.")
            for name in names
        }
        torch.save(odd, path)
        with pytest.raises(WeightsError, match=r"odd\.pth"):
            build("tiny", Weights(str(path)))


def test_hash_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.arange(3)}, path)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_state(Weights(str(path), right.upper()))["a"].tolist() == [0, 1, 2]
    with pytest.raises(WeightsError, match=f"SHA-256 {right}, but {'0' * 64} is expected"):
        read_state(Weights(str(path), "0" * 64))


def test_public_names_are_checked_without_a_hash_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "public.pth"
    torch.save({"a": torch.zeros(2)}, path)
    size = path.stat().st_size
    entry = KnownWeights("public", "", "public.pth", size, "1" * 64, "")
    monkeypatch.setattr(weights_module, "known_file", lambda _: entry)
    with pytest.raises(WeightsError, match=f"{'1' * 64} is expected"):
        read_state(Weights(str(path)))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WeightsError, match=f"truncated: {size - 5} bytes found, {size} expected"):
        read_state(Weights(str(path)))


def test_table_of_public_files() -> None:
    assert len({entry.file for entry in KNOWN.values()}) == len(KNOWN)
    for name, entry in KNOWN.items():
        assert entry.name == name
        assert entry.url.startswith("https://")
        assert entry.url.endswith(entry.file)
        assert entry.sha256 is None or (len(entry.sha256) == 64 and int(entry.sha256, 16))
    assert {f"sam_{encoder}" for encoder in SAM_PRESETS if encoder != "tiny"} <= set(KNOWN)
    assert known_file("sam_vit_h_4b8939.pth") is KNOWN["sam_vit_h"]
    assert known_file("mine.pth") is None
