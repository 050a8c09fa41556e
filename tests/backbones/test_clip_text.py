from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

from rgbx.backbones.clip_text import (
    CLIP_TEXT_PRESETS,
    CLIPText,
    CLIPTextConfig,
    build_clip_text,
    clip_text_preset,
    encode_classes,
    readable,
)
from rgbx.backbones.weights import Weights, read_state
from rgbx.errors import RGBXError, WeightsError

SMALL = CLIPTextConfig(width=64, heads=1, layers=2, out_dim=32)
TEMPLATES = ["a photo of a {class}.", "a thermal image of the {class}."]
NAMES = ["car", "traffic_cone", "Unlabelled"]


@pytest.fixture(scope="module")
def whole() -> CLIP:
    """open_clip's own two-sided model in OpenAI's layout (QuickGELU)."""
    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=16, image_size=32)
    text = CLIPTextCfg(width=SMALL.width, heads=SMALL.heads, layers=SMALL.layers)
    return CLIP(SMALL.out_dim, vision, text, quick_gelu=True).eval()


@pytest.fixture(scope="module")
def state(whole: CLIP) -> dict[str, torch.Tensor]:
    extra = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(77)}
    return {**whole.state_dict(), **extra, "vocab_size": torch.tensor(49408)}


def expected(whole: CLIP) -> torch.Tensor:
    tokenizer = open_clip.get_tokenizer("ViT-L-14")
    rows = []
    for name in ("car", "traffic cone", "background"):
        tokens = tokenizer([template.replace("{class}", name) for template in TEMPLATES])
        with torch.no_grad():
            rows.append(whole.encode_text(tokens, normalize=True).mean(0))
    return F.normalize(torch.stack(rows), dim=-1)


def test_equals_open_clip(whole: CLIP, state: dict[str, torch.Tensor]) -> None:
    clip = CLIPText(SMALL)
    clip.load(state, "here")
    found = clip.encode(NAMES, TEMPLATES)
    assert found.shape == (3, 32)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert torch.allclose(found.norm(dim=-1), torch.ones(3))
    assert torch.allclose(found, expected(whole), atol=1e-6)
    assert (found[0] - found[2]).abs().max() > 1e-3


def test_reads_openai_torchscript_archives(
    state: dict[str, torch.Tensor], tmp_path: Path, whole: CLIP
) -> None:
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, tensor in state.items():
                path, _, leaf = name.rpartition(".")
                owner = self
                for step in filter(None, path.split(".")):
                    if not hasattr(owner, step):
                        owner.add_module(step, torch.nn.Module())
                    owner = getattr(owner, step)
                half = tensor.half() if tensor.is_floating_point() else tensor
                owner.register_buffer(leaf, half)

    path = tmp_path / "ViT-small.pt"
    torch.jit.script(Holder()).save(path)
    clip = CLIPText(SMALL)
    clip.load(read_state(Weights(str(path))), str(path))
    assert clip.tower.token_embedding.weight.dtype == torch.float32
    assert torch.allclose(clip.encode(NAMES, TEMPLATES), expected(whole), atol=2e-3)


def test_strict_on_the_text_half(state: dict[str, torch.Tensor]) -> None:
    cut = {name: t for name, t in state.items() if name != "ln_final.bias"}
    with pytest.raises(WeightsError, match=r"mine\.pt does not fit .* 1 missing: ln_final\.bias"):
        CLIPText(SMALL).load(cut, "mine.pt")
    with pytest.raises(WeightsError, match=r"1 of another shape: positional_embedding"):
        wrong = {**state, "positional_embedding": torch.zeros(76, 64)}
        CLIPText(SMALL).load(wrong, "mine.pt")


def test_missing_file_names_the_command(tmp_path: Path) -> None:
    with torch.device("meta"), pytest.raises(WeightsError, match="weights fetch clip_vit_l_14"):
        build_clip_text("ViT-L-14", Weights(str(tmp_path / "clip.pt")))


@pytest.mark.parametrize("encoder", ["ViT-B-32", "ViT-B-16", "ViT-L-14"])
def test_presets_match_open_clip(encoder: str) -> None:
    config, official = clip_text_preset(encoder), open_clip.get_model_config(encoder)
    assert config.out_dim == official["embed_dim"]
    for key in ("width", "heads", "layers", "context_length", "vocab_size"):
        assert getattr(config, key) == official["text_cfg"][key]


def test_frozen_and_random_is_loud_and_repeatable() -> None:
    with pytest.warns(UserWarning, match="RANDOM weights"):
        first = encode_classes("tiny", None, NAMES, TEMPLATES)
    torch.manual_seed(7)
    clip = build_clip_text("tiny")
    assert torch.equal(first, clip.encode(NAMES, TEMPLATES))
    assert not any(p.requires_grad for p in clip.parameters())
    assert not clip.train().tower.training
    assert (first[0] - first[1]).norm() > 0.05


def test_meta_device() -> None:
    with torch.device("meta"):
        found = encode_classes("ViT-L-14", None, NAMES, TEMPLATES)
    assert found.shape == (3, 768)
    assert found.is_meta


def test_readable_names() -> None:
    assert readable("car_stop") == "car stop"
    assert {readable(n) for n in ("unlabeled", "Unlabelled", "void", "background")} == {
        "background"
    }


def test_bad_requests() -> None:
    clip = CLIPText(CLIP_TEXT_PRESETS["tiny"])
    with pytest.raises(RGBXError, match=r"lacks the place holder {class}"):
        clip.encode(["car"], ["a photo of a {}"])
    with pytest.raises(RGBXError, match="at least one class name"):
        clip.encode([], TEMPLATES)
    with pytest.raises(RGBXError, match=r"'ViT-L/16'; choose from .* Did you mean 'ViT-"):
        clip_text_preset("ViT-L/16")
