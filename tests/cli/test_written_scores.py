"""The images that a test writes reproduce what it prints, with PySODMetrics and numpy alone."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from PIL import Image

from rgbx.callbacks.predictions import PredictionWriter
from rgbx.data import ISTD, VT5000, HQSeg44K, KvasirSEG, MFNet
from rgbx.models import MCASAM, SAMSOD, StableSAM, TASeg
from tests.grouped import STABLE_SAM, grouped

SIZE = (64, 96)


def scores_of(model, data, folder: Path) -> dict[str, dict[str, float]]:
    """Test an untrained model, write everything; split -> score -> value as printed."""
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[PredictionWriter(folder)],
    )
    trainer.test(model, data, verbose=False)
    return {split: subsets["all"] for split, subsets in model.results.items()}


def images(folder: Path, kind: str, truth: str = "truth") -> list[tuple[np.ndarray, np.ndarray]]:
    """(prediction, truth) as stored, of every image of a folder."""
    paths = sorted((folder / kind).rglob("*.png"))
    assert paths
    pairs = []
    for path in paths:
        mask = folder / truth / path.relative_to(folder / kind)
        pairs.append((np.asarray(Image.open(path)), np.asarray(Image.open(mask))))
        assert pairs[-1][0].dtype == pairs[-1][1].dtype == np.uint8
    return pairs


def pysodmetrics(pairs) -> dict[str, float]:
    sod = pytest.importorskip("py_sod_metrics")
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        names = ("Smeasure", "Emeasure", "Fmeasure", "WeightedFmeasure", "MAE")
        s, e, f, w, mae = (getattr(sod, name)() for name in names)
        for prediction, mask in pairs:
            for metric in (s, e, f, w, mae):
                metric.step(pred=prediction, gt=mask)
        em, fm = e.get_results()["em"], f.get_results()["fm"]
        return {
            "S": s.get_results()["sm"],
            "wF": w.get_results()["wfm"],
            "MAE": mae.get_results()["mae"],
            "maxF": fm["curve"].max(),
            "meanF": fm["curve"].mean(),
            "adpF": fm["adp"],
            "maxE": em["curve"].max(),
            "meanE": em["curve"].mean(),
            "adpE": em["adp"],
        }


def overlaps(pairs) -> tuple[np.ndarray, np.ndarray]:
    """Dice and IoU of maps in [0, 1] and masks, one per image."""
    both = np.array([(p[m > 0].sum(), p.sum() + (m > 0).sum()) for p, m in pairs])
    return 2 * both[:, 0] / both[:, 1], both[:, 0] / (both[:, 1] - both[:, 0])


def balanced_errors(pairs, level: int) -> tuple[float, float]:
    """BER over all pixels, and the mean of the images'."""
    counts = np.array(
        [
            [
                ((p > level) & (m > 0)).sum(),
                (m > 0).sum(),
                ((p <= level) & (m == 0)).sum(),
                (m == 0).sum(),
            ]
            for p, m in pairs
        ]
    )

    def error(c):
        return 1 - (c[..., 0] / c[..., 1] + c[..., 2] / c[..., 3]) / 2

    return error(counts.sum(0)), error(counts).mean()


@pytest.mark.slow
def test_salient_objects(vt5000_root, tmp_path):
    data = VT5000(str(vt5000_root), size=SIZE, num_workers=0, eval_batch_size=3)
    results = scores_of(SAMSOD(encoder="tiny"), data, tmp_path)
    assert list(results) == [*data.test_splits, "overall"]
    for split, scores in results.items():
        part = "" if split == "overall" else f"/{split}"  # all images of the three sets together
        for name, value in pysodmetrics(images(tmp_path, f"maps{part}", f"truth{part}")).items():
            assert scores[name] == pytest.approx(value, abs=1e-9), (split, name)


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 125 / 255, 0.3])
def test_shadows_at_both_sizes(istd_root, tmp_path, threshold):
    data = ISTD(str(istd_root), size=SIZE, num_workers=0)
    options = {"size": "both", "ber_threshold": threshold}
    model = MCASAM(encoder="tiny", task="shadow", evaluation=options)
    (scores,) = scores_of(model, data, tmp_path).values()
    level = int(255 * threshold + 1e-9)  # level / 255 > threshold
    for suffix in ("", "@input"):
        pairs = images(tmp_path, f"maps{suffix}", f"truth{suffix}")
        whole, mean = balanced_errors(pairs, level)
        assert scores[f"BER{suffix}"] == pytest.approx(whole, abs=1e-12)
        assert scores[f"BER_image{suffix}"] == pytest.approx(mean, abs=1e-9)
    assert all(mask.shape == SIZE for _, mask in images(tmp_path, "maps@input", "truth@input"))


