"""Generated street scenes with boxes, in the layouts of FLIR-aligned, LLVIP and KAIST."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbx.data.synthetic.scenes import STREET, Scene, Theme, make_instances
from rgbx.data.synthetic.textures import Size
from rgbx.data.synthetic.writing import Counts, save
from rgbx.disk import write_text

__all__ = ["write_flir", "write_kaist", "write_llvip"]

_THEME = Theme(
    {"car": 1, "person": 2, "bike": 3}, "person", STREET.background, count=(2, 6), enlarge=1.3
)
_LEAST = 12  # visible pixels that an object must have to be annotated
_VIDEO = 8  # frames of a generated video
Corners = tuple[int, int, int, int]


class _Item(NamedTuple):
    split: str
    number: int
    night: bool
    scene: Scene
    boxes: list[tuple[str, Corners]]


def boxes_of(ids: NDArray[np.uint8], names: Sequence[str]) -> list[tuple[str, Corners]]:
    """Tight boxes x1, y1, x2, y2 around the visible part of every instance 1, 2, ... of (H, W)."""
    found = []
    for number, name in enumerate(names, 1):
        rows, columns = np.nonzero(ids == number)
        if len(rows) >= _LEAST:
            corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            x1, y1, x2, y2 = (int(value) for value in corners)
            found.append((name, (x1, y1, x2, y2)))
    return found


def _scenes(counts: Counts, size: Size, seed: int, progress: bool) -> Iterator[_Item]:
    splits = [split for split, count in counts.items() for _ in range(count)]
    for i, split in enumerate(tqdm(splits, "scenes", disable=not progress)):
        night = i % 2 == 1
        scene, names = make_instances(_THEME, size, np.random.default_rng([seed, i]), night)
        yield _Item(split, i + 1, night, scene, boxes_of(scene.ids, names))


def _voc(path: Path, boxes: Sequence[tuple[str, Corners]], size: Size) -> None:
    """Pascal VOC: pixels count from 1, the last one is part of the box."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n"
        for name, (x1, y1, x2, y2) in boxes
    )
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>"
    write_text(path, f"<annotation>\n{stated}\n{objects}</annotation>\n")


def write_flir(
    root: Path, counts: Counts, size: Size = (512, 640), seed: int = 0, progress: bool = False
) -> None:
    """Write scenes as FLIR-aligned's ``align/``; scenes of "val" go to train."""
    lists: dict[str, list[str]] = {"train": [], "validation": []}
    for split, number, _, scene, boxes in _scenes(counts, size, seed, progress):
        stem = f"FLIR_{number:05d}"
        save(root / "JPEGImages" / f"{stem}_RGB.jpg", scene.rgb)
        save(root / "JPEGImages" / f"{stem}_PreviewData.jpeg", scene.x)
        named = [("bicycle" if name == "bike" else name, box) for name, box in boxes]
        _voc(root / "Annotations" / f"{stem}_PreviewData.xml", named, size)
        lists["validation" if split == "test" else "train"].append(f"{stem}_PreviewData")
    for name, stems in lists.items():
        write_text(root / f"align_{name}.txt", "".join(f"{stem}\n" for stem in stems))


def write_llvip(
    root: Path, counts: Counts, size: Size = (1024, 1280), seed: int = 0, progress: bool = False
) -> None:
    """Write scenes as LLVIP, persons annotated; scenes of "val" go to train."""
    for split, number, _, scene, boxes in _scenes(counts, size, seed, progress):
        part = "test" if split == "test" else "train"
        stem = f"{number:06d}"
        save(root / "visible" / part / f"{stem}.jpg", scene.rgb)
        save(root / "infrared" / part / f"{stem}.jpg", scene.x)
        _voc(root / "Annotations" / f"{stem}.xml", [b for b in boxes if b[0] == "person"], size)


def write_kaist(
    root: Path, counts: Counts, size: Size = (512, 640), seed: int = 0, progress: bool = False
) -> None:
    """Write scenes as KAIST, with sanitised text files for train and the JSON of test.

    Every eight scenes of a time of day are a video; scenes of "val" go to train.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    seen: dict[tuple[bool, bool], int] = {}
    for split, _, night, scene, boxes in _scenes(counts, size, seed, progress):
        test = split == "test"
        index = seen[test, night] = seen.get((test, night), -1) + 1
        video, frame = divmod(index, _VIDEO)
        number = 6 * test + 3 * night
        name = f"set{number:02d}/V{video:03d}/I{20 * frame + 19:05d}"
        folder, stem = name.rsplit("/", 1)
        save(root / "images" / folder / "visible" / f"{stem}.jpg", scene.rgb)
        save(root / "images" / folder / "lwir" / f"{stem}.jpg", scene.x)
        persons = [box for kind, box in boxes if kind == "person"]
        rows = [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in persons]
        if not test:
            lines = [f"person {x} {y} {w} {h} 0 0 0 0 0 0 0" for x, y, w, h in rows]
            text = "\n".join(["% bbGt version=3", *lines, ""])
            write_text(root / "annotations_sanitized" / f"{name}.txt", text)
            continue
        image = {"id": len(images), "im_name": name, "height": size[0], "width": size[1]}
        images.append(image)
        for row in rows:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image["id"],
                    "category_id": 1,
                    "bbox": list(row),
                    "height": row[3],
                    "occlusion": 0,
                    "ignore": 0,
                }
            )
    categories = [{"id": i, "name": n} for i, n in enumerate(("__ignore__", "person"))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_text(root / "KAIST_annotation.json", json.dumps(content))
    write_text(root / "test-all-20.txt", "".join(f"{i['im_name']}\n" for i in images))
