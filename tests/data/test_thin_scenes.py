import numpy as np
import pytest

from rgbx.data.synthetic.layouts import write_hqseg
from rgbx.data.synthetic.prompts import make_thin_scene
from rgbx.data.synthetic.thin_shapes import THIN_SHAPES
from rgbx.prompts import foreground, tight_box


def test_objects_are_thin_soft_and_visible():
    names = set()
    for seed in range(25):
        scene = make_thin_scene((120, 150), np.random.default_rng(seed))
        assert scene.rgb.shape == (120, 150, 3) and scene.mask.shape == (120, 150)
        names.add(scene.name)
        inside = foreground(scene.mask)
        left, top, right, bottom = tight_box(scene.mask).tolist()
        filled = inside.sum() / ((right - left + 1) * (bottom - top + 1))
        assert (bottom - top) * (right - left) > 0.05 * inside.size
        assert filled < 0.65, scene.name  # much of the box is background: prompts matter
        grey = (scene.mask > 8) & (scene.mask < 247)
        assert grey.mean() > 0.01
        colours = scene.rgb.astype(float)
        near = np.abs(colours[scene.mask > 250].mean(0) - colours[scene.mask == 0].mean(0))
        assert near.max() > 15, (seed, scene.name)
    assert names == set(THIN_SHAPES)


def test_same_seed_same_files(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_hqseg(tmp_path / name, {"train": 2, "test": 1}, (48, 48), seed)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 12
    assert all(
        (tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files
    )
    other = sorted((tmp_path / "c").rglob("*.png"))[0].read_bytes()
    assert other != sorted((tmp_path / "a").rglob("*.png"))[0].read_bytes()


@pytest.mark.parametrize("name", THIN_SHAPES)
def test_every_shape_fits_into_its_image(name):
    from PIL import Image, ImageDraw

    from rgbx.data.synthetic.thin_shapes import Pencil

    for seed in range(8):
        page = Image.new("L", (300, 200))
        pencil = Pencil(ImageDraw.Draw(page), (200, 300))
        THIN_SHAPES[name](pencil, np.random.default_rng(seed))
        drawn = np.asarray(page) > 0
        assert 0.01 < drawn.mean() < 0.4
        assert drawn[20:180].any() and not drawn[[0, -1]].any()  # not cut at top and bottom
