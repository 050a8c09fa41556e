"""UniRGB-IR as a detector: structure, training steps, processes."""

import copy
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbx.backbones.init import randomise
from rgbx.errors import RGBXError
from rgbx.models.unirgb_ir import UniRGBIRDetection
from rgbx.models.unirgb_ir.detector import CascadeConfig, FCOSConfig, FCOSHead, RPNConfig, Target
from rgbx.models.unirgb_ir.detector.network import select_boxes
from rgbx.optim import ByName
from tests.models.unirgb_ir_vectors import wave
from tests.processes import two_ranks

CASCADE = CascadeConfig(fc_dim=16, convs=1, samples=16)
RPN_ = RPNConfig(candidates=100, proposals=40, samples=32)
HEADS = pytest.mark.parametrize("head", ["cascade", "fcos"])


def model(head="cascade", seed=0, **options) -> UniRGBIRDetection:
    torch.manual_seed(seed)
    settings = {"channels": 16, "norm": "gn", "drop_path": 0.0, "cascade": CASCADE, "rpn": RPN_}
    return UniRGBIRDetection("tiny", head=head, img_size=128, **(settings | options))


def images(count=2, size=(64, 96), dtype=torch.float32) -> tuple[Tensor, Tensor]:
    rgb, ir = wave((count, 3, *size), 0.1), wave((count, 3, *size), 0.9, 0.5)
    return rgb.to(dtype), ir.to(dtype)


def target(*boxes, label=0):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.full((len(boxes),), label),
        "ignore": torch.zeros(len(boxes), dtype=torch.bool),
    }


TARGETS = [target((4, 4, 40, 40), (50, 10, 90, 60), label=1), target((10, 20, 60, 60))]


@HEADS
def test_a_step_moves_trained_tensors_only(head):
    detector = model(head)
    before = copy.deepcopy(detector.state_dict())
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=0.1)
    losses = detector.losses(*images(), TARGETS, [1, 2])
    sum(losses.values()).backward()
    idle = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    optimizer.step()
    after = detector.state_dict()
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(before[name], after[name]), name
    moved = [n for n in before if not torch.equal(before[n], after[n])]
    for part in ("adapter_stages.0.gamma", "neck.", "fc_reg" if head == "cascade" else "box"):
        assert any(part in name for name in moved), part


def test_layer_decay_reaches_relative_positions_alone():
    names = [n for n, p in model().named_parameters() if p.requires_grad]
    scales = ByName(torch.optim.AdamW, layer_decay=0.7, num_blocks=4).scales(names)
    blocks = {name: scale for name, scale in scales.items() if ".blocks." in name}
    assert blocks and all("rel_pos" in name for name in blocks)
    for name, scale in blocks.items():
        index = int(name.split(".blocks.")[1].split(".")[0])
        assert scale == pytest.approx(0.7 ** (4 - index))
    assert {s for name, s in scales.items() if name not in blocks} == {1.0}


def test_losses_are_named():
    assert list(model().losses(*images(), TARGETS, [1, 2])) == [
        "rpn_cls",
        "rpn_box",
        "s0_cls",
        "s0_box",
        "s1_cls",
        "s1_box",
        "s2_cls",
        "s2_box",
    ]
    assert list(model("fcos").losses(*images(), TARGETS, [1, 2])) == ["cls", "box", "centre"]


def test_what_is_sampled_depends_on_the_seed_of_the_image_alone():
    detector = model()
    first = detector.losses(*images(), TARGETS, [1, 2])
    torch.rand(5)
    again = detector.losses(*images(), TARGETS, [1, 2])
    other = detector.losses(*images(), TARGETS, [1, 3])
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["s0_cls"], other["s0_cls"])


