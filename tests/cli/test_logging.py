"""W&B and TensorBoard: the run's configuration, and images of validation predictions."""

import io
import json
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rgbx.callbacks.run_loggers import arrange_loggers, own_wandb_run, wandb_beside
from rgbx.callbacks.validation_images import IMAGES, ValidationImages
from rgbx.cli.config.parsed import parse_fit
from rgbx.errors import RGBXError
from tests.cli.conftest import CONFIGS, tiny

SHORT = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "1"]
KEY = "val/images"
_BLOCK, _HEAD = 32 * 1024, 7
_LOGGERS = "lightning.pytorch.loggers"


def wandb_records(folder: Path) -> list:
    """The records of an offline run: a log in LevelDB's format behind a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, records, part, place = path.read_bytes(), [], b"", _HEAD
    while place + _HEAD <= len(data):
        if _BLOCK - place % _BLOCK < _HEAD:  # no header fits into the rest of a block
            place += _BLOCK - place % _BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + _HEAD])
        part += data[place + _HEAD : place + _HEAD + size]
        place += _HEAD + size
        if kind in (1, 4):  # whole, or the last piece
            records.append(Record.FromString(part))
            part = b""
    return records


def wandb_config(records: list) -> dict:
    found = {}
    for record in records:
        for update in (*record.config.update, *record.run.config.update):
            found[update.key or ".".join(update.nested_key)] = json.loads(update.value_json)
    return found


def wandb_images(records: list) -> list[dict]:
    """For each validation what was logged of its images, and the step."""
    found = []
    for record in records:
        items = {
            (tuple(i.nested_key) or (i.key,)): json.loads(i.value_json) for i in record.history.item
        }
        images = {key[1]: value for key, value in items.items() if key[0] == KEY}
        if images:
            found.append(images | {"step": items[("trainer/global_step",)]})
    return found


def tensorboard(folder: Path) -> EventAccumulator:
    (path,) = folder.rglob("events.out.tfevents.*")
    return EventAccumulator(str(path), size_guidance={"images": 0, "tensors": 0}).Reload()


def decoded(event) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))


def panels(image: np.ndarray, count: int) -> list[np.ndarray]:
    """The images side by side, their captions left out."""
    width = (image.shape[1] - 6) // count
    return [image[24:-8, 6 + i * width : (i + 1) * width] for i in range(count)]


@pytest.fixture
def semantic(rgbx, mfnet_root, tmp_path):
    """A short run of TASeg, logged by W&B offline next to its configuration's loggers."""
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *SHORT, "--data.eval_batch_size", "3")
    argv += ["--model.optimizer.lr", "0.05", "--model.schedule.warmup_epochs", "0"]
    wandb = ["--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true"]
    assert rgbx("fit", *argv, *wandb) == 0
    return tmp_path


@pytest.mark.slow
def test_one_option_logs_to_wandb_and_loses_nothing_else(semantic):
    run = semantic / "runs/tasseg_mfnet/version_0"
    files = {path.name for path in run.iterdir()}
    assert {"config.yaml", "metrics.csv", "hparams.yaml", "checkpoints"} <= files
    records = wandb_records(semantic)
    (about,) = [r.run for r in records if r.run.project]
    assert (about.project, about.display_name) == ("rgbx", "tasseg_mfnet/version_0")
    assert "wandb" not in sys.modules or sys.modules["wandb"].run is None  # it has ended
    items = [item for record in records for item in record.history.item]
    assert ["val/miou"] in [list(item.nested_key) for item in items]

    saved = yaml.safe_load((run / "config.yaml").read_text())
    config = wandb_config(records)
    assert {part: config[part] for part in saved} == saved
    assert (
        config["model"]["init_args"]["lora"]["rank"] == 16 and config["data"]["init_args"]["root"]
    )
    board = tensorboard(run)
    text = board.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert yaml.safe_load(text.removeprefix("```yaml\n").removesuffix("\n```")) == saved

    # every validation shows the same four images, the same in both places
    logged = wandb_images(records)
    names = logged[0]["captions"]
    assert [p["count"] for p in logged] == [4, 4] and [p["step"] for p in logged] == [1, 2]
    assert logged[1]["captions"] == names and len(set(names)) == 4
    tags = [tag for tag in board.Tags()["images"] if tag.startswith(KEY)]
    assert sorted(tags) == sorted(f"{KEY}/{name}" for name in names)
    moved = []
    (media,) = semantic.glob("wandb/offline-run-*/files")
    for name, first, second in zip(names, *(p["filenames"] for p in logged), strict=True):
        events = board.Images(f"{KEY}/{name}")
        assert [event.step for event in events] == [1, 2]
        pair = [np.asarray(Image.open(media / path).convert("RGB")) for path in (first, second)]
        for image, event in zip(pair, events, strict=True):
            np.testing.assert_array_equal(image, decoded(event))
        before, after = (panels(image, 4) for image in pair)
        for place in (0, 1, 3):  # image, X and ground truth stay, the prediction moves on
            np.testing.assert_array_equal(before[place], after[place])
        assert (before[2] != before[3]).any() and before[0].std() > 5 < before[1].std()
        moved.append((before[2] != after[2]).any())
    assert any(moved)


