"""SaliencyScores equals PySODMetrics, image by image and on its own expected values."""

import json
import math
import warnings

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.metrics import SaliencyScores
from rgbx.metrics.saliency_maps import grey_levels

sod = pytest.importorskip("py_sod_metrics")

TOLERANCE = 1e-6


class Reference:
    """PySODMetrics under the names of SaliencyScores."""

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.metrics = {
                "S": sod.Smeasure(),
                "E": sod.Emeasure(),
                "F": sod.Fmeasure(),
                "wF": sod.WeightedFmeasure(),
                "MAE": sod.MAE(),
            }
        only = {"with_dynamic": False, "with_adaptive": False, "with_binary": True}
        handlers = {"IoU": sod.IOUHandler(**only), "Dice": sod.DICEHandler(**only)}
        self.overlap = sod.FmeasureV2(handlers)

    def step(self, pred, mask, normalize=True):
        with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for metric in (*self.metrics.values(), self.overlap):
                metric.step(pred, mask, normalize=normalize)

    def compute(self):
        results = {name: metric.get_results() for name, metric in self.metrics.items()}
        scores = {"S": results["S"]["sm"], "wF": results["wF"]["wfm"], "MAE": results["MAE"]["mae"]}
        for name, key in (("E", "em"), ("F", "fm")):
            values = results[name][key]
            scores |= {f"adp{name}": values["adp"], f"mean{name}": values["curve"].mean()}
            scores[f"max{name}"] = values["curve"].max()
        scores |= {name: value["binary"] for name, value in self.overlap.get_results().items()}
        return {name: float(value) for name, value in scores.items()}

    def curves(self):
        f = self.metrics["F"].get_results()
        e = self.metrics["E"].get_results()["em"]["curve"]
        named = {"precision": f["pr"]["p"], "recall": f["pr"]["r"], "F": f["fm"]["curve"], "E": e}
        # their first entry is threshold 255
        return {name: torch.from_numpy(curve[::-1].copy()) for name, curve in named.items()}


def assert_equal_scores(got, expected):
    assert set(got) == set(expected)
    for name, value in expected.items():
        if math.isnan(value):
            # An empty quadrant, see test_saliency; nothing else may be NaN there.
            assert name == "S" and 0 <= got[name] <= 1
        else:
            assert got[name] == pytest.approx(value, abs=TOLERANCE), name


def check(images, masks):
    """8-bit images and bool masks, one by one and as the mean over all."""
    whole, reference = SaliencyScores(), Reference()
    skipped = False
    for image, mask in zip(images, masks, strict=True):
        single, expected = SaliencyScores(), Reference()
        map_ = torch.from_numpy(image).float() / 255
        for scores in (single, whole):
            scores.update(map_, torch.from_numpy(mask))
        for theirs in (expected, reference):
            theirs.step(image, mask.astype(np.uint8) * 255)
        assert_equal_scores(single.compute(), expected.compute())
        skipped |= math.isnan(expected.compute()["S"])
    got, expected = whole.compute(), reference.compute()
    assert math.isnan(expected["S"]) == skipped
    assert_equal_scores(got, expected)
    for name, curve in reference.curves().items():
        torch.testing.assert_close(whole.curves()[name], curve, rtol=0, atol=TOLERANCE)


SIZES = [(48, 64), (37, 53), (1, 17), (23, 1), (2, 2), (1, 2)]


def image(kind, size, random):
    if kind == "smooth":
        noise = random.random(size).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), 4)
        return (blurred * 255).astype(np.uint8)
    if kind == "random":
        return random.integers(0, 256, size).astype(np.uint8)
    if kind == "few levels":
        return random.choice(np.array([10, 60, 61, 200], np.uint8), size)
    return np.full(size, {"zeros": 0, "ones": 255, "half": 128, "dark": 3}[kind], np.uint8)


