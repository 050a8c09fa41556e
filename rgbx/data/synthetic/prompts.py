"""Generated images of thin structures, written in the layout of HQSeg-44K."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.datasets.hqseg_folders import TEST, TRAIN
from rgbx.data.synthetic.textures import Plane, Rng, Size, blend, draw, smooth, to_bytes
from rgbx.data.synthetic.thin_shapes import THIN_SHAPES, Pencil
from rgbx.data.synthetic.writing import Counts, save

__all__ = ["ThinScene", "make_thin_scene", "write_hqseg"]

_PAINTS = ((190, 50, 40), (240, 236, 228), (30, 34, 40), (60, 120, 50), (150, 96, 50))


class ThinScene(NamedTuple):
    """One image (H, W, 3) uint8 and the soft mask of its object (H, W) uint8."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    name: str


def make_thin_scene(size: Size, rng: Rng) -> ThinScene:
    """Generate one object in front of sky, ground and clutter."""
    name, share = _draw(size, rng)
    rgb = _background(size, rng)
    for _ in range(int(rng.integers(0, 3))):  # things that nobody asks for, in dull colours
        faint = 0.35 * _draw(size, rng)[1][..., None]
        rgb = rgb * (1 - faint) + np.float32(rng.uniform(60, 150)) * faint
    paint = np.array(rng.choice(_PAINTS), dtype=np.float32) * np.float32(rng.uniform(0.8, 1.1))
    rgb = blend(rgb, paint * (1 + 0.2 * smooth(size, rng, (12,))[..., None]), share)
    rgb += rng.normal(0, 4, rgb.shape)
    return ThinScene(to_bytes(rgb), to_bytes(share * 255), name)


def _draw(size: Size, rng: Rng) -> tuple[str, Plane]:
    """Name and share of some object in each pixel."""
    name = list(THIN_SHAPES)[int(rng.integers(len(THIN_SHAPES)))]
    return name, draw(size, lambda pen, w, h: THIN_SHAPES[name](Pencil(pen, (h, w)), rng))


def _background(size: Size, rng: Rng) -> NDArray[np.float32]:
    rows = np.linspace(0, 1, size[0], dtype=np.float32)[:, None, None]
    sky = np.array([140, 175, 215], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.1))
    ground = np.array([110, 115, 80], dtype=np.float32) * np.float32(rng.uniform(0.7, 1.2))
    horizon = np.float32(rng.uniform(0.4, 0.7))
    land = np.clip((rows - horizon) * 12 + 0.5, 0, 1)
    rgb = sky * (1 - land) + ground * land
    return rgb * (1 + 0.12 * smooth(size, rng, (5,)) + 0.1 * smooth(size, rng, (20,)))[..., None]


def write_hqseg(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write thin structures as the seven training and four validation sets of HQSeg-44K.

    As in the real one, sizes vary (two thirds to four thirds of `size` on each side), masks are
    grey at their borders, names in DIS5K hold ``#`` and spaces, five sets keep images and masks
    in one folder, and some masks have three channels. Scenes of "train" and "val" go to the
    training sets in turn; each of the four test sets gets as many as "test" says.
    `rgbx.data.synthetic.layouts` says what the arguments mean.
    """
    number = counts.get("train", 0) + counts.get("val", 0)
    names = [list(TRAIN)[i % len(TRAIN)] for i in range(number)]
    names += [name for name in TEST for _ in range(counts.get("test", 0))]
    for i, name in enumerate(tqdm(names, "scenes", disable=not progress)):
        rng = np.random.default_rng([seed, i])
        scene = make_thin_scene((_vary(size[0], rng), _vary(size[1], rng)), rng)
        stem = f"{i + 1:05d}"
        if name in ("DIS5K-TR", "DIS"):
            stem = f"{i + 1}#Structures#{i % 5 + 1}#{scene.name.capitalize()}#thin {scene.name}"
        images, masks = (TRAIN | TEST)[name].places[0]
        mask = np.repeat(scene.mask[..., None], 3, axis=2) if name == "COIFT" else scene.mask
        save(root / images / f"{stem}.jpg", scene.rgb)
        save(root / masks / f"{stem}.png", mask)


def _vary(side: int, rng: Rng) -> int:
    return max(16, round(side * float(rng.uniform(2 / 3, 4 / 3))))
