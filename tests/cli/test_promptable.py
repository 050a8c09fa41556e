"""A model with prompts from the command line: train, test, prompts of one's own, mistakes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.data import PromptFolder
from rgbx.models import StableSAM
from tests.cli.conftest import CONFIGS
from tests.cli.test_ddp import fit

pytestmark = pytest.mark.slow

CONFIG = CONFIGS / "demo/stable_sam.yaml"
KINDS = ("box", "noisy_box", "point_1", "point_3")
NAMES = ("1#Bag#2", "an image", "plain")


def options(root: Path) -> list[str]:
    return [
        "--config",
        str(CONFIG),
        "--data.root",
        str(root),
        "--data.size",
        "[64, 64]",
        "--data.num_workers",
        "0",
        "--model.evaluation.prompts",
        "3",
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, hqseg_root) -> Path:
    """The checkpoint of one epoch."""
    from rgbx.cli import run

    folder = tmp_path_factory.mktemp("trained")
    previous = Path.cwd()
    os.chdir(folder)
    os.environ.pop("RGBX_RUN_VERSION", None)
    try:
        assert run(["fit", *options(hqseg_root), "--trainer.max_epochs", "1"]) == 0
    finally:
        os.chdir(previous)
        os.environ.pop("RGBX_RUN_VERSION", None)
    return folder / "demo/runs/stable_sam/version_0/checkpoints/best.ckpt"


@pytest.fixture
def images(hqseg_root, tmp_path) -> Path:
    """Three images of one's own, 100 to 120 pixels wide and 80 high, without masks."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "my images"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        values = rng.integers(0, 255, (80, 100 + 10 * i, 3), np.uint8)
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def predict(rgbx, trained, images):
    """``predict(file name, text, *extra) -> exit status``; the output is in ``out``."""

    def call(name: str, text: str, *extra: str) -> int:
        (images / name).write_text(text, encoding="utf-8")
        return rgbx(
            "predict",
            "--config",
            CONFIG,
            "--ckpt_path",
            trained,
            "--output",
            "out",
            "--data",
            "PromptFolder",
            "--data.root",
            images,
            "--data.size",
            "[64, 64]",
            "--data.num_workers",
            "0",
            *extra,
        )

    return call


def test_test_prints_the_papers_table_and_leaves_masks(trained, rgbx, hqseg_root, capsys):
    argv = [*options(hqseg_root), "--ckpt_path", trained, "--output", "out"]
    argv += ["--save_predictions", "true", "--visualize_attention", "true"]
    assert rgbx("test", *argv) == 0
    printed = capsys.readouterr().out
    for word in ("StableSAM", "noisy box", "1 point", "mBIoU", "mSF", "published", "82.3"):
        assert word in printed
    assert "attention: out/attention" in printed
    numbers = json.loads(Path("out/test.json").read_text())["numbers"]
    splits = ("DIS", "COIFT", "HRSOD", "ThinObject")
    assert set(numbers) == {*splits, "mean"}
    assert {f"{kind}/mIoU" for kind in KINDS} <= set(numbers["mean"]["all"])
    for split in splits:
        masks = list(Path("out/masks", split).glob("*.png"))
        assert len(masks) == 2 * (1 + 3 * (len(KINDS) - 1))  # a tight box is one prompt, others 3
        assert len(list(Path("out/attention", split).glob("*.png"))) == 2
    sheet = Image.open("out/sheet.png")
    assert sheet.width == (2 + len(KINDS)) * (240 + 6) + 6