def masks(size, random):
    """Empty, full, noise, a box in the top left corner and one at the border, single pixels."""
    height, width = size
    yield np.zeros(size, bool)
    yield np.ones(size, bool)
    yield random.random(size) < 0.5
    for rows, columns in (
        (slice(0, height // 2 + 1), slice(0, width // 3 + 1)),
        (slice(height // 2, None), slice(width // 4, width // 2 + 1)),
        (slice(height // 3, height // 3 + 1), slice(width // 2, width // 2 + 1)),
        (slice(height - 1, None), slice(width - 1, None)),
        (slice(0, 1), slice(0, 1)),
    ):
        mask = np.zeros(size, bool)
        mask[rows, columns] = True
        yield mask


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "kind", ["smooth", "random", "few levels", "zeros", "ones", "half", "dark"]
)
def test_equals_the_reference(kind, size):
    random = np.random.default_rng(0)
    truths = list(masks(size, random))
    check([image(kind, size, random) for _ in truths], truths)


@pytest.mark.slow
def test_equals_the_reference_on_many_small_images():
    random = np.random.default_rng(1)
    for _ in range(150):
        size = tuple(random.integers(2, 12, 2))
        kind = random.choice(["random", "few levels", "smooth"])
        truths = [random.random(size) < share for share in (0.05, 0.3, 0.9)]
        check([image(kind, size, random) for _ in truths], truths)


def test_equals_the_reference_on_480_x_640_images():
    random = np.random.default_rng(2)
    y, x = np.mgrid[:480, :640]
    disc = (y - 200) ** 2 / 90**2 + (x - 400) ** 2 / 140**2 < 1
    soft = cv2.GaussianBlur(disc.astype(np.float32), (0, 0), 12) * 200
    noisy = (soft + random.normal(20, 10, soft.shape)).clip(0, 255).astype(np.uint8)
    check([noisy, soft.astype(np.uint8)], [disc, random.random(disc.shape) < 0.3])


def test_levels_on_the_adaptive_threshold_fall_as_in_the_reference():
    # 2 * 728 / 7 = 208: rounding of the sum decides, and the sum depends on the pixels' order.
    levels = np.array([0, 255, 64, 208, 23, 22, 156], np.uint8)
    mask = np.array([[True, False, True, False, True, False, False]])
    random = np.random.default_rng(0)
    chosen = set()
    for _ in range(60):
        values = random.permutation(levels)[None]
        reference = Reference()
        reference.step(values, mask.astype(np.uint8) * 255)
        scores = SaliencyScores(("E", "F"))
        scores.update(torch.from_numpy(values) / 255, torch.from_numpy(mask))
        expected = reference.compute()
        for name in ("adpE", "adpF"):
            assert scores.compute()[name] == pytest.approx(expected[name], abs=TOLERANCE)
        chosen.add(int((values / 255 >= 2 * (values / 255).mean()).sum()))
    assert chosen == {1, 2}


def test_constant_quadrants_count_as_the_reference_rounds_them():
    # A constant quadrant scores 1 only if numpy's mean of it is exact.
    seen = set()
    for width in range(6, 40, 3):
        values = np.full((9, width), 77, np.uint8)
        mask = np.zeros((9, width), bool)
        mask[3, 2] = True
        check([values], [mask])
        seen.add(bool((values / 255)[:4, 3:].mean() == 77 / 255))
    assert seen == {True, False}


@pytest.mark.parametrize("stretch", [True, False])
@pytest.mark.parametrize("size", [(48, 64), (7, 5)], ids=str)
def test_float_maps_equal_the_reference_without_rounding(size, stretch):
    random = np.random.default_rng(3)
    for mask in masks(size, random):
        map_ = random.random(size) * 0.8 + 0.1
        scores = SaliencyScores(quantise=False, stretch=stretch)
        scores.update(torch.from_numpy(map_), torch.from_numpy(mask))
        if stretch:
            map_ = (map_ - map_.min()) / (map_.max() - map_.min())
        reference = Reference()
        reference.step(map_, mask, normalize=False)
        assert_equal_scores(scores.compute(), reference.compute())


def test_rounded_maps_equal_the_reference_without_stretch():
    random = np.random.default_rng(4)
    for mask in masks((20, 30), random):
        map_ = torch.from_numpy(random.random((20, 30)) * 0.7)
        scores = SaliencyScores(stretch=False)
        scores.update(map_, torch.from_numpy(mask))
        reference = Reference()
        levels = grey_levels(map_[None], stretch=False)[0].numpy()
        reference.step(levels / 255, mask, normalize=False)
        assert_equal_scores(scores.compute(), reference.compute())


def test_float_maps_equal_the_reference_on_the_8_bit_image_of_the_released_code():
    random = np.random.default_rng(5)
    scores, reference = SaliencyScores(), Reference()
    for mask in masks((41, 30), random):
        map_ = random.random((41, 30)).astype(np.float32) * 0.6 + 0.2
        stretched = (map_ - map_.min()) / (map_.max() - map_.min())
        reference.step(np.round(stretched * 255).astype(np.uint8), mask.astype(np.uint8) * 255)
        scores.update(torch.from_numpy(map_), torch.from_numpy(mask))
    expected = reference.compute()
    got = scores.compute()
    for name in set(expected) - {"S"}:
        assert got[name] == pytest.approx(expected[name], abs=TOLERANCE), name


def _sample_scores(folder):
    scores = SaliencyScores()
    for path in sorted((folder / "gt").iterdir()):
        grey = np.array(Image.open(folder / "pred" / path.name).convert("L"))
        mask = np.array(Image.open(path).convert("L")) > 128
        scores.update(torch.from_numpy(grey).float() / 255, torch.from_numpy(mask))
    return scores.compute()


def test_the_published_values_of_the_reference_pairs(samples):
    folder = samples / "metric_pairs" / "pysodmetrics"
    versions = json.loads((folder / "version_performance.json").read_text())
    newest = {}  # later versions list only what is new in them
    for version in sorted(versions):
        newest |= versions[version]
    names = {"S": "Smeasure", "wF": "wFmeasure", "MAE": "MAE"}
    names |= {f"{kind}{name}": f"{kind}{name}m" for kind in ("adp", "mean", "max") for name in "EF"}
    names |= {"IoU": "sample_biiou", "Dice": "sample_bidice"}
    got = _sample_scores(folder)
    assert set(got) == set(names)
    for name, key in names.items():
        assert got[name] == pytest.approx(newest[key], abs=TOLERANCE), name
    # The S-measure of 1.2.3 counted single pixels and centroids differently.
    assert abs(versions["v1_2_3"]["Smeasure"] - newest["Smeasure"]) > 1e-7


@pytest.mark.parametrize("name", ["lfsd", "cod10k_sinet"])
def test_real_predictions_equal_the_reference(samples, name):
    folder = samples / "metric_pairs" / name
    reference = Reference()
    for path in sorted((folder / "gt").iterdir()):
        grey = np.array(Image.open(folder / "pred" / path.name).convert("L"))
        reference.step(grey, np.array(Image.open(path).convert("L")))
    assert_equal_scores(_sample_scores(folder), reference.compute())


@pytest.mark.slow
@pytest.mark.parametrize("beta2", [1.0, 0.3, 2.5])
def test_weighted_f_equals_the_reference_for_every_beta(samples, beta2):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = sod.WeightedFmeasure(beta=beta2)
    scores = SaliencyScores(("wF",), wf_beta2=beta2)
    folder = samples / "metric_pairs" / "cod10k_sinet"
    pairs = [
        [np.array(Image.open(folder / kind / path.name).convert("L")) for kind in ("pred", "gt")]
        for path in sorted((folder / "gt").iterdir())
    ]
    random = np.random.default_rng(6)
    pairs += [
        [image("smooth", mask.shape, random), mask.astype(np.uint8) * 255]
        for mask in masks((31, 40), random)
    ]
    for grey, mask in pairs:
        reference.step(grey, mask)
        scores.update(torch.from_numpy(grey) / 255, torch.from_numpy(mask > 128))
    name = "wF" if beta2 == 1 else f"wF_{beta2}"
    expected = float(reference.get_results()["wfm"])
    assert scores.compute() == {name: pytest.approx(expected, abs=TOLERANCE)}
    assert list(scores.protocol()) == [name]
