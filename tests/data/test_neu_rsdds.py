import shutil
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image

from rgbx.data import NEURSDDS
from rgbx.data.splits.records import seeded_split
from rgbx.data.splits.siblings import families, name_family, thumbnail
from rgbx.data.synthetic.rails import make_rail
from rgbx.errors import DataError


def module(root, **options):
    return NEURSDDS(str(root), **{"size": (32, 48), "num_workers": 0, **options})


def names(data, split):
    return [r.name for r in data.find_records(split)]


@pytest.fixture
def copy(neu_rsdds_root, tmp_path):
    return shutil.copytree(neu_rsdds_root, tmp_path / "copy")


@pytest.mark.parametrize(
    ("stem", "family"),
    [
        ("12_rot90", "12"),
        ("12_rot_270_flip", "12"),
        ("12-hflip", "12"),
        ("a_aug_3", "a"),
        ("a_aug3_lr", "a"),
        ("rail (2)", "rail"),
        ("0012-1", "0012"),
        ("0012_3", "0012"),
        ("12_180", "12"),
        ("7_bright", "7"),
        ("rail_12", "rail_12"),
        ("0001", "0001"),
        ("flip", "flip"),
        ("defect", "defect"),
        ("2019_1234", "2019_1234"),
        ("carrot", "carrot"),
    ],
)
def test_marks_of_augmentation_are_taken_off(stem, family):
    assert name_family(stem) == family


ORIENTATIONS = [
    lambda a, k=k, m=m: np.ascontiguousarray(np.rot90(a[:, ::-1] if m else a, k))
    for k in range(4)
    for m in (False, True)
]


@pytest.fixture
def images(tmp_path, put):
    """Twenty rails, each in three orientations, one brighter and one of another size."""
    paths, truth = {}, {}
    for scene in range(20):
        rng = np.random.default_rng(scene)
        rgb, _, _ = make_rail((96, 144), rng)
        for copy in range(3):
            turned = ORIENTATIONS[rng.integers(8)](rgb)
            if copy == 1:
                turned = np.clip(turned.astype(np.float32) * 0.8 + 12, 0, 255).astype(np.uint8)
            if copy == 2:
                size = (turned.shape[1] * 2, turned.shape[0] * 2)
                turned = np.asarray(Image.fromarray(turned).resize(size))
            stem = f"{(scene * 3 + copy) * 7 % 60 + 1000}"
            paths[stem] = put(tmp_path / f"{stem}.bmp", turned)
            truth[stem] = scene
    assert len(paths) == 60
    return paths, truth


def test_copies_are_found_by_content_alone(images):
    paths, truth = images
    found = families(paths, progress=False)
    for a in paths:
        for b in paths:
            assert (found[a] == found[b]) == (truth[a] == truth[b]), (a, b)
    assert all(found[stem] <= stem for stem in paths)


def test_real_surfaces_that_look_alike_are_not_merged(samples):
    folder = samples / "surface_neu_seg" / "rgb"
    paths = {p.stem: p for p in folder.iterdir()}
    assert len(paths) >= 10
    found = families(paths, progress=False)
    assert len(set(found.values())) >= len(paths) - 1


def test_constant_and_broken_images_are_families_of_their_own(tmp_path, put):
    paths = {s: put(tmp_path / f"{s}.png", np.full((20, 20, 3), 9, np.uint8)) for s in "ab"}
    (tmp_path / "c.png").write_bytes(b"")
    found = families({**paths, "c": tmp_path / "c.png"}, progress=False)
    assert found == {"a": "a", "b": "b", "c": "c"}
    assert not thumbnail(np.zeros((8, 8, 3), np.uint8)).any()


@pytest.mark.parametrize("seed", range(10))
def test_seeded_split_never_parts_siblings(seed):
    rng = np.random.default_rng(seed)
    family = {f"n{i}": f"f{rng.integers(30)}" for i in range(300)}
    train, val = seeded_split(list(family), 0.1, seed, family.__getitem__)
    assert sorted(train + val) == sorted(family)
    assert not {family[n] for n in train} & {family[n] for n in val}
    assert 15 <= len(val) <= 30
    assert seeded_split(list(family)[::-1], 0.1, seed, family.__getitem__) == (train, val)


def test_families_larger_than_the_share_and_a_single_family():
    names = [f"{i:02d}" for i in range(20)]
    train, val = seeded_split(names, 0.1, 0, lambda n: "a" if n < "15" else "b")
    assert val == names[15:] and train == names[:15]
    assert seeded_split(names, 0.1, 0, lambda n: "all") == (names, [])


@pytest.mark.parametrize("seed", range(4))
def test_siblings_are_never_in_both_parts(neu_rsdds_root, seed):
    data = module(neu_rsdds_root, seed=seed)
    train, val, test = (names(data, split) for split in data.splits)
    assert (len(train), len(val), len(test)) == (4, 4, 4)
    family = lambda stem: (int(stem) - 1) // 4  # noqa: E731
    assert {family(n) for n in train} == {0, 1} - {family(n) for n in val}
    assert data.choice == f"a seeded 10 % of train (seed {seed}), copies of one image kept together"


