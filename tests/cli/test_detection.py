"""A detector from the command line: training, tests, tables, files, resume, mistakes."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import tiny
from tests.cli.test_training_life import same, weights
from tests.profile.here import profiled_here

pytestmark = pytest.mark.slow

CONFIG = "unirgb_ir_flir.yaml"
COMMON = ["--trainer.max_epochs", "2", "--trainer.accumulate_grad_batches", "1"]
COMMON += ["--trainer.log_every_n_steps", "1", "--data.val_share", "0.3"]
COMMON += ["--model.cascade.convs", "1", "--model.rpn.candidates", "100"]
COMMON += ["--trainer.precision", "32-true", "--model.schedule.warmup_epochs", "0"]
COMMON += ["--model.optimizer.optimizer.lr", "1e-3"]


def last(base: Path, version: int = 0, config: str = CONFIG) -> Path:
    return base / f"runs/{Path(config).stem}/version_{version}/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, flir_root):
    """Two epochs of a tiny cascade, uninterrupted; the folder of the run."""
    from rgbx.cli import run

    folder, previous = tmp_path_factory.mktemp("detector"), Path.cwd()
    os.chdir(folder)
    os.environ.pop("RGBX_RUN_VERSION", None)
    try:
        assert run(["fit", *tiny(CONFIG, flir_root, *COMMON)]) == 0
        path = str(last(folder))
        argv = tiny(CONFIG, flir_root, *COMMON, "--ckpt_path", path, "--output", "out")
        assert run(["test", *argv, "--save_predictions", "true"]) == 0
    finally:
        os.chdir(previous)
        os.environ.pop("RGBX_RUN_VERSION", None)
    return folder


def test_losses_and_scores_are_logged(trained):
    header = (last(trained).parents[1] / "metrics.csv").read_text().splitlines()[0].split(",")
    losses = {f"train/{n}" for n in ("rpn_cls", "rpn_box", "s0_cls", "s2_box", "loss")}
    assert losses | {"val/AP", "val/AP50"} <= set(header)


def test_a_test_leaves_scores_curves_and_pictures(trained, flir_root):
    out = trained / "out"
    content = json.loads((out / "test.json").read_text())
    scores = content["numbers"]["test"]["all"]
    assert set(scores) == {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP50_image"}
    classes = content["classes"]["test"]["all"]
    assert [one["name"] for one in classes] == ["car", "person", "bicycle"]
    assert all(set(one["scores"]) == {"AP", "AP50"} for one in classes)
    with (out / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 256 and set(rows[0]) == {"split", "threshold", "precision", "recall"}
    with (out / "images.csv").open() as file:
        images = list(csv.DictReader(file))
    assert len(images) == 4 and "AP50_image" in images[0]
    for row in images:
        assert Image.open(out / row["prediction"]).size == (96, 64)
        assert Image.open(out / row["truth"]).size == (96, 64)
    values = [float(row["AP50_image"]) for row in images if row["AP50_image"]]
    assert np.mean(values) == pytest.approx(scores["AP50_image"], abs=1e-5)


def test_written_detections_score_as_the_test_did(trained, flir_root, tmp_path, capfd, rgbx):
    from rgbx import FLIR
    from rgbx.tasks.box_results import score_results

    out = trained / "out"
    known = json.loads((out / "images.json").read_text())
    data = FLIR(str(flir_root), size=(64, 96))
    records = {r.rgb.name: r for r in data.find_records("test")}
    rows = []
    for image in known["images"]:
        found = data.read_annotation(records[image["file_name"]])
        pairs = zip(found.boxes.tolist(), found.labels.tolist(), strict=True)
        for (x1, y1, x2, y2), label in pairs:
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "category_id": label}
            rows.append({"id": len(rows), "image_id": image["id"]} | box)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(known | {"annotations": rows}))
    scores, _ = score_results(out / "detections.json", path)
    wanted = json.loads((out / "test.json").read_text())["numbers"]["test"]["all"]
    for name in ("AP", "AP50", "AP50_image"):  # coordinates are written to hundredths
        assert scores["all"][name] == pytest.approx(wanted[name], abs=0.02)
    assert rgbx("score", out / "detections.json", "--annotations", path) == 0
    assert "AP50" in "".join(capfd.readouterr())
    other = json.loads(path.read_text())
    other["images"] = [i | {"id": i["id"] + 100} for i in other["images"]]
    other["annotations"] = []
    path.write_text(json.dumps(other))
    assert rgbx("score", out / "detections.json", "--annotations", path) == 1
    assert "another set" in "".join(capfd.readouterr())


def test_ids_of_a_coco_file_are_kept(trained, flir_root, rgbx, tmp_path):
    """UniRGB-IR's layout of FLIR: images and classes have numbers of their own there."""
    import shutil

    from rgbx import FLIR
    from rgbx.tasks.box_results import score_results

    data = FLIR(str(flir_root), size=(64, 96))
    root, order = tmp_path / "FLIR_align", ["person", "bicycle", "car"]
    (root / "test").mkdir(parents=True)
    images, rows = [], []
    for number, record in enumerate(data.find_records("test"), 500):
        for path in (record.rgb, record.x):
            shutil.copy(path, root / "test" / path.name)
        names = {"file_name": record.rgb.name, "file_name_lwir": record.x.name}
        images.append({"id": number, "height": 64, "width": 96} | names)
        found = data.annotation(record)
        for name, (x1, y1, x2, y2) in zip(found.names, found.corners.tolist(), strict=True):
            owner = {"image_id": number, "category_id": order.index(name) + 4}
            rows.append({"id": len(rows), "bbox": [x1, y1, x2 - x1, y2 - y1]} | owner)
    categories = [{"id": i + 4, "name": n} for i, n in enumerate(order)]
    truth = root / "Annotation_test.json"
    content = {"images": images, "annotations": rows, "categories": categories}
    truth.write_text(json.dumps(content))
    argv = tiny(CONFIG, root, *COMMON, "--ckpt_path", str(last(trained)), "--output", "o")
    assert rgbx("test", *argv, "--save_predictions", "true") == 0
    found = json.loads((tmp_path / "o/detections.json").read_text())
    assert {e["image_id"] for e in found} <= set(range(500, 504))
    assert {e["category_id"] for e in found} <= {4, 5, 6}
    named = json.loads((tmp_path / "o/images.json").read_text())["categories"]
    assert {c["name"]: c["id"] for c in named} == {"car": 6, "person": 4, "bicycle": 5}
    scores, _ = score_results(tmp_path / "o/detections.json", truth)
    wanted = json.loads((tmp_path / "o/test.json").read_text())["numbers"]["test"]["all"]
    assert scores["all"]["AP50_image"] == pytest.approx(wanted["AP50_image"], abs=0.02)


