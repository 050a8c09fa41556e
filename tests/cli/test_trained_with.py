"""What was trained is what is used: the input on other data, and the function of the weights."""

import json
import shutil
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from PIL import Image

from rgbx.cli import run
from rgbx.cli.config.adjust import given_options
from rgbx.cli.config.built import Built
from rgbx.data import COD, PST900, VT5000, FolderRGBX
from rgbx.data.base import RGBXDataModule
from rgbx.errors import WeightsError
from rgbx.export import facts_of
from rgbx.models import SAMSOD
from rgbx.profile import measured
from rgbx.tasks.coco import CocoScores
from tests.cli.conftest import CONFIGS, tiny
from tests.tasks.test_coco import squares

pytestmark = pytest.mark.slow

SHORT = (
    "--trainer.max_epochs",
    "1",
    "--trainer.limit_train_batches",
    "1",
    "--trainer.limit_val_batches",
    "0",
    "--trainer.logger",
    "CSVLogger",
    "--trainer.logger.save_dir",
    "runs",
)
COLOURS = ("--data.rgb_mean", "[0.2, 0.3, 0.1]", "--data.rgb_std", "[0.4, 0.1, 0.2]")
OF_X = ("--data.x_mean", "0.1", "--data.x_std", "0.06")
#: configuration -> fixture of the data, its class, and what is said in training alone
CASES = {
    "tasseg_pst900.yaml": ("pst900_root", PST900, (*COLOURS, *OF_X)),
    "unirgb_ir_pst900.yaml": ("pst900_root", PST900, (*COLOURS, *OF_X)),
    "unirgb_ir_vt5000.yaml": ("vt5000_root", VT5000, ()),
    "samsod_vt5000.yaml": ("vt5000_root", VT5000, ()),
    "mca_sam_cod10k.yaml": ("cod_root", COD, COLOURS),
}


def train(rgbx, config: str, root: Path, *extra: str) -> Path:
    assert rgbx("fit", *tiny(config, root, *SHORT, *extra)) == 0
    return next(Path.cwd().rglob("checkpoints/last.ckpt"))


def as_folder(data: RGBXDataModule, root: Path, masks: bool = False) -> list[str]:
    """The files that a data set predicts, or tests on, as a folder of one's own."""
    split = data.test_splits[0] if masks else "predict"
    for record in data.find_records(split):
        files = {"rgb": record.rgb, "x": record.x, "mask": record.mask if masks else None}
        for part, path in files.items():
            if path is not None:
                (root / part).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, root / part / f"{record.name.replace('/', '_')}{path.suffix}")
    return ["--data", "FolderRGBX", "--data.root", str(root)]


def maps(folder: str, kind: str) -> dict[str, np.ndarray]:
    found = {
        "_".join(path.relative_to(Path(folder, kind)).with_suffix("").parts): path
        for path in sorted(Path(folder, kind).rglob("*.png"))
    }
    assert found
    return {name: np.asarray(Image.open(path)) for name, path in found.items()}


def kind_of(folder: str) -> str:
    return "maps" if Path(folder, "maps").is_dir() else "masks"


