"""Sweeps on the command line: shipped files as the agent would run them, and real trials."""

import ast
import csv
import fcntl
import re
import subprocess
from pathlib import Path

import pytest
import torch
import torch.utils.tensorboard  # once, for all forked trials
import yaml

from rgbx.cli.config.parsed import parse_fit
from rgbx.cli.config.sweep_check import check_sweep, devices_of
from rgbx.errors import RGBXError
from rgbx.jobs import process as job_process
from rgbx.jobs.sweep import read_command, read_sweep
from tests.cli.conftest import CONFIGS, tiny
from tests.forked import Forked

pytestmark = pytest.mark.slow

SWEEPS = sorted(p.name for p in (CONFIGS / "sweeps").glob("*.yaml"))
FAMILIES = ("tasseg_mfnet", "samsod_vt5000", "stable_sam_hqseg44k", "unirgb_ir_mfnet")


def agents_command(content: dict, arguments: dict) -> list[str]:
    """What W&B's agent starts: its own functions, and its way of putting their results together."""
    from wandb.sdk.launch.sweeps import utils  # a second to import

    parts = utils.create_sweep_command(list(content["command"]))
    wrapped = {key: {"value": value} for key, value in arguments.items()}
    found = utils.create_sweep_command_args({"args": wrapped})
    found |= {"env": ["/usr/bin/env"], "program": [content["program"]], "interpreter": ["python"]}
    words: list[str] = []
    for part in parts:
        words += found[part[2:-1]] if part.startswith("${") else [part]
    return words


def ends(content: dict) -> dict[tuple[str, ...], tuple]:
    """Path of a parameter -> its first and last value, read from the file by these tests alone."""
    found = {}
    for key, spec in content["parameters"].items():
        if "parameters" in spec:
            found |= {(key, *path): pair for path, pair in ends(spec).items()}
        elif "values" in spec:
            found[(key,)] = spec["values"][0], spec["values"][-1]
        else:
            found[(key,)] = spec["min"], spec["max"]
    return found


def nested(values: dict[tuple[str, ...], object]) -> dict:
    """What W&B holds of values: a nested parameter is a dict in its outermost key."""
    found: dict = {}
    for path, value in values.items():
        place = found
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
    return found


def at(config, path: tuple[str, ...]):
    """The value of a dotted key in a parsed configuration."""
    for key in ".".join(path).split("."):
        config = config[key] if key in config else config["init_args"][key]
    return config


def test_every_family_of_configurations_has_a_sweep():
    assert {f"{name}.yaml" for name in FAMILIES} <= set(SWEEPS)
    methods = {read_sweep(CONFIGS / "sweeps" / name).method for name in SWEEPS}
    assert methods == {"grid", "random", "bayes"}


@pytest.mark.parametrize("name", SWEEPS)
def test_the_agents_command_is_understood(name, monkeypatch):
    """First and last value of every parameter arrive where they belong, with their type."""
    monkeypatch.chdir(CONFIGS.parent)
    content = yaml.safe_load((CONFIGS / "sweeps" / name).read_text())
    pairs = ends(content)
    assert len(pairs) >= 3
    for end in (0, 1):
        values = {path: pair[end] for path, pair in pairs.items()}
        words = agents_command(content, nested(values))
        assert words[:3] == ["/usr/bin/env", "rgbx", "fit"]
        config = parse_fit(words[3:])
        for path, value in values.items():
            found = at(config, path)
            wanted = tuple(value) if isinstance(value, list) else value
            assert (tuple(found) if isinstance(found, list | tuple) else found) == wanted, path
            assert isinstance(found, bool) == isinstance(wanted, bool)


