"""Generated saliency data sets, written in the real ones' layouts with their mixture of files.

`rgbx.data.synthetic.layouts` says what the arguments mean. None of these sets has a validation set:
scenes of "val" go to train.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.decoding.files import read_binary
from rgbx.data.synthetic.rails import make_rail
from rgbx.data.synthetic.scenes import SALIENT, SALIENT_DEPTH, Scene, Theme, make_scene
from rgbx.data.synthetic.textures import Rng, Size
from rgbx.data.synthetic.writing import Counts, save, split_scenes
from rgbx.disk import whole_file

__all__ = [
    "write_neu_rsdds",
    "write_rgbd",
    "write_scribbles",
    "write_vt5000",
    "write_vt5000_scribble",
]

# as it is, by 180 degrees, flipped in each way
_TURNS: tuple[Callable[[NDArray[np.generic]], NDArray[np.generic]], ...] = (
    np.asarray,
    lambda image: np.rot90(image, 2),
    np.fliplr,
    np.flipud,
)


def _scenes(
    theme: Theme, folders: list[Path], size: Size, seed: int, progress: bool
) -> Iterator[tuple[Path, int, Scene]]:
    """Generate a scene for each folder; every fourth is by night."""
    for i, folder in enumerate(tqdm(folders, "scenes", disable=not progress)):
        yield folder, i + 1, make_scene(theme, size, np.random.default_rng([seed, i]), i % 4 == 3)


def write_vt5000(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write street scenes as VT5000 with the test sets VT1000 and VT821 next to it.

    As in the real ones, VT5000 is nested in ``VT5000_clear``, thermal images are three-channel
    ``.jpg`` in VT5000 and ``.bmp`` in VT1000, VT821 keeps them in ``thermal/``, and the masks of
    VT1000 and VT821 are JPEGs. VT1000 and VT821 have half as many scenes as VT5000's test set. The
    real images mostly have 480 x 640 pixels.
    """
    inner = root / "VT5000" / "VT5000_clear"
    others = [root / "VT1000", root / "VT821"]
    folders = split_scenes(counts, inner / "Train", inner / "Test", others)
    for folder, number, scene in _scenes(SALIENT, folders, size, seed, progress):
        save(folder / "RGB" / f"{number}.jpg", scene.rgb)
        if folder.name == "VT1000":
            save(folder / "T" / f"{number}.bmp", scene.x)
        elif folder.name == "VT821":
            save(folder / "thermal" / f"{number}.jpg", scene.x)
        else:
            save(folder / "T" / f"{number}.jpg", np.repeat(scene.x[..., None], 3, axis=2))
        kind = ".jpg" if folder in others else ".png"
        save(folder / "GT" / f"{number}{kind}", _white(scene.ids > 0))


def write_rgbd(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write RGB-depth scenes as NJU2K + NLPR for training; NJU2K, NLPR and STERE for test.

    The layout is that of the packs: ``train/{RGB,depth,GT}`` with both sets in one folder, and
    ``test/NAME/{RGB,depth,GT}``. Depth is 8 bits (``.png``; NLPR ``.bmp``), in STERE 16 bits, and
    near is bright. NLPR and STERE have half as many test scenes.
    """
    test = root / "test"
    folders = split_scenes(counts, root / "train", test / "NJU2K", [test / "NLPR", test / "STERE"])
    for folder, number, scene in _scenes(SALIENT_DEPTH, folders, size, seed, progress):
        name = folder.name
        if name == "train":
            name = "NJU2K" if number % 3 else "NLPR"
        stem = f"10_{number:02d}-02-58" if name == "NLPR" else f"{number:06d}_left"
        save(folder / "RGB" / f"{stem}.jpg", scene.rgb)
        depth = scene.x.astype(np.uint16) * 257 if name == "STERE" else scene.x
        save(folder / "depth" / f"{stem}{'.bmp' if name == 'NLPR' else '.png'}", depth)
        save(folder / "GT" / f"{stem}.png", _white(scene.ids > 0))


def write_neu_rsdds(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write rails with defects in the authors' layout of NEU RSDDS-AUG.

    As the real set, it is augmented: four training images in a row are one rail, as it is,
    turned by 180 degrees, and flipped in each way; they count as four, and names do not tell. Image
    is ``.bmp``, Depth ``.tiff`` (float; every third 16 bits), GT a 1-bit ``.png``.
    """
    splits = split_scenes(counts, "train", "test")
    for i, split in enumerate(tqdm(splits, "scenes", disable=not progress)):
        scene, turn = divmod(i, 4) if split == "train" else (i, 0)
        parts = make_rail(size, np.random.default_rng([seed, scene, split == "test"]))
        rgb, depth, mask = (np.ascontiguousarray(_TURNS[turn](part)) for part in parts)
        save(root / f"Image_{split}" / f"{i + 1}.bmp", rgb)
        save(root / f"GT_{split}" / f"{i + 1}.png", mask.astype(bool))
        path = root / f"Depth_{split}" / f"{i + 1}.tiff"
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = np.rint(depth * 1000).astype(np.uint16) if scene % 3 == 2 else depth
        with whole_file(path) as draft:
            tifffile.imwrite(draft, stored, metadata=None)


def write_vt5000_scribble(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write `write_vt5000`, and scribbles of its training masks in both codings.

    ``scribbles/{gt,mask}`` are strokes and labelled pixels, ``scribbles_012`` one image of each.
    """
    write_vt5000(root, counts, size, seed, progress)
    masks = root / "VT5000" / "VT5000_clear" / "Train" / "GT"
    write_scribbles(masks, root / "scribbles", seed)
    write_scribbles(masks, root / "scribbles_012", seed, one_image=True)


def write_scribbles(masks: Path, folder: Path, seed: int = 0, one_image: bool = False) -> None:
    """Draw scribbles for a folder of full masks: a stroke in each object and two outside.

    Args:
        masks: folder of two-class masks.
        folder: where the scribbles go.
        seed: of the strokes.
        one_image: write one image of 0, 1 and 2; else ``gt/`` (strokes on objects) and
            ``mask/`` (labelled pixels).
    """
    for i, path in enumerate(sorted(masks.glob("*.*"))):
        labels = _scribble(read_binary(path).astype(np.uint8), np.random.default_rng([seed, i]))
        if one_image:
            save(folder / f"{path.stem}.png", labels)
        else:
            save(folder / "gt" / f"{path.stem}.png", _white(labels == 1))
            save(folder / "mask" / f"{path.stem}.png", _white(labels > 0))


def _white(where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(where, 255, 0).astype(np.uint8)


def _scribble(mask: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Labels of strokes: 1 object, 2 background, 0 nothing."""
    labels = np.zeros_like(mask)
    count, parts = cv2.connectedComponents(mask)
    for part in range(1, count):
        _stroke(labels, parts == part, 1, rng)
    for _ in range(2):
        _stroke(labels, mask == 0, 2, rng)
    return labels


def _stroke(labels: NDArray[np.uint8], region: NDArray[np.bool_], value: int, rng: Rng) -> None:
    """Draw a bent line between three points of a region, where it lies in the region."""
    places = np.argwhere(region)[:, ::-1]
    if not len(places):
        return
    points = places[rng.integers(len(places), size=3)].astype(np.int32)
    line = np.zeros_like(labels)
    cv2.polylines(line, [points], False, 1, max(1, round(min(labels.shape) / 60)))
    labels[(line > 0) & region] = value
