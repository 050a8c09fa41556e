"""``rgbx eval-coco`` from the command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rgbx.cli.config.promptable import data_inputs
from rgbx.metrics.coco_files import SGINW
from rgbx.results import read_result
from tests.cli.conftest import CONFIGS
from tests.tasks.test_coco import squares


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([], ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        ([{"data": {"rgb_mean": 0.5}}], ((0.5, 0.5, 0.5), (0.229, 0.224, 0.225))),
        (
            [
                {"data": {"init_args": {"rgb_mean": [0.1, 0.2, 0.3], "rgb_std": 1.0}}},
                {"data": {"init_args": {"rgb_mean": None, "rgb_std": [0.5, 0.5, 0.6]}}},
                {},
            ],
            ((0.1, 0.2, 0.3), (0.5, 0.5, 0.6)),
        ),
    ],
    ids=["none", "one number", "the last that says so"],
)
def test_colours_of_the_configurations(configs, expected):
    assert data_inputs(configs) == (None, expected)


def options(folder: Path, *extra: object) -> list[object]:
    return [
        "eval-coco",
        "--config",
        CONFIGS / "demo/stable_sam.yaml",
        "--size",
        "64",
        "--device",
        "cpu",
        "--output",
        folder / "out",
        *extra,
    ]


@pytest.mark.slow
def test_command_writes_numbers_and_prints_the_table(rgbx, tmp_path, capsys):
    file = squares(tmp_path / "data", "instances_val2017.json")
    given = ("--annotations", file, "--images", file.parent)
    assert rgbx(*options(tmp_path, *given, "--score", "pred_iou", "--model.encoder", "tiny")) == 0
    result = read_result(tmp_path / "out/test.json")
    assert (result.data.dataset, result.data.split_sizes) == ("COCO", {"val2017": 3})
    assert list(result.numbers["val2017"]["all"]) == [
        f"noisy_box_{limits}/{score}"
        for limits in ("0.5-0.6", "0.6-0.7")
        for score in ("AP", "AP50")
    ]
    assert result.paper == "stable_sam"
    assert (result.checkpoint.file, result.model.hyper_parameters["encoder"]) == ("none", "tiny")
    assert "each of 6 instances" in result.protocol["prompts"]
    out = " ".join(capsys.readouterr().out.split())
    assert "noisy box 0.5-0.6 noisy box 0.6-0.7 Method Source AP AP50 AP AP50" in out
    assert "Stable-SAM-L published 44.8 76.4 50.5 81.1" in out
    assert "NOT COMPARABLE: this run was scored on 3 images, the published rows on 5000." in out
    assert "no --ckpt_path: the model is as its configuration makes it" in out


def test_checkpoint_is_loaded(rgbx, tmp_path, capsys):
    from rgbx.models import StableSAM

    model = StableSAM(encoder="tiny")
    with torch.no_grad():
        model.plugin.layers["1"].drp.fc2.bias.copy_(torch.tensor([3.0, -3.0]))
    stored = {"state_dict": model.state_dict(), "epoch": 2, "global_step": 9}
    stored |= {"pytorch-lightning_version": "2.6.6"}
    stored |= {"hyper_parameters": {"encoder": "tiny"}}
    model.on_save_checkpoint(stored)
    torch.save(stored, tmp_path / "own.ckpt")
    file = squares(tmp_path / "data")
    given = ("--annotations", file, "--images", file.parent, "--ckpt_path", tmp_path / "own.ckpt")
    plain = ("--model.train_decoder", "false", "--iou", "0.5", "0.7")
    assert rgbx(*options(tmp_path, *given, *plain)) == 0
    result = read_result(tmp_path / "out/test.json")
    assert (result.checkpoint.epoch, result.checkpoint.step) == (2, 9)
    assert list(result.numbers["instances"]["all"]) == [
        "noisy_box_0.5-0.7/AP",
        "noisy_box_0.5-0.7/AP50",
    ]
    assert "published" not in capsys.readouterr().out  # one's own file is no benchmark


@pytest.mark.slow
def test_sginw_is_the_mean_of_25_sets(rgbx, tmp_path, capsys):
    for name in SGINW:
        file = squares(tmp_path / "SGinW" / name / "valid", "_annotations_min1cat.coco.json")
        if name != "Cows":  # one image each is enough
            content = json.loads(file.read_text())
            content["annotations"] = content["annotations"][:1]
            file.write_text(json.dumps(content))
    assert rgbx(*options(tmp_path, "--sginw", tmp_path / "SGinW", "--iou", 0.5, 0.6)) == 0
    numbers = read_result(tmp_path / "out/test.json").numbers
    assert list(numbers) == [*SGINW, "mean"]
    for name in ("noisy_box_0.5-0.6/AP", "noisy_box_0.5-0.6/AP50"):
        each = [numbers[split]["all"][name] for split in SGINW]
        assert numbers["mean"]["all"][name] == pytest.approx(sum(each) / 25)
    out = capsys.readouterr().out
    assert "SGinW, mean of 25 data sets (%)" in out
    assert re.search(r"Stable-SAM-L +published", out) and re.search(r"43\.3 +75\.6", out)
    assert "(untrained)" in out


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ((), "Give --annotations FILE with --images DIR, or --sginw ROOT instead."),
        (("--annotations", "a.json"), "with --images DIR"),
        (("--annotations", "a", "--images", "b", "--sginw", "c"), "or --sginw ROOT instead"),
        (("--sginw", "c", "--iou", "0.7", "0.6"), "--iou 0.7 0.6 is no range of overlaps"),
        (("--sginw", "c", "--size", "100"), "--size 100 is no multiple of 16"),
        (("--sginw", "c", "--ckpt_path", "no.ckpt"), "There is no checkpoint no.ckpt."),
        (("--sginw", "c"), "c holds 0 of SGinW's 25 data sets; Airplane-Parts/valid/_annot"),
        (("--annotations", "a.json", "--images", "b"), "Cannot read the annotations a.json"),
        (("--config", "no.yaml", "--sginw", "c"), "There is no configuration file no.yaml."),
    ],
)
def test_what_cannot_be_is_one_sentence(rgbx, tmp_path, capsys, extra, text):
    assert rgbx(*options(tmp_path, *extra)) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("rgbx: error: ") and text in error and "\n" not in error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (("--config", CONFIGS / "demo/tasseg_mfnet.yaml"), "TASeg takes no prompts; give a model"),
        (("--model.encodr", "tiny"), "encodr"),
        (("--model.encoder", "null"), "`model.encoder` is null, which it cannot be"),
        (("--model.encoder", "null"), "(on the command line)"),
        (("--device", "cuda:99"), "--device cuda:99 cannot be used: "),
        (("--model.encoder", "vit_x"), "There is no SAM encoder 'vit_x'"),
    ],
)
def test_models_that_cannot_be(rgbx, tmp_path, capsys, extra, text):
    file = squares(tmp_path / "data")
    given = ("--annotations", file, "--images", file.parent)
    assert rgbx(*options(tmp_path, *given, *extra)) == 1
    assert text in capsys.readouterr().err


def test_help_answers_without_torch():
    code = (
        "import sys; from rgbx.cli import main\n"
        "try: main(['eval-coco', '--help'])\n"
        "except SystemExit as e: assert not e.code, e.code\n"
        "heavy = {'torch', 'lightning', 'numpy', 'cv2', 'pycocotools'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--iou LOW HIGH" in done.stdout