@pytest.mark.parametrize("config", CASES)
def test_a_folder_of_ones_own_is_seen_as_in_training(rgbx, request, tmp_path, config):
    fixture, data, said = CASES[config]
    root = request.getfixturevalue(fixture)
    checkpoint = train(rgbx, config, root, *said)
    argv = tiny(config, root, "--ckpt_path", str(checkpoint), "--output")
    own = as_folder(data(str(root)), tmp_path / "mine")
    with warnings.catch_warnings(record=True) as said_then:
        warnings.simplefilter("always")
        assert rgbx("predict", *argv, "own", *own) == 0
        assert rgbx("predict", *argv, "set") == 0
    texts = [str(one.message) for one in said_then]
    assert not [text for text in texts if "checkpoint" in text]
    found, expected = (maps(folder, kind_of(folder)) for folder in ("own", "set"))
    assert len(found) == len(expected)
    for a, b in zip(found.values(), expected.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(UserWarning, match=r"rgb_mean \[0.9, 0.9, 0.9\] \(checkpoint: "):
        assert rgbx("predict", *argv, "other", *own, "--data.rgb_mean", "0.9") == 0
    other = maps("other", kind_of("other"))
    assert any(not np.array_equal(other[name], a) for name, a in found.items())


SCORES = CocoScores({"noisy_box_0.5-0.6/AP": 0.5, "noisy_box_0.5-0.6/AP50": 0.5}, 6, 0, 0)
PROMPTS = {"a": [{"box": [10, 20, 90, 70]}], "b": [{"points": [[30, 30]]}]}


@pytest.fixture(scope="module")
def prompted(tmp_path_factory, hqseg_root):
    """A Stable-SAM that was trained with padded images of other colours: checkpoint, images."""
    folder = tmp_path_factory.mktemp("prompted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RGBX_RUN_VERSION", raising=False)
        said = (*COLOURS, "--data.resize_mode", "pad")
        path = train(run_text, "stable_sam_hqseg44k_vit_b.yaml", hqseg_root, *said)
    rng = np.random.default_rng(0)
    for name, size in (("a", (80, 120, 3)), ("b", (100, 60, 3))):
        Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(folder / f"{name}.png")
    (folder / "prompts.json").write_text(json.dumps(PROMPTS))
    return path, folder


def run_text(*argv: object) -> int:
    return run([str(one) for one in argv])


def test_prompts_are_answered_on_images_as_in_training(rgbx, prompted):
    checkpoint, folder = prompted
    argv = tiny("stable_sam_hqseg44k_vit_b.yaml", folder, "--ckpt_path", str(checkpoint))
    argv += ["--data", "PromptFolder", "--data.root", str(folder), "--output"]
    assert rgbx("predict", *argv, "own") == 0
    assert rgbx("predict", *argv, "given", *COLOURS, "--data.resize_mode", "pad") == 0
    with pytest.warns(UserWarning, match="resize_mode 'squash' .*'pad'"):
        assert rgbx("predict", *argv, "other", "--data.resize_mode", "squash") == 0
    own, given, other = (maps(one, "masks") for one in ("own", "given", "other"))
    assert len(own) == 2
    assert all(np.array_equal(own[name], mask) for name, mask in given.items())
    assert any(not np.array_equal(own[name], mask) for name, mask in other.items())


def test_coco_instances_are_seen_as_in_training(rgbx, prompted, monkeypatch):
    checkpoint, _ = prompted
    seen = []
    monkeypatch.setattr("rgbx.tasks.coco.evaluate", lambda *given: seen.append(given[3:]) or SCORES)
    file = squares(Path("coco"))
    argv = ["eval-coco", "--model", "StableSAM", "--model.encoder", "tiny", "--device", "cpu"]
    argv += ["--annotations", file, "--images", "coco", "--ckpt_path", checkpoint, "--output", "o"]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert rgbx(*argv) == 0
    assert not [one for one in said if "checkpoint" in str(one.message)]
    with pytest.warns(UserWarning, match=r"size \[64, 64\] \(checkpoint: \[64, 96\]\)"):
        assert rgbx(*argv, "--size", 64) == 0
    colours = ((0.2, 0.3, 0.1), (0.4, 0.1, 0.2))
    assert [(one[1], one[3]) for one in seen] == [(96, colours), (64, colours)]
    assert rgbx(*argv, "--model.plugin.max_offset", "2") == 1
    assert rgbx(*argv, "--model.plugin.max_offset", "2", "--override", "true") == 0


@pytest.fixture(scope="module")
def samsod(tmp_path_factory, vt5000_root):
    """A SAMSOD that was trained with a camera of its own: checkpoint, run."""
    folder = tmp_path_factory.mktemp("samsod")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RGBX_RUN_VERSION", raising=False)
        path = train(run_text, "samsod_vt5000.yaml", vt5000_root, *OF_X)
    return path, path.parents[1]


def test_own_binary_masks_are_scored_as_those_of_the_training_class(
    rgbx, samsod, vt5000_root, tmp_path
):
    argv = tiny("samsod_vt5000.yaml", vt5000_root, "--ckpt_path", str(samsod[0]), "--output")
    own = as_folder(VT5000(str(vt5000_root), test_sets=["VT821"]), tmp_path / "mine/test", True)
    own[-1] = str(tmp_path / "mine")
    assert rgbx("test", *argv, "own", *own) == 0
    assert rgbx("test", *argv, "set", "--data.test_sets", "[VT821]") == 0
    first, second = (
        json.loads(Path(folder, "test.json").read_text())["numbers"] for folder in ("own", "set")
    )
    assert first["test"]["all"] == pytest.approx(second["VT821"]["all"], abs=1e-9)


def test_the_configuration_of_the_run_leaves_the_input_to_the_checkpoint(
    rgbx, samsod, vt5000_root, tmp_path
):
    """It holds every default of its data class, and null where the data set decides."""
    checkpoint, folder = samsod
    own = as_folder(VT5000(str(vt5000_root), test_sets=["VT821"]), tmp_path / "mine")
    plain = tiny("samsod_vt5000.yaml", vt5000_root)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name, argv in (("run", ["--config", str(folder / "config.yaml")]), ("shipped", plain)):
            argv = [*argv, *own, "--ckpt_path", str(checkpoint), "--output", name]
            assert rgbx("predict", *argv) == 0
    assert not [one for one in said if "checkpoint" in str(one.message)]
    for name, found in maps("run", "maps").items():
        np.testing.assert_array_equal(found, maps("shipped", "maps")[name])


def test_a_null_on_the_command_line_is_meant():
    config = Namespace(data=Namespace(init_args=Namespace(x_range=None, size=(1, 2), blank=None)))
    given = given_options(config, ["--data.x_range", "null"])
    assert given.here == given.anywhere == {"x_range": None, "size": (1, 2)}
    given = given_options(config, ["--data", "FolderRGBX", "--data.init_args.blank=null"])
    assert given == ({"blank": None, "size": (1, 2)}, {"blank": None})


def test_what_a_file_says_of_the_training_is_not_said_of_other_data(
    rgbx, samsod, vt5000_root, tmp_path
):
    own = as_folder(VT5000(str(vt5000_root), test_sets=["VT821"]), tmp_path / "mine")
    argv = ["--config", str(CONFIGS / "samsod_vt5000.yaml"), "--model.encoder", "tiny"]
    argv += ["--model.weights", "null", "--data.num_workers", "0", "--ckpt_path", str(samsod[0])]
    with pytest.warns(
        UserWarning, match=r"as in the training, size \[64, 96\] \(not \[512, 512\]\)"
    ):
        assert rgbx("predict", *argv, *own, "--output", "own") == 0
    set_ = ["--data.root", str(vt5000_root), "--data.test_sets", "[VT821]"]
    with pytest.warns(UserWarning, match=r"size \[512, 512\] \(checkpoint: \[64, 96\]\)"):
        assert rgbx("predict", *argv, *set_, "--output", "set") == 0


def test_a_checkpoint_from_before_says_what_it_does_not_know(rgbx, samsod, vt5000_root, tmp_path):
    stored = torch.load(samsod[0], weights_only=True)
    del stored["rgbx"]["data"]["inputs"]
    torch.save(stored, tmp_path / "old.ckpt")
    own = as_folder(VT5000(str(vt5000_root), test_sets=["VT821"]), tmp_path / "mine")
    argv = tiny("samsod_vt5000.yaml", vt5000_root, "--ckpt_path", "old.ckpt", "--output", "out")
    with pytest.warns(UserWarning, match="does not say .*rgb_mean.*x_mean.*x_std 0.25"):
        assert rgbx("predict", *argv, *own) == 0
    assert maps("out", "maps")


def test_a_model_from_python_knows_its_input(samsod, vt5000_root, tmp_path):
    model = SAMSOD.load_from_checkpoint(samsod[0])
    as_folder(VT5000(str(vt5000_root), test_sets=["VT821"]), tmp_path)
    data = FolderRGBX.as_trained(model.data_info, str(tmp_path), num_workers=0)
    assert (data.x_mean, data.x_std, data.size, data.binary) == (0.1, 0.06, (64, 96), True)
    assert data.class_names == ("background", "salient")
    quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*checkpoint")
        Trainer(**quiet).predict(model, data)
    data = FolderRGBX(str(tmp_path), size=(64, 96), num_workers=0)
    with pytest.warns(UserWarning, match=r"x_mean 0.5 \(checkpoint: 0.1\)"):
        Trainer(**quiet).predict(model, data)


def test_a_resumed_training_says_what_is_different_and_uses_it(rgbx, samsod, vt5000_root):
    argv = tiny("samsod_vt5000.yaml", vt5000_root, *SHORT, "--ckpt_path", str(samsod[0]))
    argv += ["--trainer.max_epochs", "2", "--data.x_mean", "0.3", "--model.clip", "2.5"]
    with pytest.warns(UserWarning) as said:
        assert rgbx("fit", *argv) == 0
    texts = " ".join(str(one.message) for one in said)
    assert "x_mean 0.3 (checkpoint: 0.1)" in texts and "x_std 1.0 (checkpoint: 0.06)" in texts
    assert "clip 2.5 (checkpoint: None)" in texts
    new = torch.load(next(Path.cwd().rglob("last.ckpt")), weights_only=True)
    assert new["rgbx"]["data"]["inputs"]["x_mean"] == 0.3
    assert new["hyper_parameters"]["clip"] == 2.5


def test_exports_and_profiles_are_of_the_trained_function(rgbx, samsod, vt5000_root, capsys):
    """The configuration is the shipped one: only the checkpoint knows."""
    options = tiny("samsod_vt5000.yaml", vt5000_root)
    about = facts_of(Built(options, checkpoint=samsod[0]).datamodule)
    assert (about["x_mean"], about["x_std"], about["size"]) == (0.1, 0.06, [64, 96])
    assert (about["x_channels"], about["x_range"], about["binary"]) == (1, None, True)
    changed = (*options, "--model.unimodal_supervision", "false")
    assert rgbx("export", *changed, "--ckpt_path", samsod[0], "-f", "torch") == 1
    assert "unimodal_supervision = True" in capsys.readouterr().err
    with pytest.raises(WeightsError, match="unimodal_supervision = True"):
        measured._measure(partial(Built, changed, checkpoint=samsod[0]), 1, 1, threads=1)
    with pytest.warns(UserWarning, match="unimodal_supervision False"):
        build = partial(Built, changed, checkpoint=samsod[0], override=True)
        measured._measure(build, 1, 3, threads=1)
