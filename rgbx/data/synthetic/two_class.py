"""Generated sets of camouflage, shadows and polyps, written in the real ones' layouts."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.synthetic.camouflage import make_camouflage
from rgbx.data.synthetic.polyp import make_polyp
from rgbx.data.synthetic.shadow import add_shadow, make_ground
from rgbx.disk import write_image, write_text

__all__ = ["write_cod", "write_istd", "write_kvasir"]

Size = tuple[int, int]
_PER_SCENE = 4
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def write_cod(
    root: Path, counts: Mapping[str, int], size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write animals in hiding as ``TrainDataset/{Imgs,GT}`` and ``TestDataset/NAME/{Imgs,GT}``.

    Images are ``.jpg`` and masks ``.png``, under the names of COD10K, CAMO and CHAMELEON; every
    fourth training image is called as CAMO's are. The test sets are COD10K, and CAMO and
    CHAMELEON with half as many images. Images of "val" go to train.

    Args:
        root: folder to write to.
        counts: number of images of "train", "val" and "test".
        size: (height, width).
        seed: of the scenes.
        progress: show a progress bar.
    """
    train, test = counts.get("train", 0) + counts.get("val", 0), counts.get("test", 0)
    half = max(1, test // 2) if test else 0
    sets = ["CAMO" if i % 4 == 3 else "COD10K" for i in range(train)]
    places = [(root / "TrainDataset", name) for name in sets]
    for name, count in (("COD10K", test), ("CAMO", half), ("CHAMELEON", half)):
        places += [(root / "TestDataset" / name, name)] * count
    for i, (folder, name) in enumerate(tqdm(places, "scenes", disable=not progress)):
        rgb, mask = make_camouflage(size, np.random.default_rng([seed, i]))
        stem = _cod_stem(name, i + 1)
        _save(folder / "Imgs" / f"{stem}.jpg", rgb)
        _save(folder / "GT" / f"{stem}.png", mask)


def _cod_stem(name: str, number: int) -> str:
    if name == "CAMO":
        return f"camourflage_{number:05d}"  # so spelt in the real set
    if name == "CHAMELEON":
        return f"animal-{number}"
    return f"COD10K-CAM-3-Flying-53-Bird-{number}"


def write_istd(
    root: Path, counts: Mapping[str, int], size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write grounds with shadows as ``ISTD_Dataset/{train,test}/{train_A,train_B,train_C}``.

    A is the image, B the mask, C the image without shadow. As in the real set, an image N-M
    shows shadow M on ground N; there are four of each ground. Images of "val" go to train.

    Args:
        root: folder to write to.
        counts: number of images of "train", "val" and "test".
        size: (height, width); the real set has 480 x 640.
        seed: of the scenes.
        progress: show a progress bar.
    """
    splits = ["train"] * (counts.get("train", 0) + counts.get("val", 0))
    splits += ["test"] * counts.get("test", 0)
    starts = {"train": 0, "test": splits.count("train")}
    for i, split in enumerate(tqdm(splits, "scenes", disable=not progress)):
        scene, number = divmod(i - starts[split], _PER_SCENE)
        key = [seed, scene, split == "test"]
        ground = make_ground(size, np.random.default_rng(key))
        images = add_shadow(ground, np.random.default_rng([*key, number]))
        first = 1 + (0 if split == "train" else -(-starts["test"] // _PER_SCENE))
        for part, image in zip("ABC", images, strict=True):
            folder = root / "ISTD_Dataset" / split / f"{split}_{part}"
            _save(folder / f"{first + scene}-{number + 1}.png", image)


def write_kvasir(
    root: Path, counts: Mapping[str, int], size: Size, seed: int = 0, progress: bool = False
) -> None:
    """Write polyps as ``Kvasir-SEG/{images,masks}``, with boxes in ``kavsir_bboxes.json``.

    As in the real set, everything is JPEG, every other mask has three channels, images differ in
    size (by up to a quarter), names say nothing, and there are no lists: train, val and test all
    lie in one folder, which `rgbx.data.KvasirSEG` divides.

    Args:
        root: folder to write to.
        counts: number of images of "train", "val" and "test".
        size: (height, width), about which the sizes vary.
        seed: of the scenes.
        progress: show a progress bar.
    """
    folder = root / "Kvasir-SEG"
    boxes = {}
    for i in tqdm(range(sum(counts.values())), "scenes", disable=not progress):
        rng = np.random.default_rng([seed, i])
        own = round(size[0] * rng.uniform(0.8, 1.25)), round(size[1] * rng.uniform(0.8, 1.25))
        rgb, mask = make_polyp(own, rng)
        stem = "cj" + "".join(_ALPHABET[k] for k in rng.integers(len(_ALPHABET), size=23))
        _save(folder / "images" / f"{stem}.jpg", rgb)
        stored = np.repeat(mask[..., None], 3, axis=2) if i % 2 else mask
        _save(folder / "masks" / f"{stem}.jpg", stored)
        boxes[stem] = _box(mask)
    write_text(folder / "kavsir_bboxes.json", json.dumps(boxes, indent=1))


def _box(mask: NDArray[np.uint8]) -> dict[str, object]:
    """Size of the image and the box round all its polyps, in pixels."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    limits = {"xmin": columns[0], "ymin": rows[0], "xmax": columns[-1], "ymax": rows[-1]}
    box = {"label": "polyp", **{name: int(value) for name, value in limits.items()}}
    return {"height": mask.shape[0], "width": mask.shape[1], "bbox": [box]}


def _save(path: Path, array: NDArray[np.uint8]) -> None:
    write_image(array, path, **({"quality": 95} if path.suffix == ".jpg" else {}))
