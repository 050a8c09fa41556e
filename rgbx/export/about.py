"""What a file says about itself: enough to feed it and to read its answers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import rgbx
from rgbx.export.part import Part
from rgbx.tasks import PromptableModule, RGBXModule, SemanticModule

__all__ = ["about"]


def about(
    model: RGBXModule,
    part: Part,
    size: Sequence[int],
    files: Sequence[str],
    facts: Mapping[str, Any],
) -> str:
    """JSON that is kept inside an exported file.

    Args:
        model: that was exported.
        part: what is in this file.
        size: (H,W) that the images have to have.
        files: names of all files of the model.
        facts: of data and checkpoint, as plain values.
    """
    task = "saliency"
    if isinstance(model, PromptableModule):
        task = "prompts"
    elif isinstance(model, SemanticModule):
        task = "semantic"
    known = {
        "rgbx": rgbx.__version__,
        "model": type(model).__name__,
        "encoder": model.hparams.get("encoder"),
        "task": task,
        "part": part.name or None,
        "files": list(files),
        "size": list(size),
        "inputs": {port.name: port.describe() for port in part.inputs},
        "outputs": {part.output.name: part.output.describe()},
    }
    return json.dumps(known | dict(facts), indent=1, ensure_ascii=False)
