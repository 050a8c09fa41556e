"""Generated sets of camouflage, shadows and polyps, written in the real ones' layouts.

`rgbx.data.synthetic.layouts` says what the arguments mean. None of these sets has a validation set:
images of "val" go to train.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.synthetic.camouflage import make_camouflage
from rgbx.data.synthetic.polyp import make_polyp
from rgbx.data.synthetic.shadow import add_shadow, make_ground
from rgbx.data.synthetic.textures import Size
from rgbx.data.synthetic.writing import Counts, save, split_scenes
from rgbx.disk import write_text

__all__ = ["write_cod", "write_istd", "write_kvasir"]

_PER_SCENE = 4
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_COD_STEMS = {
    "CAMO": "camourflage_{:05d}",  # so spelt in the real set
    "CHAMELEON": "animal-{}",
    "COD10K": "COD10K-CAM-3-Flying-53-Bird-{}",
}


def write_cod(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write animals in hiding as ``TrainDataset/{Imgs,GT}`` and ``TestDataset/NAME/{Imgs,GT}``.

    Images are ``.jpg`` and masks ``.png``, under the names of COD10K, CAMO and CHAMELEON; every
    fourth training image is called as CAMO's are. The test sets are COD10K, and CAMO and
    CHAMELEON with half as many images.
    """
    test = root / "TestDataset"
    folders = split_scenes(
        counts, root / "TrainDataset", test / "COD10K", [test / "CAMO", test / "CHAMELEON"]
    )
    for i, folder in enumerate(tqdm(folders, "scenes", disable=not progress)):
        rgb, mask = make_camouflage(size, np.random.default_rng([seed, i]))
        name = folder.name
        if name == "TrainDataset":
            name = "CAMO" if i % 4 == 3 else "COD10K"
        stem = _COD_STEMS[name].format(i + 1)
        save(folder / "Imgs" / f"{stem}.jpg", rgb)
        save(folder / "GT" / f"{stem}.png", mask)


def write_istd(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write grounds with shadows as ``ISTD_Dataset/{train,test}/{train_A,train_B,train_C}``.

    A is the image, B the mask, C the image without shadow. As in the real set (480 x 640), an image
    N-M shows shadow M on ground N; there are four of each ground.
    """
    splits = split_scenes(counts, "train", "test")
    starts = {"train": 0, "test": splits.count("train")}
    for i, split in enumerate(tqdm(splits, "scenes", disable=not progress)):
        scene, number = divmod(i - starts[split], _PER_SCENE)
        key = [seed, scene, split == "test"]
        ground = make_ground(size, np.random.default_rng(key))
        images = add_shadow(ground, np.random.default_rng([*key, number]))
        first = 1 + (0 if split == "train" else -(-starts["test"] // _PER_SCENE))
        for part, image in zip("ABC", images, strict=True):
            folder = root / "ISTD_Dataset" / split / f"{split}_{part}"
            save(folder / f"{first + scene}-{number + 1}.png", image)


def write_kvasir(
    root: Path, counts: Counts, size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write polyps as ``Kvasir-SEG/{images,masks}``, with boxes in ``kavsir_bboxes.json``.

    As in the real set, everything is JPEG, every other mask has three channels, images differ in
    size (by up to a quarter), names say nothing, and there are no lists: train, val and test all
    lie in one folder, which `rgbx.data.KvasirSEG` divides.
    """
    folder = root / "Kvasir-SEG"
    boxes = {}
    for i in tqdm(range(sum(counts.values())), "scenes", disable=not progress):
        rng = np.random.default_rng([seed, i])
        own = round(size[0] * rng.uniform(0.8, 1.25)), round(size[1] * rng.uniform(0.8, 1.25))
        rgb, mask = make_polyp(own, rng)
        stem = "cj" + "".join(_ALPHABET[k] for k in rng.integers(len(_ALPHABET), size=23))
        save(folder / "images" / f"{stem}.jpg", rgb)
        stored = np.repeat(mask[..., None], 3, axis=2) if i % 2 else mask
        save(folder / "masks" / f"{stem}.jpg", stored)
        boxes[stem] = _box(mask)
    write_text(folder / "kavsir_bboxes.json", json.dumps(boxes, indent=1))


def _box(mask: NDArray[np.uint8]) -> dict[str, object]:
    """Size of the image and the box round all its polyps, in pixels."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    limits = {"xmin": columns[0], "ymin": rows[0], "xmax": columns[-1], "ymax": rows[-1]}
    box = {"label": "polyp", **{name: int(value) for name, value in limits.items()}}
    return {"height": mask.shape[0], "width": mask.shape[1], "bbox": [box]}