@pytest.mark.slow
def test_salient_objects_and_online_by_one_line(rgbx, vt5000_root, tmp_path, monkeypatch):
    """Without `offline`: what an environment variable keeps from the network here."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    argv = tiny("samsod_vt5000.yaml", vt5000_root, *SHORT, "--data.val_share", "0.5")
    argv += ["--trainer.max_epochs", "1"]
    assert rgbx("fit", *argv, "--trainer.logger=WandbLogger", "--trainer.logger.project=own") == 0
    records = wandb_records(tmp_path)
    assert [r.run.project for r in records if r.run.project] == ["own"]
    (logged,) = wandb_images(records)
    board = tensorboard(tmp_path / "runs")
    assert logged["count"] == len(board.Tags()["images"]) == 4
    for tag in board.Tags()["images"]:
        rgb, x, prediction, truth = panels(decoded(board.Images(tag)[0]), 4)
        assert {0, 255} <= set(np.unique(truth)) and rgb.std() > 5 < x.std()
        assert (prediction[..., 0] == prediction[..., 1]).all()  # grey, like the truth
        assert (truth[..., 0] == truth[..., 2]).all()


@pytest.mark.slow
def test_models_with_prompts_show_the_prompt(rgbx, hqseg_root, tmp_path):
    argv = tiny("stable_sam_hqseg44k_vit_b.yaml", hqseg_root, *SHORT, "--data.val_share", "0.5")
    argv += ["--trainer.max_epochs", "1", "--data.size", "[64,64]"]
    board = ["--trainer.logger", "TensorBoardLogger", "--trainer.logger.save_dir", "logs"]
    assert rgbx("fit", *argv, *board, "--data.resize_mode", "pad") == 0
    events = tensorboard(tmp_path / "logs")
    tags = events.Tags()["images"]
    assert len(tags) == 4
    for tag in tags:
        asked, prediction, truth = panels(decoded(events.Images(tag)[0]), 3)
        orange = (asked == (255, 150, 0)).all(-1).sum()
        assert orange > 20  # the box
        assert {0, 255} <= set(np.unique(truth)) and prediction.shape == truth.shape
    assert not list(tmp_path.rglob("wandb"))


def stand_in(**changes):
    """A trainer before a validation of 100 images, 4 at a time."""
    data = SimpleNamespace(split_sizes={"val": 100}, eval_batch_size=4)
    values = {"is_global_zero": True, "sanity_checking": False, "world_size": 1}
    values |= {"num_val_batches": [25], "datamodule": data}
    return SimpleNamespace(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "positions"),
    [
        ({}, {0, 12, 25, 37, 50, 62, 75, 87}),
        ({"world_size": 2, "num_val_batches": [13]}, {0, 6, 12, 18, 25, 31, 37, 43}),
        ({"num_val_batches": [1]}, {0, 1, 2, 3}),
        ({"num_val_batches": []}, set()),
        ({"is_global_zero": False}, set()),
        ({"sanity_checking": True}, set()),
    ],
    ids=["all", "two processes", "one batch", "no validation", "other process", "check"],
)
def test_at_most_eight_images_spread_over_the_set(changes, positions):
    callback = ValidationImages()
    for _ in range(2):
        callback.on_validation_start(stand_in(**changes), None)
        assert callback._positions == positions and len(positions) <= IMAGES


def test_without_a_logger_for_images_there_is_no_callback(rgbx, mfnet_root, tmp_path):
    csv, board = CSVLogger(tmp_path), TensorBoardLogger(tmp_path)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    for loggers, expected in ((csv, False), ([csv, board], True), (False, False)):
        trainer = Trainer(logger=loggers, **quiet)
        assert ValidationImages.can_be_logged(trainer) is expected
    assert ValidationImages.can_be_logged(Trainer(logger=WandbLogger(), **quiet))


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["--trainer.logger", "WandbLogger"], ["--trainer.logger+", "WandbLogger"]),
        (["--trainer.logger=WandbLogger", "-x"], ["--trainer.logger+=WandbLogger", "-x"]),
        ([f"--trainer.logger={_LOGGERS}.WandbLogger"],) * 2,
        (["--trainer.logger", "CSVLogger"],) * 2,
        (["--trainer.logger+", "WandbLogger"],) * 2,
        (["--model.x", "--trainer.logger"],) * 2,
    ],
)
def test_wandb_stands_beside_the_loggers_of_the_configuration(given, understood):
    if "lightning" in given[0]:
        understood = [given[0].replace("=", "+=")]
    assert wandb_beside(given) == understood


@pytest.mark.slow
def test_options_of_wandb_follow_its_name():
    config = str(CONFIGS / "demo/samsod_vt5000.yaml")
    options = ["--trainer.logger", "WandbLogger", "--trainer.logger.offline", "true"]
    loggers = parse_fit(["--config", config, *options]).trainer.logger
    names = [item.class_path.rpartition(".")[2] for item in loggers]
    assert names == ["CSVLogger", "TensorBoardLogger", "WandbLogger"]
    assert loggers[2].init_args.offline is True


def item(kind: str, **arguments) -> Namespace:
    arguments = {"name": None, "version": None, "save_dir": ".", "project": None} | arguments
    return Namespace(class_path=f"{_LOGGERS}.{kind}", init_args=Namespace(**arguments))


def test_the_run_folder_comes_first_and_names_the_run(tmp_path, monkeypatch):
    monkeypatch.delenv("RGBX_RUN_VERSION", raising=False)
    (tmp_path / "mfnet/version_4").mkdir(parents=True)
    wandb = item("WandbLogger")
    csv, board = (
        item(kind, name="mfnet", save_dir=str(tmp_path))
        for kind in ("CSVLogger", "TensorBoardLogger")
    )
    trainer = Namespace(logger=[wandb, csv, board])
    arrange_loggers(trainer)
    assert trainer.logger == [csv, board, wandb]
    assert csv.init_args.version == board.init_args.version == 5
    arguments = wandb.init_args
    assert (arguments.project, arguments.name, arguments.version) == (
        "rgbx",
        "mfnet/version_5",
        None,
    )
    monkeypatch.delenv("RGBX_RUN_VERSION")


def test_wandb_alone_gets_a_run_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("RGBX_RUN_VERSION", raising=False)
    monkeypatch.chdir(tmp_path)
    trainer = Namespace(logger=item("WandbLogger", project="polyps", name="mine"))
    arrange_loggers(trainer)
    csv, wandb = trainer.logger
    assert csv.class_path.endswith("CSVLogger") and wandb.init_args.name == "mine"
    assert (csv.init_args.save_dir, csv.init_args.name) == ("runs", "polyps")
    monkeypatch.delenv("RGBX_RUN_VERSION")


@pytest.mark.parametrize("value", [True, False, None])
def test_defaults_of_the_trainer_stay(value):
    trainer = Namespace(logger=value)
    arrange_loggers(trainer)
    assert trainer.logger is value


def test_a_project_of_the_environment_is_kept(monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "of the sweep")
    monkeypatch.setenv("RGBX_RUN_VERSION", "0")
    trainer = Namespace(logger=[item("WandbLogger")])
    arrange_loggers(trainer)
    assert trainer.logger[1].init_args.project is None


def test_no_login_is_one_sentence():
    import wandb

    reason = "No API key configured. Use `wandb login` to log in."
    expected = r"W.*No API key.*`wandb login`.*--trainer.logger.offline true.*`wandb sync`"
    with pytest.raises(RGBXError, match=expected), own_wandb_run():
        raise wandb.errors.UsageError(reason)
    with pytest.raises(ValueError, match="other"), own_wandb_run():
        raise ValueError("other")


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_of_wandb_ends_with_its_command(monkeypatch, failed):
    import wandb

    ended = []
    began = SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))
    monkeypatch.setattr(wandb, "teardown", lambda: ended.append("service"))
    monkeypatch.setattr(wandb, "run", None)
    monkeypatch.setenv("WANDB_MODE", "online")
    with suppress(KeyError), own_wandb_run():
        monkeypatch.setattr(wandb, "run", began)
        monkeypatch.setenv("WANDB_MODE", "dryrun")
        if failed:
            raise KeyError
    assert ended == [int(failed), "service"] and os.environ["WANDB_MODE"] == "online"


def test_a_run_of_wandb_that_was_there_goes_on(monkeypatch):
    import wandb

    ended = []
    earlier = SimpleNamespace(finish=lambda exit_code: ended.append(exit_code))
    monkeypatch.setattr(wandb, "run", earlier)
    monkeypatch.delenv("WANDB_MODE")
    with own_wandb_run():
        pass
    assert ended == [] and "WANDB_MODE" not in os.environ
