"""A promptable model from configuration files, for commands that need no trainer."""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from rgbx.checkpoints.load import load_checkpoint, weights_follow
from rgbx.cli.config.config_file import ConfigError
from rgbx.cli.config.config_parser import RGBXParser
from rgbx.cli.config.constructed import own_sentences
from rgbx.data.options import as_triple
from rgbx.data.source import Source
from rgbx.data.transforms.normalise import Triple
from rgbx.errors import RGBXError
from rgbx.tasks import RGBXModule
from rgbx.tasks.promptable import PromptableModule

__all__ = ["build", "data_colours", "data_size"]


def data_size(configs: Sequence[dict[str, Any]]) -> int | None:
    """Longer side of the data's images in the last configuration that says so.

    Raises:
        ConfigError: what it says is no height and width.
    """
    for config in reversed(configs):
        size = _data_options(config).get("size")
        if not size:
            continue
        if not isinstance(size, list) or not all(type(side) is int for side in size):
            raise ConfigError(f"data.size is {size}: give height and width, such as [480, 640].")
        return int(max(size))
    return None


def data_colours(
    configs: Sequence[dict[str, Any]], trained_on: Mapping[str, Any] | None = None
) -> tuple[Triple, Triple]:
    """Mean and std of rgb that the configurations say, else the training's, else ImageNet's.

    Args:
        configs: the later ones replace what the earlier ones say.
        trained_on: ``inputs`` of a checkpoint.

    Raises:
        ConfigError: what they say is no number, and not three.
    """
    stored = trained_on or {}
    found = {
        name: as_triple(stored.get(name, getattr(Source, name))) for name in ("rgb_mean", "rgb_std")
    }
    for config in configs:
        options = _data_options(config)
        for name in found:
            value = options.get(name)
            if value is None:
                continue
            numbers = value if isinstance(value, list) and len(value) == 3 else [value]
            if not all(isinstance(number, int | float) for number in numbers):
                raise ConfigError(f"data.{name} is {value}: give one number or three.")
            found[name] = as_triple(value)
    return found["rgb_mean"], found["rgb_std"]


def _data_options(config: dict[str, Any]) -> dict[str, Any]:
    """What a configuration gives the data module; nothing where it names a class alone."""
    data = config.get("data")
    if not isinstance(data, dict):
        return {}
    options: dict[str, Any] = data.get("init_args") or data
    return options


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
    parser = RGBXParser()
    parser.add_subclass_arguments(RGBXModule, "model", required=True)
    given = [config["model"] for config in configs if config.get("model")]
    texts = [
        text
        for model in given
        for text in ("--model", model if isinstance(model, str) else json.dumps(model))
    ]
    with own_sentences(), weights_follow() if checkpoint else nullcontext():
        model = parser.instantiate(parser.parse_args([*texts, *options])).model
    if not isinstance(model, PromptableModule):
        raise RGBXError(f"{type(model).__name__} takes no prompts; give a model such as StableSAM.")
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
