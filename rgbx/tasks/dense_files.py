"""Predictions of models that give one map per image: class ids, or probabilities."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rgbx.data.base import RGBXDataModule
from rgbx.disk import write_image
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.prediction_files import PredictionFiles
from rgbx.visualization.drawing import Colour, colourise, heat, legend, overlay
from rgbx.visualization.sheet import Draw, ImageArray, Row, sized

__all__ = ["DenseFiles", "dense_row", "seen", "target_path", "write_target"]

_NOT_SCORED: Colour = (211, 211, 211)
_GREY: tuple[Colour, ...] = ((0, 0, 0), (255, 255, 255))


class DenseFiles(PredictionFiles):
    """Writes masks or maps, and overlays.

    Class ids become ``masks/NAME.png``, a palette image whose raw values are the ids; maps of
    probabilities (any floating type, 0 to 1) become ``maps/NAME.png``, 8-bit grey, rounded; in a
    test as they were scored (see `rgbx.tasks.map_evaluation.MapScoring.files`).
    ``overlays/NAME.png`` shows the prediction over the visible image. Where there is a ground
    truth, ``truth/NAME.png`` has it as it was scored, in the form of the prediction.

    Args:
        folder: where to.
    """

    def write(
        self, image: BatchImage, prediction: Tensor, scored: Mapping[str, Tensor] | None = None
    ) -> Draw:
        """Write the prediction for one image.

        Args:
            image: what was predicted.
            prediction: (h,w) integer ids, or floats in [0, 1].
            scored: folder -> (h,w) uint8, the 8-bit images that were scored in a test; ``maps``
                among them takes the place of the rounded prediction.

        Returns:
            Draws image, X if there is one, prediction, and ground truth if there is one.
        """
        data = image.data
        rgb = sized(image.rgb, tuple(prediction.shape))
        shown = self._save(image.stem, prediction, rgb, data)
        for folder, levels in (scored or {}).items():
            write_image(levels.cpu().numpy(), self.folder / folder / f"{image.stem}.png")
        if self.legend is None:
            self.legend = legend(data.class_names, _GREY if shown.ndim == 2 else data.palette)
        if "mask" in image.batch:
            palette = None if prediction.is_floating_point() else data.palette
            write_target(self.folder, image, palette)
        return partial(_row, image, rgb, shown)

    @classmethod
    def paths(cls, image: BatchImage, prediction: Any) -> dict[str, str]:
        """The prediction, and the ground truth if there is one."""
        return {"prediction": _path(image.stem, prediction), **target_path(image)}

    def _save(
        self, place: str, prediction: Tensor, rgb: ImageArray, data: RGBXDataModule
    ) -> ImageArray:
        """Write one prediction and its overlay; returns the prediction as the sheet shows it."""
        overlaid = _target(self.folder / "overlays" / f"{place}.png")
        target = _target(self.folder / _path(place, prediction))
        shown = _painted(prediction, data)
        if prediction.is_floating_point():
            write_image(shown, target)
            write_image(heat(rgb, prediction.float().cpu().numpy().clip(0, 1)), overlaid)
            return shown
        ids = prediction.cpu().numpy().astype(np.uint8)
        save_ids(target, ids, data.palette)
        write_image(overlay(rgb, ids, data.palette), overlaid)
        return shown


def _path(place: str, prediction: Tensor) -> str:
    """Where the prediction of an image lies, relative to the folder."""
    return f"{'maps' if prediction.is_floating_point() else 'masks'}/{place}.png"


def target_path(image: BatchImage) -> dict[str, str]:
    """Where the ground truth of an image lies, relative to the folder, if it has one."""
    return {"truth": f"truth/{image.stem}.png"} if "mask" in image.batch else {}


def write_target(
    folder: Path, image: BatchImage, palette: Sequence[Sequence[int]] | None = None
) -> None:
    """Write the ground truth of a test image as it was scored.

    Args:
        folder: of the test.
        image: its `mask` is (h,w) integer.
        palette: colours of the class ids, whose raw values are written; without, everything above
            0 is the object: 0 and 255.
    """
    target = _target(folder / target_path(image)["truth"])
    mask = image["mask"].cpu().numpy()
    if palette is None:
        write_image(np.where(mask > 0, np.uint8(255), np.uint8(0)), target)
    else:
        # with fewer colours the file would have fewer bits than 255 (not scored) needs
        padded = [*palette, *[_NOT_SCORED] * (256 - len(palette))]
        save_ids(target, mask.astype(np.uint8), padded)


def _target(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)  # names may hold folders ("day/0001")
    return path


def save_ids(path: Path, ids: ImageArray, palette: Sequence[Sequence[int]]) -> None:
    """Write class ids (H,W) as a palette PNG: raw values are the ids, viewers show the colours."""
    image = Image.fromarray(ids)
    image.putpalette([int(value) for colour in palette for value in colour])
    write_image(image, path)


def dense_row(image: BatchImage, prediction: Tensor) -> Row:
    """Image, X if there is one, prediction, and ground truth if there is one, at one size.

    Args:
        image: what was predicted.
        prediction: (h,w) integer ids, or floats in [0, 1].
    """
    rgb = sized(image.rgb, tuple(prediction.shape))
    return _row(image, rgb, _painted(prediction, image.data))


def _painted(prediction: Tensor, data: RGBXDataModule) -> ImageArray:
    """Ids in their colours, probabilities in grey."""
    values = prediction.cpu()
    if values.is_floating_point():
        return np.rint(values.float().numpy().clip(0, 1) * 255).astype(np.uint8)
    return colourise(values.numpy().astype(np.uint8), data.palette)


def _row(image: BatchImage, rgb: ImageArray, prediction: ImageArray) -> Row:
    images, titles = [rgb], [image.stem]
    if "x" in image.batch:
        images.append(sized(seen(image["x"], image.data), rgb.shape[:2]))
        titles.append("X")
    images.append(prediction)
    titles.append("prediction")
    if "mask" in image.batch:
        # next to a map of probabilities the truth is black and white, like the map
        palette = _GREY if prediction.ndim == 2 else image.data.palette
        images.append(colourise(image["mask"].cpu().numpy(), palette))
        titles.append("ground truth")
    return images, titles


def seen(x: Tensor, data: RGBXDataModule) -> ImageArray:
    """X (3,h,w) as 8-bit grey (h,w), darkest to brightest; in colour if its channels differ."""
    channels = x.float().cpu().numpy()
    if (channels == channels[:1]).all():
        return _stretched(channels[0])
    return _stretched(data.statistics.restore_x(channels.transpose(1, 2, 0)))


def _stretched(values: NDArray[np.float32]) -> ImageArray:
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-8) * 255).round().astype(np.uint8)
