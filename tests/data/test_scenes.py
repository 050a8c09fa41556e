import numpy as np
import pytest
from PIL import Image

from rgbx.data.synthetic.layouts import WRITERS, write_mfnet
from rgbx.data.synthetic.rails import make_rail
from rgbx.data.synthetic.scenes import SALIENT, SALIENT_DEPTH, STREET, TUNNEL, make_scene
from rgbx.data.synthetic.shapes import SHAPES

SIZE = (96, 128)


def scenes(theme, count=40, night=False):
    return [make_scene(theme, SIZE, np.random.default_rng(i), night) for i in range(count)]


@pytest.mark.parametrize("theme", [STREET, TUNNEL])
def test_every_class_occurs_at_a_learnable_size(theme):
    ids = np.stack([s.ids for s in scenes(theme)])
    assert set(np.unique(ids)) == {0, *theme.objects.values()}
    for value in theme.objects.values():
        present = (ids == value).sum(axis=(1, 2))
        assert (present > 0).sum() >= 10
        assert np.median(present[present > 0]) >= 40
    assert 0.75 < (ids == 0).mean() < 0.95


def test_scene_is_a_function_of_its_generator():
    a, b, c = (make_scene(STREET, SIZE, np.random.default_rng(s)) for s in (1, 1, 2))
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(a.rgb, c.rgb)
    assert a.rgb.shape == (*SIZE, 3) and a.x.shape == SIZE and a.rgb.dtype == np.uint8


def contrast(panel, ids, value):
    """Difference between an object's mean and the mean of the ring around it."""
    inside = ids == value
    grown = np.zeros_like(inside)
    for dy in range(-5, 6):
        for dx in range(-5, 6):
            grown |= np.roll(inside, (dy, dx), (0, 1))
    ring = grown & (ids == 0)
    return abs(float(panel[inside].mean()) - float(panel[ring].mean()))


def test_each_camera_misses_some_objects():
    """Cones are cold; many people have no contrast in RGB at night but all are warm."""
    by_night = scenes(STREET, 30, night=True)
    cones = [contrast(s.x, s.ids, 7) for s in by_night if (s.ids == 7).sum() > 40]
    people = [s for s in by_night if (s.ids == 2).sum() > 60]
    assert np.median(cones) < 15
    assert np.median([contrast(s.x, s.ids, 2) for s in people]) > 70
    hidden = [contrast(s.rgb, s.ids, 2) < 6 for s in people]
    assert np.mean(hidden) > 0.3


def test_dummies_are_not_labelled_and_warm_things_either():
    """Thermal alone cannot be thresholded into labels: warm pixels exist outside all objects."""
    warm_outside = [((s.x > 140) & (s.ids == 0)).mean() for s in scenes(STREET)]
    assert np.mean(np.array(warm_outside) > 0.002) > 0.5


def test_night_is_darker():
    day = np.mean([s.rgb.mean() for s in scenes(STREET, 8)])
    night = np.mean([s.rgb.mean() for s in scenes(STREET, 8, night=True)])
    assert night < 0.5 * day


@pytest.mark.slow
@pytest.mark.parametrize("theme", [SALIENT, SALIENT_DEPTH])
def test_salient_objects_are_large_and_each_camera_misses_some(theme):
    found = scenes(theme, 60)
    shares = np.array([(s.ids == 1).mean() for s in found])
    assert (shares > 0.01).mean() > 0.95 and 0.05 < shares.mean() < 0.2
    seen = np.array([(contrast(s.rgb, s.ids, 1), contrast(s.x, s.ids, 1)) for s in found])
    assert (seen[:, 0] < 6).sum() >= 3, "some scenes hide all objects from RGB"
    assert (seen[:, 1] < 6).sum() >= 3, "some hide all objects from the other camera"


def test_depth_comes_nearer_towards_the_bottom():
    x = np.mean([s.x for s in scenes(SALIENT_DEPTH, 10)], axis=(0, 2))
    assert x[-1] > 200 and x[0] < 40 and (np.diff(x[48:]) > -2).all()


def test_rails_need_both_cameras():
    """Rust has no depth, dents have no colour; stains and bumps have no label."""
    rails = [make_rail(SIZE, np.random.default_rng(i)) for i in range(60)]
    inside = np.array([mask.mean() / 255 for _, _, mask in rails])
    assert (inside > 0.003).all() and 0.03 < inside.mean() < 0.3
    for k, hidden_in in enumerate(("rgb", "depth")):
        panels = [r[k] if k else r[0].mean(axis=2) for r in rails]
        scale = 0.2 if k else 6
        seen = [contrast(p, mask // 255, 1) for p, (_, _, mask) in zip(panels, rails, strict=True)]
        assert (np.array(seen) < scale).sum() >= 5, hidden_in


def test_shapes_stay_in_their_box():
    for shape in SHAPES.values():
        points = np.array([p for part in shape.parts for p in part.points])
        assert points.min() >= 0 and points.max() <= 1
        assert sum(shape.modes) == pytest.approx(1) and sum(shape.night) == pytest.approx(1)


def test_mfnet_files_are_in_the_real_format(mfnet_root):
    stems = (mfnet_root / "train.txt").read_text().split()
    assert stems[:2] == ["00001D", "00002N"]
    with Image.open(mfnet_root / "images" / "00001D.png") as image:
        assert image.mode == "RGBA" and image.size == (96, 64)
    with Image.open(mfnet_root / "labels" / "00001D.png") as image:
        assert image.mode == "L"
    test = (mfnet_root / "test.txt").read_text().split()
    parts = [(mfnet_root / f"test_{d}.txt").read_text().split() for d in ("day", "night")]
    assert sorted(parts[0] + parts[1]) == test and all(n.endswith("N") for n in parts[1])


@pytest.mark.parametrize("layout", WRITERS)
def test_same_seed_same_files(tmp_path, layout):
    for name in "ab":
        WRITERS[layout](tmp_path / name, {"train": 2, "val": 1, "test": 1}, (32, 48), seed=4)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) >= 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_seed_changes_the_scenes(tmp_path):
    for seed in (0, 1):
        write_mfnet(tmp_path / str(seed), {"train": 1}, (32, 48), seed=seed)
    a, b = ((tmp_path / s / "images" / "00001D.png").read_bytes() for s in "01")
    assert a != b
