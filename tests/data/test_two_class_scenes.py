"""Generated camouflage, shadows and polyps: hidden as they should be, and the same every time."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from rgbx.data.synthetic.animals import ANIMALS, draw_animal
from rgbx.data.synthetic.camouflage import make_camouflage
from rgbx.data.synthetic.layouts import WRITERS
from rgbx.data.synthetic.polyp import make_polyp
from rgbx.data.synthetic.shadow import add_shadow, make_ground
from rgbx.data.synthetic.textures import blend, clouds, draw, grain, paint

SIZE = (96, 128)


def rngs(count):
    return [np.random.default_rng([7, i]) for i in range(count)]


@pytest.mark.parametrize("kind", ANIMALS)
def test_animals_have_a_size_and_lie_inside(kind):
    for rng in rngs(8):
        share = draw_animal(SIZE, rng, kind)
        assert share.shape == SIZE and share.min() == 0 and share.max() == 1
        assert 0.01 < share.mean() < 0.3
        assert ((share > 0) & (share < 1)).any(), "borders are soft"


def mean_inside_and_around(rgb, inside):
    """Mean colours of an object and of a belt around it."""
    wide = cv2.dilate(inside.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    colours = rgb.astype(float)
    return colours[inside].mean(axis=0), colours[wide & ~inside].mean(axis=0)


def test_camouflage_hides_the_colour_but_not_the_grain():
    finer, distances = 0, []
    for rng in rngs(20):
        rgb, mask = make_camouflage(SIZE, rng)
        assert rgb.shape == (*SIZE, 3) and rgb.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        inside = mask > 0
        assert 0.01 < inside.mean() < 0.45
        body, around = mean_inside_and_around(rgb, inside)
        distances.append(np.abs(body - around).max())
        edges = np.abs(cv2.Laplacian(rgb.mean(axis=2), cv2.CV_64F))
        core = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
        far = cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 0
        finer += np.median(edges[core]) > np.median(edges[far])
    assert np.median(distances) < 20 and max(distances) < 60, "mean colours hardly differ"
    assert finer >= 16, "but the grain of most animals is finer"


def test_shadow_darkens_everything_it_falls_on():
    for rng in rngs(10):
        ground = make_ground(SIZE, rng)
        rgb, mask, bright = add_shadow(ground, rng)
        inside, outside = mask == 255, mask == 0
        assert 0.02 < inside.mean() < 0.6
        assert ((mask > 0) & (mask < 255)).any() and ((mask > 8) & (mask < 247)).mean() < 0.05
        ratio = rgb[inside].astype(float).mean() / bright[inside].mean()
        assert 0.35 < ratio < 0.8
        far = cv2.erode(outside.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        np.testing.assert_array_equal(rgb[far], bright[far])
        assert (rgb.astype(int) <= bright.astype(int) + 1).mean() > 0.99


def test_polyps_are_lumps_in_the_colour_of_the_mucosa():
    distances = []
    for rng in rngs(12):
        rgb, mask = make_polyp(SIZE, rng)
        inside = mask > 0
        assert set(np.unique(mask)) == {0, 255} and 0.01 < inside.mean() < 0.4
        assert rgb[0].max() < 30 and not mask[0].any(), "the border of the image is black"
        body, around = mean_inside_and_around(rgb, inside)
        assert body.argmax() == 0, "reddish"
        distances.append(np.abs(body - around).max())
    assert np.median(distances) < 60


def test_boxes_of_polyps_fit_their_masks(tmp_path):
    WRITERS["kvasir"](tmp_path, {"train": 4}, (48, 64))
    boxes = json.loads((tmp_path / "Kvasir-SEG/kavsir_bboxes.json").read_text())
    sizes = set()
    for stem, found in boxes.items():
        mask = np.asarray(Image.open(tmp_path / f"Kvasir-SEG/masks/{stem}.jpg").convert("L")) > 127
        assert mask.shape == (found["height"], found["width"])
        rows, columns = np.nonzero(mask)
        box = found["bbox"][0]
        assert (box["ymin"], box["ymax"]) == (rows.min(), rows.max())
        assert (box["xmin"], box["xmax"]) == (columns.min(), columns.max())
        sizes.add(mask.shape)
    assert len(sizes) > 1, "images differ in size"


@pytest.mark.parametrize("layout", ["cod", "istd", "kvasir"])
def test_same_seed_same_files(tmp_path, layout):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        WRITERS[layout](tmp_path / name, {"train": 3, "val": 1, "test": 2}, (48, 64), seed)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*g"))
    assert len(files) >= 12
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    other = {p.read_bytes() for p in (tmp_path / "c").rglob("*.*g")}
    assert not other & {(tmp_path / "a" / f).read_bytes() for f in files if "GT" not in str(f)}


def test_images_of_a_scene_share_their_ground(tmp_path):
    WRITERS["istd"](tmp_path, {"train": 8, "test": 4}, (48, 64))
    folder = tmp_path / "ISTD_Dataset" / "train"
    names = sorted(p.stem for p in (folder / "train_A").iterdir())
    assert names == [f"{n}-{m}" for n in (1, 2) for m in (1, 2, 3, 4)]
    free = {n: np.asarray(Image.open(folder / f"train_C/{n}.png"), dtype=float) for n in names}
    flat = {n: free[n].ravel() - free[n].mean() for n in names}

    def alike(a, b):
        return flat[a] @ flat[b] / np.linalg.norm(flat[a]) / np.linalg.norm(flat[b])

    assert alike("1-1", "1-2") > 0.6 > alike("1-1", "2-1")
    test = {p.stem.split("-")[0] for p in (tmp_path / "ISTD_Dataset/test/test_A").iterdir()}
    assert test == {"3"}, "no scene is in train and in test"


def test_textures_are_standardised_and_directed():
    rng = np.random.default_rng(0)
    for plane in (clouds(SIZE, rng), grain(SIZE, rng, 0.0, 8, 2)):
        assert plane.shape == SIZE and plane.dtype == np.float32
        assert abs(plane.mean()) < 1e-3 and abs(plane.std() - 1) < 1e-3
    fibres = grain(SIZE, rng, 0.0, 12, 2)
    along, down = (np.square(np.diff(fibres, axis=axis)).mean() for axis in (1, 0))
    assert along < 0.2 * down, "fibres at angle 0 run across"
    turned = grain(SIZE, rng, np.pi / 2, 12, 2)
    along, down = (np.square(np.diff(turned, axis=axis)).mean() for axis in (1, 0))
    assert down < 0.2 * along


def test_painting_and_drawing():
    ends = paint(np.array([[-2, -1.5, 0, 1.5, 9]], np.float32), ((0, 10, 20), (100, 110, 120)))
    np.testing.assert_allclose(ends[0, :, 0], [0, 0, 50, 100, 100])
    np.testing.assert_allclose(ends[0, 2], [50, 60, 70])
    half = draw((4, 8), lambda pen, w, h: pen.rectangle((0, 0, w / 2 - 1, h), 255))
    np.testing.assert_array_equal(half, np.tile([1, 1, 1, 1, 0, 0, 0, 0], (4, 1)))
    laid = blend(np.zeros((4, 8, 3), np.float32), np.full((4, 8, 3), 9, np.float32), half)
    np.testing.assert_array_equal(laid[..., 1], 9 * half)
