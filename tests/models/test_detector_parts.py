"""UniRGB-IR's detector against the official modules: the vectors TD1 to TD7 and the counts."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from rgbx.blocks.boxes import (
    anchors,
    decode_boxes,
    encode_boxes,
    match_boxes,
    outside_ignored,
    sample_matched,
)
from rgbx.blocks.pyramid import SimpleFPN
from rgbx.errors import RGBXError
from rgbx.models.unirgb_ir import load_released
from rgbx.models.unirgb_ir.detector import (
    RPN,
    BoxHead,
    CascadeConfig,
    CascadeDetector,
    CascadeHeads,
    FCOSDetector,
    RPNConfig,
    build_detector,
    pool_boxes,
)
from rgbx.models.unirgb_ir.detector.cascade import pyramid_level
from tests.models import unirgb_ir_vectors as vectors
from tests.models.unirgb_ir_vectors import fill, filled, tiny_backbone, wave

STDS = (0.033, 0.033, 0.067, 0.067)


def check(found, shape, *numbers):
    assert tuple(found.shape) == shape
    vectors.check(found, *numbers)


def test_td1_pyramid():
    maps = fill(SimpleFPN(24, 8))(wave((1, 24, 4, 6), 0.1))
    first = [1.952803, 1.843134, 1.819869, 1.824428]
    check(maps[0], (1, 8, 16, 24), 12.342004, 0.627050, first, [-2.468292, 0.465573])
    first = [-1.406576, -1.176588, 0.861419, 1.971148]
    check(maps[1], (1, 8, 8, 12), 7.373696, 0.850666, first, [1.589006, 1.664353])
    first = [-0.258788, 1.845582, 1.55226, 1.433938]
    check(maps[2], (1, 8, 4, 6), 2.639862, 0.735651, first, [-1.935123, -2.038826])
    first = [-1.752204, -1.674145, -1.601003, 0.352639]
    check(maps[3], (1, 8, 2, 3), 2.272731, 0.807612, first, [-0.791506, -1.489438])
    first = [-1.752204, -1.601003, -0.904826, -0.891549]
    check(maps[4], (1, 8, 1, 2), 0.786587, 0.781599, first, [1.417068, 1.607126])


def test_td2_proposal_network():
    objectness, deltas = fill(RPN(8))([wave((1, 8, 6, 8), 0.3)])
    first = [0.209934, 0.217472, 0.211801, 0.183193]
    check(objectness[0], (1, 3, 6, 8), 12.090316, 0.103736, first, [-0.019634, -0.006628])
    first = [0.217872, 0.225594, 0.21996, 0.189554]
    check(deltas[0], (1, 12, 6, 8), 12.527229, 0.115723, first, [-0.020141, -0.005223])


def test_td3_anchors():
    sizes = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    found = anchors(sizes, (4, 8, 16, 32, 64))
    wanted = [
        [-22.627417, -11.313708, 22.627417, 11.313708],
        [-16, -16, 16, 16],
        [-11.313708, -22.627417, 11.313708, 22.627417],
    ]
    assert torch.allclose(found[0][:3], torch.tensor(wanted), atol=1e-5)
    wanted = [
        [-298.038666, -181.019333, 426.038666, 181.019333],
        [-192, -256, 320, 256],
        [-117.019333, -362.038666, 245.019333, 362.038666],
    ]
    assert torch.allclose(found[4][-3:], torch.tensor(wanted), atol=1e-4)
    assert [len(level) for level in found] == [3 * h * w for h, w in sizes]
    # the second cell of a row lies a stride to the right, the second row a stride below
    assert torch.equal(found[1][3] - found[1][0], torch.tensor([8.0, 0, 8, 0]))
    assert torch.equal(found[1][36] - found[1][0], torch.tensor([0.0, 8, 0, 8]))
    whole = anchors([(1024 // s,) * 2 for s in (4, 8, 16, 32, 64)], (4, 8, 16, 32, 64))
    assert sum(map(len, whole)) == 261_888


def test_td4_head():
    logits, deltas = fill(BoxHead(8, 3, 16, 4))(wave((5, 8, 7, 7), 0.2))
    first = [-0.031965, 0.136768, 0.311496, 0.172713]
    check(logits, (5, 4), 2.868545, 0.169787, first, [0.268706, 0.188616])
    first = [-0.038681, 0.142602, 0.319676, 0.17527]
    check(deltas, (5, 4), 2.922414, 0.176593, first, [0.277925, 0.19304])


def test_td5_coding():
    boxes = torch.tensor([[10.0, 20, 50, 100], [0, 0, 16, 16], [300, 100, 380, 140]])
    targets = torch.tensor([[12.0, 18, 60, 90], [4, 2, 30, 40], [290, 110, 400, 150]])
    wanted = [
        [4.54545, -2.27273, 2.72122, -1.57255],
        [17.04545, 24.62121, 7.24639, 12.91041],
        [1.89394, 7.57576, 4.75304, 0],
    ]
    code = encode_boxes(boxes, targets, STDS)
    assert torch.allclose(code, torch.tensor(wanted), atol=1e-4)
    assert torch.allclose(decode_boxes(boxes, code, STDS), targets, atol=1e-3)
    deltas = wave((3, 4), 0.5, 3)
    wanted = [
        [7.7085, 23.0148, 56.0885, 111.7487],
        [1.2067, 0, 14.2935, 13.6503],
        [290.258, 97.7938, 384, 146.1196],
    ]
    moved = decode_boxes(boxes, deltas, STDS, (256, 384))
    assert torch.allclose(moved, torch.tensor(wanted), atol=1e-3)
    wanted = [[0, 95.8883, 384, 256], [0.0298, 0, 0.8266, 0], [0, 0, 384, 256]]
    moved = decode_boxes(boxes, deltas, size=(256, 384))
    assert torch.allclose(moved, torch.tensor(wanted), atol=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_growth_is_clamped_on_both_sides(sign):
    box = torch.tensor([[0.0, 0, 10, 10]])
    grown = decode_boxes(box, torch.tensor([[0, 0, sign * 9.0, sign * 9.0]]))
    assert math.isclose(float(grown[0, 2] - grown[0, 0]), 10 * 62.5**sign, rel_tol=1e-4)


def test_td6_pooling():
    boxes = torch.tensor(
        [
            [10.0, 20, 50, 100],
            [0, 0, 16, 16],
            [100, 50, 212, 162],
            [5, 5, 380, 250],
            [30, 30, 142, 142],
        ]
    )
    maps = [wave((1, 8, 64 // 2**i, 96 // 2**i), 0.1 * (i + 1)) for i in range(4)]
    assert pyramid_level(boxes, 4).tolist() == [0, 0, 1, 2, 1]
    first = [-0.036553, -0.119246, -0.094885, 0.018611]
    check(pool_boxes(maps, [boxes]), (5, 8, 7, 7), 0.521940, 0.202447, first, [0.229824, 0.167736])
    # images do not mix: the same boxes, half of them in a second image
    twice = [torch.cat([level, level.roll(1, 2)]) for level in maps]
    split = pool_boxes(twice, [boxes[:2], boxes[2:]])
    assert torch.equal(split[:2], pool_boxes(maps, [boxes[:2]]))
    assert not torch.allclose(split[2:], pool_boxes(maps, [boxes[2:]]))


def tiny_detector(**options) -> CascadeDetector:
    cascade = CascadeConfig(fc_dim=16)
    return CascadeDetector(tiny_backbone(**options), 3, channels=8, cascade=cascade)


def test_td7_whole_detector():
    detector = tiny_detector().eval()
    parts = [detector.backbone, detector.neck, detector.rpn_head, *detector.roi_head.bbox_head]
    for part in parts:  # each by its own names
        fill(part)
    images = wave((1, 3, 64, 96), 0.1), wave((1, 3, 64, 96), 0.2)
    with torch.no_grad():
        maps = detector.maps(*images)
        first = [2.077365, 1.983184, 1.963928, 1.957533]
        check(maps[2], (1, 8, 4, 6), -2.898703, 0.671193, first, [-2.410867, -2.135894])
        # in float32 a box or two depend on the number of threads
        detector, images = detector.double(), [image.double() for image in images]
        objectness, deltas = detector.rpn_head(detector.maps(*images))
        proposals = detector.rpn_head.proposals(objectness, deltas, (64, 96))
        assert len(proposals[0]) == 780
        assert len(detector(*images)[0]["boxes"]) == 246
    count = {n: sum(p.numel() for p in m.parameters()) for n, m in detector.named_children()}
    assert count == {"backbone": 125_790, "neck": 5606, "rpn_head": 1303, "roi_head": 26_376}


def test_official_names_of_the_whole_detector():
    detector = tiny_detector()
    state = filled(detector)
    for name in (
        "backbone.blocks.0.attn.qkv.weight",
        "neck.fpn1.3.bias",
        "neck.lateral_convs.0.norm_layer.weight",
        "neck.fpn_convs.3.conv.weight",
        "rpn_head.rpn_conv.1.conv.bias",
        "rpn_head.rpn_reg.weight",
        "roi_head.bbox_head.2.shared_convs.3.norm_layer.bias",
        "roi_head.bbox_head.0.shared_fcs.0.weight",
        "roi_head.bbox_head.1.fc_cls.bias",
        "roi_head.bbox_head.1.fc_reg.weight",
    ):
        assert name in state, name
    load_released(detector, state)
    name = "roi_head.bbox_head.2.fc_reg.bias"
    assert torch.equal(detector.get_parameter(name), state[name])
    del state["neck.fpn2.0.bias"]
    with pytest.raises(RGBXError, match=r"neck\.fpn2\.0\.bias"):
        load_released(detector, state)


def test_counts_of_the_paper():
    with torch.device("meta"):
        detector = build_detector("vit_b", None, 3, img_size=1024)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    def trained(module):
        return sum(p.numel() for p in module.parameters() if p.requires_grad)

    assert count(detector) == 147_184_311
    assert trained(detector) == 61_387_959
    assert (count(detector.backbone), trained(detector.backbone)) == (94_793_424, 8_997_072)
    assert count(detector.neck) == 5_560_000
    assert count(detector.neck.fpn1) == 1_475_904
    assert count(detector.neck.lateral_convs) == 542_720
    assert count(detector.rpn_head) == 1_184_015
    assert count(detector.roi_head) == 45_646_872
    with torch.device("meta"):
        light = build_detector("vit_b", None, 3, head="fcos", img_size=1024)
    assert isinstance(light, FCOSDetector)
    assert trained(light) < 20_000_000


def test_matching_follows_the_rules():
    boxes = torch.tensor(
        [[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4], [50, 50, 60, 60], [0, 0, 10, 2]]
    )
    targets = torch.tensor([[0.0, 0, 10, 10], [48, 48, 62, 62]])
    assert [round(float(v), 2) for v in box_iou(boxes, targets)[:, 0]] == [1, 0.5, 0.4, 0, 0.2]
    found = match_boxes(boxes, targets, 0.7, 0.3)
    assert found.positive.tolist() == [0]
    # .4 and .5 of the first target, and .51 of the second, are neither
    assert found.negative.tolist() == [4]
    low = match_boxes(boxes, targets, 0.7, 0.3, least=0.3)
    assert (low.positive.tolist(), low.target.tolist()) == ([0, 3], [0, 1])
    none = match_boxes(boxes, targets[:0], 0.7, 0.3, least=0.3)
    assert (len(none.positive), len(none.negative)) == (0, 5)


def test_every_tie_for_a_targets_best_is_positive():
    boxes = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10]])
    found = match_boxes(boxes, torch.tensor([[5.0, 0, 15, 10]]), 0.7, 0.3, least=0.3)
    assert found.positive.tolist() == [0, 1]


def test_sampling_fills_up_with_background_and_repeats():
    boxes = torch.arange(100.0)[:, None] * 20 + torch.tensor([0.0, 0, 10, 10])
    matched = match_boxes(boxes, boxes[:40], 0.5, 0.5)
    draws = [
        sample_matched(matched, 32, 0.25, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    ]
    assert [(len(d.positive), len(d.negative)) for d in draws] == [(8, 24)] * 3
    assert torch.equal(draws[0].chosen, draws[1].chosen)
    assert not torch.equal(draws[0].chosen, draws[2].chosen)
    assert torch.equal(draws[0].positive, draws[0].target)  # box i is target i
    few = match_boxes(boxes, boxes[:2], 0.5, 0.5)
    some = sample_matched(few, 32, 0.25, torch.Generator())
    assert (len(some.positive), len(some.negative)) == (2, 30)


def test_boxes_in_ignored_regions_are_no_background():
    boxes = torch.tensor([[0.0, 0, 10, 10], [100, 0, 110, 10], [104, 0, 124, 10]])
    matched = match_boxes(boxes, torch.zeros(0, 4), 0.5, 0.5)
    region = torch.tensor([[95.0, 0, 112, 30]])
    assert outside_ignored(matched, boxes, region, 0.5).negative.tolist() == [0, 2]
    assert outside_ignored(matched, boxes, region, 0.3).negative.tolist() == [0]
    assert outside_ignored(matched, boxes, region, None).negative.tolist() == [0, 1, 2]


def test_stages_are_averaged_as_logits_or_probabilities():
    maps = [wave((1, 8, 16 // 2**i, 24 // 2**i), 0.1) for i in range(4)]
    boxes = [torch.tensor([[4.0, 4, 40, 60], [0, 0, 90, 60]])]
    found = {}
    for average in ("logits", "probabilities"):
        heads = fill(CascadeHeads(8, 3, config=CascadeConfig(fc_dim=16, average=average)))
        [(moved, found[average])] = heads(maps, boxes, (64, 96))
        stages, current = [], boxes[0]
        for stage in range(3):
            logits, deltas = heads.see(stage, maps, [current])
            current = decode_boxes(current, deltas, heads.config.stds[stage], (64, 96))
            stages.append(logits)
        assert torch.equal(moved, current)
    mean = sum(stages) / 3
    assert torch.allclose(found["logits"], mean.softmax(1)[:, :3])
    mean = sum(s.softmax(1) for s in stages) / 3
    assert torch.allclose(found["probabilities"], mean[:, :3])
    assert not torch.allclose(found["logits"], found["probabilities"])


@pytest.mark.parametrize(
    ("config", "options", "named"),
    [
        (RPNConfig, {"test_nms": 1.5}, "rpn.test_nms is 1.5"),
        (RPNConfig, {"ratios": ()}, "rpn.ratios"),
        (CascadeConfig, {"ious": (0.5,)}, "1, 3 and 3"),
        (CascadeConfig, {"average": "scores"}, "cascade.average"),
    ],
)
def test_options_that_cannot_work(config, options, named):
    with pytest.raises(RGBXError, match=named):
        config(**options)
