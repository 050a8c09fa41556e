"""Weight files of detectors: the released ones, and ViTDet's of COCO."""

import pytest
import torch

from rgbx.backbones.plain_vit import to_official
from rgbx.backbones.weights import Weights
from rgbx.errors import RGBXError, WeightsError
from rgbx.models.unirgb_ir import UniRGBIRDetection, export_released
from rgbx.models.unirgb_ir.build import build_backbone
from rgbx.models.unirgb_ir.convert import convert_released
from rgbx.models.unirgb_ir.detector import CascadeConfig, CascadeDetector
from rgbx.models.unirgb_ir.detector.weights import coco_class, from_vitdet
from tests.models.unirgb_ir_vectors import fill

NAMES = ("car", "person", "bicycle")


def detector(num_classes=3) -> CascadeDetector:
    cascade = CascadeConfig(fc_dim=16, convs=2)
    return fill(CascadeDetector(build_backbone("tiny"), num_classes, 8, cascade=cascade))


def model(path=None, **options) -> UniRGBIRDetection:
    cascade = CascadeConfig(fc_dim=16, convs=2)
    weights = None if path is None else Weights(str(path))
    return UniRGBIRDetection("tiny", weights, channels=8, img_size=128, cascade=cascade, **options)


def detectron(seed=0) -> dict[str, torch.Tensor]:
    """A small cascade in Detectron2's names, with heads for COCO's 80 classes."""
    generator = torch.Generator().manual_seed(seed)
    vit = build_backbone("tiny").vit.state_dict()
    state = {f"backbone.net.{n}": t.clone() for n, t in to_official(vit).items()}

    def conv(name, out, kernel_in, kernel, norm=True, bias=False):
        state[f"{name}.weight"] = torch.randn(out, kernel_in, kernel, kernel, generator=generator)
        if norm:
            for kind in ("weight", "bias"):
                state[f"{name}.norm.{kind}"] = torch.randn(out, generator=generator)
        if bias:
            state[f"{name}.bias"] = torch.randn(out, generator=generator)

    def linear(name, out, width):
        state[f"{name}.weight"] = torch.randn(out, width, generator=generator)
        state[f"{name}.bias"] = torch.randn(out, generator=generator)

    def up(name, wide, narrow):
        state[f"{name}.weight"] = torch.randn(wide, narrow, 2, 2, generator=generator)
        state[f"{name}.bias"] = torch.randn(narrow, generator=generator)

    up("backbone.simfp_2.0", 64, 32)
    for kind in ("weight", "bias"):
        state[f"backbone.simfp_2.1.{kind}"] = torch.randn(32, generator=generator)
    up("backbone.simfp_2.3", 32, 16)
    up("backbone.simfp_3.0", 64, 32)
    for level, first, width in ((2, 4, 16), (3, 1, 32), (4, 0, 64), (5, 1, 64)):
        conv(f"backbone.simfp_{level}.{first}", 8, width, 1)
        conv(f"backbone.simfp_{level}.{first + 1}", 8, 8, 3)
    head = "proposal_generator.rpn_head"
    for i in (0, 1):
        conv(f"{head}.conv.conv{i}", 8, 8, 3, norm=False, bias=True)
    conv(f"{head}.objectness_logits", 3, 8, 1, norm=False, bias=True)
    conv(f"{head}.anchor_deltas", 12, 8, 1, norm=False, bias=True)
    for stage in range(3):
        for i in (1, 2):
            conv(f"roi_heads.box_head.{stage}.conv{i}", 8, 8, 3)
        linear(f"roi_heads.box_head.{stage}.fc1", 16, 8 * 49)
        linear(f"roi_heads.box_predictor.{stage}.cls_score", 81, 16)
        linear(f"roi_heads.box_predictor.{stage}.bbox_pred", 4, 16)
    state["roi_heads.mask_head.predictor.weight"] = torch.zeros(3, 3)
    return state


def save(content, path):
    torch.save(content, path)
    return path


def test_a_released_detector_is_converted_whole_and_loads(tmp_path):
    source = detector(2)
    state = export_released(source)
    released = save(
        {"state_dict": state | {"data_preprocessor.mean": torch.zeros(3)}, "meta": {}},
        tmp_path / "r.pth",
    )
    done = convert_released(released, tmp_path / "out.pth")
    assert (done.num_classes, done.converted, done.left_out) == (2, len(state), 1)
    built = model(tmp_path / "out.pth", num_classes=2)
    found = export_released(built.network)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    with pytest.raises(WeightsError, match=r"fc_cls"):  # of other classes
        model(tmp_path / "out.pth", num_classes=3)


