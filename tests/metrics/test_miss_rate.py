"""The miss rate of pedestrians: published results on KAIST, and cases by hand."""

import gzip
import math

import numpy as np
import pytest
import torch

from rgbx.data.annotations.kaist import read_kaist_json
from rgbx.data.detection.kaist import is_night
from rgbx.errors import DataError, RGBXError
from rgbx.metrics.detection.average_precision import DetectionScores
from rgbx.metrics.detection.kaist import kaist_miss_rates, read_kaist_results
from rgbx.metrics.detection.miss_rate import (
    MissRateConfig,
    count_pedestrians,
    miss_rate,
    pedestrians,
)


@pytest.fixture(scope="module")
def annotations(samples):
    boxes = read_kaist_json(samples / "rgbir_detection/kaist_metric/KAIST_annotation.json.gz")
    targets = [
        {"boxes": b.corners, "ignore": b.ignore, "occlusion": b.occlusion} for b in boxes.values()
    ]
    return targets, ["night" if is_night(name) else "day" for name in boxes]


@pytest.mark.parametrize(
    ("method", "protocol", "wanted"),
    [
        ("MLPD", "kaist", [7.58, 7.96, 6.95]),
        ("MBNet", "kaist", [8.13, 8.28, 7.86]),
        ("MLPD", "unirgb_ir", [14.13, 14.71, 13.09]),
        ("MBNet", "unirgb_ir", [12.75, 13.69, 10.79]),
    ],
)
def test_published_results(annotations, samples, method, protocol, wanted):
    path = samples / f"rgbir_detection/kaist_metric/{method}_result.txt.gz"
    config = MissRateConfig(protocol=protocol)
    found = kaist_miss_rates(read_kaist_results(path), *annotations, config)
    assert [round(100 * found[part], 2) for part in ("all", "day", "night")] == wanted


def test_counts_of_pedestrians(annotations):
    targets, subsets = annotations
    counts = [int(count_pedestrians(t, MissRateConfig()).sum()) for t in targets]
    by_day = sum(c for c, s in zip(counts, subsets, strict=True) if s == "day")
    assert (len(targets), sum(counts), by_day, subsets.count("day")) == (2252, 1455, 989, 1455)
    other = MissRateConfig(protocol="unirgb_ir")
    assert sum(int(count_pedestrians(t, other).sum()) for t in targets) == 1698


def test_the_metric_of_a_test_gives_the_same(annotations, samples):
    targets, _ = annotations
    results = read_kaist_results(samples / "rgbir_detection/kaist_metric/MLPD_result.txt.gz")
    metric = DetectionScores(1, pedestrians=MissRateConfig())
    for frame, target in enumerate(targets[:300], 1):
        own = results.get(frame, {"boxes": np.zeros((0, 4)), "scores": np.zeros(0)})
        prediction = {k: torch.from_numpy(v) for k, v in own.items()}
        prediction["labels"] = torch.zeros(len(own["scores"]), dtype=torch.int64)
        truth = {k: torch.from_numpy(v) for k, v in target.items()}
        metric.update(prediction, truth | {"labels": torch.zeros(len(truth["boxes"]))})
    wanted = kaist_miss_rates(
        {f: r for f, r in results.items() if f <= 300}, targets[:300], [""] * 300
    )
    assert abs(metric.compute()["MR"] - wanted["all"]) < 1e-12


def target(*boxes, ignore=(), occlusion=()):
    return {
        "boxes": np.array(boxes, float).reshape(-1, 4),
        "ignore": np.array([i in ignore for i in range(len(boxes))], bool),
        "occlusion": np.array([2 if i in occlusion else 0 for i in range(len(boxes))]),
    }


def found(*rows):
    array = np.array(rows, float).reshape(-1, 5)
    return {"boxes": array[:, :4], "scores": array[:, 4]}


PERSON = (100, 100, 130, 180)


def rate(*images, config=MissRateConfig()):
    return miss_rate([pedestrians(*image, config) for image in images])


def test_no_detection_misses_everything():
    assert rate((found(), target(PERSON))) == 1
    assert math.isnan(rate((found(), target())))


def test_all_found():
    assert rate((found((*PERSON, 0.9)), target(PERSON))) == 0


def test_a_first_false_positive_reads_the_last_recall():
    # 1 false positive in 1 image: only FPPI 1 is reached, the others read the last recall, 1 of 2
    images = (
        found((300, 300, 330, 400, 0.99), (*PERSON, 0.5)),
        target(PERSON, (200, 100, 230, 180)),
    )
    assert rate(images) == pytest.approx(0.5)


def test_an_ignored_box_takes_any_number_of_detections():
    crowd = (300, 100, 400, 200)
    inside = [(310, 110, 340, 190, 0.99), (350, 110, 380, 190, 0.98)]
    images = found(*inside, (*PERSON, 0.5)), target(PERSON, crowd, ignore=(1,))
    assert rate(images) == 0
    matched = pedestrians(*images, MissRateConfig())
    assert matched.scores.tolist() == [0.5] and matched.hits.tolist() == [True]


def test_images_without_boxes_or_detections_count_in_fppi():
    wrong = (found((300, 300, 330, 400, 0.99)), target(PERSON))
    late = (found((*PERSON, 0.5)), target(PERSON))
    few, many = rate(wrong, late), rate(wrong, late, *[(found(), target())] * 98)
    # 1 of 100 images is within the lowest FPPI, so that every place reads the recall of 1 of 2
    assert many == pytest.approx(0.5) and few == pytest.approx(0.5)
    assert rate(wrong, late, *[(found((300, 300, 330, 400, 0.6)), target())] * 98) > 0.5


@pytest.mark.parametrize(
    "box",
    [(100, 100, 130, 154), (2, 100, 32, 180), (610, 100, 640, 180), (100, 430, 130, 510)],
)
def test_low_and_border_boxes_are_ignored(box):
    assert count_pedestrians(target(box, PERSON), MissRateConfig()).tolist() == [False, True]


def test_heavily_hidden_ones_are_ignored():
    hidden = target(PERSON, occlusion=(0,))
    assert not count_pedestrians(hidden, MissRateConfig()).any()
    assert count_pedestrians(hidden, MissRateConfig(protocol="unirgb_ir")).all()
    assert count_pedestrians(hidden, MissRateConfig(occlusions=(2,))).all()


def test_options_that_cannot_work():
    with pytest.raises(RGBXError, match="mlpd"):
        MissRateConfig(protocol="mlpd")
    with pytest.raises(RGBXError, match="80"):
        MissRateConfig(min_height=80, max_height=60)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1,2,3,4,5\n", "line 1"),
        ("1,2,3,4,5,.5\n1,2,3,x,5,.5\n", "line 2"),
        ("1,2,3,4,5,nan\n", "line 1"),
        ("0,2,3,4,5,.5\n", "frame 0"),
        ("1,2,3,-4,5,.5\n", "width -4"),
        ("\n", "no detection"),
    ],
)
def test_bad_files_of_results(tmp_path, text, named):
    path = tmp_path / "r.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=named) as error:
        read_kaist_results(path)
    assert str(path) in str(error.value)


def test_results_on_another_set(tmp_path):
    path = tmp_path / "r.txt.gz"
    path.write_bytes(gzip.compress(b"7 1 1 5 60 .5\r\n"))
    results = read_kaist_results(path)
    assert results[7]["boxes"].tolist() == [[1, 1, 6, 61]]
    with pytest.raises(DataError, match="frame 7, but the annotations have 2"):
        kaist_miss_rates(results, [target(PERSON)] * 2, ["day"] * 2)
