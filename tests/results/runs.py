"""Results with plain numbers, as files of a folder."""

import dataclasses
from pathlib import Path

from rgbx.results import (
    CheckpointRecord,
    DataRecord,
    ModelRecord,
    Run,
    TestResult,
    make_result,
    write_result,
)

IDS = "one confusion matrix over the whole set, 9 ids incl. 0"
PROTOCOL = {"miou": IDS, "miou_image": "per image, then the mean", "choice": "its val list"}


def semantic(
    miou: float,
    seed: int | None = 0,
    images: int = 393,
    dataset: str = "MFNet",
    protocol: dict[str, str] = PROTOCOL,
    settings: dict[str, object] | None = None,
    file: str = "best.ckpt",
    **arguments: object,
) -> TestResult:
    """TASeg with day 0.1 above and night 0.1 below the whole; mIoU per image 0.05 above."""
    subsets = {"all": miou, "day": miou + 0.1, "night": miou - 0.1}
    if dataset != "MFNet":
        subsets = {"all": miou}
    return make_result(
        paper="taseg",
        model=ModelRecord("rgbx.models.taseg.module.TASeg", {"encoder": "vit_b", **arguments}),
        data=DataRecord(f"rgbx.data.{dataset}", "root", {"test": images}, ("a", "b")),
        checkpoint=CheckpointRecord(file, f"{miou}{seed}{file}", epoch=1, step=2),
        scores={
            "test": {k: {"miou": v, "miou_image": v + 0.05} for k, v in subsets.items()},
        },
        protocol=protocol,
        seed=seed,
        settings=settings,
    )


def salient(s: float, mae: float, sizes: dict[str, int], **changes: object) -> TestResult:
    """SAMSOD on the given splits, the same four scores on each."""
    scores = {"S": s, "maxF": s - 0.01, "maxE": s + 0.01, "MAE": mae, "wF": 0.5}
    result = make_result(
        paper="samsod",
        model=ModelRecord("rgbx.models.samsod.module.SAMSOD", {"encoder": "hiera_l"}),
        data=DataRecord("rgbx.data.VT5000", "root", dict(sizes), ("background", "salient")),
        checkpoint=CheckpointRecord("best.ckpt", f"{s}{mae}", epoch=1, step=2),
        scores={split: {"all": scores} for split in sizes},
        protocol={name: f"how {name} is made" for name in scores},
        seed=0,
    )
    return dataclasses.replace(result, **changes)


def runs_of(*results: TestResult) -> list[Run]:
    """The results as if found in the folders 0, 1, 2, ..."""
    return [Run(Path(f"{i}/test.json"), result) for i, result in enumerate(results)]


def written(folder: Path, *results: TestResult) -> list[Path]:
    """``folder/NUMBER/version_0/test.json`` for each."""
    paths = [folder / str(i) / "version_0" / "test.json" for i in range(len(results))]
    for path, result in zip(paths, results, strict=True):
        write_result(path, result)
    return paths
