"""Every score that rgbx reports: name, family, unit, direction, scope and protocol, in one place.

Tables, the report, ablations, sweeps, published files, validation monitors and ``images.csv`` read
it. Nothing heavy is imported here, so that commands which only read results start at once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

__all__ = [
    "CATALOGUE",
    "INPUT",
    "MetricInfo",
    "Unit",
    "family_metrics",
    "is_metric",
    "metric_info",
    "plain_name",
]

Unit = Literal["percent", "fraction"]
INPUT = "@input"  # ends the name of a score taken at the size of the network's input
_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_BETA = re.compile(r"(?<=^wF)_\d+(\.\d+)?$")  # the weighted F with another beta^2 than 1


@dataclass(frozen=True)
class MetricInfo:
    """One score.

    Attributes:
        name: as in ``test.json``, without the kind of prompt and without a suffix.
        family: "classes", "saliency", "shadow", "polyp", "prompts", "instances", "boxes", or
            "other" for what the catalogue does not know.
        unit: in which it is printed where no published row decides: 77.60 or .934.
        scope: whether every image has a value of its own whose mean is the score, or only a whole
            set has one (pooled pixels, extremes of a mean curve).
        protocol: one sentence on what is averaged over what. Names in braces are filled in by the
            metric, which knows its options.
        higher_is_better: direction.
        rank: 1 for scores that stand even where columns are few, 2 for those that papers print
            side by side, 3 for the others.
        validated: whether validation logs it as ``val/NAME``.
    """

    name: str
    family: str
    unit: Unit
    scope: Literal["set", "image"]
    protocol: str
    higher_is_better: bool = True
    rank: Literal[1, 2, 3] = 3
    validated: bool = False


def _classes() -> Iterable[MetricInfo]:
    whole = "one confusion matrix over the whole set"
    usual = MetricInfo("miou", "classes", "percent", "set", "", rank=1, validated=True)
    yield replace(
        usual, protocol=f"{whole}, {{ids}}, classes absent from target and prediction {{empty}}"
    )
    text = f"{whole}, mean recall of {{ids}}, classes absent from the target {{empty}}"
    yield replace(usual, name="macc", rank=2, protocol=text)
    others = {
        "acc": f"{whole}, share of right pixels",
        "miou_fg": f"{whole}, mean over ids >= 1, id 0 counted as a possible error",
        "miou_drop0": f"{whole}, row and column of id 0 deleted before the IoU",
    }
    for name, text in others.items():
        # the share of right pixels is every image's own, weighted by its pixels
        scope: Literal["set", "image"] = "image" if name == "acc" else "set"
        yield MetricInfo(name, "classes", "percent", scope, text)
    text = (
        "per image the mean IoU over the classes present in its target (id 0 too), then the mean "
        "over the images"
    )
    yield replace(usual, name="miou_image", scope="image", protocol=text)


def _saliency() -> Iterable[MetricInfo]:
    mean = "mean over the images, {order}"
    curve = "of the curve over 256 thresholds averaged over the images, {order}"
    adaptive = f"one threshold per image, twice the mean of the map, at most 1; {mean}"
    overlap = f"of the object at map > 0.5, 0 for images without object; {mean}"
    score = MetricInfo("S", "saliency", "fraction", "image", f"alpha 0.5, {mean}", rank=1)
    e, f = "enhanced alignment", "beta^2 0.3"
    yield score
    text = f"{f}, maximum {curve}"
    yield replace(score, name="maxF", scope="set", protocol=text, rank=2, validated=True)
    yield replace(score, name="maxE", scope="set", protocol=f"{e}, maximum {curve}", rank=2)
    yield replace(score, name="MAE", protocol=mean, higher_is_better=False, validated=True)
    score = replace(score, rank=3)
    yield replace(score, name="meanF", scope="set", protocol=f"{f}, mean {curve}", validated=True)
    yield replace(score, name="adpF", protocol=f"{f}, {adaptive}")
    yield replace(score, name="wF", protocol=f"{{beta}}, {mean}")
    yield replace(score, name="meanE", scope="set", protocol=f"{e}, mean {curve}")
    yield replace(score, name="adpE", protocol=f"{e}, {adaptive}")
    yield replace(score, name="IoU", protocol=overlap, validated=True)
    yield replace(score, name="Dice", protocol=overlap)


def _shadow() -> Iterable[MetricInfo]:
    text = "balanced error rate, pixels counted over the whole set, {level}"
    pooled = MetricInfo("BER", "shadow", "percent", "set", text, False, 1, True)
    yield pooled
    text = (
        "balanced error rate of each image, mean over the images, the term of a class that an "
        "image lacks skipped, {level}"
    )
    yield replace(pooled, name="BER_image", scope="image", protocol=text)


def _polyp() -> Iterable[MetricInfo]:
    empty, mean = "0 for images without object", "mean over the images"
    swept = "map stretched to [0, 1], rounded to 8 bits, stretched again as read"
    curve = f"of the curve over 256 thresholds averaged over the images, {swept}"
    score = MetricInfo("", "polyp", "fraction", "image", "")
    for name in ("Dice", "IoU"):
        text = f"of each image, map > 0.5, {empty}; {mean}"
        yield replace(score, name=f"m{name}", protocol=text, rank=1, validated=True)
    for name in ("Dice", "IoU"):
        text = f"of each image, map in 8 bits, not thresholded, {empty}; {mean}"
        yield replace(score, name=f"m{name}_soft", protocol=text)
    for name in ("Dice", "IoU"):
        yield replace(score, name=f"mean{name}", protocol=f"mean {curve}")
        yield replace(score, name=f"max{name}", protocol=f"maximum {curve}", scope="set")


def _prompts() -> Iterable[MetricInfo]:
    order = "mean over the prompts of an image, then over the images"
    text = f"{order}; 0/0 counts as 0"
    score = MetricInfo("mIoU", "prompts", "percent", "image", text, rank=1, validated=True)
    yield score
    text = (
        "IoU of the boundaries, {border} wide, the image's border counts as background; "
        f"{order}; 0/0 counts as 0"
    )
    yield replace(score, name="mBIoU", protocol=text)
    text = (
        "mean IoU of an image's masks with their union, {empty}; mean over the images with several "
        "prompts of a kind"
    )
    yield replace(score, name="mSF", protocol=text)
    text = "average precision of COCO's instances, mean over IoU thresholds .50 to .95"
    average = MetricInfo("AP", "instances", "percent", "set", text, rank=1)
    yield average
    yield replace(average, name="AP50", protocol="average precision at an IoU of .50")


def _boxes() -> Iterable[MetricInfo]:
    most = "COCO, at most {most} detections per image and class"
    usual = MetricInfo("AP50", "boxes", "percent", "set", "", rank=1, validated=True)
    yield replace(usual, protocol=f"average precision at an IoU of .50 ({most})")
    text = f"average precision, mean over IoU thresholds .50 to .95 and over the classes ({most})"
    yield replace(usual, name="AP", protocol=text)
    text = f"average precision at an IoU of .75 ({most})"
    yield replace(usual, name="AP75", protocol=text, rank=2, validated=False)
    areas = {"s": "below 32^2 pixels", "m": "of 32^2 to 96^2 pixels", "l": "above 96^2 pixels"}
    for letter, words in areas.items():
        text = f"AP of objects {words} ({most})"
        yield replace(usual, name=f"AP{letter}", protocol=text, rank=3, validated=False)
    text = f"each image's own AP50, mean over the images with objects ({most})"
    yield MetricInfo("AP50_image", "boxes", "percent", "image", text)
    yield MetricInfo("MR", "boxes", "percent", "set", "{pedestrians}", False, 1, True)


#: all scores, family by family, in the order in which tables show them
CATALOGUE: tuple[MetricInfo, ...] = (
    *_classes(),
    *_saliency(),
    *_shadow(),
    *_polyp(),
    *_prompts(),
    *_boxes(),
)
_PROMPTED = ("prompts", "instances")  # families whose scores are called KIND/NAME
_MAPS = ("saliency", "shadow", "polyp")  # families whose scores may end in INPUT


def family_metrics(family: str, rank: int = 3) -> tuple[str, ...]:
    """Names of a family's scores, in the order in which tables show them.

    Args:
        family: see `MetricInfo`.
        rank: leave out those of a greater rank.
    """
    return tuple(m.name for m in CATALOGUE if m.family == family and m.rank <= rank)


def plain_name(name: str) -> str:
    """A score of maps without its protocol: "wF" of "wF_0.3@input"."""
    return _BETA.sub("", name.removesuffix(INPUT))


def metric_info(name: str) -> MetricInfo:
    """What is known of a score under the name that a result gives it.

    Args:
        name: such as "miou", "wF_0.3@input" or "noisy_box/mIoU".

    Returns:
        For a name that nobody knows, an entry of family "other": percent, more is better.
    """
    prompted = "/" in name
    plain = plain_name(name.rpartition("/")[2])
    # prompts have scores of classes too (all instances of an image as one map of classes)
    families = (*_PROMPTED, "classes") if prompted else ("classes", *_MAPS, "boxes")
    for family in families:
        for info in CATALOGUE:
            if (info.family, info.name) == (family, plain):
                return info
    family = "prompts" if prompted else "other"
    return MetricInfo(plain, family, "percent", "image", "", rank=3)


def is_metric(name: str) -> bool:
    """Whether rgbx reports a score of this name.

    Scores of prompts are called KIND/NAME; those of maps may end in "@input", and "wF" in its
    beta^2 ("wF_0.3").
    """
    kind, slash, _ = name.rpartition("/")
    info = metric_info(name)
    if info not in CATALOGUE:
        return False
    if slash:
        return bool(_KIND.fullmatch(kind))
    return info.name == name or info.family in _MAPS
