"""After a test: the benchmark table on the terminal, ``test.json`` on disk."""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from rgbx.data.base import RGBXDataModule
from rgbx.models.base import RGBXModule
from rgbx.results import (
    CheckpointRecord,
    DataRecord,
    ModelRecord,
    benchmark_table,
    class_table,
    load_published,
    make_result,
    sha256_of,
    to_terminal,
    write_result,
)

__all__ = ["paper_of", "report_test"]


def report_test(
    model: RGBXModule, data: RGBXDataModule, checkpoint: Path, folder: Path, seed: int | None
) -> None:
    """Print the benchmark table and the per-class table, and write ``test.json``.

    Args:
        model: after ``trainer.test``; its ``results`` are reported.
        data: what it was tested on.
        checkpoint: the file that was tested.
        folder: gets ``test.json``.
        seed: of the run.
    """
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    protocol = dict(model.protocol())
    if data.blank:
        protocol["ablation"] = f"{data.blank} was blanked (replaced by its mean) in every image"
    result = make_result(
        paper=paper_of(model),
        model=ModelRecord(_path_of(model), dict(model.hparams)),
        data=DataRecord(_path_of(data), data.root.name, data.split_sizes, tuple(data.class_names)),
        checkpoint=CheckpointRecord(
            checkpoint.name, sha256_of(checkpoint), stored["epoch"], stored["global_step"]
        ),
        scores=model.results,
        protocol=protocol,
        seed=seed,
    )
    write_result(folder / "test.json", result)
    published = load_published(result.paper)
    console = Console()
    for split in result.numbers:
        console.print(to_terminal(benchmark_table(result, published, split)))
        if result.classes.get(split):
            console.print(to_terminal(class_table(result, split)))
    if data.blank:
        console.print(f"Ablation: {protocol['ablation']}.")
    console.print(f"written: {folder / 'test.json'}", soft_wrap=True)


def paper_of(model: RGBXModule) -> str:
    """Folder name of the paper whose class this is, or derives from."""
    for cls in type(model).__mro__:
        if cls.__module__.startswith("rgbx.models.") and cls.__module__.count(".") > 2:
            return cls.__module__.split(".")[2]
    return type(model).__name__.lower()


def _path_of(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
