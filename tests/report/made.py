"""Runs and tests on disk as `rgbx fit` and `rgbx test` leave them, without training anything."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from rgbx.results import CheckpointRecord, ClassScore, DataRecord, ModelRecord, TestResult
from rgbx.results import write_result as write

CLASSES = ("unlabelled", "car", "person")
PALETTE = (0, 0, 0, 64, 0, 128, 64, 64, 0)
SEMANTIC = ("miou", "macc", "miou_image")


def result(numbers: dict, **changes) -> TestResult:
    """A result of TASeg on MFNet with the given numbers (split -> subset -> score)."""
    facts = {
        "rgbx": "0.1",
        "paper": "taseg",
        "date": "2026-01-02T03:04:05+00:00",
        "seed": 0,
        "versions": {"torch": "2.6"},
        "model": ModelRecord("rgbx.models.taseg.module.TASeg", {"encoder": "tiny"}),
        "data": DataRecord("rgbx.data.datasets.mfnet.MFNet", "MFNet", {"test": 4}, CLASSES),
        "checkpoint": CheckpointRecord("best.ckpt", "ab" * 32, epoch=4, step=120),
        "protocol": {"miou": "one matrix", "miou_image": "mean over the images"},
        "numbers": numbers,
        "classes": {},
    }
    return TestResult(**facts | changes)


def semantic_test(folder: Path, count: int = 4, size: int = 24, **changes) -> Path:
    """A test of TASeg: `count` images of `size` pixels; image i has i wrong columns of `size`."""
    rows = []
    for i in range(count):
        wrong = i % size
        truth = np.zeros((size, size), np.uint8)
        truth[4:12] = 1
        truth[16:20] = 2
        truth[0, 0] = 255
        found = truth.copy()
        found[:, :wrong] = (truth[:, :wrong] + 1) % 3
        rgb = np.zeros((size, size, 3), np.uint8)
        rgb[..., 0], rgb[..., 1] = np.mgrid[:size, :size] * 10 % 256
        rgb[..., 2] = i % 256
        name = f"{i:05d}{'DN'[i % 2]}"
        panel(folder / "data/rgb" / f"{name}.png", rgb)
        panel(folder / "data/x" / f"{name}.png", rgb[..., 0])
        panel(folder / "truth" / f"{name}.png", truth, PALETTE)
        panel(folder / "masks" / f"{name}.png", found, PALETTE)
        rows.append(
            {
                **{"split": "test", "subset": ("day", "night")[i % 2], "name": name},
                **{"rgb": folder / f"data/rgb/{name}.png", "x": folder / f"data/x/{name}.png"},
                **{"mask": "", "truth": f"truth/{name}.png", "prediction": f"masks/{name}.png"},
                **{"acc": 1 - wrong / size, "miou_image": round(1 - wrong / size, 4)},
            }
        )
    table(folder / "images.csv", rows)
    scores = dict.fromkeys(SEMANTIC, 0.5)
    numbers = {"test": {"all": scores, "day": scores, "night": dict.fromkeys(SEMANTIC, 0.25)}}
    numbers = changes.pop("numbers", numbers)
    classes = tuple(ClassScore(name, 0.1 * i, 0.2, 10 * i) for i, name in enumerate(CLASSES))
    changes = {"classes": {"test": {"all": classes}}} | changes
    write(folder / "test.json", result(numbers, **changes))
    return folder


def saliency_test(folder: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    """A test of SAMSOD without images, with curves."""
    scores = {"S": 0.9, "maxF": 0.8, "maxE": 0.9, "MAE": 0.05}
    made = result(
        {split: {"all": scores} for split in names},
        paper="samsod",
        model=ModelRecord("rgbx.models.samsod.module.SAMSOD", {}),
        data=DataRecord(
            "rgbx.data.datasets.vt5000.VT5000", "VT", dict.fromkeys(names, 2), ("", "object")
        ),
    )
    write(folder / "test.json", made)
    lines = [
        {"split": split, "threshold": t / 4, "precision": 0.5 + t / 8, "recall": 1 - t / 4}
        | {"F": 0.5, "E": 0.6}
        for split in names
        for t in range(5)
    ]
    table(folder / "curves.csv", lines)
    return folder


def prompted_test(folder: Path) -> Path:
    """A test of Stable-SAM: one image, two kinds of prompts."""
    rgb = np.full((20, 30, 3), 90, np.uint8)
    truth = np.zeros((20, 30), np.uint8)
    truth[5:15, 5:25] = 255
    panel(folder / "data/a.png", rgb)
    panel(folder / "truth/a.png", truth)
    row = {"split": "DIS", "subset": "", "name": "a", "rgb": folder / "data/a.png", "x": ""}
    row |= {"mask": "", "truth": "truth/a.png"}
    for kind in ("box", "point_1"):
        panel(folder / f"masks/a_{kind}.png", truth)
        row[f"prediction/{kind}"] = f"masks/a_{kind}.png"
    row |= {"box/mIoU": 0.75, "box/mBIoU": 0.5}
    row |= {"point_1/mIoU": 0.25, "point_1/mBIoU": 0.125, "point_1/mSF": 0.5}
    table(folder / "images.csv", [row])
    numbers = {name: value for name, value in row.items() if "/m" in name}
    made = result(
        {"DIS": {"all": numbers}},
        paper="stable_sam",
        model=ModelRecord("rgbx.models.stable_sam.module.StableSAM", {}),
        data=DataRecord("rgbx.data.datasets.hqseg.HQSeg44K", "HQ", {"DIS": 1}, ("", "object")),
    )
    write(folder / "test.json", made)
    return folder


def trained_run(folder: Path, epochs: int = 3, of: int = 3, surgery: bool = False) -> Path:
    """A run that was trained for some of its epochs."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").write_bytes(b"weights")
    (folder / "config.yaml").write_text(f"trainer: {{max_epochs: {of}, max_steps: -1}}\n")
    lines = []
    for epoch in range(epochs):
        step = 10 * epoch
        lines.append({"epoch": epoch, "step": step, "train/loss": 1 / (1 + epoch), "val/miou": ""})
        lines.append({"epoch": epoch, "step": step, "train/loss": "", "val/miou": 0.1 * epoch})
    table(folder / "metrics.csv", lines)
    if surgery:
        rows = [
            {"step": step, "rgb/cos_rgb_fusion": -0.5 + step / 10, "rgb/conflict": 0.5}
            | {"ratio": 1 + step}
            for step in range(5)
        ]
        table(folder / "surgery.csv", rows)
    return folder


def panel(path: Path, pixels: np.ndarray, palette: tuple[int, ...] = ()) -> Path:
    """Write an image file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette([*palette, *[99] * (768 - len(palette))])  # 8 bits, as 255 needs
    image.save(path)
    return path


def table(path: Path, rows: list[dict]) -> Path:
    """Write a CSV file, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path
