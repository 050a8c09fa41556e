"""What the detector's heads decide, as options; the defaults are the released configuration's."""

from dataclasses import dataclass

from rgbx.errors import RGBXError

__all__ = ["CascadeConfig", "FCOSConfig", "RPNConfig"]

Stds = tuple[float, float, float, float]


@dataclass(frozen=True)
class RPNConfig:
    """The region proposal network.

    Args:
        anchor_scale: side of an anchor of ratio 1 over the stride of its level.
        ratios: height over width of the anchors.
        candidates: best anchors of each level that reach the NMS.
        train_nms: IoU of the NMS (level by level) in training.
        test_nms: the same in tests.
        proposals: boxes of an image that are handed on.
        positive_iou: IoU with a target from which on an anchor is positive.
        negative_iou: IoU below which it is background.
        least_iou: a target takes its best anchors, however good, from this IoU on.
        samples: anchors of an image that are trained on.
        positive_share: largest part of them that is positive.
        allow_border: train on anchors that cross the image's border, too (as Detectron2 and
            torchvision do).
        beta: where the smooth L1 loss becomes linear.
        ignore_iof: anchors are no background where more than this part of them lies in an ignored
            region; null takes ignored regions for background (as the authors' settings).

    Raises:
        RGBXError: a number cannot work.
    """

    anchor_scale: float = 8.0
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    candidates: int = 2000
    train_nms: float = 0.7
    test_nms: float = 0.8
    proposals: int = 2000
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    least_iou: float = 0.3
    samples: int = 256
    positive_share: float = 0.5
    allow_border: bool = False
    beta: float = 1 / 9
    ignore_iof: float | None = None

    def __post_init__(self) -> None:
        _check_fractions(
            self,
            "train_nms",
            "test_nms",
            "positive_iou",
            "negative_iou",
            "least_iou",
            "positive_share",
        )
        _check_above_zero(self, "anchor_scale", "candidates", "proposals", "samples", "beta")
        if not self.ratios or min(self.ratios) <= 0:
            raise RGBXError(f"rpn.ratios is {list(self.ratios)}: give ratios above 0.")


@dataclass(frozen=True)
class CascadeConfig:
    """The heads of Cascade R-CNN (Cai and Vasconcelos, arXiv 1712.00726).

    Args:
        ious: of each stage, the IoU with a target from which on a box is positive.
        stds: of each stage, what box deltas are divided by.
        weights: of each stage's losses.
        samples: boxes of an image that each stage is trained on, drawn anew in every stage.
        positive_share: largest part of them that is positive.
        beta: where the smooth L1 loss becomes linear.
        fc_dim: width of the heads' hidden layer.
        convs: 3x3 convolutions of each head.
        average: what is averaged over the stages: ``logits`` (the authors), or ``probabilities``
            (Detectron2).
        ignore_iof: as `RPNConfig.ignore_iof`.

    Raises:
        RGBXError: a number cannot work, or the stages' numbers differ in length.
    """

    ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    stds: tuple[Stds, ...] = (
        (0.1, 0.1, 0.2, 0.2),
        (0.05, 0.05, 0.1, 0.1),
        (0.033, 0.033, 0.067, 0.067),
    )
    weights: tuple[float, ...] = (1.0, 0.5, 0.25)
    samples: int = 512
    positive_share: float = 0.25
    beta: float = 1.0
    fc_dim: int = 1024
    convs: int = 4
    average: str = "logits"
    ignore_iof: float | None = None

    def __post_init__(self) -> None:
        _check_fractions(self, "positive_share")
        _check_above_zero(self, "samples", "beta", "fc_dim")
        lengths = len(self.ious), len(self.stds), len(self.weights)
        if not self.ious or len(set(lengths)) > 1:
            raise RGBXError(
                f"cascade.ious, stds and weights have {lengths[0]}, {lengths[1]} and {lengths[2]} "
                "entries: give one of each for every stage."
            )
        if self.average not in ("logits", "probabilities"):
            raise RGBXError(f"cascade.average is {self.average!r}: choose logits or probabilities.")
        if min(min(four) for four in self.stds) <= 0:
            raise RGBXError("cascade.stds holds a number that is not above 0.")


@dataclass(frozen=True)
class FCOSConfig:
    """A single-stage head without anchors (Tian et al., FCOS, arXiv 1904.01355).

    Args:
        convs: 3x3 convolutions of each of its two towers.
        radius: cells within so many strides of a target's centre are positive.
        ranges: largest distance to a side, in pixels, that each level but the last looks for.
        alpha: weight of the positive class in the focal loss.
        gamma: its exponent.
        candidates: best cells of each level that are decoded.
        skip_ignored: cells in an ignored region are no background.

    Raises:
        RGBXError: a number cannot work.
    """

    convs: int = 4
    radius: float = 1.5
    ranges: tuple[float, ...] = (64.0, 128.0, 256.0)
    alpha: float = 0.25
    gamma: float = 2.0
    candidates: int = 1000
    skip_ignored: bool = False

    def __post_init__(self) -> None:
        _check_fractions(self, "alpha")
        _check_above_zero(self, "convs", "radius", "candidates")
        if len(self.ranges) != 3 or sorted(self.ranges) != list(self.ranges):
            raise RGBXError(
                f"fcos.ranges is {list(self.ranges)}: give three growing distances in pixels."
            )


def _check_fractions(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise RGBXError(f"{_name(config)}.{name} is {value}: give a number from 0 to 1.")


def _check_above_zero(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if not value > 0:
            raise RGBXError(f"{_name(config)}.{name} is {value}: give a number above 0.")


def _name(config: object) -> str:
    return type(config).__name__.removesuffix("Config").lower()