def test_masks_of_a_test_are_those_that_are_scored(trained, rgbx, hqseg_root):
    """With one prompt per kind, the IoU of the files is the one in the table."""
    argv = [*options(hqseg_root), "--ckpt_path", trained, "--output", "out"]
    argv += ["--model.evaluation.prompts", "1", "--save_predictions", "true"]
    assert rgbx("test", *argv) == 0
    numbers = json.loads(Path("out/test.json").read_text())["numbers"]
    truth = hqseg_root / "DIS5K/DIS-VD/gt"
    for kind in KINDS:
        scores = []
        for path in Path("out/masks/DIS").glob(f"*_{kind}.png"):
            if kind == "box" and path.stem.endswith("noisy_box"):
                continue
            mask = np.asarray(Image.open(path)) > 0
            name = path.stem.removesuffix(f"_{kind}")
            target = np.asarray(Image.open(truth / f"{name}.png").convert("L")) > 128
            scores.append((mask & target).sum() / (mask | target).sum())
        assert len(scores) == 2
        assert np.mean(scores) == pytest.approx(numbers["DIS"]["all"][f"{kind}/mIoU"], abs=1e-6)


ASKED = {
    "1#Bag#2": [{"box": [10, 20, 90, 70]}, {"points": [[50, 40], [3, 4]], "labels": [1, 0]}],
    "plain": [{"points": [[119, 79]], "labels": [1]}],
}


def test_what_predict_wrote_can_be_asked_again(predict):
    assert predict("prompts.json", json.dumps(ASKED)) == 0
    first = {p.name: p.read_bytes() for p in Path("out/masks").rglob("*.png")}
    assert predict("prompts.json", Path("out/prompts.json").read_text()) == 0
    assert {p.name: p.read_bytes() for p in Path("out/masks").rglob("*.png")} == first


@pytest.mark.parametrize("mode", ["squash", "pad"])
def test_prompts_of_ones_own_from_json(predict, trained, images, capsys, mode):
    extra = ["--data.resize_mode", mode, "--visualize_attention", "true"]
    assert predict("prompts.json", json.dumps(ASKED), *extra) == 0
    written = {p.relative_to("out").as_posix() for p in Path("out").rglob("*.png")}
    assert written == {
        "masks/1#Bag#2_0.png",
        "masks/1#Bag#2_1.png",
        "masks/plain_0.png",
        *(f"{folder}/{name}.png" for folder in ("overlays", "attention") for name in ASKED),
        "sheet.png",
    }
    listed = json.loads(Path("out/prompts.json").read_text())
    assert list(listed) == list(ASKED)
    for name, prompts in ASKED.items():
        for i, (prompt, found) in enumerate(zip(prompts, listed[name], strict=True)):
            assert found.pop("mask") == f"masks/{name}_{i}.png"
            assert set(found) == set(prompt)
            for key, value in prompt.items():
                np.testing.assert_allclose(found[key], value, atol=0.01)
    # the files are what the model answers in Python
    data = PromptFolder(str(images), size=(64, 64), resize_mode=mode, num_workers=0)
    data.setup("predict")
    batch = next(iter(data.predict_dataloader()))
    model = StableSAM.load_from_checkpoint(trained, map_location="cpu").eval()
    with torch.no_grad():
        if mode == "squash":  # resized once, from the decoder's size
            logits = model.decode(model.embed(batch["rgb"][:1]), batch["prompts"][0], (64, 64))
        else:  # 80 x 100 fills 51 x 64
            logits = model(batch["rgb"], batch["prompts"])[0][..., :51, :]
    logits = torch.nn.functional.interpolate(logits, (80, 100), mode="bilinear")
    for i, expected in enumerate(logits[:, 0] > 0):
        mask = np.asarray(Image.open(f"out/masks/1#Bag#2_{i}.png"))
        np.testing.assert_array_equal(mask, np.where(expected, 255, 0))
    printed = capsys.readouterr().out
    assert "masks by prompt and overlays: out" in printed and "attention: out/attention" in printed