def test_a_detector_saved_by_ddp_loads_as_it_is(tmp_path):
    state = export_released(detector())
    path = save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "m.pth")
    assert convert_released(path, tmp_path / "out.pth").num_classes == 3
    found = export_released(model(path).network)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_detector_that_lacks_a_tensor_is_refused(tmp_path):
    state = export_released(detector())
    del state["neck.fpn1.3.bias"]
    released = save(state, tmp_path / "r.pth")
    with pytest.raises(WeightsError, match=r"neck\.fpn1\.3\.bias"):
        convert_released(released, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_coco_fills_pyramid_proposals_and_heads(tmp_path):
    state = detectron()
    path = save({"model": state}, tmp_path / "d.pth")
    network = model(path, init_heads="coco").network
    own = network.state_dict()

    def same(name, other):
        assert torch.equal(own[name], state[other]), name

    same("neck.fpn1.3.bias", "backbone.simfp_2.3.bias")
    same("neck.fpn1.1.weight", "backbone.simfp_2.1.weight")
    same("neck.lateral_convs.0.conv.weight", "backbone.simfp_2.4.weight")
    same("neck.fpn_convs.0.norm_layer.bias", "backbone.simfp_2.5.norm.bias")
    same("neck.fpn2.0.weight", "backbone.simfp_3.0.weight")
    same("neck.lateral_convs.2.norm_layer.weight", "backbone.simfp_4.0.norm.weight")
    same("neck.fpn_convs.3.conv.weight", "backbone.simfp_5.2.weight")
    same("rpn_head.rpn_conv.1.conv.bias", "proposal_generator.rpn_head.conv.conv1.bias")
    same("rpn_head.rpn_reg.weight", "proposal_generator.rpn_head.anchor_deltas.weight")
    same("roi_head.bbox_head.1.shared_convs.1.conv.weight", "roi_heads.box_head.1.conv2.weight")
    same("roi_head.bbox_head.2.shared_fcs.0.bias", "roi_heads.box_head.2.fc1.bias")
    rows = state["roi_heads.box_predictor.0.cls_score.weight"][[2, 0, 1, 80]]
    assert torch.equal(own["roi_head.bbox_head.0.fc_cls.weight"], rows)


def test_box_deltas_move_boxes_as_in_detectron2():
    state = detectron()
    found, foreign = from_vitdet(state, detector(), NAMES)
    assert foreign == []
    for stage, (xy, wh) in enumerate(((10, 5), (20, 10), (30, 15))):
        given = state[f"roi_heads.box_predictor.{stage}.bbox_pred.weight"]
        taken = found[f"roi_head.bbox_head.{stage}.fc_reg.weight"]
        stds = torch.tensor(detector().roi_head.config.stds[stage])
        there = given / torch.tensor([xy, xy, wh, wh])[:, None]
        assert torch.allclose(taken * stds[:, None], there, rtol=1e-6)


def test_classes_that_coco_does_not_have_stay_random():
    own = detector()
    found, foreign = from_vitdet(detectron(), own, ("car", "lamp", "people"))
    assert foreign == ["lamp"]
    rows = found["roi_head.bbox_head.0.fc_cls.weight"]
    given = detectron()["roi_heads.box_predictor.0.cls_score.weight"]
    assert torch.equal(rows[0], given[2]) and torch.equal(rows[2], given[0])
    assert torch.equal(rows[1], own.roi_head.bbox_head[0].fc_cls.weight[1])
    assert [coco_class(n) for n in ("Bike", "pedestrian", "Motorcycle", "lamp")] == [1, 0, 3, None]


def test_a_file_with_a_tensor_too_few_is_refused(tmp_path):
    state = detectron()
    del state["backbone.simfp_5.2.norm.weight"]
    with pytest.raises(WeightsError, match=r"fpn_convs\.3\.norm_layer\.weight"):
        model(save({"model": state}, tmp_path / "d.pth"), init_heads="coco")


def test_relative_tables_are_kept_where_asked_for(tmp_path):
    state = detectron()
    name = "backbone.net.blocks.1.attn.rel_pos_h"
    state[name] = torch.randn_like(state[name])
    path = save({"model": state}, tmp_path / "d.pth")
    plain = export_released(model(path).network.backbone)
    kept = export_released(model(path, keep_rel_pos=True).network.backbone)
    assert not plain["blocks.1.attn.rel_pos_h"].any()
    assert torch.equal(kept["blocks.1.attn.rel_pos_h"], state[name])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"init_heads": "coco"}, "vitdet_vit_b_coco_cascade"),
        ({"keep_rel_pos": True}, "keep_rel_pos"),
        ({"init_heads": "imagenet"}, "'imagenet'"),
        ({"head": "yolo"}, "'yolo'"),
    ],
)
def test_options_that_cannot_work(options, said):
    with pytest.raises(RGBXError, match=said):
        model(**options)


def test_fcos_takes_no_heads_of_a_cascade(tmp_path):
    path = save({"model": detectron()}, tmp_path / "d.pth")
    with pytest.raises(RGBXError, match="head to cascade"):
        model(path, init_heads="coco", head="fcos")
    whole = save(export_released(detector()), tmp_path / "w.pth")
    with pytest.raises(RGBXError, match="head to cascade"):
        model(whole, head="fcos")
