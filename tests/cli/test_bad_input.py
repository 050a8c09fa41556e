"""A user's mistake gets one sentence, exit status 1, and nothing is lost."""

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.backbones.sam import build_sam
from rgbx.checkpoints.trained import AtomicCheckpointIO
from rgbx.cli import run
from rgbx.errors import RGBXError
from rgbx.models import TASeg
from tests.cli.conftest import tiny


@pytest.fixture
def fails(rgbx, capsys):
    """``fails(*argv) -> message`` of a command that must exit with status 1."""

    def call(*argv):
        assert rgbx(*argv) == 1
        error = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(error) == 1, error
        return error[0]

    return call


def fit(root, *extra):
    return ["fit", *tiny("tasseg_mfnet.yaml", root, *extra)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (["--model", "TASegg"], r"no class 'TASegg' for `model`; did you mean `TASeg`\?"),
        (["--data", "MFNett"], r"no class 'MFNett' for `data`; did you mean `MFNet`\?"),
        (["--model.enconder", "x"], r"TASeg has no option `enconder`; did you mean `encoder`\?"),
        (["--data.roots", "x"], r"MFNet has no option `roots`; did you mean `root`\?"),
        (["--data.bach_size", "2"], r"no option `bach_size`; did you mean `batch_size`\?"),
        (["--trianer.max_epochs", "2"], r"no key `trianer`; did you mean `trainer`\?"),
        (["--model.fusion", "sum"], r"`model\.fusion` .* does not fit: .*dffm.*Got value: sum"),
        (["--model.encoder", "vit_c"], r"no SAM encoder 'vit_c'; choose from tiny, vit_b"),
        (
            ["--data.size", "[96, 130]"],
            "needs multiples of 16; the next valid size is .96, 144",
        ),
        (
            ["--data.x_mean", "abc"],
            r"`data\.x_mean` is abc, which is none of: float, list\[float\]",
        ),
        (["--trainer.devices", "64"], r"devices is 64, but this machine has \d+ CPU cores"),
        (["--model.lora.rank", "-1"], r"LoRA rank must be at least 1, got -1"),
        (["--model.lora.alpha", "0"], r"lora_alpha is 0"),
        (["--model.lora.alpha", "-16"], r"lora_alpha is -16"),
        (["--model.point_grid", "-1"], r"point_grid is -1"),
        (["--model.ce_weight", "-1"], r"ce_weight -1"),
        (["--model.dice_weight", "-0.5"], r"dice_weight -0.5"),
        (["--model.ce_weight", "0", "--model.dice_weight", "0"], r"ce_weight 0.*dice_weight 0"),
        (["--config", "absent.yaml"], r"no configuration file .*absent\.yaml"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_errors_in_the_configuration(fails, mfnet_root, extra, expected):
    assert re.search(expected, fails(*fit(mfnet_root, *extra)))


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(fails, mfnet_root):
    message = fails(*fit(mfnet_root, "--trainer.accelerator", "gpu", "--trainer.devices", "-1"))
    assert "trainer.accelerator is gpu, but this machine has no GPU" in message


def test_an_unknown_key_in_a_file(fails, mfnet_root, tmp_path):
    (tmp_path / "wrong.yaml").write_text("trainer: {max_epochs: 1}\nmodell: {class_path: TASeg}\n")
    message = fails(*fit(mfnet_root, "--config", "wrong.yaml"))
    assert re.search(r"no key `modell`; did you mean `model`\?", message)


def test_an_unknown_command(fails):
    assert "no command 'fti'; did you mean 'fit'?" in fails("fti")


def test_a_wrong_root_names_the_layouts(fails, mfnet_root, tmp_path):
    (tmp_path / "empty").mkdir()
    message = fails(*fit(mfnet_root, "--data.root", "empty"))
    assert all(part in message for part in ("empty", "images/", "labels/", "seperated_images/"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_a_missing_checkpoint(fails, mfnet_root, command):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root)
    assert f"`rgbx {command}` needs a checkpoint: add --ckpt_path" in fails(command, *argv)
    message = fails(command, *argv, "--ckpt_path", "absent.ckpt")
    assert "There is no checkpoint absent.ckpt" in message


@pytest.fixture
def broken(mfnet_root, tmp_path):
    """A copy of the generated data, to be damaged."""
    return Path(shutil.copytree(mfnet_root, tmp_path / "broken"))


def first(broken):
    return (broken / "train.txt").read_text().split()[0]


def test_a_missing_partner(fails, broken):
    name = first(broken)
    (broken / "labels" / f"{name}.png").unlink()
    message = fails(*fit(broken))
    assert "1 samples of train cannot be used" in message


def test_a_three_channel_image(fails, broken):
    path = broken / "images" / f"{first(broken)}.png"
    Image.open(path).convert("RGB").save(path)
    assert "cannot be used" in fails(*fit(broken))


@pytest.mark.slow
def test_a_label_outside_the_classes(fails, broken):
    path = broken / "labels" / f"{first(broken)}.png"
    mask = np.array(Image.open(path))
    mask[0, 0] = 77
    Image.fromarray(mask).save(path)
    message = fails(*fit(broken, "--trainer.max_epochs", "1"))
    assert path.name in message and "class id 77 is outside 0 to 8" in message
    # a loader process wraps errors in a traceback; the sentence survives
    message = fails(*fit(broken, "--trainer.max_epochs", "1", "--data.num_workers", "1"))
    assert path.name in message and "class id 77 is outside 0 to 8" in message


def test_an_empty_split(fails, broken):
    (broken / "val.txt").write_text("\n")
    assert "the val split of MFNet is empty" in fails(*fit(broken))


@pytest.mark.slow
def test_a_nan_loss_names_the_step_and_the_files(fails, mfnet_root):
    message = fails(*fit(mfnet_root, "--model.ce_weight", "1e39"))
    assert "The loss ce is not finite at step 0" in message
    assert len(re.findall(r"\d{5}[DN]\.png", message)) == 2


def save_sam(path):
    torch.save(build_sam("tiny", None).export_state(), path)


def with_weights(root, path, *extra):
    return fit(root, "--model.weights.path", str(path), *extra)


@pytest.mark.slow
def test_weight_files(fails, rgbx, mfnet_root, tmp_path):
    whole = tmp_path / "tiny.pth"
    save_sam(whole)
    assert rgbx(*with_weights(mfnet_root, whole, "--trainer.fast_dev_run", "true")) == 0
    message = fails(*with_weights(mfnet_root, "absent/sam_vit_b_01ec64.pth"))
    assert "does not exist" in message
    assert "rgbx weights fetch sam_vit_b --dir absent" in message
    cut = tmp_path / "cut.pth"
    cut.write_bytes(whole.read_bytes()[:5000])
    assert "cannot be read as a weight file" in fails(*with_weights(mfnet_root, cut))
    wrong = ["--model.weights.sha256", "0" * 64]
    assert "is expected: it is another file" in fails(*with_weights(mfnet_root, whole, *wrong))
    state = torch.load(whole, weights_only=True)
    state.pop("image_encoder.pos_embed")
    torch.save(state, tmp_path / "partial.pth")
    message = fails(*with_weights(mfnet_root, tmp_path / "partial.pth"))
    assert "1 missing: image_encoder.pos_embed" in message
    message = fails(*with_weights(mfnet_root, whole, "--model.encoder", "vit_b"))
    assert "it fits `encoder: tiny`" in message


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, mfnet_root):
    folder = tmp_path_factory.mktemp("checkpoint")
    previous = Path.cwd()
    os.chdir(folder)
    try:
        assert run(fit(mfnet_root, "--trainer.max_epochs", "1")) == 0
    finally:
        os.chdir(previous)
    return folder / "runs/tasseg_mfnet/version_0/checkpoints/last.ckpt"


@pytest.mark.slow
def test_another_data_sets_classes(fails, checkpoint, pst900_root):
    argv = tiny("tasseg_pst900.yaml", pst900_root, "--ckpt_path", str(checkpoint))
    message = fails("test", *argv)
    assert "num_classes = 9, the configuration asks for 5" in message


@pytest.mark.slow
def test_another_backbone(fails, checkpoint, mfnet_root, tmp_path):
    other = build_sam("tiny", None)
    with torch.no_grad():
        other.image_encoder.pos_embed.add_(1e-3)
    torch.save(other.export_state(), tmp_path / "other.pth")
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--ckpt_path", str(checkpoint))
    message = fails("test", *argv, "--model.weights.path", str(tmp_path / "other.pth"))
    assert "trained on other frozen weights" in message


@pytest.mark.slow
def test_another_papers_checkpoint(fails, checkpoint, mfnet_root, tmp_path):
    stored = torch.load(checkpoint, weights_only=True)
    stored["rgbx"]["model"] = "SAMSOD"
    torch.save(stored, tmp_path / "samsod.ckpt")
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--ckpt_path", str(tmp_path / "samsod.ckpt"))
    assert "belongs to SAMSOD, not to TASeg" in fails("test", *argv)
    del stored["rgbx"]
    torch.save(stored, tmp_path / "plain.ckpt")
    with pytest.raises(RGBXError, match="not a checkpoint of rgbx"):
        TASeg.load_from_checkpoint(tmp_path / "plain.ckpt", map_location="cpu")


@pytest.mark.slow
def test_other_options_than_the_checkpoints(fails, checkpoint, mfnet_root):
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--ckpt_path", str(checkpoint))
    for option, value in (("lora.decoder", "false"), ("lora.rank", "4")):
        message = fails("test", *argv, f"--model.{option}", value)
        assert option in message and "--override" in message
    message = fails("test", *argv, "--override", "true", "--model.lora.decoder", "false")
    assert "unexpected" in message and "lora_A" in message
    message = fails("test", *argv, "--override", "true", "--model.lora.rank", "4")
    assert "of another shape" in message


def save_where_little_fits(path: Path, said: Path) -> None:
    """Write what an error says of a checkpoint that is larger than files may be."""
    io = AtomicCheckpointIO()
    io.save_checkpoint({"value": torch.zeros(10)}, path)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        io.save_checkpoint({"value": torch.ones(1_000_000)}, path)
    except RGBXError as error:
        said.write_text(str(error))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no file size limit here")
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, tmp_path_factory):
    path, said = tmp_path / "last.ckpt", tmp_path_factory.mktemp("said") / "error"
    forked = multiprocessing.get_context("fork")  # the limit could not be lifted again
    process = forked.Process(target=save_where_little_fits, args=(path, said))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert "Could not save the checkpoint" in said.read_text()
    assert "The previous last.ckpt is intact" in said.read_text()
    assert torch.equal(torch.load(path)["value"], torch.zeros(10))
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_class_values_of_the_configuration_are_not_replaced_in_silence(rgbx, mfnet_root):
    argv = fit(mfnet_root, "--model.num_classes", "4", "--trainer.fast_dev_run", "1")
    with pytest.warns(UserWarning, match="num_classes is decided by the data module; the value 4"):
        assert rgbx(*argv) == 0


def test_check_data_finds_everything_at_once(rgbx, broken, capsys, tmp_path):
    names = (broken / "train.txt").read_text().split()
    (broken / "labels" / f"{names[0]}.png").unlink()
    (broken / "images" / f"{names[1]}.png").write_bytes(b"not an image")
    turned = broken / "labels" / f"{names[2]}.png"
    Image.fromarray(np.array(Image.open(turned)).T.copy()).save(turned)
    argv = ["--data.class_path", "MFNet", "--data.root", str(broken), "--output", "out"]
    assert rgbx("check-data", *argv) == 1
    printed = capsys.readouterr().out
    assert all(name in printed for name in names[:3])
    assert json.loads(Path("out/report.json").read_text())
    assert Image.open("out/contact_sheet.png").size[0] > 300
