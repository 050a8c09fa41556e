import math

import pytest
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from rgbx.metrics import SegmentationScores

IGNORE = 255
MEANS = ("miou", "macc", "acc", "miou_fg", "miou_drop0", "miou_image")


def _images(images: int, classes: int, seed: int, agreement: float = 0.5):
    """Targets with rare classes, ids missing from whole images, ignored pixels; related preds."""
    generator = torch.Generator().manual_seed(seed)
    shape = (images, 20, 25)
    weights = 0.55 ** torch.arange(classes)
    target = torch.multinomial(weights, math.prod(shape), True, generator=generator).view(shape)
    for index in range(images):
        target[index][target[index] == 1 + index % (classes - 1)] = 0
    noise = torch.randint(0, classes, shape, generator=generator)
    keep = torch.rand(shape, generator=generator) < agreement
    pred = torch.where(keep, target, noise)
    target[torch.rand(shape, generator=generator) < 0.1] = IGNORE
    return pred, target


def _score(pred: Tensor, target: Tensor, classes: int, **options):
    scores = SegmentationScores(classes, **options)
    scores.update(pred, target)
    return scores.compute()


def _slow(pred: Tensor, target: Tensor, classes: int, absent: str = "nan") -> dict[str, float]:
    """The definitions again, with Python sets of pixel positions and no matrix."""

    def mean(values: list[float | None]) -> float:
        if absent == "zero" and any(v is not None for v in values):
            return sum(v or 0.0 for v in values) / len(values)
        seen = [v for v in values if v is not None]
        return sum(seen) / len(seen) if seen else math.nan

    def iou(a: set[int], b: set[int]) -> float | None:
        return len(a & b) / len(a | b) if a | b else None

    def sets(ids: list[int], keep: set[int]) -> list[set[int]]:
        return [{i for i in keep if ids[i] == k} for k in range(classes)]

    p, t = pred.flatten().tolist(), target.flatten().tolist()
    valid = {i for i, true in enumerate(t) if true != IGNORE}
    ps, ts = sets(p, valid), sets(t, valid)
    ious = [iou(a, b) for a, b in zip(ps, ts, strict=True)]
    objects = {i for i in valid if t[i] != 0 and p[i] != 0}
    size = target[0].numel()
    images = []
    for start in range(0, len(t), size):
        here = set(range(start, start + size)) & valid
        pairs = zip(sets(p, here), sets(t, here), strict=True)
        present = [iou(a, b) for a, b in pairs if b]
        if present:
            images.append(sum(present) / len(present))
    return {
        "miou": mean(ious),
        "macc": mean([len(a & b) / len(b) if b else None for a, b in zip(ps, ts, strict=True)]),
        "acc": sum(p[i] == t[i] for i in valid) / len(valid),
        "miou_fg": mean(ious[1:]),
        "miou_drop0": mean(
            [iou(a, b) for a, b in zip(sets(p, objects), sets(t, objects), strict=True)][1:]
        ),
        "miou_image": sum(images) / len(images),
    }


@pytest.mark.parametrize("absent", ["nan", "zero"])
@pytest.mark.parametrize(("classes", "seed"), [(2, 0), (5, 1), (9, 2), (19, 3)])
def test_means_equal_slow_reference(classes, seed, absent):
    pred, target = _images(4, classes, seed)
    got = _score(pred, target, classes, absent=absent)
    for name, expected in _slow(pred, target, classes, absent).items():
        assert got[name] == pytest.approx(expected, abs=1e-9, nan_ok=True), name


def test_whole_set_numbers_equal_torchmetrics():
    pred, target = _images(6, 9, seed=4)
    pred[pred == 8], target[target == 8] = 0, 0  # absent from both
    got = _score(pred, target, 9)
    ids = {"num_classes": 9, "ignore_index": IGNORE}
    jaccard = MulticlassJaccardIndex(**ids, average="macro")
    per_class = MulticlassJaccardIndex(**ids, average="none")
    recall = MulticlassAccuracy(**ids, average="macro")
    micro = MulticlassAccuracy(**ids, average="micro")
    assert got["miou"] == pytest.approx(jaccard(pred, target).item(), abs=1e-6)
    assert got["macc"] == pytest.approx(recall(pred, target).item(), abs=1e-6)
    assert got["acc"] == pytest.approx(micro(pred, target).item(), abs=1e-6)
    torch.testing.assert_close(got["iou"][:8].float(), per_class(pred, target)[:8])
    assert math.isnan(got["iou"][8])


