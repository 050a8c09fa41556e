import hashlib
from pathlib import Path

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
from rgbx.backbones.weights import Weights, load_strict, read_state
from rgbx.errors import WeightsError


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
