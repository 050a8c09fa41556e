import json

import numpy as np
import pytest
import torch

from rgbx.data import PromptFolder
from rgbx.errors import DataError

SIZE = (48, 80)


@pytest.fixture
def fill(put):
    """Write images, and masks unless told otherwise, of 48 x 80."""

    def write(root, names, images="im", masks="gt", suffix=".png"):
        rng = np.random.default_rng(0)
        mask = np.zeros(SIZE, np.uint8)
        mask[10:40, 20:60] = 255
        for name in names:
            put(root / images / f"{name}{suffix}", rng.integers(0, 256, (*SIZE, 3), np.uint8))
            if masks:
                put(root / masks / f"{name}.png", mask)
        return root

    return write


def module(root, **options):
    return PromptFolder(str(root), **{"size": (64, 64), "num_workers": 0, **options})


def lengths(data):
    return {split: len(data.find_records(split)) for split in data.splits}


@pytest.mark.parametrize(("images", "masks"), [("im", "gt"), ("Images", "masks"), ("rgb", "mask")])
def test_split_folders(tmp_path, fill, images, masks):
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        fill(tmp_path / split, [f"{split} #{i}" for i in range(count)], images, masks, ".jpg")
    data = module(tmp_path)
    assert lengths(data) == {"train": 5, "val": 2, "test": 3}
    assert data.choice == "its val folder"
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["mask"].shape == (4, 1, 64, 64) and len(batch["prompt"]) == 4
    (val, *_) = data.val_dataloader()
    assert val["mask"].shape == (1, *SIZE) and val["prompt_mask"].shape == (1, 1, 64, 64)


def test_val_is_cut_from_train_where_it_is_absent(tmp_path, fill):
    fill(tmp_path / "train", [str(i) for i in range(10)])
    data = module(tmp_path, val_share=0.2)
    assert lengths(data) == {"train": 8, "val": 2}
    assert data.choice == "a seeded 20 % of train (seed 0)"
    with pytest.raises(DataError, match=r"has no test set; set data.root"):
        data.setup("test")
    everything = module(tmp_path, val_share=0)
    assert lengths(everything) == {"train": 10}
    assert everything.choice == "nothing: the last epoch"


def test_one_folder_is_cut_in_three(tmp_path, fill):
    fill(tmp_path, [str(i) for i in range(10)])
    data = module(tmp_path, val_share=0.2)
    assert lengths(data) == {"train": 6, "val": 2, "test": 2}
    names = [r.name for split in data.splits for r in data.find_records(split)]
    assert sorted(names) == sorted(str(i) for i in range(10))
    (tmp_path / "gt/3.png").unlink()
    with pytest.warns(UserWarning, match=r"left out \(1 missing\)"):
        assert sum(lengths(module(tmp_path)).values()) == 9


def predict(root, **options):
    data = module(root, **options)
    data.setup("predict")
    return list(data.predict_dataloader())


def test_prompts_beside_plain_images(tmp_path, fill):
    fill(tmp_path, ["cat", "dog #1", "bird"], ".", None, ".jpg")
    prompts = {
        "dog #1.jpg": [{"box": [8, 6, 40, 24]}, {"points": [[40, 12]], "labels": [0]}],
        "cat": [{"box": [0, 0, 80, 48]}],
    }
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    cat, dog = predict(tmp_path)
    assert (cat["name"], dog["name"]) == (["cat"], ["dog #1"])  # nothing is asked of the bird
    assert cat["rgb"].shape == (1, 3, 64, 64) and "mask" not in cat
    assert cat["prompts"][0][0]["box"].tolist() == [0, 0, 64, 64]
    box, points = dog["prompts"][0]
    torch.testing.assert_close(box["box"], torch.tensor([6.4, 8, 32, 32]))
    assert points["points"].tolist() == [[32, 16]] and points["labels"].tolist() == [0]
    _, padded = predict(tmp_path, resize_mode="pad")
    assert padded["prompts"][0][1]["points"][0].tolist() == pytest.approx([32, 9.5], abs=0.2)


def test_prompts_in_csv_elsewhere_and_images_in_folders(tmp_path, fill):
    fill(tmp_path / "test", ["a", "b"])
    fill(tmp_path / "train", ["c"])
    path = tmp_path / "clicks.csv"
    path.write_text("name,x,y,label\nc,79,47,1\na,0,0,1\n")
    found = predict(tmp_path, prompts=str(path))
    assert sorted(batch["name"][0] for batch in found) == ["a", "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,x,y,lable\ncat,1,2,1\n", "prompts.csv line 1: column 'lable' is not known"),
        ("name,x,y,label\ncow,1,2,1\n", "prompts.csv line 2: there is no image 'cow'"),
        ("name,x,y,label\n", "prompts.csv holds no prompt"),
        (
            "name,x_min,y_min,x_max,y_max\ncat,3,3,3,9\n",
            "prompts.csv line 2: the box .* has no area",
        ),
    ],
)
def test_errors_are_found_before_the_first_image(tmp_path, fill, text, message):
    fill(tmp_path, ["cat"], ".", None)
    (tmp_path / "prompts.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        module(tmp_path).setup("predict")


def test_a_prompt_outside_its_image(tmp_path, fill):
    fill(tmp_path, ["cat"], ".", None)
    (tmp_path / "prompts.csv").write_text("name,x,y,label\ncat,81,5,1\n")
    with pytest.raises(
        DataError, match=r"line 2: \(81, 5\) lies outside cat, which is 80 pixels wi"
    ):
        module(tmp_path).setup("predict")


def test_folders_that_do_not_suffice(tmp_path, fill):
    with pytest.raises(DataError, match=r"does not exist; set data.root to a folder with im/"):
        module(tmp_path / "none").setup("fit")
    with pytest.raises(DataError, match="has no train folder"):
        module(tmp_path).setup("fit")
    fill(tmp_path, ["a"], "im", None)
    with pytest.raises(DataError, match=r"has no folder of masks \(gt, masks or mask\)"):
        module(tmp_path).setup("fit")
    with pytest.raises(
        DataError, match=r"holds no prompts: prediction needs prompts.json or prompts"
    ):
        module(tmp_path).setup("predict")
