import numpy as np
import pytest

from rgbx.data.transforms.augment import Raw
from rgbx.data.transforms.occlusion import occlude, paste

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)
SOFT = np.float32(128 / 255)


def scene(colour, ground, height=128, width=128, box=(30, 90, 30, 100), soft=True):
    """A filled ellipse of one colour, with a grey border in its mask."""
    y, x = np.mgrid[:height, :width] + 0.5
    (top, bottom, left, right) = box
    a, b = (bottom - top) / 2, (right - left) / 2
    away = np.hypot((y - top - a) / a, (x - left - b) / b)
    mask = np.clip((1 - away) * min(a, b) + 0.5, 0, 1).astype(np.float32)
    if not soft:
        mask = (mask > 0.5).astype(np.float32)
    rgb = np.array(ground) * (1 - mask[..., None]) + np.array(colour) * mask[..., None]
    return Raw(np.rint(rgb).astype(np.uint8), None, mask)


TARGET = scene(GREEN, GREY)
OTHER = scene(RED, BLUE, 80, 100, (10, 60, 20, 90))


def frame(raw):
    """Another image at the target's size, its object in the middle."""
    assert raw is OTHER
    return scene(RED, BLUE)


def draws(count, target=TARGET):
    for seed in range(count):
        yield occlude(target, OTHER, frame, np.random.default_rng(seed))


def mode_of(result):
    """Told by the ground around the object: grey is the target's image, blue the other's."""
    if result is TARGET:
        return "kept"
    return "hidden" if tuple(result.rgb[0, 0]) == GREY else "hides"


def test_both_modes_occur_alike():
    modes = [mode_of(result) for result in draws(400)]
    assert modes.count("hidden") == pytest.approx(200, abs=40)
    assert modes.count("hides") == pytest.approx(200, abs=60)


def test_hidden_targets_never_claim_pasted_pixels():
    seen = 0
    for result in draws(200):
        if mode_of(result) != "hidden":
            continue
        seen += 1
        changed = (result.rgb != TARGET.rgb).any(axis=2)
        red = (result.rgb[..., 0] > 160) & (result.rgb[..., 1] < 95)
        assert red.sum() > 50
        assert not (result.mask[red] > SOFT).any()
        assert (result.mask <= TARGET.mask).all()
        kept = np.abs(result.mask - TARGET.mask)[~changed]
        assert kept.max() < 0.02  # of a pixel so faintly covered that its colour did not change
        visible = (result.mask > SOFT).sum() / (TARGET.mask > SOFT).sum()
        assert 0.5 <= visible < 1
    assert seen > 60


def test_hiding_targets_are_exactly_what_was_pasted():
    seen = 0
    for result in draws(200):
        if mode_of(result) != "hides":
            continue
        seen += 1
        background = frame(OTHER).rgb
        changed = (result.rgb != background).any(axis=2)
        assert not (changed & (result.mask == 0)).any()
        solid = result.mask == 1
        inner = solid & np.roll(solid, 1, 0) & np.roll(solid, -1, 0)
        inner &= np.roll(inner, 1, 1) & np.roll(inner, -1, 1)
        assert (result.rgb[inner] == GREEN).all() and inner.any()
        assert (result.mask > SOFT).sum() >= 100
    assert seen > 60


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_area_and_place_of_what_is_pasted(ratio):
    pasted = paste(TARGET, OTHER, ratio, (0.5, 0.5))
    area = (TARGET.mask > SOFT).sum()
    assert pasted.whole == pytest.approx(ratio * area, rel=0.06)
    inside = pasted.mask > SOFT
    assert inside.sum() == pasted.whole
    rows, columns = np.nonzero(inside)
    assert rows.mean() == pytest.approx(59.5, abs=1) and columns.mean() == pytest.approx(
        64.5, abs=1
    )
    # its proportions are kept: 50 x 70 as stored
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(70 / 50, rel=0.1)
    corner = paste(TARGET, OTHER, ratio, (0.0, 1.0)).mask > SOFT
    rows, columns = np.nonzero(corner)
    assert rows.mean() == pytest.approx(29.5, abs=1) and columns.mean() == pytest.approx(
        99.5, abs=1
    )


def test_edges_fade_over_a_pixel_and_wires_stay_visible():
    pasted = paste(TARGET, scene(RED, BLUE, soft=False), 0.5, (0.5, 0.5))
    assert not ((pasted.rgb[..., 2] > 120) & (pasted.mask == 0)).any()  # no blue rim of the source
    solid = (pasted.mask == 1).sum()
    full = (pasted.rgb == RED).all(axis=2).sum()
    assert 0.5 * solid < full < solid
    wire = np.zeros((128, 128), np.float32)
    wire[:, 60] = 1
    source = Raw(np.where(wire[..., None] > 0, RED, BLUE).astype(np.uint8), None, wire)
    canvas = scene(GREEN, GREY, box=(40, 80, 40, 80))
    thin = paste(canvas, source, (wire > 0).sum() / (canvas.mask > SOFT).sum(), (0.5, 0.5))
    assert (thin.mask == 1).any()
    assert thin.rgb[thin.mask == 1][:, 0].min() > 150


def test_what_would_spoil_the_sample_is_left_alone():
    small = scene(GREEN, GREY, box=(40, 50, 40, 50))  # 79 pixels: always below 100
    modes = {mode_of(result) if result is not small else "kept" for result in draws(40, small)}
    assert modes == {"kept", "hides"}  # pasted over another object, it is scaled and can be seen
    empty = Raw(TARGET.rgb, None, np.zeros((128, 128), np.float32))
    assert paste(TARGET, empty, 0.3, (0.5, 0.5)) is None
    assert paste(empty, OTHER, 0.3, (0.5, 0.5)) is None
    for seed in range(10):
        kept = occlude(TARGET, empty, lambda raw: raw, np.random.default_rng(seed))
        assert kept is TARGET
    line = np.zeros((64, 512), np.float32)
    line[30] = 1  # scaled to half of a full canvas it would be thousands of pixels long
    long = Raw(np.zeros((64, 512, 3), np.uint8), None, line)
    full = Raw(TARGET.rgb, None, np.ones((128, 128), np.float32))
    assert paste(full, long, 0.5, (0.5, 0.5)) is None


def test_targets_mostly_hidden_are_kept():
    # a target that only shows where the other object will lie: far more than half would go
    ring = scene(GREEN, GREY)
    ring.mask[(scene(GREEN, GREY, box=(35, 85, 35, 95)).mask > 0)] = 0
    for seed in range(60):
        result = occlude(ring, OTHER, frame, np.random.default_rng(seed))
        if result is not ring and tuple(result.rgb[0, 0]) == GREY:
            assert (result.mask > SOFT).sum() >= 0.5 * (ring.mask > SOFT).sum()


def test_a_pure_function_of_the_generator():
    a, b = (occlude(TARGET, OTHER, frame, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(a.rgb, b.rgb) and np.array_equal(a.mask, b.mask)