def test_polyps_as_they_are_and_stretched(kvasir_root, tmp_path):
    data = KvasirSEG(str(kvasir_root), size=SIZE, num_workers=0)
    (scores,) = scores_of(MCASAM(encoder="tiny", task="polyp"), data, tmp_path).values()
    plain = [(levels / 255, mask) for levels, mask in images(tmp_path, "maps")]
    for form, suffix in (((lambda p: p > 0.5), ""), ((lambda p: p), "_soft")):
        dice, iou = overlaps([(form(p), m) for p, m in plain])
        assert scores[f"mDice{suffix}"] == pytest.approx(dice.mean(), abs=1e-9)
        assert scores[f"mIoU{suffix}"] == pytest.approx(iou.mean(), abs=1e-9)
    stretched = images(tmp_path, "maps_stretched")
    for name, value in pysodmetrics(stretched).items():
        assert scores[name] == pytest.approx(value, abs=1e-9), name
    values = [((p - p.min()) / max(int(p.max()) - p.min(), 1), m) for p, m in stretched]
    cuts = np.arange(256)
    curve = np.mean(
        [[overlaps([(np.floor(p * 255 + 1e-9) >= t, m)])[0][0] for t in cuts] for p, m in values], 0
    )
    assert scores["meanDice"] == pytest.approx(curve.mean(), abs=1e-6)
    assert scores["maxDice"] == pytest.approx(curve.max(), abs=1e-6)


def test_classes(mfnet_root, tmp_path):
    data = MFNet(str(mfnet_root), size=SIZE, num_workers=0)
    (scores,) = scores_of(TASeg(encoder="tiny", text_encoder="tiny"), data, tmp_path).values()
    matrix = np.zeros((9, 9), int)
    for prediction, mask in images(tmp_path, "masks"):
        np.add.at(matrix, (mask[mask != 255], prediction[mask != 255]), 1)
    hit, union = matrix.diagonal(), matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    assert scores["miou"] == pytest.approx((hit[union > 0] / union[union > 0]).mean(), abs=1e-9)
    assert scores["acc"] == pytest.approx(hit.sum() / matrix.sum(), abs=1e-9)


def test_prompts(hqseg_root, tmp_path):
    data = HQSeg44K(str(hqseg_root), size=SIZE, num_workers=0)
    options = {"eval_kinds": ["box", "noisy_box", "point_1"], "eval_prompts": 3, "points": 256}
    results = scores_of(StableSAM(encoder="tiny", **grouped(STABLE_SAM, options)), data, tmp_path)
    for split in data.test_splits:
        truths = sorted((tmp_path / "truth" / split).glob("*.png"))
        assert len(truths) == 2
        for kind, count in (("box", 1), ("noisy_box", 3), ("point_1", 3)):
            ious, stabilities = [], []
            for truth in truths:
                target = np.asarray(Image.open(truth)) > 0
                ends = [f"_{kind}{f'_{i}' if i else ''}.png" for i in range(count)]
                files = [tmp_path / "masks" / split / f"{truth.stem}{end}" for end in ends]
                masks = np.stack([np.asarray(Image.open(file)) > 0 for file in files])
                ious.append(np.mean([(m & target).sum() / (m | target).sum() for m in masks]))
                union = masks.any(0).sum()
                stabilities.append(masks.sum() / (count * union) if union else 0)
            found = results[split]
            assert found[f"{kind}/mIoU"] == pytest.approx(np.mean(ious), abs=1e-9)
            if count > 1:
                assert found[f"{kind}/mSF"] == pytest.approx(np.mean(stabilities), abs=1e-9)
