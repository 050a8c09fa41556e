"""A promptable model from configuration files, for commands that need no trainer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from rgbx.cli.messages import explain
from rgbx.data.normalise import Triple
from rgbx.data.options import as_triple
from rgbx.data.source import Source
from rgbx.errors import RGBXError
from rgbx.models import RGBXModule
from rgbx.models.checkpoint_load import load_checkpoint
from rgbx.models.promptable import PromptableModule

__all__ = ["build", "data_colours", "data_size", "read_configs"]


def read_configs(paths: Sequence[str]) -> list[dict[str, Any]]:
    """The contents of configuration files.

    Raises:
        RGBXError: a file is missing or no YAML.
    """
    found = []
    for path in paths:
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise RGBXError(f"The configuration {path} cannot be read: {reason}") from error
        found.append(content if isinstance(content, dict) else {})
    return found


def data_size(configs: Sequence[dict[str, Any]]) -> int | None:
    """Longer side of the data's pictures in the last configuration that says so."""
    for config in reversed(configs):
        data = config.get("data") or {}
        size = (data.get("init_args") or data).get("size")
        if size:
            return int(max(size))
    return None


def data_colours(
    configs: Sequence[dict[str, Any]], trained_on: Mapping[str, Any] | None = None
) -> tuple[Triple, Triple]:
    """Mean and std of rgb that the configurations say, else the training's, else ImageNet's.

    Args:
        configs: the later ones replace what the earlier ones say.
        trained_on: ``inputs`` of a checkpoint.
    """
    stored = trained_on or {}
    found = {
        name: as_triple(stored.get(name, getattr(Source, name))) for name in ("rgb_mean", "rgb_std")
    }
    for config in configs:
        data = config.get("data") or {}
        options = data.get("init_args") or data
        for name in found:
            if options.get(name) is not None:
                found[name] = as_triple(options[name])
    return found["rgb_mean"], found["rgb_std"]


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
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(RGBXModule, "model", required=True)
    given = [config["model"] for config in configs if config.get("model")]
    texts = [text for model in given for text in ("--model", json.dumps(model))]
    try:
        model = parser.instantiate(parser.parse_args([*texts, *options])).model
    except ArgumentError as error:
        raise RGBXError(explain(str(error))) from error
    except ValueError as error:
        if isinstance(error.__cause__, RGBXError):  # a constructor's own sentence
            raise error.__cause__ from error
        raise
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
