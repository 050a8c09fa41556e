"""Values that MCA-SAM's options can have, and sentences about those they cannot."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from rgbx.errors import RGBXError
from rgbx.tasks.map_evaluation import Family

__all__ = ["SCORES", "Loss", "Task", "check_options", "contrast_layers_of"]

Task: TypeAlias = Literal["camouflage", "shadow", "polyp"]
Loss: TypeAlias = Literal["bce_iou", "balanced_bce"]

#: families of scores that a task is tested with
SCORES: Mapping[str, tuple[Family, ...]] = {
    "camouflage": ("saliency",),
    "shadow": ("shadow",),
    "polyp": ("polyp", "saliency"),
}

_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "task": ("camouflage", "shadow", "polyp"),
    "loss": (None, "bce_iou", "balanced_bce"),
    "adaptor_input": ("task", "hidden"),
    "branching": ("parallel", "shared"),
    "token_target": (None, "patch", "hidden", "bottleneck"),
    "sample_views": ("original", "two"),
    "sample_pool": ("mean", "foreground"),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse values and combinations that cannot work.

    Args:
        options: the constructor's arguments by name.

    Raises:
        RGBXError: names the first one, and what to set instead.
    """
    for name, choices in _CHOICES.items():
        if options[name] not in choices:
            listed = ", ".join("null" if c is None else c for c in choices)
            raise RGBXError(f"{name} is {options[name]!r}: choose one of {listed}.")
    tokens = options["num_tokens"]
    wrong = {
        f"num_tokens is {tokens!r}: give 2 or more, or all": (
            tokens != "all" and (isinstance(tokens, str) or tokens < 2)
        ),
        f"freq_nums is {options['freq_nums']}: a share of the spectrum, 0 to 1": (
            not 0 <= options["freq_nums"] <= 1
        ),
    }
    for name in ("token_weight", "sample_weight", "queue", "exclude_radius"):
        wrong[f"{name} is {options[name]}: give 0 or more"] = options[name] < 0
    for name in ("token_temperature", "sample_temperature"):
        wrong[f"{name} is {options[name]}: give more than 0"] = not options[name] > 0
    for sentence, is_wrong in (wrong | _contradictions(options)).items():
        if is_wrong:
            raise RGBXError(f"{sentence}.")


def _contradictions(options: Mapping[str, Any]) -> dict[str, bool]:
    """Sentences about options that exclude each other -> whether they were met."""
    shared = options["branching"] == "shared"
    no_branch = shared or not options["sample_branch"]
    no_loss = not (options["token_weight"] or options["sample_weight"])
    return {
        "branching is shared, so there is no SC branch for sample_branch: false to switch off": (
            shared and not options["sample_branch"]
        ),
        "sample_branch is false, so the sample-level loss has nothing to work on: set "
        "sample_weight to 0, or branching to shared": (
            not shared and not options["sample_branch"] and options["sample_weight"] > 0
        ),
        "zero_init_sc needs an SC branch: set branching to parallel and sample_branch to true": (
            options["zero_init_sc"] and no_branch
        ),
        "token_target is bottleneck, which contrasts task features: set adaptor_input to task": (
            options["token_target"] == "bottleneck" and options["adaptor_input"] == "hidden"
        ),
        "queue holds negatives of the sample-level loss, but sample_weight is 0": (
            options["queue"] > 0 and not options["sample_weight"]
        ),
        "projection is for the contrastive losses, but token_weight and sample_weight are 0": (
            options["projection"] and no_loss
        ),
    }


def contrast_layers_of(
    wanted: Sequence[int] | str, layers: Sequence[int], weights: Sequence[float] | None
) -> list[tuple[int, int]]:
    """Adaptors that get the losses, as (encoder block, number of the adaptor).

    Args:
        wanted: ``all``, ``last``, or encoder blocks.
        layers: encoder blocks with an adaptor.
        weights: of the mean over them.

    Raises:
        RGBXError: a block has no adaptor, or the weights do not fit.
    """
    chosen = {"all": list(layers), "last": list(layers[-1:])}.get(str(wanted))
    if chosen is None:
        chosen = sorted({int(layer) for layer in wanted})
        if not chosen or not set(chosen) <= set(layers):
            raise RGBXError(
                f"contrast_layers is {list(wanted)}: give encoder blocks with an adaptor "
                f"({', '.join(map(str, layers))}), or all, or last."
            )
    if weights is not None and (
        len(weights) != len(chosen) or min(weights) < 0 or not sum(weights) > 0
    ):
        raise RGBXError(
            f"layer_weights is {list(weights)}: give one weight of 0 or more for each of the "
            f"{len(chosen)} contrast layers, not all 0."
        )
    return [(layer, list(layers).index(layer)) for layer in chosen]