@pytest.mark.parametrize(
    ("text", "masks"),
    [
        ("name,x_min,y_min,x_max,y_max\nan image,1,2,50,60\nan image.png,5,5,110,80\n", 2),
        ("name,x,y,label,prompt\nan image,30,30,1,a\nan image,40,30,0,a\nan image,9,9,1,b\n", 2),
        ("name,x,y,label\nan image,30,30,1\nan image,40,30,0\n", 1),
    ],
    ids=["boxes", "points-grouped", "points"],
)
def test_prompts_of_ones_own_from_csv(predict, tmp_path, images, text, masks):
    assert predict("boxes.csv", text, "--data.prompts", str(images / "boxes.csv")) == 0
    assert len(list(Path("out/masks").glob("*.png"))) == masks
    assert Path("out/overlays/an image.png").is_file() and not Path("out/attention").exists()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("prompts.json", '{"plain": [{"box": [1, 2, 130, 20]}]}', "(130, 20) lies outside plain"),
        ("prompts.json", '{"plain": [{"points": [[5, 81]]}]}', "120 pixels wide and 80 high"),
        ("prompts.json", '{"plain": [{"box": [9, 9, 9, 20]}]}', "has no area"),
        ("prompts.json", '{"plian": [{"box": [1, 2, 3, 4]}]}', "there is no image 'plian'"),
        ("prompts.csv", "name,x,y,lable\nplain,1,2,1\n", "line 1: column 'lable' is not known"),
        ("prompts.csv", "name,x,y,label\nplain,1,two,1\n", "line 2: y is 'two', not a number"),
        ("prompts.json", "{}", "holds no prompt"),
        ("notes.txt", "", "prediction needs prompts.json or prompts.csv"),
    ],
)
def test_errors_in_prompts_get_one_sentence(predict, capsys, name, text, expected):
    assert predict(name, text) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1 and expected in errors[0], errors
    assert not list(Path("out").rglob("*.png"))


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            ["--model", "TASeg", "--visualize_attention", "true"],
            "TASeg has no plug-in whose attention could be shown: leave out --visualize_attention",
        ),
        (["--data", "FolderRGBX"], "StableSAM needs prompts, and FolderRGBX has none: use"),
    ],
)
def test_models_and_data_that_do_not_go_together(predict, capsys, argv, expected):
    text = json.dumps(ASKED)
    assert predict("prompts.json", text, *argv) == 1
    assert expected in capsys.readouterr().err


def test_a_baseline_has_no_attention_to_show(predict, rgbx, hqseg_root, tmp_path, capsys):
    argv = [*options(hqseg_root), "--model.train", "token", "--model.train_decoder", "false"]
    argv += ["--trainer.max_epochs", "1"]
    assert rgbx("fit", *argv) == 0
    best = tmp_path / "demo/runs/stable_sam/version_0/checkpoints/best.ckpt"
    assert rgbx("test", *argv, "--ckpt_path", best, "--visualize_attention", "true") == 1
    assert "there is no plug-in" in capsys.readouterr().err.lower()


def test_two_processes_equal_one_on_the_same_global_batch(hqseg_root, tmp_path):
    """With the dense loss: every rank draws sample points of its own."""
    common = [
        "--model.loss",
        "dense",
        "--trainer.max_epochs",
        "2",
        "--trainer.precision",
        "64-true",
    ]
    common += ["--data.val_share", "0", "--trainer.callbacks", "ModelCheckpoint"]
    common += ["--trainer.callbacks.filename", "last", "--trainer.gradient_clip_val", "0.5"]
    common += ["--trainer.callbacks.save_on_train_epoch_end", "true"]
    demo = "demo/stable_sam.yaml"
    one = fit(tmp_path / "one", hqseg_root, *common, "--data.batch_size", "4", config=demo)
    common += ["--data.batch_size", "2"]
    two = fit(tmp_path / "two", hqseg_root, *common, config=demo, processes=2)
    assert one["global_step"] == two["global_step"] == 4
    worst = max((one["state_dict"][k] - v).abs().max() for k, v in two["state_dict"].items())
    print(f"largest difference {worst:.2e}")
    assert worst < 1e-6
    start = StableSAM(encoder="tiny", train_decoder=True).state_dict()
    assert max((start[k] - v).abs().max() for k, v in one["state_dict"].items()) > 1e-3
