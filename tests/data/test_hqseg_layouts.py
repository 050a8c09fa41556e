import shutil

import numpy as np
import pytest

from rgbx.cli.check_data import main as check_data
from rgbx.data import HQSeg44K
from rgbx.data.datasets.hqseg_folders import TEST, TRAIN
from rgbx.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual:UserWarning")


def module(root, **options):
    return HQSeg44K(str(root), **{"size": (64, 64), "num_workers": 0, **options})


@pytest.fixture
def tree(put):
    """Write pairs with given stems into an image and a mask folder."""

    def write(root, images, masks, stems, mask=255):
        for stem in stems:
            put(root / images / f"{stem}.jpg", np.zeros((8, 8, 3), np.uint8))
            put(root / masks / f"{stem}.png", np.full((8, 8), mask, np.uint8))
        return root

    return write


def test_sizes_add_up_to_the_name():
    assert sum(part.pairs for part in TRAIN.values()) == 44_320
    assert sum(part.pairs for part in TEST.values()) == 1537


def test_all_eleven_sets_are_found(hqseg_root):
    data = module(hqseg_root)
    assert data.train_sets == tuple(TRAIN) and data.test_splits == tuple(TEST)
    assert data.expected["train"] == 44_320 and data.expected["HRSOD"] == 287
    folders = [str(r.rgb.parent.relative_to(hqseg_root)) for r in data.find_records("train")]
    assert sorted(set(folders)) == sorted(
        ["DIS5K/DIS-TR/im", "thin_object_detection/ThinObject5K/images_train"]
        + [f"cascade_psp/{n}" for n in ("fss_all", "DUTS-TR", "DUTS-TE", "ecssd", "MSRA_10K")]
    )
    for split, folder in (("HRSOD", "masks_max255"), ("ThinObject", "masks_test")):
        assert {r.mask.parent.name for r in data.find_records(split)} == {folder}


def test_also_below_data_and_in_other_letter_cases(hqseg_root, tmp_path):
    shutil.copytree(hqseg_root, tmp_path / "data")
    (tmp_path / "data/DIS5K").rename(tmp_path / "data/dis5k")
    data = module(tmp_path)
    assert data.train_sets == tuple(TRAIN) and data.test_splits == tuple(TEST)


