"""`rgbx score PREDICTIONS --data CLASS`: the scores of folders of maps or masks."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rgbx.errors import RGBXError

__all__ = ["score_maps"]


def score_maps(arguments: argparse.Namespace, rest: Sequence[str], argv: Sequence[str]) -> int:
    """Score every method in a folder, print its tables, and write its ``test.json``.

    Args:
        arguments: ``results`` (the folder), ``config``, ``scores``, ``output``.
        rest: options of the data set.
        argv: the whole command line.

    Raises:
        RGBXError: as `rgbx.tasks.scored_maps.score_folder`, or the data have boxes.
    """
    from rgbx.callbacks.test_results import write_scores
    from rgbx.class_path import path_of
    from rgbx.cli.check_data import data_of
    from rgbx.results import CheckpointRecord, DataRecord, ModelRecord, make_result
    from rgbx.tasks.map_evaluation import MapScoring
    from rgbx.tasks.scored_maps import find_methods, score_folder

    data = data_of(arguments.config, rest, argv)
    if data.has_boxes:
        raise RGBXError(
            f"{type(data).__name__} has boxes: give the results with --annotations FILE instead of "
            "--data."
        )
    if arguments.scores and not data.binary:
        raise RGBXError("--scores is of maps, and these data have masks of classes: leave it out.")
    scoring = MapScoring(tuple(arguments.scores or ("saliency",)))
    data.setup("test")
    methods = find_methods(arguments.results, data.test_splits)
    for name, folder in methods.items():
        scores, protocol, curves = score_folder(folder, data, scoring, progress=True)
        result = make_result(
            paper="others",
            model=ModelRecord(name.replace(".", "_"), {}),
            data=DataRecord(
                path_of(data), data.root.name, data.split_sizes, tuple(data.class_names)
            ),
            checkpoint=CheckpointRecord("predictions", "", epoch=None, step=None),
            scores=scores,
            protocol=protocol,
            settings={"predictions": name},
        )
        above = arguments.output or Path("runs") / "scores"
        alone = arguments.output is not None and len(methods) == 1
        write_scores(result, above if alone else above / name, curves)
    return 0