def test_golden_values_by_hand():
    # Image 1: 0 0 0 1 predicted as 0 0 1 1. Image 2: 0 0 2 and an ignored one as 0 1 2 and 2.
    target = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [2, IGNORE]]])
    pred = torch.tensor([[[0, 0], [1, 1]], [[0, 1], [2, 2]]])
    got = _score(pred, target, 4)
    assert torch.equal(got["support"], torch.tensor([5, 1, 1, 0]))
    # Class 0: TP 3, FN 2; class 1: TP 1, FP 2; class 2: TP 1; class 3 absent.
    assert got["iou"].tolist()[:3] == pytest.approx([3 / 5, 1 / 3, 1.0])
    assert got["accuracy"].tolist()[:3] == pytest.approx([3 / 5, 1.0, 1.0])
    assert math.isnan(got["iou"][3]) and math.isnan(got["accuracy"][3])
    assert got["miou"] == pytest.approx((3 / 5 + 1 / 3 + 1) / 3)
    assert got["macc"] == pytest.approx((3 / 5 + 1 + 1) / 3)
    assert got["acc"] == pytest.approx(5 / 7)
    assert got["miou_fg"] == pytest.approx((1 / 3 + 1) / 2)
    assert got["miou_drop0"] == 1.0
    # Image 1: classes 0 (2/3) and 1 (1/2). Image 2: classes 0 (1/2) and 2 (1); 1 is only predicted.
    assert got["miou_image"] == pytest.approx(((2 / 3 + 1 / 2) / 2 + (1 / 2 + 1) / 2) / 2)
    zero = _score(pred, target, 4, absent="zero")
    assert zero["miou"] == pytest.approx((3 / 5 + 1 / 3 + 1) / 4)
    assert zero["macc"] == pytest.approx((3 / 5 + 1 + 1) / 4)
    assert zero["miou_image"] == got["miou_image"]
    assert math.isnan(zero["iou"][3])


def test_the_protocols_diverge_on_the_same_predictions():
    pred, target = _images(12, 9, seed=5, agreement=0.8)
    pred[pred == 8], target[target == 8] = 0, 0
    nan, zero = _score(pred, target, 9), _score(pred, target, 9, absent="zero")
    assert zero["miou"] == pytest.approx(nan["miou"] * 8 / 9)
    numbers = [nan["miou"], zero["miou"], nan["miou_fg"], nan["miou_drop0"], nan["miou_image"]]
    gaps = [abs(a - b) for i, a in enumerate(numbers) for b in numbers[:i]]
    assert min(gaps) > 0.005


def test_shards_summed_equal_the_whole_in_any_order_bit_for_bit():
    pred, target = _images(9, 6, seed=6)
    whole = _score(pred, target, 6)
    shards = [SegmentationScores(6) for _ in range(2)]
    for index in torch.randperm(9, generator=torch.Generator().manual_seed(0)).tolist():
        shards[index % 2].update(pred[index], target[index])
    joined = SegmentationScores(6)
    for name in ("confusion", "image_iou", "images"):
        setattr(joined, name, sum(getattr(shard, name) for shard in shards))
    joined._update_count = 1
    for name, value in joined.compute().items():
        if name in MEANS:
            assert value == whole[name], name
        else:
            assert torch.equal(value.nan_to_num(-1), whole[name].nan_to_num(-1)), name


def test_all_states_are_integer_sums():
    scores = SegmentationScores(3)
    assert {name: getattr(scores, name).dtype for name in scores._defaults} == dict.fromkeys(
        ("confusion", "image_iou", "images"), torch.int64
    )
    assert {reduce.__name__ for reduce in scores._reductions.values()} == {"dim_zero_sum"}


