"""MCA-SAM's options in groups, and sentences about values that cannot work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from rgbx.errors import RGBXError
from rgbx.tasks.map_evaluation import Family

__all__ = [
    "SCORES",
    "AdaptorConfig",
    "ContrastConfig",
    "Loss",
    "Task",
    "check_together",
    "contrast_layers_of",
]

Task: TypeAlias = Literal["camouflage", "shadow", "polyp"]
Loss: TypeAlias = Literal["bce_iou", "balanced_bce"]
AdaptorInput: TypeAlias = Literal["task", "hidden"]
Branching: TypeAlias = Literal["parallel", "shared"]
TokenTarget: TypeAlias = Literal["patch", "hidden", "bottleneck"]
SampleViews: TypeAlias = Literal["original", "two"]
SamplePool: TypeAlias = Literal["mean", "foreground"]

#: families of scores that a task is tested with
SCORES: Mapping[str, tuple[Family, ...]] = {
    "camouflage": ("saliency",),
    "shadow": ("shadow",),
    "polyp": ("polyp", "saliency"),
}


@dataclass(frozen=True)
class AdaptorConfig:
    """What is added to the tokens in front of SAM's blocks.

    Args:
        scale_factor: C / r, the reduction of the adaptors' bottleneck.
        handcrafted: high frequencies in the task features.
        freq_nums: share of the spectrum that is removed from them, 0 to 1.
        layers: encoder blocks with an adaptor, or ``all``.
        input: ``task`` features (SAM-Adapter), or ``hidden``, the previous block's output.
        branching: ``parallel``, TC and SC branches summed; ``shared``, both losses on one branch.
        sample_branch: the SC branch (parallel only); also without its loss, for its capacity.
        zero_init_sc: the SC branch adds 0 at the start.
        sam_adapter_quirks: see `rgbx.models.mca_sam.decoder.RandomPrompt`.

    Raises:
        RGBXError: a value that cannot work, or two that exclude each other.
    """

    scale_factor: int = 32
    handcrafted: bool = True
    freq_nums: float = 0.25
    layers: list[int] | Literal["all"] = "all"
    input: AdaptorInput = "task"
    branching: Branching = "parallel"
    sample_branch: bool = True
    zero_init_sc: bool = False
    sam_adapter_quirks: bool = False

    def __post_init__(self) -> None:
        _check_choice("adaptor.input", self.input, get_args(AdaptorInput))
        _check_choice("adaptor.branching", self.branching, get_args(Branching))
        shared = self.branching == "shared"
        _refuse(
            {
                f"adaptor.freq_nums is {self.freq_nums}: a share of the spectrum, 0 to 1": (
                    not 0 <= self.freq_nums <= 1
                ),
                "adaptor.branching is shared, so there is no SC branch for sample_branch: false to "
                "switch off": shared and not self.sample_branch,
                "adaptor.zero_init_sc needs an SC branch: set branching to parallel and "
                "sample_branch to true": (self.zero_init_sc and (shared or not self.sample_branch)),
            }
        )


@dataclass(frozen=True)
class ContrastConfig:
    """The two contrastive losses.

    Args:
        token_weight: lambda_t; 0 switches the token-level loss off.
        sample_weight: lambda_s; 0 switches the sample-level loss off.
        token_temperature: tau of the token-level loss.
        sample_temperature: tau of the sample-level loss.
        num_tokens: K, tokens of each image that are contrasted, or ``all``.
        token_target: the token before the adaptor: ``patch`` embedding, ``hidden`` (the previous
            block's output), or ``bottleneck`` (task features against the adaptor's activations,
            both r wide); None: patch with task input, hidden with hidden input.
        layers: encoder blocks whose adaptors get the losses: ``all``, ``last``, or a list.
        symmetric: the token-level loss also in the other direction.
        exclude_radius: tokens at most so many cells away are no negatives.
        layer_weights: one per contrast layer, for the mean over layers; None: all alike.
        sample_views: ``original`` against a colour-augmented view, or ``two`` augmented views.
        sample_pool: an image's descriptor is the ``mean`` over all tokens, or over those of the
            ``foreground`` in its mask.
        queue: descriptors of earlier views per layer that are further negatives; 0 for none.
        projection: a two-layer head before each loss, unused in evaluation.

    Raises:
        RGBXError: a value that cannot work, or two that exclude each other.
    """

    token_weight: float = 0.1
    sample_weight: float = 0.1
    token_temperature: float = 0.1
    sample_temperature: float = 0.1
    num_tokens: int | Literal["all"] = 1024
    token_target: TokenTarget | None = None
    layers: list[int] | Literal["all", "last"] = "all"
    symmetric: bool = False
    exclude_radius: int = 0
    layer_weights: list[float] | None = None
    sample_views: SampleViews = "original"
    sample_pool: SamplePool = "mean"
    queue: int = 0
    projection: bool = False

    def __post_init__(self) -> None:
        _check_choice("contrast.token_target", self.token_target, (None, *get_args(TokenTarget)))
        _check_choice("contrast.sample_views", self.sample_views, get_args(SampleViews))
        _check_choice("contrast.sample_pool", self.sample_pool, get_args(SamplePool))
        tokens = self.num_tokens
        wrong = {
            f"contrast.num_tokens is {tokens!r}: give 2 or more, or all": (
                tokens != "all" and (isinstance(tokens, str) or tokens < 2)
            ),
            "contrast.queue holds negatives of the sample-level loss, but sample_weight is 0": (
                self.queue > 0 and not self.sample_weight
            ),
            "contrast.projection is for the contrastive losses, but token_weight and sample_weight "
            "are 0": self.projection and not (self.token_weight or self.sample_weight),
        }
        for name in ("token_weight", "sample_weight", "queue", "exclude_radius"):
            value = getattr(self, name)
            wrong[f"contrast.{name} is {value}: give 0 or more"] = value < 0
        for name in ("token_temperature", "sample_temperature"):
            value = getattr(self, name)
            wrong[f"contrast.{name} is {value}: give more than 0"] = not value > 0
        _refuse(wrong)


def check_together(task: str, loss: str | None, adaptor: AdaptorConfig, contrast: Any) -> None:
    """Refuse values of one group that those of another exclude.

    Raises:
        RGBXError: names the options, and what to set instead.
    """
    _check_choice("task", task, get_args(Task))
    _check_choice("loss", loss, (None, *get_args(Loss)))
    parallel = adaptor.branching == "parallel"
    _refuse(
        {
            "adaptor.sample_branch is false, so the sample-level loss has nothing to work on: set "
            "contrast.sample_weight to 0, or adaptor.branching to shared": (
                parallel and not adaptor.sample_branch and contrast.sample_weight > 0
            ),
            "contrast.token_target is bottleneck, which contrasts task features: set adaptor.input "
            "to task": contrast.token_target == "bottleneck" and adaptor.input == "hidden",
        }
    )


def contrast_layers_of(contrast: ContrastConfig, layers: Sequence[int]) -> list[tuple[int, int]]:
    """Adaptors that get the losses, as (encoder block, number of the adaptor).

    Args:
        contrast: asks for ``all``, ``last``, or encoder blocks, and may weigh them.
        layers: encoder blocks with an adaptor.

    Raises:
        RGBXError: a block has no adaptor, or the weights do not fit.
    """
    wanted, weights = contrast.layers, contrast.layer_weights
    chosen = {"all": list(layers), "last": list(layers[-1:])}.get(str(wanted))
    if chosen is None:
        chosen = sorted({int(layer) for layer in wanted})
        if not chosen or not set(chosen) <= set(layers):
            raise RGBXError(
                f"contrast.layers is {list(wanted)}: give encoder blocks with an adaptor "
                f"({', '.join(map(str, layers))}), or all, or last."
            )
    if weights is not None and (
        len(weights) != len(chosen) or min(weights) < 0 or not sum(weights) > 0
    ):
        raise RGBXError(
            f"contrast.layer_weights is {list(weights)}: give one weight of 0 or more for each of "
            f"the {len(chosen)} contrast layers, not all 0."
        )
    return [(layer, list(layers).index(layer)) for layer in chosen]


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        listed = ", ".join("null" if choice is None else choice for choice in choices)
        raise RGBXError(f"{name} is {value!r}: choose one of {listed}.")


def _refuse(sentences: Mapping[str, bool]) -> None:
    """Raise the first sentence that is true."""
    for sentence, is_wrong in sentences.items():
        if is_wrong:
            raise RGBXError(f"{sentence}.")
