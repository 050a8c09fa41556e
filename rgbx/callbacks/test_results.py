"""After a test: tables on the terminal, ``test.json`` and threshold curves on disk."""

import csv
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from torch import Tensor

from rgbx.callbacks.selection import choice_of
from rgbx.checkpoints.file import read_checkpoint
from rgbx.class_path import path_of
from rgbx.data.base import RGBXDataModule
from rgbx.disk import sha256_of, whole_file
from rgbx.results import (
    CheckpointRecord,
    DataRecord,
    ModelRecord,
    Published,
    Table,
    TestResult,
    benchmark_tables,
    class_table,
    combined_tables,
    groups_of,
    has_prompts,
    make_result,
    missing_tables,
    prompt_tables,
    published_of,
    write_result,
)
from rgbx.results.render.output import print_tables
from rgbx.tasks.base import RGBXModule
from rgbx.visualization.curves import Panel, draw_curves

__all__ = ["checkpoint_record", "write_scores", "write_test_results"]

Curves = Mapping[str, Mapping[str, Tensor]]  # split -> precision, F, Dice ... -> (256,)


def write_test_results(
    model: RGBXModule,
    data: RGBXDataModule,
    checkpoint: Path | None,
    folder: Path,
    seed: int | None,
    settings: Mapping[str, Any] | None = None,
    missing: Mapping[str, Any] | None = None,
) -> None:
    """Print benchmark tables, and per-class tables if there are classes; write ``test.json``.

    A model whose ``curves()`` are not empty also leaves ``curves.csv`` and ``curves.png``.

    Args:
        model: after ``trainer.test``; its ``results`` are reported.
        data: what it was tested on.
        checkpoint: the file that was tested; None for a model as it was built.
        folder: gets the files.
        seed: of the run.
        settings: what else makes the run, as dotted keys.
        missing: modality that was taken away -> scores without it.
    """
    result = _result(model, data, checkpoint, seed, settings, missing)
    write_scores(result, folder, model.curves())


def write_scores(result: TestResult, folder: Path, curves: Curves) -> None:
    """Print the tables of a result; write ``test.json``, and curves if there are any.

    Args:
        result: of a test, or of a folder of predictions.
        folder: gets the files.
        curves: split -> name -> (256,) values over thresholds.
    """
    write_result(folder / "test.json", result)
    written = [folder / "test.json", *_write_curves(folder, curves)]
    print_tables(_without_repetition(_tables(result, published_of(result))))
    console = Console()
    if "ablation" in result.protocol:
        console.print(f"Ablation: {result.protocol['ablation']}.")
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True)


def _result(
    model: RGBXModule,
    data: RGBXDataModule,
    checkpoint: Path | None,
    seed: int | None,
    settings: Mapping[str, Any] | None,
    missing: Mapping[str, Any] | None = None,
) -> TestResult:
    stored = {} if checkpoint is None else read_checkpoint(checkpoint, mmap=True)
    trained_on = stored.get("rgbx", {}).get("data", {})
    protocol = _input_of(data) | dict(model.protocol())
    if checkpoint is None:
        protocol["choice"] = "nothing: the model is untrained, as its weights and arguments make it"
    elif choice := choice_of(stored, checkpoint.name):
        protocol["choice"] = choice
    split_note = getattr(data, "split_note", "")
    if split_note:
        protocol["split"] = split_note
    instead = "its mean" if data.blank_with == "mean" else "noise"
    if missing:
        protocol["missing"] = (
            f"without RGB, without X: that modality is replaced by {instead} in every image"
        )
    if data.blank:
        protocol["ablation"] = f"{data.blank} was blanked (replaced by {instead}) in every image"
    return make_result(
        paper=model.paper,
        model=ModelRecord(path_of(model), dict(model.hparams)),
        data=DataRecord(
            path_of(data),
            data.root.name,
            data.split_sizes,
            tuple(data.class_names),
            supervision=_supervision(trained_on, data),
        ),
        checkpoint=checkpoint_record(checkpoint),
        scores=model.results,
        protocol=protocol,
        seed=seed,
        settings=settings,
        published=_own_file(model),
        missing=missing,
    )


