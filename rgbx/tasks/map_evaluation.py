"""What a test of maps scores: families of scores, at the size of the masks or of the network."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import INPUT, family_metrics
from rgbx.metrics.evaluator import ALL, Evaluator
from rgbx.metrics.overlap import HARD, OverlapScores
from rgbx.metrics.saliency import SaliencyScores
from rgbx.metrics.saliency_maps import grey_levels, plain_levels
from rgbx.metrics.shadow import ShadowScores
from rgbx.tasks.base import resize

__all__ = [
    "INPUT",
    "OVERALL",
    "EvalConfig",
    "EvalSize",
    "Family",
    "MapEvaluator",
    "MapScoring",
    "overall_sentence",
]

Family: TypeAlias = Literal["saliency", "shadow", "polyp"]
EvalSize: TypeAlias = Literal["original", "input", "both"]
OVERALL = "overall"  # the pseudo split of the images of all splits together

#: family -> the forms in which it scores maps: as they are, or stretched to their own range
_FORMS: dict[str, tuple[str, ...]] = {
    "saliency": ("stretched",),
    "shadow": ("plain",),
    "polyp": ("plain", "stretched"),
}

_Scores: TypeAlias = SaliencyScores | ShadowScores | OverlapScores


def overall_sentence(splits: Sequence[str]) -> str:
    """What the scores of :data:`OVERALL` are taken over."""
    return (
        f"the images of {', '.join(splits)} as one set, each counting alike; curves are averaged "
        "over all of them before their maximum is taken"
    )


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """How a test of maps scores.

    Args:
        size: "original": the logits are resized to every mask. "input": at the size of the
            network's input, against masks resized to it by nearest neighbour, as SAM-Adapter's
            code does; names of these scores end in "@input". "both".
        wf_beta2: beta^2 of the weighted F; other than 1, it stands in the score's name.
            SAM-Adapter's code has 0.3.
        ber_threshold: a pixel is shadow above it; papers use 0.5 or 125/255.

    Raises:
        RGBXError: a number cannot be, or there is no such size.
    """

    size: EvalSize = "original"
    wf_beta2: float = 1.0
    ber_threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.size not in get_args(EvalSize):
            raise RGBXError(
                f"evaluation.size: {self.size!r} is none of {', '.join(get_args(EvalSize))}."
            )
        if not 0 < self.wf_beta2 < math.inf:
            raise RGBXError(f"evaluation.wf_beta2: {self.wf_beta2} must be finite and above 0.")
        if not 0 <= self.ber_threshold < 1:
            raise RGBXError(
                f"evaluation.ber_threshold: {self.ber_threshold} must lie in 0 to below 1."
            )


@dataclasses.dataclass(frozen=True)
class MapScoring:
    """Which scores of maps are taken, and how.

    Args:
        families: some of "saliency" (S, E, F, weighted F, MAE, overlap), "shadow" (BER), "polyp"
            (Dice and IoU).
        config: size and parameters of the scores.

    Raises:
        RGBXError: a family is unknown, named twice, or none is named.
    """

    families: tuple[str, ...]
    config: EvalConfig = EvalConfig()

    def __post_init__(self) -> None:
        known, names = get_args(Family), self.families
        if not names or len(set(names)) < len(names) or not set(names) <= set(known):
            raise RGBXError(
                f"scores: {list(names)} cannot be taken; give one or more of {', '.join(known)}, "
                "each once."
            )

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What ends the names of the scores, for every size that is scored: "", "@input"."""
        return {"original": ("",), "input": (INPUT,), "both": ("", INPUT)}[self.config.size]

    def of_test(self) -> list[tuple[str, _Scores]]:
        """Every family and its scores in a test."""
        scores: dict[str, _Scores] = {
            "saliency": SaliencyScores(wf_beta2=self.config.wf_beta2),
            "shadow": ShadowScores(self.config.ber_threshold),
            "polyp": OverlapScores(),
        }
        return [(family, scores[family]) for family in self.families]

    def of_validation(self) -> list[Metric]:
        """What a family adds to the scores of validation, which pixels on their own decide."""
        added: dict[str, Metric] = {
            "shadow": ShadowScores(self.config.ber_threshold),
            "polyp": OverlapScores(("hard",)),
        }
        return [added[family] for family in self.families if family in added]

    def headline(self) -> list[str]:
        """The scores that are logged after a test."""
        return [
            f"{name}{suffix}"
            for suffix in self.suffixes
            for family in self.families
            for name in family_metrics(family, rank=2)
        ]

    def files(self, map_: Tensor, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The 8-bit images from which any other tool computes the scores of one image.

        Args:
            map_: (h,w) in [0, 1], at the size of the mask.
            logits: (1,H,W) before the sigmoid, at the size of the network's input.
            mask: (h,w) integer, above 0 on the object.

        Returns:
            Folder -> (h,w) uint8. ``maps`` has the form that the first family scores, "saliency"
            the map stretched to its own minimum and maximum, the others the map as it is; where
            another form is scored too, ``maps_stretched`` or ``maps_plain`` has it. With scores at
            the size of the input, the same and the mask (0 and 255) in folders that end in
            "@input".
        """
        forms = list(dict.fromkeys(form for family in self.families for form in _FORMS[family]))
        found = _images(map_, forms, self._thresholds)
        if INPUT in self.suffixes:
            small, object_ = _at_input(logits, mask)
            images = _images(small, forms, self._thresholds)
            found |= {f"{folder}{INPUT}": levels for folder, levels in images.items()}
            found[f"truth{INPUT}"] = object_.to(torch.uint8) * 255
        return found

    @property
    def _thresholds(self) -> tuple[float, ...]:
        known = {"shadow": self.config.ber_threshold, "polyp": HARD}
        return tuple(known[family] for family in self.families if family in known)

    def protocol(self) -> dict[str, str]:
        """Score -> sentence that says what was averaged over what, and at which size."""
        original = "at the size of each mask, logits resized bilinearly before the sigmoid"
        at_input = "at the size of the network's input, masks resized to it by nearest neighbour"
        texts = {k: v for _, scores in self.of_test() for k, v in scores.protocol().items()}
        if self.config.size == "input":
            return {f"{name}{INPUT}": f"{text}; {at_input}" for name, text in texts.items()}
        found = {name: f"{text}; {original}" for name, text in texts.items()}
        if self.config.size == "both":
            same = f"as the score without {INPUT}, but {at_input}"
            found |= {f"{name}{INPUT}": same for name in texts}
        return found


class MapEvaluator(nn.Module):
    """One :class:`~rgbx.metrics.Evaluator` for every family and size.

    Args:
        scoring: what is scored.
        splits: names of the splits.
        subsets: names of the subsets within every split.
    """

    def __init__(
        self, scoring: MapScoring, splits: Sequence[str], subsets: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.splits = tuple(splits)
        self._suffixes = [suffix for suffix in scoring.suffixes for _ in scoring.families]
        self._evaluators = nn.ModuleList(
            Evaluator(scores, splits, subsets)
            for _ in scoring.suffixes
            for _, scores in scoring.of_test()
        )

    def update(self, split: str, subset: str, map_: Tensor, logits: Tensor, mask: Tensor) -> None:
        """Score one image.

        Args:
            split: one of the splits.
            subset: one of the subsets, or "".
            map_: (h,w) in [0, 1], at the size of the mask.
            logits: (1,H,W) before the sigmoid, at the size of the network's input.
            mask: (h,w) integer, above 0 on the object.
        """
        pairs = {"": (map_, mask)}
        if INPUT in self._suffixes:
            pairs[INPUT] = _at_input(logits, mask)
        for suffix, evaluator in self._each():
            evaluator.update(split, subset, *pairs[suffix])

    def results(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Split -> subset -> score -> value, of all families and sizes.

        Several splits are followed by "overall": their images as one set, each counting alike.
        Curves are averaged over all these images before their maximum is taken.
        """
        found: dict[str, dict[str, dict[str, Any]]] = {split: {} for split in self._shown}
        for suffix, evaluator in self._each():
            results = evaluator.results()
            if len(self.splits) > 1:
                results[OVERALL] = {ALL: evaluator.compute_overall()}
            for split, subsets in results.items():
                for subset, scores in subsets.items():
                    named = {f"{name}{suffix}": value for name, value in scores.items()}
                    found[split].setdefault(subset, {}).update(named)
        return found

    def curves(self) -> dict[str, dict[str, Tensor]]:
        """Split -> precision, recall, F, E (saliency), Dice, IoU (polyp): (256,) each.

        At the size of the masks, if that is scored; "overall" as in :meth:`results`.
        """
        first = self._suffixes[0]
        found: dict[str, dict[str, Tensor]] = {split: {} for split in self._shown}
        for suffix, evaluator in self._each():
            for split in self._shown if suffix == first else ():
                metric = evaluator.overall() if split == OVERALL else evaluator.metric(split)
                if isinstance(metric, SaliencyScores | OverlapScores):
                    found[split] |= metric.curves()
        return found

    @property
    def _shown(self) -> tuple[str, ...]:
        """The splits, and all of them together where there are several."""
        return (*self.splits, OVERALL) if len(self.splits) > 1 else self.splits

    def _each(self) -> Iterator[tuple[str, Evaluator]]:
        """What ends the names of its scores, and every evaluator."""
        for suffix, evaluator in zip(self._suffixes, self._evaluators, strict=True):
            assert isinstance(evaluator, Evaluator)
            yield suffix, evaluator


def _images(map_: Tensor, forms: Sequence[str], thresholds: Sequence[float]) -> dict[str, Tensor]:
    """Folder -> map (h,w) as 8-bit image, in each form."""
    names = ["maps", *(f"maps_{form}" for form in forms[1:])]
    return {
        name: grey_levels(map_[None])[0] if form == "stretched" else plain_levels(map_, thresholds)
        for name, form in zip(names, forms, strict=True)
    }


def _at_input(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Map and object (H,W) at the size of the logits (1,H,W); pixel centres decide which pixel."""
    size = tuple(logits.shape[-2:])
    nearest = F.interpolate((mask > 0)[None, None].float(), size, mode="nearest-exact")[0, 0] > 0
    return resize(logits[None], size)[0, 0].sigmoid(), nearest
