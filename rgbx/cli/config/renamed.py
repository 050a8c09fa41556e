"""Options of models under the names that they had before they were put into groups."""

from collections.abc import Mapping, Sequence
from typing import Any

from rgbx.cli.config.config_file import read_config

__all__ = ["model_of", "new_argument", "with_new_names"]

_CONTRAST = (
    "token_weight",
    "sample_weight",
    "token_temperature",
    "sample_temperature",
    "num_tokens",
    "token_target",
    "symmetric",
    "exclude_radius",
    "layer_weights",
    "sample_views",
    "sample_pool",
    "queue",
    "projection",
)
_ADAPTOR = (
    "scale_factor",
    "handcrafted",
    "freq_nums",
    "layers",
    "branching",
    "sample_branch",
    "zero_init_sc",
    "sam_adapter_quirks",
)
_PLUGIN = (
    "use_dsp",
    "use_drp",
    "dsp_kind",
    "layers",
    "amp",
    "max_offset",
    "border",
    "resample_pe",
    "init",
    "learnable_scale",
)
_ADAPTER = ("gate", "scale", "alpha_foreground", "alpha_background", "beta")
_PROMPTS = ("val_kinds", "val_prompts", "mask_prompt_scale", "boundary", "empty_union")
#: class -> former name -> (group, name)
_FORMER: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "MCASAM": {
        **{name: ("contrast", name) for name in _CONTRAST},
        **{name: ("adaptor", name) for name in _ADAPTOR},
        "contrast_layers": ("contrast", "layers"),
        "adaptor_input": ("adaptor", "input"),
        "eval_size": ("evaluation", "size"),
        "wf_beta2": ("evaluation", "wf_beta2"),
        "ber_threshold": ("evaluation", "ber_threshold"),
    },
    "StableSAM": {
        **{name: ("plugin", name) for name in _PLUGIN},
        **{name: ("evaluation", name) for name in _PROMPTS},
        "eval_kinds": ("evaluation", "kinds"),
        "eval_prompts": ("evaluation", "prompts"),
        "eval_iou": ("evaluation", "iou"),
    },
    "SAMSOD": {
        **{name: ("adapter_options", name) for name in _ADAPTER},
        "adapter_width": ("adapter_options", "width"),
    },
    "TASeg": {
        **{name: ("loss", name) for name in ("ce_weight", "dice_weight", "dice_classes")},
        "dffm_width": ("dffm", "width"),
        "x_position": ("dffm", "x_position"),
        "lora_rank": ("lora", "rank"),
        "lora_alpha": ("lora", "alpha"),
        "decoder_lora": ("lora", "decoder"),
    },
}


def with_new_names(content: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration whose model has its options in groups.

    Args:
        content: of a configuration file; it is left as it is.

    Returns:
        The same with the new names, and former -> new name of what was renamed. Where both are
        given, the new one counts.
    """
    model = content.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("init_args"), Mapping):
        return dict(content), {}
    former = _FORMER.get(str(model.get("class_path", "")).rpartition(".")[2], {})
    arguments, said = dict(model["init_args"]), {}
    for name, (group, own) in former.items():
        if name in arguments:
            value = arguments.pop(name)
            arguments[group] = {own: value, **(arguments.get(group) or {})}
            said[f"model.{name}"] = f"model.{group}.{own}"
    return {**content, "model": {**model, "init_args": arguments}}, said


def new_argument(argument: str, model: str = "") -> str:
    """``--model.contrast.queue`` for ``--model.queue``.

    Args:
        argument: a word of a command line.
        model: class of the model; without it only names that a single model had are replaced.
    """
    flag, equals, value = argument.partition("=")
    prefix = next((p for p in ("--model.init_args.", "--model.") if flag.startswith(p)), "")
    name = flag.removeprefix(prefix)
    tables = [_FORMER.get(model, {})] if model else _FORMER.values()
    found = {known[name] for known in tables if name in known} if prefix else set()
    if len(found) != 1:
        return argument
    ((group, own),) = found
    return f"{prefix}{group}.{own}{equals}{value}"


def model_of(arguments: Sequence[str]) -> str:
    """Name of the model's class, of which the command line has the last word; empty if unknown."""
    files = [f for option in ("--config", "-c") for f in _values_of(option, arguments) if f]
    models = [read_config(file).get("model") for file in files]
    named = [str(m.get("class_path", "")) for m in models if isinstance(m, Mapping)]
    for option in ("--model", "--model.class_path"):
        named += _values_of(option, arguments)
    known = [name for name in named if name and not name.startswith("{")]
    return known[-1].rpartition(".")[2] if known else ""


def _values_of(option: str, arguments: Sequence[str]) -> list[str]:
    """What stands behind an option, each time that it is given."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=False)
    return [
        word.partition("=")[2] or following
        for word, following in pairs
        if word == option or word.startswith(f"{option}=")
    ]