@HEADS
def test_without_gamma_infrared_changes_nothing(head):
    detector = model(head).eval()
    rgb, ir = images()
    with torch.no_grad():
        plain, other = (detector.raw_output({"rgb": rgb, "x": x}) for x in (ir, -ir))
        assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
        for stage in detector.network.backbone.adapter_stages:
            stage.gamma.fill_(0.5)
            randomise(stage.attn)
        changed = detector.raw_output({"rgb": rgb, "x": -ir})
    pairs = zip(plain, changed, strict=True)
    assert not all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


@HEADS
def test_an_image_without_objects_trains(head):
    detector = model(head)
    losses = detector.losses(*images(), [target(), target()], [1, 2])
    sum(losses.values()).backward()
    boxes = [v for k, v in losses.items() if k.endswith("box") or k == "centre"]
    assert all(float(v.detach()) == 0 for v in boxes)
    assert all(torch.isfinite(v) for v in losses.values())
    idle = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


def test_the_second_stage_sees_the_boxes_of_the_first_without_gradient():
    detector = model(cascade=replace(CASCADE, weights=(0.0, 1.0, 0.0)))
    losses = detector.losses(*images(), TARGETS, [1, 2])
    (losses["s1_cls"] + losses["s1_box"]).backward()
    heads = detector.network.roi_head.bbox_head
    assert heads[0].fc_reg.weight.grad is None and heads[1].fc_reg.weight.grad.any()
    seen, see = [], detector.network.roi_head.see

    def watch(stage, maps, boxes):
        seen.append(boxes)
        return see(stage, maps, boxes)

    detector.network.roi_head.see = watch
    with torch.no_grad():
        heads[0].fc_reg.bias.fill_(1.0)  # the first stage moves every box
    detector.losses(*images(), TARGETS, [1, 2])
    assert not torch.equal(seen[0][0], seen[1][0]) and not seen[1][0].requires_grad


def test_ignored_regions_are_no_background():
    rgb, ir = images(1)
    region = target((0, 0, 96, 64))
    region["ignore"][:] = True
    plain = model(rpn=RPN_).losses(rgb, ir, [region], [1])
    free = model(rpn=replace(RPN_, ignore_iof=0.5), cascade=replace(CASCADE, ignore_iof=0.5))
    losses = free.losses(rgb, ir, [region], [1])
    assert float(plain["rpn_cls"]) > 0 and float(losses["rpn_cls"]) == 0
    assert all(float(v) == 0 for v in losses.values())
    assert float(model("fcos").losses(rgb, ir, [region], [1])["cls"]) > 0
    region["boxes"][:, 2:] = 256  # cells of the coarsest level reach beyond the image
    skipping = model("fcos", fcos=FCOSConfig(skip_ignored=True))
    assert float(skipping.losses(rgb, ir, [region], [1])["cls"]) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@HEADS
def test_half_precision_runs_and_agrees(head, dtype):
    detector = model(head)
    wanted = detector.losses(*images(), TARGETS, [1, 2])
    with torch.autocast("cpu", dtype):
        losses = detector.losses(*images(), TARGETS, [1, 2])
        found = detector.eval()(*images())
    for name in ("rpn_cls",) if head == "cascade" else ("cls", "box"):
        assert torch.isfinite(losses[name])
        assert abs(float(losses[name] - wanted[name])) < 0.05 * (1 + float(wanted[name]))
    assert found[0]["boxes"].dtype == torch.float32


def gradients(rank: int, world: int, head: str) -> Tensor:
    """Of all four images, or of the two of one process averaged over two; float64."""
    detector = model(head).double()
    rgb, ir = images(4, dtype=torch.float64)
    rgb = rgb * torch.linspace(0.5, 2, 4, dtype=torch.float64)[:, None, None, None]
    # the second process has no object at all
    targets, seeds = [*TARGETS, target(), target()], [5, 6, 7, 8]
    own = slice(4) if world == 1 else slice(2 * rank, 2 * rank + 2)
    losses = detector.losses(rgb[own], ir[own], targets[own], seeds[own])
    sum(losses.values()).backward()
    flat = torch.cat([p.grad.flatten() for p in detector.parameters() if p.requires_grad])
    if world > 1:
        torch.distributed.all_reduce(flat)
    return flat / world


