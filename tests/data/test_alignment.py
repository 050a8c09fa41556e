"""Shifts between the cameras: known ones are found again."""

import csv

import cv2
import numpy as np
import pytest

from rgbx.cli import run
from rgbx.data.checks.alignment import CERTAIN, estimate_shift
from rgbx.data.decoding.files import read_grey, read_rgb

MOVES = [(9, -6), (-14, 11), (0, 20), (3.5, -2.5)]


def moved(x, right, down):
    """X further to the right and down, its border reflected."""
    matrix = np.array([[1, 0, right], [0, 1, down]], dtype=np.float32)
    size = (x.shape[1], x.shape[0])
    return cv2.warpAffine(x, matrix, size, borderMode=cv2.BORDER_REFLECT)


def scene(seed=0, size=(240, 320)):
    """Patches that are bright in one camera and dark or bright in the other."""
    rng = np.random.default_rng(seed)
    rgb, x = np.full((*size, 3), 90, np.uint8), np.full(size, 0.5, np.float32)
    for _ in range(40):
        top, left = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        box = np.s_[top : top + rng.integers(10, 60), left : left + rng.integers(10, 60)]
        rgb[box], x[box] = rng.integers(0, 255, 3), rng.random()
    noise = rng.normal(0, 0.02, size)
    return rgb, np.clip(x + noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("invert", [False, True])
def test_a_known_shift_is_found(move, invert):
    rgb, x = scene()
    x = 1 - x if invert else x
    *found, confidence = estimate_shift(rgb, moved(x, *move))
    assert found == pytest.approx(move, abs=0.5) and confidence > CERTAIN


def test_an_aligned_pair_has_no_shift_and_colours_of_x_count_alike():
    rgb, x = scene(1)
    for image in (x, np.repeat(x[..., None], 3, axis=2)):
        assert estimate_shift(rgb, image)[:2] == pytest.approx((0, 0), abs=0.5)


def test_images_that_show_nothing_in_common_are_not_certain():
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, 255, (120, 160, 3), np.uint8)
    assert estimate_shift(rgb, rng.random((120, 160), dtype=np.float32))[2] < CERTAIN
    assert estimate_shift(rgb, np.zeros((120, 160), np.float32)) == (0.0, 0.0, 0.0)


def test_known_shifts_of_real_pairs(samples):
    """Real pairs have a shift of their own, so what is found again is the difference."""
    tried = 0
    for name in ("tno_saliency", "unlabelled_llvip", "unlabelled_msrs", "rgbd_des"):
        other = "depth" if name == "rgbd_des" else "thermal"
        for path in sorted((samples / name / "rgb").iterdir())[:5]:
            (x_path,) = (p for p in (samples / name / other).iterdir() if p.stem == path.stem)
            rgb, x = read_rgb(path), read_grey(x_path)
            right, down, confidence = estimate_shift(rgb, x)
            if confidence < CERTAIN:
                continue
            for move in MOVES[:2]:
                found = estimate_shift(rgb, moved(x, *move))
                own = (right + move[0], down + move[1])
                assert found[:2] == pytest.approx(own, abs=1.0), (name, path.stem)
                tried += 1
    assert tried >= 20


@pytest.fixture
def folder(tmp_path, put):
    """Twelve pairs whose X lies 7 px to the right and 4 px up, and one that lies elsewhere."""
    for number in range(12):
        rgb, x = scene(number)
        move = (-20, 15) if number == 5 else (7, -4)
        name = f"{number:02d}.png"
        put(tmp_path / "data/rgb" / name, rgb)
        put(tmp_path / "data/x" / name, np.rint(moved(x, *move) * 255).astype(np.uint8))
        mask = np.zeros(x.shape, np.uint8)
        mask[: number * 5 + 5, :50] = 1
        put(tmp_path / "data/mask" / name, mask)
    return tmp_path


def test_check_data_prints_and_draws_them(folder, capsys):
    data = ["--data", "FolderRGBX", "--data.root", str(folder / "data")]
    data += ["--data.class_names", '["a", "b"]', "--alignment", "true"]
    run(["check-data", *data, "-o", str(folder / "out")])
    text = capsys.readouterr().out
    assert "px to the right" in text and "05: -2" in text
    with (folder / "out/alignment.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert len(rows) == 12
    for name, row in rows.items():
        expected = (-20, 15) if name == "05" else (7, -4)
        assert (float(row["right"]), float(row["down"])) == pytest.approx(expected, abs=0.6)
    drawn = cv2.imread(str(folder / "out/alignment.png"))
    assert drawn.shape == (6 * 360, 2 * 480, 3)


def test_images_alone_have_no_alignment(kvasir_root, tmp_path, capsys):
    data = ["--data", "KvasirSEG", "--data.root", str(kvasir_root), "--alignment", "true"]
    run(["check-data", *data, "-o", str(tmp_path)])
    assert "there is no pair of images of one size" in capsys.readouterr().out
    assert not (tmp_path / "alignment.csv").exists()
