"""Box scores against pycocotools, fed the plain way, and by hand."""

import contextlib
import io
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rgbx.metrics import Evaluator
from rgbx.metrics.detection.average_precision import DetectionScores
from rgbx.metrics.detection.miss_rate import MissRateConfig
from tests.processes import two_ranks


def random_image(rng, classes, boxes=6):
    """Targets, and detections near some of them."""
    size = rng.uniform(5, 150, (rng.integers(0, boxes), 2))
    corner = rng.uniform(0, 300, (len(size), 2))
    target = {
        "boxes": torch.tensor(np.hstack([corner, corner + size])).reshape(-1, 4),
        "labels": torch.tensor(rng.integers(0, classes, len(size))),
        "ignore": torch.tensor(rng.random(len(size)) < 0.15),
    }
    count = rng.integers(0, 3 * boxes)
    low = rng.uniform(0, 300, (count, 2))
    found = np.hstack([low, low + rng.uniform(5, 150, (count, 2))])
    for i in range(count):
        if len(size) and rng.random() < 0.7:
            found[i] = target["boxes"][rng.integers(len(size))].numpy() + rng.normal(0, 4, 4)
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    prediction = {
        "boxes": torch.tensor(found).reshape(-1, 4),
        "scores": torch.tensor(rng.random(count).round(2)),
        "labels": torch.tensor(rng.integers(0, classes, count)),
    }
    return prediction, target