def one_process(folder: Path) -> None:
    torch.set_num_threads(1)
    rank, store = int(os.environ["LOCAL_RANK"]), f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    for head in ("cascade", "fcos"):
        torch.save(gradients(rank, 2, head), folder / f"{head}_{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_two_images_are_one_with_four(tmp_path):
    two_ranks(one_process, tmp_path, cwd=tmp_path)
    for head in ("cascade", "fcos"):
        whole = gradients(0, 1, head)
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{head}_{rank}.pt")
            assert float((found - whole).abs().max()) < 1e-9 * float(whole.abs().max())


def test_select_boxes_is_nms_class_by_class():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.7], [0.04, 0.3]])
    found = select_boxes(boxes, scores, 0.05, 0.5, 10)
    assert found["labels"].tolist() == [0, 1, 1]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7, 0.3])
    assert torch.equal(found["boxes"], boxes[[0, 1, 2]])
    assert len(select_boxes(boxes, scores, 0.05, 0.5, 2)["boxes"]) == 2
    many = torch.rand(10_000, 4) * 100
    many[:, 2:] += many[:, :2]
    assert len(select_boxes(many, torch.rand(10_000, 1), 0.05, 0.5, 2000)["boxes"]) <= 2000


def test_fcos_gives_cells_to_the_smallest_box_near_its_centre():
    head = FCOSHead(8, 2, (8, 16, 32, 64), FCOSConfig(convs=1))
    maps = [torch.zeros(1, 8, 128 // s, 128 // s) for s in (8, 16, 32, 64)]
    points, strides = head.cells(maps)
    wanted = target((0, 0, 64, 64), (20, 20, 44, 44))
    owner = head._assign(points, strides, Target.of(wanted, points))
    rows = zip(points.tolist(), owner.tolist(), strides.tolist(), strict=True)
    taken = {tuple(point): own for point, own, stride in rows if stride == 8 and own >= 0}
    assert taken[28.0, 28.0] == 1 and taken[36.0, 36.0] == 1  # the smaller of two
    assert all(abs(x - 32) < 12 and abs(y - 32) < 12 for x, y in taken)
    large = target((0, 0, 128, 128))
    owner = head._assign(points, strides, Target.of(large, points))
    assert set(strides[owner >= 0].tolist()) <= {16.0}  # 64 to 128 pixels to a side


def test_fcos_learns_one_box():
    torch.manual_seed(0)
    head = FCOSHead(8, 2, (8, 16, 32, 64), FCOSConfig(convs=1))
    maps = [torch.randn(1, 8, 128 // s, 128 // s) for s in (8, 16, 32, 64)]
    wanted = Target.of(target((20, 30, 60, 70), label=1), maps[0])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        sum(head.losses(maps, [wanted]).values()).backward()
        optimizer.step()
    [(boxes, scores)] = head.decode(maps, (128, 128))
    best = int(scores.max(1).values.argmax())
    assert int(scores[best].argmax()) == 1 and float(scores[best, 1]) > 0.5
    assert torch.allclose(boxes[best], torch.tensor([20.0, 30, 60, 70]), atol=4)


def test_classes_and_names_must_agree():
    with pytest.raises(RGBXError, match="num_classes is 2, but 3"):
        UniRGBIRDetection("tiny", num_classes=2, class_names=("a", "b", "c"))
    light = UniRGBIRDetection("tiny", num_classes=2, head="fcos", channels=16)
    assert light.class_names == ("class 0", "class 1")


def test_ir_can_be_the_main_modality():
    detector = model(main_modality="ir").eval()
    rgb, ir = images()
    with torch.no_grad():
        plain, other = (detector.raw_output({"rgb": r, "x": ir}) for r in (rgb, -rgb))
    assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))
