"""`rgbx export` on a run: the file next to it, what is printed, and refusals in one sentence."""

import re

import onnx
import pytest
import torch

from rgbx.cli import run
from rgbx.models import TASeg
from tests.cli.conftest import tiny
from tests.export.small import halved, predict, shapes, stored

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*starts? from (a )?RANDOM")]


@pytest.fixture(scope="module", autouse=True)
def small():
    with halved(1):
        yield


@pytest.fixture(scope="module")
def trained(mfnet_root, tmp_path_factory):
    """The folder of a run of one epoch with LoRA and the plain RGB encoder."""
    folder = tmp_path_factory.mktemp("run")
    options = tiny(
        "tasseg_mfnet.yaml", mfnet_root, "--model.fusion", "none", "--model.text", "false"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RGBX_RUN_VERSION", raising=False)
        status = run(
            ["fit", *options, "--trainer.max_epochs", "1", "--trainer.limit_val_batches", "1"]
        )
    assert status == 0
    (checkpoint,) = folder.rglob("best.ckpt")
    return checkpoint.parent.parent


@pytest.fixture
def fails(rgbx, capsys):
    """``fails(*argv) -> message`` of `rgbx export`, which must fail."""

    def call(*argv):
        assert rgbx("export", *argv) in (1, 2)
        error = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(error) == 1, error
        return error[0]

    return call


def checkpoint(trained):
    return trained / "checkpoints" / "best.ckpt"


def test_onnx_next_to_the_run(rgbx, trained, capsys):
    assert rgbx("export", "--ckpt_path", checkpoint(trained), "--format", "onnx") == 0
    path = trained / "best.onnx"
    said = capsys.readouterr().out
    assert f"{path} (" in said
    assert "rgb (batch, 3, 64, 96) -> logits (batch, 9, 64, 96)" in said
    difference = re.search(
        r"largest difference to the model, by ONNX Runtime: (\S+) of (\S+)", said
    )
    assert float(difference[1]) < 1e-4 * float(difference[2])
    assert "The size of the images is fixed, 64 x 96 (height x width)" in said
    onnx.checker.check_model(str(path), full_check=True)
    assert shapes(path)["rgb"] == ["batch", 3, 64, 96]
    entry = stored(path)
    assert entry["class_names"][:3] == ["unlabelled", "car", "person"]
    assert entry["palette"][1] == [64, 0, 128]
    assert entry["rgb_mean"] == [0.485, 0.456, 0.406]
    assert (entry["x_mean"], entry["x_std"]) == (0.257, 0.088)
    assert "cv2.INTER_AREA" in entry["resize"]
    assert (entry["checkpoint"], entry["data"], entry["encoder"]) == ("best.ckpt", "MFNet", "tiny")

    model = TASeg.load_from_checkpoint(checkpoint(trained)).eval()
    rgb = torch.randn(4, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(predict(path, rgb=rgb), model(rgb, None), atol=1e-4, rtol=0)


def test_pt2_elsewhere_at_another_size(rgbx, trained, tmp_path, capsys):
    output = tmp_path / "deep" / "m.pt2"
    options = ["--config", trained / "config.yaml", "--ckpt_path", checkpoint(trained)]
    status = rgbx("export", *options, "--format", "torch", "--size", "48", "-o", output)
    assert status == 0
    assert [path.name for path in output.parent.iterdir()] == ["m.pt2"]
    assert stored(output)["size"] == [48, 48]
    assert predict(output, rgb=torch.zeros(3, 3, 48, 48)).shape == (3, 9, 48, 48)
    assert "by torch.export.load: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--opset", "9"], "ONNX opset 9 is too old: give --opset 18 to 23."),
        (["--opset", "99"], "ONNX opset 99 is too new: give --opset 18 to 23."),
        (["--opset", "x"], "--opset: invalid int value: 'x'"),
        (["--size", "50", "96"], r"data.size is [50, 96], but TASeg needs multiples of 16; the "),
        (["--size", "0"], "--size: 0 is no whole number"),
        (["--output", "m.pt2"], "--output is m.pt2: give a file that ends in .onnx."),
        (["--output", "a.file/m.onnx"], "a.file cannot be written to ("),
        (["--config", "no.yaml"], "no.yaml."),
        (["--model.encoder", "vit_b"], "has encoder = 'tiny', the configuration asks for 'vit_b'"),
        (["--modle.encoder", "tiny"], "did you mean `model`?"),
        (["extra.yaml"], "extra.yaml stands alone: give a configuration with --config extra.yaml."),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_refusals(fails, trained, tmp_path, extra, expected):
    (tmp_path / "a.file").touch()
    before = sorted(trained.rglob("*"))
    if "--model.encoder" in extra:
        extra = [*extra, "--model.text_encoder", "tiny"]
    message = fails("--ckpt_path", checkpoint(trained), "--format", "onnx", *extra)
    assert expected in message
    assert sorted(trained.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.file"]


def test_checkpoints_that_are_none(fails, trained, tmp_path):
    assert "There is no checkpoint gone.ckpt." in fails("--ckpt_path", "gone.ckpt", "-f", "onnx")
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(checkpoint(trained).read_bytes()[:1000])
    config = ("--config", trained / "config.yaml")
    message = fails("--ckpt_path", damaged, "-f", "torch", *config)
    assert "damaged.ckpt" in message and "cannot be read as a checkpoint" in message
    message = fails("--ckpt_path", damaged, "-f", "torch")
    assert f"There is no {tmp_path / 'config.yaml'}, which a run of `rgbx fit`" in message


def test_options_that_do_not_fit(fails, trained, monkeypatch):
    path = checkpoint(trained)
    message = fails("--ckpt_path", path, "-f", "torch", "--opset", "18")
    assert "--opset is for --format onnx; --format torch has none" in message
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = fails("--ckpt_path", path, "-f", "onnx")
    assert "--format onnx needs onnx, onnxruntime, onnxscript: install rgbx with its" in message
