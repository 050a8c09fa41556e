"""Sets of plain RGB: what check-data says of them, folders of one's own, models that need X."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgbx.cli.check_data import main as check_data
from rgbx.cli.make_demo_data import main as make_demo_data
from rgbx.data import COD, ISTD, FolderRGBX, KvasirSEG
from rgbx.errors import RGBXError
from rgbx.models import SAMSOD, TASeg

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual")
TOOL = Path(__file__).resolve().parents[2] / "tools/real_pairs.py"


@pytest.fixture
def run(tmp_path, capsys):
    """Run ``rgbx check-data``; gives the exit status, what was printed, and the report."""

    def call(name, root, *options):
        out = tmp_path / "out"
        status = check_data(["--data", name, "--data.root", str(root), "-o", str(out), *options])
        return status, capsys.readouterr().out, json.loads((out / "report.json").read_text())

    return call


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fixture", "thing", "pairs"),
    [
        ("COD", "cod_root", "camouflaged", [7, 1, 2, 2, 4]),
        ("ISTD", "istd_root", "shadow", [8, 4, 4]),
        ("KvasirSEG", "kvasir_root", "polyp", [11, 1, 3]),
    ],
)
def test_generated_sets_are_clean(run, request, tmp_path, name, fixture, thing, pairs):
    root = request.getfixturevalue(fixture)
    status, text, report = run(name, root)
    assert status == 0 and report["ok"] and "no problem found" in text
    assert [found["pairs"] for found in report["splits"].values()] == pairs
    for found in report["splits"].values():
        assert 0.01 < found["class_share"][thing] < 0.6
        assert found["class_images"][thing] == found["pairs"]
        assert found["notes"] == {} and found["x_range"] is None
    assert all("usual" in line or "neither black" in line for line in report["warnings"])
    assert "x of" not in text
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width == 6 * 246 + 6, "rgb and labels of three samples in a row; no x"


def test_division_is_printed(run, kvasir_root):
    _, text, _ = run("KvasirSEG", kvasir_root)
    assert "divided 80/20 in the order of the names' SHA-256, seed 42" in text
    assert "checkpoints are chosen on a seeded 10 % of train (seed 0)" in text


def test_known_faults_are_named(run, cod_root, tmp_path, put):
    root = shutil.copytree(cod_root, tmp_path / "copy")
    test = root / "TestDataset" / "COD10K"
    stems = sorted(path.stem for path in (test / "GT").iterdir())
    put(test / "GT" / f"{stems[0]}.png", np.zeros((64, 96), np.uint8))
    put(test / "GT" / f"{stems[1]}.png", np.zeros((96, 64), np.uint8))
    put(test / "GT" / f"{stems[2]}.png", np.zeros((60, 96), np.uint8))
    put(test / "Imgs" / "COD10K-NonCAM-1-Aquatic-1-Fish-1.jpg", np.zeros((64, 96, 3), np.uint8))
    status, text, report = run("COD", root)
    found = report["splits"]["COD10K"]
    assert status == 1 and len(report["breaking"]) == 2
    assert found["problems"] == {"swapped": 1, "size": 1} and found["pairs"] == 2
    assert "1 images of COD10K are left out" in text and "NonCAM in the name" in text
    assert sum("masks of COD10K are all black, as those" in w for w in report["warnings"]) == 1


def test_lists_that_overlap_are_named(run, kvasir_root, tmp_path):
    root = shutil.copytree(kvasir_root, tmp_path / "copy") / "Kvasir-SEG"
    stems = sorted(path.stem for path in (root / "images").iterdir())
    (root / "train.txt").write_text("\n".join(stems[:10]))
    (root / "val.txt").write_text("\n".join(stems[9:12]))
    (root / "test.txt").write_text("\n".join(stems[12:]))
    status, _, report = run("KvasirSEG", root)
    assert status == 1
    assert any("1 samples are in train and in val" in line for line in report["breaking"])


def test_options_of_a_second_modality_are_not_offered(cod_root):
    for option, value in (("blank", "x"), ("x_mean", "0.5"), ("resize_x", "true")):
        arguments = ["--data", "COD", "--data.root", str(cod_root), f"--data.{option}", value]
        with pytest.raises(RGBXError, match=f"COD has no option `{option}`"):
            check_data(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: TASeg(encoder="tiny"), lambda: SAMSOD(encoder="tiny")])
def test_models_of_two_cameras_say_that_they_need_the_second(cod_root, make):
    data = COD(str(cod_root), size=(64, 96), num_workers=0, batch_size=2, soft_masks=True)
    data.setup("fit")
    model = make()
    with pytest.raises(RGBXError, match=r"needs a second modality, but .* came without `x`: use a"):
        model.inputs(next(iter(data.train_dataloader())))


def test_models_of_one_camera_take_it(cod_root):
    data = COD(str(cod_root), size=(64, 96), num_workers=0, batch_size=2)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    for model in (TASeg(encoder="tiny", fusion="none"), SAMSOD(encoder="tiny", modalities="rgb")):
        rgb, x = model.inputs(batch)
        assert x is None and rgb.shape == (2, 3, 64, 96)


@pytest.mark.parametrize("divided", [True, False])
def test_folder_of_ones_own_without_x(kvasir_root, tmp_path, divided):
    """rgb/ and mask/ with JPEG masks of one or three channels."""
    source = kvasir_root / "Kvasir-SEG"
    for split in ("train", "val", "test") if divided else ("",):
        shutil.copytree(source / "images", tmp_path / split / "rgb")
        shutil.copytree(source / "masks", tmp_path / split / "mask")
    data = FolderRGBX(
        str(tmp_path),
        class_names=["background", "polyp"],
        binary=True,
        size=(32, 48),
        num_workers=0,
        batch_size=3,
        val_share=0.2,
    )
    for stage in ("fit", "test", "predict"):
        data.setup(stage)
    sizes = [15, 15, 15, 45] if divided else [9, 3, 3, 15]
    assert list(data.split_sizes.values()) == sizes
    batch = next(iter(data.train_dataloader()))
    assert "x" not in batch and batch["rgb"].shape == (3, 3, 32, 48)
    assert set(batch["mask"].unique().tolist()) <= {0, 1, 255}
    reference = KvasirSEG(str(kvasir_root))
    for sample in data._sets["test"]:
        stored = reference.read_mask(source / "masks" / f"{sample['name']}.jpg")
        np.testing.assert_array_equal(sample["mask"], stored)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "lengths"),
    [("cod", [4, 2, 1, 1, 2]), ("istd", [4, 2, 2]), ("kvasir", [4, 2, 2])],
)
def test_demo_data_can_be_read(tmp_path, run, layout, lengths):
    root = tmp_path / "demo"
    counts = ["--train", "4", "--val", "2", "--test", "2", "--size", "48", "64"]
    assert make_demo_data(["--root", str(root), "--layout", layout, *counts]) == 0
    name = {"cod": "COD", "istd": "ISTD", "kvasir": "KvasirSEG"}[layout]
    status, _, report = run(name, root, "--data.val_share", "0.34")
    assert status == 0
    assert [found["pairs"] for found in report["splits"].values()] == lengths


def test_real_pairs_are_laid_out_with_some_held_out(samples, tmp_path):
    tool = runpy.run_path(str(TOOL))
    shadows = [samples / "istd", samples / "shadow_misc"]
    assert tool["write_cod"](samples / "camouflage_person", tmp_path / "COD") == (7, 3)
    assert tool["write_istd"](shadows, tmp_path / "ISTD") == (6, 3)
    assert tool["write_kvasir"](samples / "kvasir_seg", tmp_path / "Kvasir") == 11
    for module, name, lengths in (
        (COD, "COD", [6, 1, 3]),
        (ISTD, "ISTD", [5, 1, 3]),
        (KvasirSEG, "Kvasir", [8, 1, 2]),
    ):
        data = module(str(tmp_path / name), size=(32, 48), num_workers=0)
        found = [{r.name for r in data.find_records(split)} for split in data.splits]
        assert [len(part) for part in found] == lengths
        assert len(set().union(*found)) == sum(lengths), "train, val and test differ"
    assert len(list((tmp_path / "ISTD").rglob("*_C/*.png"))) == 3