@pytest.mark.parametrize("name", SWEEPS)
def test_rgbx_sweep_builds_the_same_options_as_the_agent(name, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    file = read_sweep(CONFIGS / "sweeps" / name)
    command = read_command(file)
    for end in (0, 1):
        values = {parameter.path: parameter.ends[end] for parameter in file.parameters}
        words = agents_command(dict(file.content), nested(values))
        assert ["/usr/bin/env", "rgbx", "fit", *command.options(values)] == words


def test_a_shipped_sweep_passes_its_own_check(monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    file = read_sweep(CONFIGS / "sweeps" / "unirgb_ir_mfnet.yaml")
    config = check_sweep(file, read_command(file), [])
    assert config.trainer.logger[-1].class_path.endswith("WandbLogger")
    assert config.model.init_args.optimizer.init_args.lr == 1e-3


def test_none_of_the_agent_is_null(monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    base = ["--config", "configs/tasseg_mfnet.yaml"]
    config = parse_fit([*base, "--model.weights=None", "--model={'text_weights': None}"])
    assert config.model.init_args.weights is None
    assert config.model.init_args.text_weights is None
    assert config.model.init_args.encoder == "vit_h"


# ------------------------------------------------------------------ mistakes before the first trial
@pytest.fixture
def sweep_file(tmp_path):
    """``sweep_file(parameters, config=..., **changes) -> path``."""

    def write(parameters: dict, config="tasseg_mfnet.yaml", options=(), **changes) -> Path:
        content = {
            "program": "rgbx",
            "command": ["${env}", "rgbx", "fit", "--config", str(CONFIGS / config), *options],
            "method": "grid",
            "metric": {"name": "val/miou", "goal": "maximize"},
            "parameters": parameters,
        }
        content["command"].append("${args}")
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
        return path

    return write


RANK = {"model.lora.rank": {"values": [2, 4]}}


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (
            {"parameters": {"model.lora.rnk": {"values": [2, 4]}}},
            r"Parameter model\.lora\.rnk = 2 of .* cannot be used: There is no option "
            r"`model\.lora\.rnk`; did you mean `model\.lora\.rank`\?$",
        ),
        (
            {"parameters": {"model.lora.rank": {"values": [2, "many"]}}},
            r"Parameter model\.lora\.rank = many of .* `model\.lora\.rank` .* does not fit",
        ),
        (
            {"parameters": RANK, "metric": {"name": "val/mIuo"}},
            r"The metric 'val/mIuo' .* is logged by nobody: validation of TASeg logs val/miou, "
            r"val/macc, val/miou_image\.$",
        ),
        (
            {
                "parameters": {"model.adapter_options.width": {"values": [8]}},
                "config": "samsod_vt5000.yaml",
                "metric": {"name": "miou"},
            },
            r"The metric 'miou' .* validation of SAMSOD logs val/maxF, val/MAE, val/meanF, val/IoU",
        ),
        (
            {
                "parameters": {"model.plugin.max_offset": {"values": [2.5]}},
                "metric": {"name": "val/mIoU"},
                "config": "stable_sam_hqseg44k.yaml",
            },
            r"validation of StableSAM logs val/noisy_box/mIoU, val/noisy_box/mBIoU, "
            r"val/noisy_box/mSF, val/noisy_box/alpha_1\.$",
        ),
        (
            {"parameters": RANK, "options": ("--trainer.limit_val_batches=0",)},
            r"as nothing is validated: trainer\.limit_val_batches is 0",
        ),
        (
            {
                "parameters": {"model.plugin.max_offset": {"values": [2.5, 5.0]}},
                "config": "stable_sam_hqseg44k.yaml",
                "metric": {"name": "val/noisy_box/mIoU"},
            },
            r"as nothing is validated: data\.val_share is 0",
        ),
        (
            {
                "parameters": {"model.adapter_options.width": {"values": [16]}},
                "config": "samsod_vt5000.yaml",
                "metric": {"name": "val/MAE"},
                "options": ("--data.val_share=0",),
            },
            r"as nothing is validated: data\.val_share is 0",
        ),
        (
            {"parameters": RANK, "config": "none.yaml"},
            r"The command of .* does not run: There is no configuration file .*none\.yaml\.$",
        ),
        (
            {"parameters": {"trainer.logger": {"values": ["a", "b"]}}},
            r"Parameter trainer\.logger of .* is decided by `rgbx sweep`",
        ),
    ],
)
def test_what_cannot_work_is_one_sentence_before_anything_trains(
    file, sentence, sweep_file, rgbx, capsys, tmp_path
):
    assert rgbx("sweep", sweep_file(**file)) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("rgbx: error: ") and "\n" not in error
    assert re.search(sentence, error), error
    assert not list(tmp_path.rglob("sweep.db"))


@pytest.mark.parametrize(
    ("method", "options", "sentence"),
    [
        ("grid", ("--", "--model.lora.rank", "3"), "--model.lora.rank is varied by"),
        ("grid", ("--", "--trainer.logger=false"), "--trainer.logger is decided by `rgbx sweep`"),
        ("grid", ("--count", "0"), "--count is 0, but has to be 1 or more."),
        ("random", (), "How many trials? Add --count N: random has no end of its own."),
    ],
)
def test_options_that_cannot_work_are_one_sentence(
    method, options, sentence, sweep_file, rgbx, capsys
):
    assert rgbx("sweep", sweep_file(RANK, method=method), *options) == 1
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_study_is_one_sentence(sweep_file, rgbx, capsys, tmp_path):
    (tmp_path / "sweep.db").write_text("no database, but long enough to be taken for one" * 9)
    assert rgbx("sweep", sweep_file(RANK), "--storage", tmp_path / "sweep.db") == 1
    assert (
        capsys.readouterr().err.strip().endswith("sweep.db cannot be used: file is not a database.")
    )


def test_a_second_sweep_on_the_same_study_is_refused(sweep_file, rgbx, capsys, tmp_path):
    with (tmp_path / "sweep.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("123")
        lock.flush()
        assert rgbx("sweep", sweep_file(RANK), "--storage", tmp_path / "sweep.db") == 1
    assert "Another `rgbx sweep` (process 123) is at work on" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_one_sentence(sweep_file, rgbx, capsys, tmp_path):
    (tmp_path / "taken").write_text("a file where a folder should be")
    assert rgbx("sweep", sweep_file(RANK), "--output", tmp_path / "taken") == 1
    error = capsys.readouterr().err
    assert re.search(r"sweep\.db\.lock cannot be written: (File exists|Not a directory)\.", error)


def test_gpus_are_shared_out_only_where_there_are_several(monkeypatch, sweep_file):
    config = parse_fit(["--config", str(CONFIGS / "tasseg_mfnet.yaml")])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices_of(config) == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert devices_of(config) == ("3", "5")
    config.trainer.devices = 2
    assert devices_of(config) == ()


# ------------------------------------------------------------------ real trials
def options(root: Path, *more: str) -> list[str]:
    """Options behind --: a tiny model, two steps, one validation."""
    return [
        *tiny("tasseg_mfnet.yaml", root)[2:],  # without the configuration, which the file names
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches",
        "2",
        "--trainer.limit_val_batches",
        "1",
        "--trainer.precision",
        "32-true",
        *more,
    ]


def ranking(folder: Path) -> list[dict[str, str]]:
    with (folder / "ranking.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_drawn_parameters_train_and_are_ranked(
    method, sweep_file, rgbx, mfnet_root, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(job_process.subprocess, "Popen", Forked)
    lr = {"distribution": "log_uniform_values", "min": 1.0e-4, "max": 1.0e-2}
    file = sweep_file(
        {"model.optimizer.lr": lr, "model.fusion": {"values": ["dffm", "concat"]}}, method=method
    )
    output = tmp_path / "out"
    command = ("sweep", file, "--count", "2", "--output", output, "--", *options(mfnet_root))
    assert rgbx(*command) == 0
    said = capsys.readouterr().out
    rows = ranking(output)
    assert [row["state"] for row in rows] == ["done", "done"]
    scores = [float(row["val/miou"]) for row in rows]
    assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] < 1
    for row in rows:
        config = yaml.safe_load(Path(row["folder"], "version_0", "config.yaml").read_text())
        arguments = config["model"]["init_args"]
        lr = arguments["optimizer"]["init_args"]["lr"]
        assert 1e-4 <= lr <= 1e-2 and f"{lr:.4g}" == row["model.optimizer.lr"]
        assert arguments["fusion"] == row["model.fusion"]
        logged = (Path(row["folder"]) / "version_0" / "metrics.csv").read_text()
        assert "val/miou" in logged
    best = Path(rows[0]["folder"], "version_0", "checkpoints", "best.ckpt")
    assert best.is_file() and str(best.relative_to(tmp_path)) in said
    if scores[0] != scores[1]:
        assert (
            output / "importance.png"
        ).is_file() and "importance (PED-ANOVA, 2 trials): " in said
    assert rgbx(*command) == 0  # nothing is left to do
    assert ranking(output) == rows


def test_a_grid_notes_the_trial_that_fails(
    sweep_file, rgbx, mfnet_root, tmp_path, capsys, monkeypatch
):
    """Two workers; one size does not fit the network."""
    started = subprocess.Popen

    def popen(argv, **more):  # one trial as users have it, in a process of its own
        return (started if "trial_0000" in argv[3] else Forked)(argv, **more)

    monkeypatch.setattr(job_process.subprocess, "Popen", popen)
    sizes = [[64, 96], [60, 96]]
    file = sweep_file({"data.size": {"values": sizes}})
    output = tmp_path / "out"
    given = options(mfnet_root)
    place = given.index("--data.size")
    del given[place : place + 2]
    command = ("sweep", file, "--workers", "2", "--output", output)
    assert rgbx(*command, "--", *given) == 1
    rows = ranking(output)
    assert [row["state"] for row in rows] == ["done", "failed"]
    assert ast.literal_eval(rows[0]["data.size"]) == sizes[0]
    reason = (
        "data.size is [60, 96], but TASeg needs multiples of 16; the next valid size is [64, 96]"
    )
    assert rows[1]["reason"] == reason
    assert f"trial 1 failed: {reason}" in capsys.readouterr().out
    assert (output / "trial_0000" / "version_0" / "checkpoints" / "last.ckpt").is_file()
    assert not (output / "importance.png").exists()

    with pytest.raises(RGBXError, match="was begun with another options"):
        from rgbx.jobs.sweep.study import SweepStudy

        SweepStudy(output / "sweep.db", read_sweep(file), {"options": []}, 0)
