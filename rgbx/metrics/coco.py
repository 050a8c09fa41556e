"""AP of predicted instance masks as COCO defines it, through pycocotools."""

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rgbx.metrics.coco_files import CocoInstances

__all__ = ["CocoResults"]


class CocoResults:
    """Average precision of predicted masks, as COCO defines it (segm).

    AP is the mean over ten IoU thresholds (0.50, 0.55, ..., 0.95) and over the classes of the area
    under the precision-recall curve at 101 recalls; AP50 takes the threshold 0.50 alone. Source:
    Lin et al., "Microsoft COCO", ECCV 2014, and its evaluation code.

    Args:
        instances: The ground truth. Images without a prediction count, crowds are ignored.
    """

    def __init__(self, instances: CocoInstances) -> None:
        self._coco = instances.coco
        self._results: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._results)

    def add(
        self, image_id: int, category_id: int, mask: Tensor | NDArray[np.bool_], score: float = 1.0
    ) -> None:
        """Count one predicted mask.

        Args:
            image_id: Of the image.
            category_id: Predicted class.
            mask: (h, w) bool at the image's size.
            score: Confidence; only the order of scores matters.

        Raises:
            ValueError: If the image or the class is unknown, or the mask has another size.
        """
        if image_id not in self._coco.imgs:
            raise ValueError(f"There is no image {image_id} in the annotations.")
        if category_id not in self._coco.cats:
            raise ValueError(f"There is no category {category_id} in the annotations.")
        image = self._coco.imgs[image_id]
        array = mask.cpu().numpy() if isinstance(mask, Tensor) else mask
        if array.shape != (image["height"], image["width"]) or array.dtype != np.bool_:
            raise ValueError(
                f"Image {image_id} is {image['height']} x {image['width']}: its masks must be "
                f"bool of that size, got {array.dtype} {array.shape}."
            )
        from pycocotools import mask as codes

        code = codes.encode(np.asfortranarray(array, dtype=np.uint8))
        entry = {"image_id": image_id, "category_id": category_id}
        self._results.append(entry | {"segmentation": code, "score": float(score)})

    def compute(self) -> dict[str, float]:
        """AP and AP50 in [0, 1] of the masks counted so far."""
        if not self._results:
            return {"AP": 0.0, "AP50": 0.0}
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            found = self._coco.loadRes([dict(entry) for entry in self._results])
            evaluation = COCOeval(self._coco, found, "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {"AP": float(evaluation.stats[0]), "AP50": float(evaluation.stats[1])}