def test_images_are_read_once_for_their_families(neu_rsdds_root, monkeypatch):
    data = module(neu_rsdds_root)
    first = names(data, "train")
    monkeypatch.setattr("rgbx.data.splits.siblings._read_thumbnail", None)
    assert len(names(data, "val")) == 4 and names(data, "train") == first


def test_files_are_in_the_real_format(neu_rsdds_root):
    suffixes = {d.name: {p.suffix for p in d.iterdir()} for d in neu_rsdds_root.iterdir()}
    assert suffixes["Image_train"] == {".bmp"} and suffixes["Depth_train"] == {".tiff"}
    with Image.open(next((neu_rsdds_root / "GT_test").iterdir())) as mask:
        assert mask.mode == "1"


def layout_b(root, source, value="value"):
    for split, old in (("train", "train"), ("test", "test"), (value, "test")):
        for part, new in (("Image", "rgb"), ("Depth", "d"), ("GT", "gt")):
            shutil.copytree(source / f"{part}_{old}", root / "RGB_D_rail" / split / new)
    return root


@pytest.mark.parametrize("value", ["value", "val"])
def test_layout_b_has_a_validation_folder(neu_rsdds_root, tmp_path, value):
    data = module(layout_b(tmp_path, neu_rsdds_root, value))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*are usual.*")
        assert [len(names(data, s)) for s in data.splits] == [8, 4, 4]
    assert data.choice == "its value folder"
    assert names(module(tmp_path, choose_on_test=True), "val") == names(data, "test")


def test_archive_folder_below_the_root(neu_rsdds_root):
    assert len(names(module(neu_rsdds_root.parent), "test")) == 4
    assert len(names(module(neu_rsdds_root), "predict")) == 12


def test_without_test_masks(copy):
    shutil.rmtree(copy / "GT_test")
    data = module(copy)
    data.setup("fit")
    data.setup("predict")
    assert data.split_sizes == {"train": 4, "val": 4, "predict": 12}
    assert "mask" not in next(iter(data.predict_dataloader()))
    text = r"has test images but no test masks \(GT_test, or test/gt\)"
    with pytest.raises(DataError, match=text):
        data.setup("test")
    with pytest.raises(DataError, match=text):
        data.scan("test")


def test_depth_of_every_kind(copy):
    folder = copy / "Depth_test"
    stems = sorted(p.stem for p in folder.iterdir())
    ramp = np.linspace(8, 12, 64 * 96).reshape(64, 96)
    stored = [ramp.astype(np.float32), (ramp * 1000).astype(np.uint16), ramp * np.nan, ramp * 0]
    stored[0][0, 0] = np.nan
    for stem, array in zip(stems, stored, strict=True):
        tifffile.imwrite(folder / f"{stem}.tiff", array.astype(array.dtype.newbyteorder("=")))
    data = module(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = [
            data.read(record).x
            for record in sorted(data.find_records("test"), key=lambda r: r.name)
        ]
    expected = (ramp - 8) / 4
    np.testing.assert_allclose(x[0].ravel()[1:], expected.ravel()[1:], atol=1e-3)
    assert x[0][0, 0] == 0
    np.testing.assert_allclose(x[1], expected, atol=1e-3)
    assert not x[2].any() and not x[3].any()


@pytest.mark.parametrize("high", [255, 254, 1, True])
def test_masks_of_every_coding(copy, put, high):
    folder = copy / "GT_test"
    path = sorted(folder.iterdir())[0]
    mask = np.zeros((64, 96), bool)
    mask[10:20, 30:50] = True
    put(path, mask if high is True else (mask * high).astype(np.uint8))
    np.testing.assert_array_equal(module(copy).read_mask(path), mask)


@pytest.mark.slow
def test_real_masks_with_made_images(samples, tmp_path, put):
    """The one part of the set that is at hand: twelve original 1-bit masks of as many sizes."""
    for path in (samples / "neu_rsdds_gt_only" / "gt").iterdir():
        mask = np.asarray(Image.open(path))
        grey = np.where(mask, 60, 180).astype(np.uint8)
        for split in ("train", "test"):
            put(tmp_path / f"Image_{split}" / f"{path.stem}.bmp", np.dstack([grey] * 3))
            (tmp_path / f"Depth_{split}").mkdir(exist_ok=True)
            depth = tmp_path / f"Depth_{split}" / f"{path.stem}.tiff"
            tifffile.imwrite(depth, grey.astype(np.float32) / 10)
            put(tmp_path / f"GT_{split}" / path.name, mask)
    data = module(tmp_path, size=(64, 64))
    data.setup("fit")
    data.setup("test")
    assert data.split_sizes == {"train": 11, "val": 1, "test": 12}
    for sample in data._sets["test"]:
        assert sample["mask"].shape == sample["size"] and sample["mask"].any()


def test_wrong_root(tmp_path):
    with pytest.raises(DataError, match=r"has no train images with depth; set data\.root"):
        names(module(tmp_path), "train")
    with pytest.raises(DataError, match="does not exist"):
        names(module(tmp_path / "no"), "test")
