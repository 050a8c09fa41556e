"""The plug-in alone: from its options, and from a checkpoint, without a second SAM."""

from pathlib import Path

from rgbx.backbones.sam import sam_preset
from rgbx.checkpoints.file import read_checkpoint
from rgbx.checkpoints.load import loading
from rgbx.errors import WeightsError
from rgbx.models.stable_sam.options import PluginConfig
from rgbx.models.stable_sam.plugin import Plugin
from rgbx.tasks.base import as_config

__all__ = ["build_plugin", "load_plugin"]

_PREFIX = "network.plugin."


def build_plugin(dim: int, config: PluginConfig) -> Plugin:
    """An untrained plug-in.

    Args:
        dim: channels of the mask decoder, 256 in SAM.
        config: what it is made of.

    Raises:
        RGBXError: an option has a value that cannot work.
    """
    return Plugin(
        dim=dim,
        layers=config.layers,
        dsp_kind=config.dsp_kind if config.use_dsp else "none",
        use_drp=config.use_drp,
        max_offset=config.max_offset,
        amp=config.amp,
        border=config.border,
        resample_pe=config.resample_pe,
        init=config.init,
        learnable_scale=config.learnable_scale,
    )


def load_plugin(path: str | Path) -> Plugin:
    """The trained plug-in of a checkpoint of StableSAM, in evaluation mode on the CPU.

    No SAM is built or read: `attach` puts it on one that is there.

    Args:
        path: a checkpoint that `rgbx fit` wrote.

    Raises:
        WeightsError: the file is missing or damaged, holds no plug-in (another model's, or one of
            the baselines), or a mask decoder that was trained next to it, without which the plug-in
            is not what was tested.
    """
    stored = read_checkpoint(path)
    state = stored["state_dict"]
    own = {key.removeprefix(_PREFIX): v for key, v in state.items() if key.startswith(_PREFIX)}
    if not own:
        model = stored.get("rgbx", {}).get("model", "another model")
        raise WeightsError(f"{path} holds no plug-in: it is a checkpoint of {model} without one.")
    arguments = stored.get("hyper_parameters", {})
    if arguments.get("train_decoder"):
        raise WeightsError(
            f"{path} was trained with train_decoder: its mask decoder belongs to the plug-in; use "
            "StableSAM.load_from_checkpoint."
        )
    with loading(path):
        dim = sam_preset(str(arguments.get("encoder"))).decoder_dim
        plugin = build_plugin(dim, as_config(PluginConfig, arguments.get("plugin", {})))
        plugin.load_state_dict(own)
    return plugin.eval().requires_grad_(False)