def test_table_report_and_prediction(trained, flir_root, rgbx, tmp_path, capfd):
    assert rgbx("table", trained / "out/test.json") == 0
    assert "UniRGBIRDetection" in "".join(capfd.readouterr())
    assert rgbx("report", trained / "out", "--output", tmp_path / "report") == 0
    page = (tmp_path / "report/index.html").read_text()
    assert "AP50_image" in page and "Precision and recall" in page
    argv = tiny(CONFIG, flir_root, *COMMON, "--ckpt_path", str(last(trained)))
    assert rgbx("predict", *argv, "--output", "seen") == 0
    found = json.loads((tmp_path / "seen/detections.json").read_text())
    assert {e["file_name"] for e in found} <= {p.name for p in flir_root.rglob("*_RGB.jpg")}
    for entry in found:
        x, y, w, h = entry["bbox"]
        assert x >= 0 and y >= 0 and x + w <= 96.01 and y + h <= 64.01 and entry["score"] > 0.05
    assert len(list((tmp_path / "seen/overlays").glob("*.png"))) == 16


@pytest.mark.parametrize("workers", ["0", "2"])
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(
    trained, flir_root, rgbx, tmp_path, workers
):
    argv = tiny(CONFIG, flir_root, *COMMON, "--data.num_workers", workers)
    assert rgbx("fit", *argv, "--trainer.callbacks+=tests.cli.stopping.StopAfterEpoch") == 0
    middle = last(tmp_path)
    assert torch.load(middle, weights_only=True)["epoch"] == 0
    assert rgbx("fit", *argv, "--ckpt_path", middle) == 0
    resumed = sorted(tmp_path.glob("runs/*/version_*/checkpoints/last.ckpt"))[-1]
    assert same(weights(resumed), weights(last(trained)))
    assert not same(weights(middle), weights(last(trained)))


def test_pedestrians_are_scored_by_day_and_night(kaist_root, rgbx, tmp_path):
    config = "unirgb_ir_kaist.yaml"
    small = ["--model.head", "fcos", "--model.evaluation.miss_rate.min_height", "10"]
    argv = tiny(config, kaist_root, *COMMON, *small, "--trainer.max_epochs", "1")
    assert rgbx("fit", *argv) == 0
    assert rgbx("test", *argv, "--ckpt_path", last(tmp_path, config=config), "--output", "o") == 0
    content = json.loads((tmp_path / "o/test.json").read_text())
    assert set(content["numbers"]["test"]) == {"all", "day", "night"}
    assert "MR" in content["numbers"]["test"]["night"] and "10" in content["protocol"]["MR"]
    assert [one["name"] for one in content["classes"]["test"]["all"]] == ["person"]


def test_profile_counts_every_box(flir_root, capfd):
    argv = tiny(CONFIG, flir_root, *COMMON)
    assert profiled_here(["profile", *argv]) == 0
    text = "".join(capfd.readouterr())
    assert "heads" in text and "G MAC" in text


@pytest.mark.parametrize(
    ("model", "data", "said"),
    [
        ("UniRGBIRDetection", "MFNet", "UniRGBIRDetection needs boxes, and MFNet has masks"),
        ("UniRGBIRSemantic", "FLIR", "UniRGBIRSemantic needs masks, and FLIR has boxes"),
        ("UniRGBIRSaliency", "FLIR", "UniRGBIRSaliency needs masks, and FLIR has boxes"),
    ],
)
def test_boxes_are_no_masks(mfnet_root, flir_root, rgbx, capfd, model, data, said):
    root = mfnet_root if data == "MFNet" else flir_root
    argv = ["--model", model, "--model.encoder", "tiny", "--data", data, "--data.root", str(root)]
    argv += ["--data.size", "[64, 96]", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    assert rgbx("fit", *argv) == 1
    assert said in " ".join("".join(capfd.readouterr()).split())
