"""Generated images of thin structures, written in the layout of HQSeg-44K."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tqdm import tqdm

from rgbx.data.datasets.hqseg_folders import TEST, TRAIN
from rgbx.data.synthetic.thin_shapes import THIN_SHAPES, Pencil
from rgbx.disk import write_image

__all__ = ["ThinScene", "make_thin_scene", "write_hqseg"]

Rng = np.random.Generator
Size = tuple[int, int]
_SHARP = 3  # masks are drawn at three times their size: their borders become grey
_TRAIN_ORDER = ("DIS5K-TR", "ThinObject5K-TR", "FSS", "DUTS-TR", "DUTS-TE", "ECSSD", "MSRA10K")


class ThinScene(NamedTuple):
    """One image (H, W, 3) uint8 and the soft mask of its object (H, W) uint8."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    name: str


def make_thin_scene(size: Size, rng: Rng) -> ThinScene:
    """Generate one object in front of sky, ground and clutter.

    Args:
        size: (height, width) in pixels.
        rng: decides everything random.
    """
    name = list(THIN_SHAPES)[int(rng.integers(len(THIN_SHAPES)))]
    share = _draw(name, size, rng)
    rgb = _background(size, rng)
    for _ in range(int(rng.integers(0, 3))):  # things that nobody asks for, in dull colours
        other = list(THIN_SHAPES)[int(rng.integers(len(THIN_SHAPES)))]
        faint = 0.35 * _draw(other, size, rng)[..., None]
        rgb = rgb * (1 - faint) + np.float32(rng.uniform(60, 150)) * faint
    paint = np.array(rng.choice(_PAINTS), dtype=np.float32) * np.float32(rng.uniform(0.8, 1.1))
    body = paint * (1 + 0.2 * _clouds(size, rng, 12)[..., None])
    rgb = rgb * (1 - share[..., None]) + body * share[..., None]
    rgb += rng.normal(0, 4, rgb.shape)
    return ThinScene(
        np.clip(np.rint(rgb), 0, 255).astype(np.uint8),
        np.rint(share * 255).astype(np.uint8),
        name,
    )


_PAINTS = ((190, 50, 40), (240, 236, 228), (30, 34, 40), (60, 120, 50), (150, 96, 50))


def _draw(name: str, size: Size, rng: Rng) -> NDArray[np.float32]:
    large = (size[0] * _SHARP, size[1] * _SHARP)
    page = Image.new("L", (large[1], large[0]))
    THIN_SHAPES[name](Pencil(ImageDraw.Draw(page), large), rng)
    small = page.resize((size[1], size[0]), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def _background(size: Size, rng: Rng) -> NDArray[np.float32]:
    rows = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    sky = np.array([140, 175, 215], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.1))
    ground = np.array([110, 115, 80], dtype=np.float32) * np.float32(rng.uniform(0.7, 1.2))
    horizon = np.float32(rng.uniform(0.4, 0.7))
    land = np.clip((rows - horizon) * 12 + 0.5, 0, 1)
    rgb = sky * (1 - land) + ground * land
    return rgb * (1 + 0.12 * _clouds(size, rng, 5) + 0.1 * _clouds(size, rng, 20))[..., None]


def _clouds(size: Size, rng: Rng, cells: int) -> NDArray[np.float32]:
    grid = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def write_hqseg(
    root: Path, counts: Mapping[str, int], size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write thin structures as the seven training and four validation sets of HQSeg-44K.

    As in the real one, sizes vary (two thirds to four thirds of `size` on each side), masks are
    grey at their borders, names in DIS5K hold ``#`` and spaces, five sets keep images and masks
    in one folder, and some masks have three channels. Scenes of "train" and "val" go to the
    training sets in turn; each of the four test sets gets as many as "test" says.

    Args:
        root: folder to write to.
        counts: number of scenes of "train", "val" and "test".
        size: (height, width) of an average scene.
        seed: of the scenes.
        progress: show a progress bar.
    """
    number = counts.get("train", 0) + counts.get("val", 0)
    names = [_TRAIN_ORDER[i % len(_TRAIN_ORDER)] for i in range(number)]
    names += [name for name in TEST for _ in range(counts.get("test", 0))]
    for i, name in enumerate(tqdm(names, "scenes", disable=not progress)):
        rng = np.random.default_rng([seed, i])
        own = (_vary(size[0], rng), _vary(size[1], rng))
        scene = make_thin_scene(own, rng)
        stem = f"{i + 1:05d}"
        if name in ("DIS5K-TR", "DIS"):
            stem = f"{i + 1}#Structures#{i % 5 + 1}#{scene.name.capitalize()}#thin {scene.name}"
        images, masks = (TRAIN | TEST)[name].places[0]
        mask = np.repeat(scene.mask[..., None], 3, axis=2) if name == "COIFT" else scene.mask
        _save(root / images / f"{stem}.jpg", scene.rgb)
        _save(root / masks / f"{stem}.png", mask)


def _vary(side: int, rng: Rng) -> int:
    return max(16, round(side * float(rng.uniform(2 / 3, 4 / 3))))


def _save(path: Path, array: NDArray[np.uint8]) -> None:
    write_image(array, path, quality=95)