def checkpoint_record(checkpoint: Path | None) -> CheckpointRecord:
    """What a result remembers of the tested file; "none" for a model as it was built."""
    if checkpoint is None:
        return CheckpointRecord("none", "", epoch=None, step=None)
    stored = read_checkpoint(checkpoint, mmap=True)
    return CheckpointRecord(
        checkpoint.name,
        sha256_of(checkpoint),
        stored["epoch"],
        stored["global_step"],
    )


def _input_of(data: RGBXDataModule) -> dict[str, str]:
    """How images come to the network's size, where the data set leaves a choice."""
    ways = {
        "squash": "squashed, proportions not kept",
        "pad": "proportions kept, padded below and on the right",
    }
    mode = getattr(data, "resize_mode", None)
    if mode not in ways:
        return {}
    height, width = data.size
    return {"input": f"images of {width} x {height}, {ways[mode]}"}


def _supervision(
    trained_on: Mapping[str, Any], data: RGBXDataModule
) -> Literal["full", "scribble"]:
    scribbles = trained_on.get("scribbles", getattr(data, "scribbles", False))
    return "scribble" if scribbles else "full"


def _tables(result: TestResult, published: Published | None) -> Iterator[Table]:
    """All splits of maps side by side, then split by split, each followed by its classes.

    Scores of prompts have tables of their own.
    """
    if has_prompts(result):
        yield from prompt_tables(result, published)
        return
    overall = [scores["all"] for scores in result.numbers.values()]
    if len(overall) > 1 and all(map(groups_of, overall)):
        yield from combined_tables(result, published)
    for split in result.numbers:
        yield from benchmark_tables(result, published, split)
        if result.classes.get(split):
            yield class_table(result, split)
    yield from missing_tables(result)


def _without_repetition(tables: Iterator[Table]) -> Iterator[Table]:
    """Each note below the first table it belongs to; warnings (in capitals) below all of them."""
    seen: set[str] = set()
    for table in tables:
        notes = tuple(note for note in table.notes if note not in seen or note.isupper())
        seen.update(notes)
        yield dataclasses.replace(table, notes=notes)


def _write_curves(folder: Path, curves: Curves) -> list[Path]:
    """``curves.csv``, one line per split and threshold, and an image with one curve per split."""
    values = {
        split: {name: line.double().tolist() for name, line in lines.items()}
        for split, lines in curves.items()
    }
    names = tuple(dict.fromkeys(name for lines in values.values() for name in lines))
    if not names:  # no score with a threshold was asked for
        return []
    path = folder / "curves.csv"
    with whole_file(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("split", "threshold", *names))
        for split, lines in values.items():
            for level, row in enumerate(zip(*(lines[name] for name in names), strict=True)):
                writer.writerow((split, f"{level / 255:.6f}", *(f"{v:.6f}" for v in row)))
    draw_curves(_panels(values), folder / "curves.png")
    return [path, folder / "curves.png"]


def _panels(values: Mapping[str, Mapping[str, list[float]]]) -> list[Panel]:
    """Precision over recall, then F, E, Dice and IoU over the threshold, of what there is."""
    names = {name for lines in values.values() for name in lines}
    panels = []
    if {"precision", "recall"} <= names:
        pairs = {split: (lines["recall"], lines["precision"]) for split, lines in values.items()}
        panels.append(Panel("Precision and recall", "recall", "precision", pairs, (0, 1), (0, 1)))
    for name in ("F", "E", "Dice", "IoU"):
        if name in names:
            lines_of = {
                split: ([level / 255 for level in range(len(lines[name]))], lines[name])
                for split, lines in values.items()
            }
            title = f"{name} by threshold"
            panels.append(Panel(title, "threshold", name, lines_of, (0, 1), (0, 1)))
    return panels


def _own_file(model: RGBXModule) -> str:
    """Where the printed numbers of a model outside rgbx are; those of rgbx are found by name."""
    file = model.published
    return str(file) if file and "rgbx.models" not in type(model).__module__ else ""
