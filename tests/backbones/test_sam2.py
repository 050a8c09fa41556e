"""SAM 2: sizes and names equal the package's own, files load whole or not at all."""

import inspect
import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml
from sam2.build_sam import build_sam2 as build_official
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.position_encoding import PositionEmbeddingSine
from torch import Tensor, nn

from rgbx.backbones.sam2 import (
    SAM2,
    SAM2_PRESETS,
    VIDEO_PARTS,
    build_sam2,
    fitting_preset,
    without_video,
)
from rgbx.backbones.sam2_parts import LinspaceOnCPU
from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError, WeightsError

RELEASED = Path(__file__).resolve().parents[3] / "shared/papers/samsod_released_keys.json"
OFFICIAL = [name for name in SAM2_PRESETS if name != "tiny"]
RANDOM = "ignore:.*RANDOM weights:UserWarning"


def config_name(release: str, encoder: str) -> str:
    return f"configs/sam{release}/sam{release}_{encoder}.yaml"


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def on_meta(encoder: str) -> SAM2:
    with torch.device("meta"):
        return build_sam2(encoder)


@pytest.fixture(scope="module")
def tiny() -> SAM2:
    sam2 = SAM2(SAM2_PRESETS["tiny"]).eval()
    generator = torch.Generator().manual_seed(0)
    for tensor in sam2.state_dict().values():
        tensor.add_(torch.randn(tensor.shape, generator=generator), alpha=0.1)
    return sam2


@pytest.mark.parametrize("encoder", OFFICIAL)
@pytest.mark.parametrize("release", ["2", "2.1"])
def test_numbers_are_those_of_the_packages_files(release: str, encoder: str) -> None:
    text = files("sam2").joinpath(config_name(release, encoder)).read_text()
    model = yaml.safe_load(text)["model"]
    defaults = {n: p.default for n, p in inspect.signature(Hiera).parameters.items()}
    trunk, neck = defaults | model["image_encoder"]["trunk"], model["image_encoder"]["neck"]
    preset = SAM2_PRESETS[encoder]
    assert preset.dim == trunk["embed_dim"]
    assert preset.heads == trunk["num_heads"]
    assert preset.stages == tuple(trunk["stages"])
    assert preset.global_blocks == tuple(trunk["global_att_blocks"])
    assert preset.window == tuple(trunk["window_spec"])
    assert [preset.pos_grid] * 2 == list(trunk["window_pos_embed_bkg_spatial_size"])
    assert preset.width == neck["d_model"]
    assert list(preset.stage_dims[::-1]) == neck["backbone_channel_list"]
    assert (neck["fpn_top_down_levels"], neck["fpn_interp_model"]) == ([2, 3], "nearest")
    assert preset.image_size == model["image_size"]
    assert model["image_encoder"]["scalp"] == 1
    switches = ("use_high_res_features_in_sam", "pred_obj_scores", "pred_obj_scores_mlp")
    switches += ("use_multimask_token_for_obj_ptr", "iou_prediction_use_sigmoid")
    assert all(model[switch] for switch in (*switches, "directly_add_no_mem_embed"))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", OFFICIAL)
@pytest.mark.parametrize("release", ["2", "2.1"])
def test_names_and_shapes_are_the_packages(release: str, encoder: str) -> None:
    with torch.device("meta"), LinspaceOnCPU():
        official = build_official(
            config_name(release, encoder), device="meta", apply_postprocessing=False
        )
    theirs = shapes(official)
    mine = shapes(on_meta(encoder))
    assert mine == {n: s for n, s in theirs.items() if n.split(".")[0] not in VIDEO_PARTS}
    video = {name.split(".")[0] for name in theirs} & set(VIDEO_PARTS)
    new = {"no_obj_embed_spatial", "obj_ptr_tpos_proj"}
    assert video == (set(VIDEO_PARTS) if release == "2.1" else set(VIDEO_PARTS) - new)
    assert fitting_preset(official.state_dict()) == encoder


def test_large_is_what_the_authors_of_samsod_built_on() -> None:
    if not RELEASED.is_file():
        pytest.skip(f"no list of released tensors at {RELEASED}")
    released = {
        name.removeprefix("model."): tuple(shape)
        for name, shape in json.loads(RELEASED.read_text()).items()
        if name.startswith("model.")
    }
    expected = {n: s for n, s in released.items() if n.split(".")[0] not in VIDEO_PARTS}
    assert shapes(on_meta("hiera_l")) == expected


def test_images_are_encoded_as_by_the_package(tiny: SAM2) -> None:
    """The neck's position encoding is left out; nothing else may differ."""
    images = torch.randn(2, 3, 96, 160)
    encoder = tiny.image_encoder
    with torch.no_grad():
        found = encoder(images)["backbone_fpn"]
        placeholder = encoder.neck.position_encoding
        encoder.neck.position_encoding = PositionEmbeddingSine(64, warmup_cache=False)
        expected = encoder(images)
        encoder.neck.position_encoding = placeholder
    assert [tuple(level.shape[1:]) for level in found] == [(64, 24, 40), (64, 12, 20), (64, 6, 10)]
    for level, other in zip(found, expected["backbone_fpn"], strict=True):
        assert torch.equal(level, other)


