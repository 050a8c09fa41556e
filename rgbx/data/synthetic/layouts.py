"""Generated data sets, written in the real ones' layouts: for demos and tests, without a download.

The scenes are described in `rgbx.data.synthetic.scenes`. Every second one is at night. What is
written depends on the counts, the size and the seed only. All `WRITERS` take the same arguments:

* ``root``: folder to write to;
* ``counts``: number of scenes (images) of "train", "val" and "test";
* ``size``: (height, width) in pixels;
* ``seed``: of everything random;
* ``progress``: show a progress bar.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from rgbx.data.synthetic.boxes import write_flir, write_kaist, write_llvip
from rgbx.data.synthetic.prompts import write_hqseg
from rgbx.data.synthetic.saliency import (
    write_neu_rsdds,
    write_rgbd,
    write_vt5000,
    write_vt5000_scribble,
)
from rgbx.data.synthetic.scenes import STREET, TUNNEL, Scene, Theme, make_scene
from rgbx.data.synthetic.textures import Size
from rgbx.data.synthetic.two_class import write_cod, write_istd, write_kvasir
from rgbx.data.synthetic.writing import Counts, save
from rgbx.disk import write_text

__all__ = ["FOLDER_CLASSES", "WRITERS", "write_folder", "write_mfnet", "write_pst900"]

FOLDER_CLASSES = ("background", "car", "person", "bike", "color_cone")


class _Item(NamedTuple):
    split: str
    number: int
    time: str
    scene: Scene


def _scenes(theme: Theme, counts: Counts, size: Size, seed: int, progress: bool) -> Iterator[_Item]:
    """Generate all scenes; number n of a seed is the same whatever the counts before it."""
    splits = [split for split, count in counts.items() for _ in range(count)]
    for i, split in enumerate(tqdm(splits, "scenes", disable=not progress)):
        scene = make_scene(theme, size, np.random.default_rng([seed, i]), i % 2 == 1)
        yield _Item(split, i + 1, "night" if i % 2 else "day", scene)


def write_mfnet(
    root: Path, counts: Counts, size: Size = (480, 640), seed: int = 0, progress: bool = False
) -> None:
    """Write street scenes as MFNet's layout B: 4-channel PNGs, ids, lists with day and night."""
    lists: dict[str, list[str]] = {f"{s}{d}": [] for s in counts for d in ("", "_day", "_night")}
    for split, number, time, scene in _scenes(STREET, counts, size, seed, progress):
        stem = f"{number:05d}{time[0].upper()}"
        save(root / "images" / f"{stem}.png", np.dstack([scene.rgb, scene.x]))
        save(root / "labels" / f"{stem}.png", scene.ids)
        lists[split].append(stem)
        lists[f"{split}_{time}"].append(stem)
    for name in [*counts, "test_day", "test_night"]:
        write_text(root / f"{name}.txt", "".join(f"{stem}\n" for stem in lists.get(name, [])))


def write_pst900(
    root: Path, counts: Counts, size: Size = (720, 1280), seed: int = 0, progress: bool = False
) -> None:
    """Write tunnel scenes as PST900's layout, with thermal_raw (uint16) and without depth.

    PST900 has no validation folder: scenes of "val" go to train, from which the data module cuts
    a validation set.
    """
    for split, number, _, scene in _scenes(TUNNEL, counts, size, seed, progress):
        folder = root / ("test" if split == "test" else "train")
        name = f"{number:02d}_bag{number % 9}_rect_rgb_frame{number:010d}.png"
        save(folder / "rgb" / name, scene.rgb)
        save(folder / "thermal" / name, scene.x)
        save(folder / "thermal_raw" / name, scene.x.astype(np.uint16) * 9 + 21000)
        save(folder / "labels" / name, scene.ids)


def write_folder(
    root: Path, counts: Counts, size: Size = (480, 640), seed: int = 0, progress: bool = False
) -> None:
    """Write street scenes as ``{train,val,test}/{rgb,x,mask}``, classes `FOLDER_CLASSES`."""
    table = np.zeros(256, dtype=np.uint8)
    for name, value in STREET.objects.items():
        table[value] = FOLDER_CLASSES.index(name)
    for split, number, time, scene in _scenes(STREET, counts, size, seed, progress):
        for part, image in (("rgb", scene.rgb), ("x", scene.x), ("mask", table[scene.ids])):
            save(root / split / part / f"scene_{number:05d}_{time}.png", image)


WRITERS = {
    "mfnet": write_mfnet,
    "pst900": write_pst900,
    "folder": write_folder,
    "vt5000": write_vt5000,
    "vt5000_scribble": write_vt5000_scribble,
    "rgbd": write_rgbd,
    "neu_rsdds": write_neu_rsdds,
    "hqseg": write_hqseg,
    "cod": write_cod,
    "istd": write_istd,
    "kvasir": write_kvasir,
    "flir": write_flir,
    "llvip": write_llvip,
    "kaist": write_kaist,
}
