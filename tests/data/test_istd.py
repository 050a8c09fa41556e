import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from rgbx.data import ISTD
from rgbx.data.datasets.istd import scene_of
from rgbx.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual")


def module(root, **options):
    return ISTD(str(root), **{"size": (32, 48), "num_workers": 0, **options})


def names(data, split):
    return [r.name for r in data.find_records(split)]


def test_images_and_masks_without_shadow_free_ones(istd_root):
    data = module(istd_root, batch_size=4)
    assert data.class_names == ("background", "shadow") and data.test_splits == ("test",)
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    assert data.split_sizes == {"train": 8, "val": 4, "test": 4, "predict": 16}
    batch = next(iter(data.train_dataloader()))
    assert "x" not in batch and batch["mask"].shape == (4, 32, 48)
    assert {tuple(path.split("/")[-3:-1]) for path in batch["path"]} == {("train", "train_A")}
    test = data._sets["test"][0]
    stored = np.asarray(Image.open(istd_root / "ISTD_Dataset/test/test_B" / f"{test['name']}.png"))
    assert len(np.unique(stored)) > 2, "masks are grey at their borders"
    np.testing.assert_array_equal(test["mask"], stored > 127)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_scenes_are_never_parted(istd_root, seed, share):
    data = module(istd_root, seed=seed, val_share=share)
    train, val = names(data, "train"), names(data, "val")
    assert len(train) + len(val) == 12 and val
    assert not {n.split("-")[0] for n in train} & {n.split("-")[0] for n in val}
    assert data.choice == f"a seeded {100 * share:g} % of train (seed {seed}), scenes kept together"


@pytest.mark.parametrize(
    ("stem", "scene"),
    [
        ("114-5", "114"),
        ("1-12", "1"),
        ("1-2-3", "1-2"),
        ("test7", "test7"),
        ("-5", "-5"),
        ("a-b", "a-b"),
        ("114", "114"),
    ],
)
def test_scene_of_a_name(stem, scene):
    assert scene_of(stem) == scene


@pytest.mark.parametrize(
    "steps",
    [
        [("ISTD_Dataset", "ISTD")],
        [("ISTD_Dataset/train", "train"), ("ISTD_Dataset/test", "test")],
        [
            ("ISTD_Dataset/train/train_A", "train_A"),
            ("ISTD_Dataset/train/train_B", "train_B"),
            ("ISTD_Dataset/test/test_A", "test_A"),
            ("ISTD_Dataset/test/test_B", "test_B"),
        ],
        [
            ("ISTD_Dataset/train/train_A", "ISTD+/train/A"),
            ("ISTD_Dataset/train/train_B", "ISTD+/train/B"),
            ("ISTD_Dataset/test/test_A", "ISTD+/test/A"),
            ("ISTD_Dataset/test/test_B", "ISTD+/test/B"),
        ],
        [
            ("ISTD_Dataset/train/train_A", "Train/Image"),
            ("ISTD_Dataset/train/train_B", "Train/Mask"),
            ("ISTD_Dataset/test/test_A", "Test/Image"),
            ("ISTD_Dataset/test/test_B", "Test/Mask"),
        ],
    ],
    ids=["renamed", "root", "flat", "plus", "image"],
)
def test_every_nesting_is_found(istd_root, tmp_path, steps):
    root = shutil.copytree(istd_root, tmp_path / "copy")
    for old, new in steps:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)
    data, whole = module(root), module(istd_root)
    for split in (*whole.splits, "predict"):
        assert names(data, split) == names(whole, split)
    inner = istd_root / "ISTD_Dataset"
    assert names(module(inner), "test") == names(whole, "test")


def test_wrong_counts_are_warnings(istd_root):
    text = "12 training images, those held out included; 1330 are usual"
    with pytest.warns(UserWarning, match=text):
        names(module(istd_root), "train")
    with pytest.warns(UserWarning, match="ISTD: test has 4 samples, 540 are usual"):
        names(module(istd_root), "test")
    data = module(istd_root, choose_on_test=True)
    assert data.expected == {"test": 540, "train": 1330} and data.choice == "THE TEST SET"
    with pytest.warns(UserWarning, match="train has 12 samples, 1330 are usual"):
        assert len(names(data, "train")) == 12
    assert names(data, "val") == names(data, "test")


def test_the_usual_counts_warn_of_nothing(tmp_path):
    """1330 images of scenes of very different size, as in the real set; files are links."""
    folder = tmp_path / "train"
    for part in ("train_A", "train_B"):
        (folder / part).mkdir(parents=True)
    image = folder / "image.png"
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(image)
    rng, total, scene = np.random.default_rng(0), 0, 0
    while total < 1330:
        scene += 1
        for shadow in range(min(int(rng.integers(1, 24)), 1330 - total)):
            total += 1
            for part in ("train_A", "train_B"):
                (folder / part / f"{scene}-{shadow + 1}.png").hardlink_to(image)
    data = module(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, val = data.scan("train"), data.scan("val")
        assert data.remarks("train", train.records) == []
    assert len(train.records) + len(val.records) == 1330 and 120 <= len(val.records) <= 133


def test_only_one_part_on_disk(istd_root, tmp_path):
    root = shutil.copytree(istd_root, tmp_path / "copy")
    shutil.rmtree(root / "ISTD_Dataset" / "test")
    assert module(root).test_splits == ()
    with pytest.raises(DataError, match=r"has no test set; set data\.root to a folder with train/"):
        module(root).setup("test")
    shutil.rmtree(root / "ISTD_Dataset" / "train" / "train_B")
    with pytest.raises(DataError, match="has no folder of masks"):
        module(root).setup("fit")
    assert len(names(module(root), "predict")) == 12
    with pytest.raises(DataError, match=r"has no folder train with images \(train_A\)"):
        module(tmp_path).setup("fit")


def test_real_triples_and_other_shadows(samples, tmp_path):
    """Masks with 68 grey values, of RGBA and RGB, as PNG and JPEG; images of six sizes."""
    for split in ("train", "test"):
        for kind in ("istd", "shadow_misc"):
            for old, new in (("rgb", f"{split}_A"), ("gt", f"{split}_B")):
                folder = tmp_path / "ISTD_Dataset" / split / new
                folder.mkdir(parents=True, exist_ok=True)
                for path in (samples / kind / old).iterdir():
                    shutil.copy(path, folder)
    data = module(tmp_path, size=(64, 64), batch_size=3)
    data.setup("fit")
    data.setup("test")
    assert data.split_sizes == {"train": 8, "val": 1, "test": 9}
    sizes = set()
    for sample in data._sets["test"]:
        assert sample["mask"].shape == sample["size"]
        assert 0.03 < sample["mask"].float().mean() < 0.8
        sizes.add(sample["size"])
        # a shadow is darker than what lies around it, so a mask read upside down would show
        grey = np.asarray(Image.open(sample["path"]).convert("L"), dtype=float)
        dark = sample["mask"].numpy().astype(bool)
        assert grey[dark].mean() < grey[~dark].mean()
    assert len(sizes) == 7