def plain_coco(images, classes, most=100):
    """pycocotools' own numbers, from dictionaries as they stand in files; -1 for nothing."""
    truth, found = [], []
    for image, (prediction, target) in enumerate(images, 1):
        for box, label, ignore in rows(target, "boxes", "labels", "ignore"):
            entry = coco_entry(image, box, label) | {"id": len(truth) + 1, "iscrowd": int(ignore)}
            truth.append(entry | {"area": entry["bbox"][2] * entry["bbox"][3]})
        for box, label, score in rows(prediction, "boxes", "labels", "scores"):
            found.append(coco_entry(image, box, label) | {"score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(images))],
            "annotations": truth,
            "categories": [{"id": k + 1} for k in range(classes)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found) if found else COCO(), "bbox")
        evaluation.params.maxDets = [1, 10, most]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[:6].tolist()


def rows(values, *names):
    return zip(*(values[name].tolist() for name in names), strict=True)


def coco_entry(image, box, label):
    size = [box[2] - box[0], box[3] - box[1]]
    return {"image_id": image, "category_id": label + 1, "bbox": [*box[:2], *size]}


def scored(images, classes, **options):
    metric = DetectionScores(classes, **options)
    for image in images:
        metric.update(*image)
    return metric.compute()


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_equals_pycocotools(start):
    for seed in range(start, start + 50):
        rng = np.random.default_rng(seed)
        classes = int(rng.integers(1, 4))
        images = [random_image(rng, classes) for _ in range(rng.integers(1, 6))]
        found, wanted = scored(images, classes), plain_coco(images, classes)
        for name, value in zip(("AP", "AP50", "AP75", "APs", "APm", "APl"), wanted, strict=True):
            if value < 0:
                assert math.isnan(found[name]), (seed, name)
            else:
                assert abs(found[name] - value) < 1e-12, (seed, name)


def test_ten_thousand_candidates_are_cut_without_an_effect():
    rng = np.random.default_rng(3)
    prediction, target = random_image(rng, 2, boxes=30)
    many = torch.cat(
        [prediction["boxes"], torch.rand(10_000, 4) * 20 + torch.tensor([0, 0, 30, 30])]
    )
    prediction = {
        "boxes": many,
        "scores": torch.cat([prediction["scores"], torch.rand(10_000)]),
        "labels": torch.cat([prediction["labels"], torch.arange(10_000) % 2]),
    }
    metric = DetectionScores(2)
    metric.update(prediction, target)
    assert sum(map(len, metric.detections)) == 200 * 6
    wanted = plain_coco([(prediction, target)], 2)
    assert abs(metric.compute()["AP"] - wanted[0]) < 1e-12


def box(*corners, label=0, score=None, ignore=False):
    found = {"boxes": torch.tensor([corners], dtype=torch.float), "labels": torch.tensor([label])}
    if score is None:
        return found | {"ignore": torch.tensor([ignore])}
    return found | {"scores": torch.tensor([score])}


NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
NO_TARGET = NOTHING | {"ignore": torch.zeros(0, dtype=torch.bool)}
NO_DETECTION = NOTHING | {"scores": torch.zeros(0)}


def test_by_hand():
    hit = box(0, 0, 10, 10, score=0.9), box(0, 0, 10, 10)
    assert scored([hit], 1)["AP"] == pytest.approx(1)
    missed = (NO_DETECTION, box(0, 0, 10, 10))
    found = scored([hit, missed], 1)
    assert abs(found["AP50"] - 51 / 101) < 1e-12  # recall .5 is reached, 51 of 101 levels
    assert found["AP50_image"] == pytest.approx(0.5)
    surer_mistake = (box(50, 50, 60, 60, score=0.95), NO_TARGET)
    assert scored([hit, surer_mistake], 1)["AP50"] == pytest.approx(0.5)
    assert scored([hit, surer_mistake], 1)["AP50_image"] == pytest.approx(
        1
    )  # of images with objects
    assert scored([missed], 1)["AP"] == 0
    nothing = scored([(NO_DETECTION, NO_TARGET)], 1)
    assert math.isnan(nothing["AP"]) and math.isnan(nothing["AP50_image"])


def test_classes_and_sizes():
    images = [
        (box(0, 0, 20, 20, score=0.9), box(0, 0, 20, 20)),
        (box(0, 0, 50, 50, label=1, score=0.9), box(0, 0, 200, 200, label=1)),
    ]
    found = scored(images, 3)
    assert found["AP_class"].tolist()[:2] == pytest.approx([1, 0])
    assert math.isnan(found["AP_class"][2])
    assert (found["APs"], found["APl"]) == pytest.approx((1, 0)) and math.isnan(found["APm"])


def test_what_lies_in_an_ignored_region_does_not_count():
    crowd = box(0, 0, 100, 100, ignore=True)
    target = {k: torch.cat([crowd[k], box(200, 200, 220, 220)[k]]) for k in crowd}
    inside, right = box(10, 10, 30, 30, score=0.99), box(200, 200, 220, 220, score=0.5)
    prediction = {k: torch.cat([inside[k], right[k]]) for k in inside}
    assert scored([(prediction, target)], 1)["AP"] == pytest.approx(1)


def test_parts_join_in_any_way():
    rng = np.random.default_rng(5)
    images = [random_image(rng, 2) for _ in range(8)]
    for prediction, _ in images:  # ties would be broken by the order of the images
        prediction["scores"] = torch.tensor(rng.random(len(prediction["scores"])))
    whole = scored(images, 2)
    first, second = DetectionScores(2), DetectionScores(2)
    for i, image in enumerate(images):
        (first if i % 2 else second).update(*image)
    second.merge_state(first)
    joined = second.compute()
    for name in ("AP", "AP50", "AP75", "AP50_image"):
        assert joined[name] == pytest.approx(whole[name], abs=1e-12)
    assert np.allclose(joined["AP_class"], whole["AP_class"])
    evaluator = Evaluator(DetectionScores(2), ("test",), ("day", "night"))
    evaluator.watch()
    for i, image in enumerate(images):
        evaluator.update("test", ("day", "night")[i % 2], *image)
    own = evaluator.watched()
    assert evaluator.compute("test")["all"]["AP"] == whole["AP"]
    for found, image in zip(own, images, strict=True):
        alone = scored([image], 2)["AP50_image"]
        assert found["AP50_image"] == alone or math.isnan(alone) == math.isnan(found["AP50_image"])
    # an image's own AP50 is its AP50 as a set of one
    alone = [scored([image], 2) for image in images]
    kept = [a["AP50"] for a in alone if not math.isnan(a["AP50"])]
    assert abs(whole["AP50_image"] - np.mean(kept)) < 1e-12


def test_one_class_has_scores_of_its_own():
    found = scored([(box(0, 0, 10, 10, score=0.9), box(0, 0, 10, 10))], 1)
    assert found["AP50_class"].tolist() == pytest.approx([1]) and found["support"].tolist() == [1]


def one_process(folder: Path) -> None:
    rank, store = int(os.environ["LOCAL_RANK"]), f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    rng = np.random.default_rng(0)
    images = [random_image(rng, 2) for _ in range(5)]
    metric = DetectionScores(2)
    for image in images if rank else []:  # the first process sees none
        metric.update(*image)
    curves = metric.curves()
    torch.save((metric.compute(), curves), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_which_one_sees_nothing(tmp_path):
    two_ranks(one_process, tmp_path, cwd=tmp_path)
    rng = np.random.default_rng(0)
    whole = DetectionScores(2)
    for image in [random_image(rng, 2) for _ in range(5)]:
        whole.update(*image)
    wanted, curve = whole.compute(), whole.curves()
    for rank in (0, 1):
        scores, curves = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert scores["AP"] == wanted["AP"]
        assert scores["support"].tolist() == wanted["support"].tolist()
        assert torch.equal(curves["recall"], curve["recall"])


def test_curves_are_precision_and_recall_by_threshold():
    images = [
        (box(0, 0, 10, 10, score=0.8), box(0, 0, 10, 10)),
        (box(50, 50, 60, 60, score=0.4), box(0, 0, 10, 10)),
    ]
    metric = DetectionScores(1)
    for image in images:
        metric.update(*image)
    found = metric.curves()
    low, middle, high = (round(255 * t) for t in (0.2, 0.6, 0.9))
    assert [float(found["precision"][t]) for t in (low, middle, high)] == [0.5, 1, 1]
    assert [float(found["recall"][t]) for t in (low, middle, high)] == [0.5, 0.5, 0]


def test_protocol_names_the_limit_and_the_rule():
    plain = DetectionScores(1, max_detections=37).protocol()
    assert "37" in plain["AP"] and "MR" not in plain
    rule = DetectionScores(1, pedestrians=MissRateConfig(min_height=20)).protocol()["MR"]
    assert "20" in rule and "occlusion 0, 1" in rule
