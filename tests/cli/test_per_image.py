"""``images.csv``: what a test scored image by image agrees with what it reports of the set."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from PIL import Image

from rgbx.callbacks.per_image import ImageRecorder
from rgbx.callbacks.predictions import PredictionWriter
from rgbx.data import VT5000, HQSeg44K, MFNet
from rgbx.models import SAMSOD, StableSAM, TASeg
from tests.report.made import panel


def scored(model, data, folder: Path, saved: bool = True) -> list[dict[str, str]]:
    """The lines of images.csv after a test of an untrained model."""
    callbacks = [PredictionWriter(folder)] if saved else []
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[*callbacks, ImageRecorder(folder, saved)],
    )
    trainer.test(model, data, verbose=False)
    with (folder / "images.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def mean(rows, name: str, **where) -> float:
    found = [float(r[name]) for r in rows if r[name] and all(r[k] == v for k, v in where.items())]
    return sum(found) / len(found)


def test_classes(mfnet_root, tmp_path):
    data = MFNet(str(mfnet_root), size=(64, 96), num_workers=0, eval_batch_size=3)
    model = TASeg(encoder="tiny", text_encoder="tiny")
    rows = scored(model, data, tmp_path / "out")
    assert len(rows) == 4 and {row["subset"] for row in rows} == {"day", "night"}
    for subset in ("day", "night"):
        expected = model.results["test"][subset]["miou_image"]
        assert mean(rows, "miou_image", subset=subset) == pytest.approx(expected, abs=1e-5)
    assert mean(rows, "acc") == pytest.approx(model.results["test"]["all"]["acc"], abs=1e-5)
    assert "miou" not in rows[0] and "iou" not in rows[0]
    for row in rows:
        found = np.asarray(Image.open(tmp_path / "out" / row["prediction"]))
        truth = np.asarray(Image.open(tmp_path / "out" / row["truth"]))
        assert (truth == np.asarray(Image.open(row["mask"]))).all()
        assert (found == truth).mean() == pytest.approx(float(row["acc"]), abs=1e-5)
        assert Path(row["rgb"]).is_file() and Path(row["x"]).is_file()
        assert Path(row["rgb"]).stem == row["name"]


@pytest.mark.slow
def test_maps_of_several_splits(vt5000_root, tmp_path):
    data = VT5000(str(vt5000_root), size=(64, 96), num_workers=0, eval_batch_size=2)
    model = SAMSOD(encoder="tiny")
    rows = scored(model, data, tmp_path / "out")
    *splits, whole = model.results
    assert list(dict.fromkeys(row["split"] for row in rows)) == splits and len(splits) == 3
    assert whole == "overall"
    for split in splits:
        for name in ("S", "adpE", "adpF", "wF", "MAE", "IoU", "Dice"):
            expected = model.results[split]["all"][name]
            assert mean(rows, name, split=split) == pytest.approx(expected, abs=1e-5)
    assert not {"maxF", "meanF", "maxE", "meanE"} & set(rows[0])
    for row in rows:
        assert row["truth"] == f"truth/{row['split']}/{row['name']}.png"
        found = np.asarray(Image.open(tmp_path / "out" / row["prediction"]))
        truth = np.asarray(Image.open(tmp_path / "out" / row["truth"]))
        assert found.shape == truth.shape and set(np.unique(truth)) <= {0, 255}
        assert (truth > 0).sum() == (np.asarray(Image.open(row["mask"]).convert("L")) > 127).sum()


def test_kinds_of_prompts(hqseg_root, tmp_path):
    data = HQSeg44K(str(hqseg_root), size=(64, 64), num_workers=0, eval_batch_size=2)
    model = StableSAM(
        encoder="tiny", points=64, evaluation={"kinds": ("box", "point_1"), "prompts": 3}
    )
    rows = scored(model, data, tmp_path / "out")
    assert list(dict.fromkeys(row["split"] for row in rows)) == list(data.test_splits)
    for split in data.test_splits:
        scores = model.results[split]["all"]
        names = [name for name in scores if name.rpartition("/")[2] in ("mIoU", "mBIoU", "mSF")]
        assert len(names) == 5  # a tight box is one prompt, so it has no stability
        for name in names:
            assert mean(rows, name, split=split) == pytest.approx(scores[name], abs=1e-5)
    for row in rows:
        assert (
            row["x"] == ""
            and row["prediction/box"] == f"masks/{row['split']}/{row['name']}_box.png"
        )
        found = np.asarray(Image.open(tmp_path / "out" / row["prediction/box"])) > 0
        truth = np.asarray(Image.open(tmp_path / "out" / row["truth"])) > 0
        union = (found | truth).sum()
        iou = (found & truth).sum() / union
        assert float(row["box/mIoU"]) == pytest.approx(iou, abs=1e-5)


def test_without_saved_predictions_there_are_scores_alone(mfnet_root, tmp_path):
    data = MFNet(str(mfnet_root), size=(64, 96), num_workers=0)
    rows = scored(TASeg(encoder="tiny", text_encoder="tiny"), data, tmp_path / "out", saved=False)
    assert not any(row.get("prediction") or row.get("truth") for row in rows)
    assert all(math.isfinite(float(row["miou_image"])) for row in rows)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["images.csv"]


@pytest.mark.slow
def test_unscored_pixels_survive_in_the_truth(mfnet_root, tmp_path):
    import shutil

    root = tmp_path / "MFNet"
    shutil.copytree(mfnet_root, root)
    name = (root / "test.txt").read_text().split()[0]
    (path,) = root.rglob(f"labels/{name}.png")
    ids = np.asarray(Image.open(path)).copy()
    ids[:5] = 255
    panel(path, ids)
    data = MFNet(str(root), size=(64, 96), num_workers=0)
    scored(TASeg(encoder="tiny", text_encoder="tiny"), data, tmp_path / "out")
    assert (np.asarray(Image.open(tmp_path / "out/truth" / f"{name}.png")) == ids).all()
