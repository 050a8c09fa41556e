"""Models called from Python with what they cannot take: an error in words, nothing repeated."""

import pytest
import torch
from sam2.modeling.sam.mask_decoder import MaskDecoder as SAM2MaskDecoder
from sam2.modeling.sam.transformer import TwoWayTransformer

from rgbx.errors import RGBXError
from rgbx.models import MCASAM, SAMSOD, StableSAM, TASeg, UniRGBIRSaliency, UniRGBIRSemantic
from rgbx.models.stable_sam.attach import attach
from rgbx.models.stable_sam.plugin import Plugin
from rgbx.models.unirgb_ir.build import build_backbone

pytestmark = pytest.mark.filterwarnings("ignore:.*starts? from (a )?RANDOM")

PAIRED = {
    "TASeg": lambda: TASeg(encoder="tiny", text_encoder="tiny"),
    "SAMSOD": lambda: SAMSOD(encoder="tiny"),
    "UniRGBIRSemantic": lambda: UniRGBIRSemantic(encoder="tiny"),
    "UniRGBIRSaliency": lambda: UniRGBIRSaliency(encoder="tiny"),
    "UniRGBIRBackbone": lambda: build_backbone("tiny"),
}
ALONE = {"MCASAM": lambda: MCASAM(encoder="tiny"), "StableSAM": lambda: StableSAM(encoder="tiny")}
RGB = torch.rand(2, 3, 64, 96)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {name: make().eval() for name, make in (PAIRED | ALONE).items()}


def called(model, rgb, *x):
    with torch.no_grad():
        found = model(rgb, *x)
    if isinstance(found, dict):
        return torch.stack(list(found.values()))
    return found if isinstance(found, torch.Tensor) else torch.stack(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize(
    ("x", "named"),
    [
        (None, "x is None"),
        (torch.rand(1, 3, 64, 96), "(2,3,64,96) and x is (1,3,64,96)"),
        (torch.rand(3, 1, 64, 96), "(2,3,64,96) and x is (3,1,64,96)"),
        (torch.rand(2, 3, 64, 64), "(2,3,64,96) and x is (2,3,64,64)"),
        (torch.rand(2, 2, 64, 96), "(2,2,64,96)"),
        (torch.rand(2, 64, 96), "(2,64,96)"),
        (torch.zeros(2, 1, 64, 96, dtype=torch.uint8), "torch.uint8"),
    ],
    ids=["none", "batch", "batch of one channel", "size", "channels", "axes", "type"],
)
def test_x_that_does_not_fit_is_named(models, name, x, named):
    with pytest.raises(RGBXError) as error:
        called(models[name], RGB, x)
    assert named in str(error.value) and name in str(error.value)


@pytest.mark.parametrize("name", ["TASeg", "SAMSOD", "UniRGBIRSemantic", "UniRGBIRSaliency"])
def test_without_x_at_all(models, name):
    with pytest.raises(RGBXError, match=f"{name} needs the second modality"):
        called(models[name], RGB)


@pytest.mark.parametrize("name", PAIRED)
def test_one_channel_is_that_channel_three_times(models, name):
    x = torch.rand(2, 1, 64, 96)
    expected = called(models[name], RGB, x.repeat(1, 3, 1, 1))
    assert torch.equal(called(models[name], RGB, x), expected)


@pytest.mark.parametrize("name", [*PAIRED, *ALONE])
@pytest.mark.parametrize(
    ("rgb", "named"),
    [
        (torch.rand(3, 64, 96), "(3,64,96)"),
        (torch.rand(2, 4, 64, 96), "(2,4,64,96)"),
        (torch.zeros(2, 3, 64, 96, dtype=torch.uint8), "torch.uint8"),
        ([[0.0]], "list"),
    ],
    ids=["axes", "channels", "type", "no tensor"],
)
def test_rgb_that_is_no_batch_of_images_is_named(models, name, rgb, named):
    with pytest.raises(RGBXError) as error:
        called(
            models[name], rgb, *([[]] if name == "StableSAM" else [RGB] if name in PAIRED else [])
        )
    assert named in str(error.value) and name in str(error.value)


@pytest.mark.parametrize("name", ["TASeg", "SAMSOD", "MCASAM", "StableSAM"])
def test_sides_that_do_not_divide_name_the_next_ones(models, name):
    rgb = torch.rand(1, 3, 60, 90)
    valid = "64 x 96"
    with pytest.raises(RGBXError, match=f"60 x 90; the next valid size is {valid}"):
        called(
            models[name], rgb, *([[[]]] if name == "StableSAM" else [rgb] if name in PAIRED else [])
        )


def test_a_list_of_prompts_for_each_image(models):
    with pytest.raises(RGBXError, match="1 lists came for 2 images"):
        models["StableSAM"](RGB, [[]])


def test_the_plug_in_refuses_the_mask_decoder_of_sam_2():
    transformer = TwoWayTransformer(depth=2, embedding_dim=64, mlp_dim=64, num_heads=4)
    decoder = SAM2MaskDecoder(
        transformer_dim=64, transformer=transformer, pred_obj_scores=True, iou_head_hidden_dim=64
    )
    with pytest.raises(RGBXError, match=r"sam2\.modeling\.sam\.mask_decoder\.MaskDecoder"):
        attach(Plugin(64), decoder)
    assert not transformer._forward_pre_hooks
