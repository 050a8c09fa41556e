"""Detections as files: COCO results, and boxes drawn on the images."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from rgbx.data.base import RGBXDataModule
from rgbx.disk import write_image, write_text
from rgbx.tasks.batch_image import BatchImage
from rgbx.tasks.dense_files import seen
from rgbx.tasks.prediction_files import PredictionFiles
from rgbx.visualization.boxes import draw_boxes
from rgbx.visualization.drawing import legend
from rgbx.visualization.sheet import Draw, ImageArray, Row, sized

__all__ = ["DetectionFiles", "Detections", "detection_row"]

#: of one image: ``boxes`` (n,4) x1, y1, x2, y2 in its pixels, ``scores`` and ``labels`` (n,)
Detections = Mapping[str, Tensor]
_DECIMALS = 2  # of coordinates


class DetectionFiles(PredictionFiles):
    """Writes ``detections.json`` (``detections_SPLIT.json`` of several splits) and overlays.

    The JSON is a list in COCO's results format, with every detection above the model's threshold;
    ``image_id`` is that of the data set's own COCO file, or the image's number from 1 on, and
    ``file_name`` says which image that is. ``images.json`` next to it lists images and classes in
    COCO's form. ``overlays/NAME.png`` shows what is above `drawn`, ``truth/NAME.png`` the annotated
    boxes, both on the visible image.

    Args:
        folder: where to.
        drawn: score from which on detections are drawn.
    """

    contents: ClassVar[str] = "detections and overlays"

    def __init__(self, folder: Path, drawn: float = 0.3) -> None:
        super().__init__(folder)
        self.drawn = drawn
        self._found: dict[str, list[dict[str, Any]]] = {}
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._classes: dict[int, str] = {}

    def write(
        self, image: BatchImage, prediction: Detections, scored: Mapping[str, Tensor] | None = None
    ) -> Draw:
        """Write the overlay of one image, and keep its detections for the JSON.

        Args:
            image: what was predicted.
            prediction: its detections.
            scored: nothing more is known in a test.

        Returns:
            Draws image, X with detections, image with detections, and ground truth if there is one.
        """
        data = image.data
        self._keep(image, prediction)
        drawn = drawn_detections(image.rgb, prediction, data, self.drawn)
        write_image(drawn, self._path(self.paths(image, prediction)["prediction"]))
        if "target" in image.batch:
            truth = drawn_targets(image.rgb, image["target"], data)
            write_image(truth, self._path(f"truth/{image.stem}.png"))
        if self.legend is None:
            self.legend = legend(data.class_names, data.palette)
        return partial(detection_row, image, prediction, self.drawn)

    @classmethod
    def paths(cls, image: BatchImage, prediction: Any) -> dict[str, str]:
        """The overlay, and the image with its ground truth if there is one."""
        found = {"prediction": f"overlays/{image.stem}.png"}
        return found | ({"truth": f"truth/{image.stem}.png"} if "target" in image.batch else {})

    def close(self) -> None:
        """Write the JSON files."""
        several = len(self._found) > 1
        for split, found in self._found.items():
            ending = f"_{split.replace('/', '_')}" if several else ""
            write_text(self.folder / f"detections{ending}.json", json.dumps(found))
            content = {
                "images": self._images[split],
                "categories": [{"id": i, "name": name} for i, name in self._classes.items()],
            }
            write_text(self.folder / f"images{ending}.json", json.dumps(content))

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)  # names may hold folders ("day/0001")
        return path

    def _keep(self, image: BatchImage, prediction: Detections) -> None:
        images = self._images.setdefault(image.split, [])
        found = self._found.setdefault(image.split, [])
        self._classes = {
            image.data.category_id(label): name for label, name in enumerate(image.data.class_names)
        }
        number = image.data.image_id(image["path"], len(images) + 1)
        height, width = image["size"]
        name = Path(image["path"]).name
        entry = {"id": number, "file_name": name, "height": int(height), "width": int(width)}
        images.append(entry)
        columns = (prediction[key].tolist() for key in ("boxes", "scores", "labels"))
        for (x1, y1, x2, y2), score, label in zip(*columns, strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            found.append(
                {
                    "image_id": number,
                    "category_id": image.data.category_id(int(label)),
                    "bbox": [round(value, _DECIMALS) for value in box],
                    "score": round(score, 5),
                    "file_name": name,
                }
            )


def drawn_detections(
    rgb: ImageArray, prediction: Detections, data: RGBXDataModule, least: float
) -> ImageArray:
    """Detections of a score of at least `least` on an image of their own size."""
    shown = prediction["scores"] >= least
    boxes, scores, labels = (prediction[k][shown].cpu() for k in ("boxes", "scores", "labels"))
    names, palette = data.class_names, data.palette
    return draw_boxes(rgb, boxes.float().numpy(), labels.tolist(), names, palette, scores.tolist())


def drawn_targets(
    rgb: ImageArray, target: Mapping[str, Tensor], data: RGBXDataModule
) -> ImageArray:
    """Annotated boxes, in pixels of an image, on it; ignored regions in grey."""
    boxes, labels = target["boxes"].cpu().numpy(), target["labels"].tolist()
    ignored = target["ignore"].tolist()
    return draw_boxes(rgb, boxes, labels, data.class_names, data.palette, ignore=ignored)


def detection_row(image: BatchImage, prediction: Detections, least: float) -> Row:
    """Image with detections, X with detections, ground truth if there is one, at one size."""
    rgb, data = image.rgb, image.data
    images, titles = [drawn_detections(rgb, prediction, data, least)], [image.stem]
    if "x" in image.batch:
        height, width = image.frame.content
        x = sized(seen(image["x"][..., :height, :width], data), rgb.shape[:2])
        images.append(drawn_detections(x, prediction, data, least))
        titles.append("X")
    if "target" in image.batch:
        images.append(drawn_targets(rgb, image["target"], data))
        titles.append("ground truth")
    return images, titles