def test_tiny_takes_every_path_of_hiera() -> None:
    trunk = on_meta("tiny").image_encoder.trunk
    assert len(trunk.stage_ends) == 4
    assert trunk.q_pool_blocks == [1, 3, 6]
    assert {bool(block.window_size) for block in trunk.blocks} == {True, False}
    assert sum(p.numel() for p in on_meta("tiny").parameters()) < 900_000


def official_state(sam2: SAM2) -> dict[str, Tensor]:
    """What an official file holds besides: small stand-ins for the parts of video."""
    extra = {f"{part}.0.weight": torch.zeros(2) for part in VIDEO_PARTS if "_proj" in part}
    return {**sam2.state_dict(), **extra, "maskmem_tpos_enc": torch.zeros(7, 1, 1, 4)}


def test_official_file_loads_whole(tiny: SAM2, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"model": official_state(tiny)}, path)
    loaded = build_sam2("tiny", Weights(str(path)))
    state = tiny.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    assert not loaded.training
    assert without_video(official_state(tiny)).keys() == state.keys()


def test_partial_or_foreign_file_lists_every_fault(tiny: SAM2, tmp_path: Path) -> None:
    state, path = official_state(tiny), tmp_path / "file.pt"
    del state["no_mem_embed"]
    state["memory_of_something"] = torch.zeros(1)
    state["sam_mask_decoder.conv_s0.bias"] = torch.zeros(3)
    torch.save({"model": state}, path)
    with pytest.raises(WeightsError) as caught:
        build_sam2("tiny", Weights(str(path)))
    text = str(caught.value)
    assert "1 missing: no_mem_embed" in text
    assert "1 unexpected: memory_of_something" in text
    assert "sam_mask_decoder.conv_s0.bias (3,) instead of (8,)" in text


def trunk_file(path: Path, dim: int, depth: int) -> Weights:
    state = {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(dim, 3, 7, 7)}
    state |= {f"image_encoder.trunk.blocks.{i}.norm1.bias": torch.zeros(1) for i in range(depth)}
    torch.save({"model": state}, path)
    return Weights(str(path))


@pytest.mark.parametrize(("dim", "depth", "fits"), [(96, 12, "hiera_t"), (96, 16, "hiera_s")])
def test_file_of_another_size_says_what_it_fits(tmp_path: Path, dim, depth, fits) -> None:
    weights = trunk_file(tmp_path / "file.pt", dim, depth)
    with pytest.raises(WeightsError) as caught:
        build_sam2("hiera_b+", weights)
    assert str(caught.value).endswith(
        f"holds a trunk of width {dim} with {depth} blocks, but hiera_b+ has width 112 and 24 "
        f"blocks; it fits `encoder: {fits}`, or fetch the other file with: "
        "rgbx weights fetch sam2_hiera_b+"
    )


def test_file_of_no_size(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"7 blocks; it fits no preset$"):
        build_sam2("tiny", trunk_file(tmp_path / "file.pt", 8, 2))


def test_missing_file_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="rgbx weights fetch sam2_hiera_t --dir"):
        build_sam2("hiera_t", Weights(str(tmp_path / "absent.pt")))
    with pytest.raises(WeightsError, match=r"absent\.pt does not exist$"):
        build_sam2("tiny", Weights(str(tmp_path / "absent.pt")))


def test_unknown_encoder_names_the_nearest() -> None:
    with pytest.raises(RGBXError, match=r"hiera_b\+, hiera_l\. Did you mean 'hiera_l'"):
        build_sam2("hiera_large")


def test_random_is_loud_and_repeatable() -> None:
    with pytest.warns(UserWarning, match="SAM 2 tiny starts from RANDOM weights"):
        first = build_sam2("tiny").state_dict()
    torch.randn(3)  # another global state
    with pytest.warns(UserWarning, match="RANDOM"):
        second = build_sam2("tiny").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.filterwarnings(RANDOM)
def test_random_trunk_passes_images_on() -> None:
    """Two smooth images stay apart at every level, and a shift of the scene shifts the maps."""
    sam2 = build_sam2("tiny")
    y, x = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    disc = ((x - 40) ** 2 + (y - 40) ** 2 < 400).float().expand(3, -1, -1)
    moved = disc.roll((32, 32), (1, 2))
    with torch.no_grad():
        levels = sam2.image_encoder(torch.stack([disc, moved]))["backbone_fpn"]
    for level in levels:
        change = (level[0] - level[1]).abs().mean(0)
        side = change.shape[-1]
        touched = (disc + moved)[0].reshape(side, 128 // side, side, -1).amax((1, 3)) > 0
        assert change[touched].mean() > 0.3 * level.std()
        assert change[touched].mean() > 2 * change[~touched].mean()
