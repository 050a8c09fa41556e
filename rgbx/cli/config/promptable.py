"""A promptable model from configuration files, for commands that need no trainer."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from rgbx.checkpoints.load import load_checkpoint, weights_follow
from rgbx.cli.config.config_file import ConfigError
from rgbx.cli.config.config_parser import build_one
from rgbx.cli.config.renamed import with_new_names
from rgbx.data.options import as_triple
from rgbx.data.source import Source
from rgbx.data.transforms.normalise import Triple
from rgbx.errors import RGBXError
from rgbx.tasks import RGBXModule
from rgbx.tasks.coco import promptable
from rgbx.tasks.promptable import PromptableModule

__all__ = ["build", "data_inputs"]


def data_inputs(
    configs: Sequence[dict[str, Any]], trained_on: Mapping[str, Any] | None = None
) -> tuple[int | None, tuple[Triple, Triple]]:
    """Longer side of the input, and mean and std of rgb.

    What the configurations say counts, the last one first; else what the training had.

    Args:
        configs: as `read_configs` returns them.
        trained_on: ``inputs`` of a checkpoint.

    Returns:
        The side, or None where nobody says; the mean and std, ImageNet's where nobody says.

    Raises:
        ConfigError: a value is no size, or no number for each channel.
    """
    said = dict(trained_on or {})
    for config in configs:
        data = config.get("data")
        if isinstance(data, dict):
            options = data.get("init_args") or data
            said |= {k: v for k, v in options.items() if v is not None}
    size = said.get("size") or [0]
    if not isinstance(size, list) or not all(type(side) is int for side in size):
        raise ConfigError(f"data.size is {size}: give height and width, such as [480, 640].")
    mean, std = (_triple(name, said.get(name)) for name in ("rgb_mean", "rgb_std"))
    return max(size) or None, (mean, std)


def _triple(name: str, value: Any) -> Triple:
    if value is None:
        return as_triple(getattr(Source, name))
    numbers = value if isinstance(value, list | tuple) and len(value) == 3 else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ConfigError(f"data.{name} is {value}: give one number or three.")
    return as_triple(value)


def build(
    configs: Sequence[dict[str, Any]],
    options: Sequence[str],
    checkpoint: Path | None,
    device: str,
    override: bool = False,
) -> PromptableModule:
    """A model as configurations and options describe it, with the weights of a checkpoint.

    Args:
        configs: the later ones replace what the earlier ones say.
        options: ``--model.OPTION VALUE`` and the like.
        checkpoint: trained weights, or None for the model as it is built (announced).
        device: "cpu", "cuda", ...; "auto" is a GPU where there is one.
        override: options may change what the checkpoint's model computes.

    Returns:
        The model on its device, in eval mode.

    Raises:
        RGBXError: the configuration has no model, a wrong one, or one that takes no prompts; the
            device does not exist.
        WeightsError: the checkpoint is another model's.
    """
    texts: list[str] = []
    named = (with_new_names(config)[0] for config in configs)
    for model in filter(None, (config.get("model") for config in named)):
        texts += ["--model", model if isinstance(model, str) else json.dumps(model)]
    with weights_follow() if checkpoint else nullcontext():
        model = promptable(build_one(RGBXModule, "model", [*texts, *options]))
    if checkpoint is None:
        print("no --ckpt_path: the model is as its configuration makes it")
    else:
        model.override = override
        load_checkpoint(model, checkpoint)
    return model.to(_device(device)).eval()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # how torch says that a device is not there
        reason = str(error).splitlines()[0]
        raise RGBXError(f"--device {name} cannot be used: {reason}") from error
    return torch.device(name)
