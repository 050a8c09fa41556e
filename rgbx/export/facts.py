"""What an exported file says of the data: what images go through, and what ids mean."""

from typing import Any

from rgbx.data.base import RGBXDataModule
from rgbx.data.transforms.resizing import Resize

__all__ = ["facts_of"]

#: what the data modules do; another way changes predictions visibly
_RESIZE: dict[Resize, str] = {
    "opencv": "of float32 values: area mean to shrink (cv2.INTER_AREA), bilinear to grow "
    "(cv2.INTER_LINEAR)",
    "pil": "before normalising, in 8 bits: PIL's Image.resize(..., BILINEAR), antialiased",
}


def facts_of(data: RGBXDataModule) -> dict[str, Any]:
    """Plain values; means and stds are for pixels in [0, 1]."""
    statistics = data.statistics
    return data.input_values() | {
        "data": type(data).__name__,
        "class_names": list(data.class_names),
        "palette": [list(map(int, colour)) for colour in data.palette],
        "rgb_mean": list(statistics.rgb_mean),
        "rgb_std": list(statistics.rgb_std),
        "x_mean": _plain(statistics.x_mean),
        "x_std": _plain(statistics.x_std),
        "resize": _RESIZE[data.resize],
        "resize_mode": getattr(data, "resize_mode", "squash"),
    }


def _plain(value: float | tuple[float, ...]) -> float | list[float]:
    return list(value) if isinstance(value, tuple) else float(value)