def test_narrow_integer_types_do_not_overflow():
    pred, target = _images(2, 19, seed=7)
    wide = _score(pred, target, 19)
    narrow = _score(pred.to(torch.uint8), target.to(torch.uint8), 19)
    assert [narrow[name] for name in MEANS] == [wide[name] for name in MEANS]


def test_images_without_valid_pixels_change_nothing():
    pred, target = _images(3, 4, seed=8)
    expected = _score(pred, target, 4)
    empty = torch.full_like(target[:1], IGNORE)
    got = _score(torch.cat([pred, pred[:1]]), torch.cat([target, empty]), 4)
    assert [got[name] for name in MEANS] == [expected[name] for name in MEANS]


@pytest.mark.parametrize("absent", ["nan", "zero"])
def test_nothing_valid_gives_nan(absent):
    got = _score(torch.zeros(1, 3, 3).long(), torch.full((1, 3, 3), IGNORE), 3, absent=absent)
    assert all(math.isnan(got[name]) for name in MEANS)
    assert got["support"].tolist() == [0, 0, 0]


def test_a_single_class_has_no_foreground_mean():
    got = _score(torch.zeros(2, 2).long(), torch.zeros(2, 2).long(), 1)
    assert got["miou"] == 1.0
    assert math.isnan(got["miou_fg"]) and math.isnan(got["miou_drop0"])


def test_reset_forgets():
    pred, target = _images(2, 4, seed=9)
    scores = SegmentationScores(4)
    scores.update(target.clamp(max=3), target)
    scores.reset()
    scores.update(pred, target)
    assert scores.compute()["miou"] == _score(pred, target, 4)["miou"]


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ([[0, 3]], [[0, 1]], "Prediction holds the id 3, outside the classes 0..2."),
        ([[0, 255]], [[0, 255]], "Prediction holds the id 255"),
        ([[0, -1]], [[0, 1]], "Prediction holds the id -1"),
        ([[0, 1]], [[0, 7]], "Target holds the id 7, outside the classes 0..2 and not 255"),
        ([[0, 1, 2]], [[0, 1]], r"got shapes \(1, 3\) and \(1, 2\)"),
        ([0, 1], [0, 1], r"got shapes \(2,\) and \(2,\)"),
        ([[0.0, 1.0]], [[0, 1]], "got torch.float32 and torch.int64; take the argmax"),
    ],
)
def test_wrong_input_is_refused_and_counts_nothing(pred, target, message):
    scores = SegmentationScores(3)
    with pytest.raises(ValueError, match=message):
        scores.update(torch.tensor(pred), torch.tensor(target))
    assert scores.confusion.sum() == 0


@pytest.mark.parametrize(("classes", "ignore"), [(0, 255), (9, 8)])
def test_impossible_classes_are_refused(classes, ignore):
    with pytest.raises(ValueError, match=f"num_classes={classes}, ignore_index={ignore}"):
        SegmentationScores(classes, ignore_index=ignore)


def test_every_mean_has_a_protocol_sentence_that_follows_the_options():
    protocol = SegmentationScores(9, absent="zero").protocol()
    assert tuple(protocol) == MEANS
    assert "9 ids incl. 0" in protocol["miou"] and "counted as 0" in protocol["miou"]
    assert "left out" in SegmentationScores(9).protocol()["miou"]


def test_ids_that_the_data_ignore_are_in_no_mean():
    target = torch.tensor([[1, 1, 2, 2, 255]])
    pred = torch.tensor([[1, 0, 2, 2, 0]])  # one pixel of class 1 is called "void"
    scores = SegmentationScores(num_classes=3, unscored=(0,))
    scores.update(pred, target)
    found = scores.compute()
    assert found["miou"] == found["miou_fg"] == found["macc"] == pytest.approx((0.5 + 1) / 2)
    assert found["miou_image"] == pytest.approx((0.5 + 1) / 2) and found["acc"] == 0.75
    assert torch.isnan(found["iou"][0]) and found["iou"][1:].tolist() == [0.5, 1]
    assert "2 ids (without 0, ignored)" in scores.protocol()["miou"]
    plain = SegmentationScores(num_classes=3)
    plain.update(pred, target)
    assert plain.compute()["miou"] == pytest.approx((0 + 0.5 + 1) / 3)