def test_images_and_masks_in_one_folder_pair_by_stem(tmp_path, tree, put):
    tree(tmp_path, "cascade_psp/ecssd", "cascade_psp/ecssd", ["a", "b.1", "c d#2"])
    put(tmp_path / "cascade_psp/ecssd/alone.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "cascade_psp/ecssd/Thumbs.db").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"1 samples of train left out \(1 missing\)"):
        records = module(tmp_path).find_records("train")
    assert [r.name for r in records] == ["a", "b.1", "c d#2"]
    assert all(r.rgb.stem == r.mask.stem and r.rgb.suffix == ".jpg" for r in records)


def test_fss_in_folders_of_classes(tmp_path, tree):
    for name in ("abacus", "bamboo slip"):
        tree(tmp_path, f"cascade_psp/fss/{name}", f"cascade_psp/fss/{name}", ["1", "2"])
    records = module(tmp_path).find_records("train")
    assert [r.name for r in records] == ["abacus/1", "abacus/2", "bamboo slip/1", "bamboo slip/2"]
    tree(tmp_path, "cascade_psp/fss_all", "cascade_psp/fss_all", ["flat"])
    assert [r.name for r in module(tmp_path).find_records("train")] == ["flat"]


def test_thin_objects_as_they_are_published(tmp_path, tree):
    folder = tmp_path / "thin_object_detection/ThinObject5K"
    tree(folder, "images", "masks", ["a", "b", "c"])
    (folder / "list").mkdir()
    (folder / "list/train.txt").write_text("a.jpg\nc.jpg\n")
    (folder / "list/test.txt").write_text("b.jpg\n")
    data = module(tmp_path)
    assert [r.name for r in data.find_records("train")] == ["a", "c"]
    assert [r.name for r in data.find_records("ThinObject")] == ["b"]


def test_hrsod_masks_of_zeros_and_ones(tmp_path, tree):
    folder = "thin_object_detection/HRSOD"
    tree(tmp_path, f"{folder}/images", f"{folder}/masks", ["a"], mask=1)
    data = module(tmp_path)
    (record,) = data.find_records("HRSOD")
    assert data.read_mask(record.mask).all()


def test_same_names_in_two_sets_stay_apart(tmp_path, tree):
    for name in ("DUTS-TR", "ecssd"):
        tree(tmp_path, f"cascade_psp/{name}", f"cascade_psp/{name}", ["1", "2"])
    data = module(tmp_path)
    names = [r.name for r in data.find_records("train")]
    assert names == ["DUTS-TR/1", "DUTS-TR/2", "ECSSD/1", "ECSSD/2"]
    assert [r.name for r in module(tmp_path, sets=["ECSSD"]).find_records("train")] == ["1", "2"]
    cut = module(tmp_path, val_share=0.5)
    held = {r.name for r in cut.find_records("val")}
    assert len(held) == 2 and {r.name for r in cut.find_records("train")} == set(names) - held


def test_absent_sets_are_named_once_and_nothing_at_all_is_an_error(tmp_path, tree):
    tree(tmp_path, "cascade_psp/ecssd", "cascade_psp/ecssd", ["a"])
    with pytest.warns(UserWarning, match="DIS5K-TR, ThinObject5K-TR, FSS, DUTS-TR, DUTS-TE, MSRA"):
        module(tmp_path).setup("fit")
    with pytest.raises(DataError, match=r"has no validation set of HQSeg-44K; set data.root to a"):
        module(tmp_path).setup("test")
    with pytest.raises(DataError, match="has no folder of FSS"):
        module(tmp_path, sets=["FSS"]).setup("fit")
    (tmp_path / "empty").mkdir()
    for stage in ("fit", "test", "predict"):
        with pytest.raises(DataError):
            module(tmp_path / "empty").setup(stage)
    with pytest.raises(DataError, match=r"does not exist; set data.root"):
        module(tmp_path / "none").setup("fit")


def test_prediction_answers_the_prompts_of_a_file(hqseg_root, tmp_path):
    name = module(hqseg_root).find_records("DIS")[0].name
    path = tmp_path / "mine.csv"
    path.write_text(f"name,x,y,label\n{name},3,4,1\n")
    data = module(hqseg_root, prompts=str(path))
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch["name"] == [name] and "mask" not in batch and "prompt_mask" not in batch
    ((prompt,),) = batch["prompts"]
    height, width = batch["size"][0]
    assert prompt["points"][0].tolist() == pytest.approx([3 * 64 / width, 4 * 64 / height])
    with pytest.raises(DataError, match=r"holds no prompts: prediction needs prompts.json or"):
        module(hqseg_root).setup("predict")


def test_check_data_reports_and_passes(hqseg_root, tmp_path, capsys):
    arguments = ["--data", "HQSeg44K", "--data.root", str(hqseg_root), "-o", str(tmp_path)]
    assert check_data([*arguments, "--data.mixture.box", "0"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "no problem found" in text and "chosen on nothing: the last epoch" in text
    assert "neither black nor white" not in text
    assert (tmp_path / "contact_sheet.png").is_file()


def test_check_data_lists_what_is_left_out(tmp_path, tree, put, capsys):
    tree(tmp_path, "cascade_psp/ecssd", "cascade_psp/ecssd", ["a", "b"])
    put(tmp_path / "cascade_psp/ecssd/lost.jpg", np.zeros((8, 8, 3), np.uint8))
    put(tmp_path / "cascade_psp/ecssd/black.jpg", np.zeros((8, 8, 3), np.uint8))
    put(tmp_path / "cascade_psp/ecssd/black.png", np.zeros((8, 8), np.uint8))
    arguments = ["--data", "HQSeg44K", "--data.root", str(tmp_path), "-o", str(tmp_path / "out")]
    assert check_data(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "left out of train: lost" in text
    assert "train: 1 masks are all black" in text
