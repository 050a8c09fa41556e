"""Commands that take a checkpoint: each way of being wrong is a sentence that names the file."""

import copy
import os
from pathlib import Path

import pytest
import torch

from rgbx.checkpoints.trained import AtomicCheckpointIO
from rgbx.cli import run
from rgbx.errors import WeightsError
from rgbx.models import SAMSOD, TASeg
from tests.cli.conftest import tiny

pytestmark = pytest.mark.slow

CONFIG = "tasseg_mfnet.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, mfnet_root):
    """The last checkpoint of one epoch."""
    folder = tmp_path_factory.mktemp("trained")
    previous = Path.cwd()
    os.chdir(folder)
    try:
        assert run(["fit", *tiny(CONFIG, mfnet_root, "--trainer.max_epochs", "1")]) == 0
    finally:
        os.chdir(previous)
    return folder / "runs/tasseg_mfnet/version_0/checkpoints/last.ckpt"


@pytest.fixture
def fails(rgbx, capsys):
    """``fails(*argv) -> message`` of a command that must exit with status 1."""

    def call(*argv):
        assert rgbx(*argv) == 1
        error = [line for line in capsys.readouterr().err.splitlines() if "rgbx: error:" in line]
        assert len(error) == 1, error
        return error[0]

    return call


@pytest.fixture
def refuses(fails, mfnet_root, tmp_path):
    """``refuses(path, *command) -> message`` that names the file; no run's folder is left."""

    def call(path, *command):
        more = ["--trainer.max_epochs", "2"] if command[0] == "fit" else []
        argv = tiny(CONFIG, mfnet_root, "--ckpt_path", str(path), *more)
        message = fails(*command, *argv)
        assert Path(path).name in message
        return message

    return call


COMMANDS = [
    ("fit",),
    ("validate",),
    ("test",),
    ("predict",),
    ("profile",),
    ("export", "--format", "torch", "--output", "out.pt2"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
def test_every_command(refuses, trained, tmp_path, command):
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(trained.read_bytes()[:5000])
    assert "truncated" in refuses(cut, *command)
    assert "no checkpoint" in refuses(tmp_path / "missing.ckpt", *command)
    assert not (tmp_path / "runs").exists()


def test_eval_coco(fails, trained, tmp_path):
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(trained.read_bytes()[:5000])
    argv = ("eval-coco", "--annotations", "a.json", "--images", ".", "--ckpt_path", cut)
    assert "cut.ckpt" in fails(*argv)


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[2]], ids=lambda c: c[0])
def test_every_way(refuses, trained, tmp_path, command):
    (tmp_path / "page.ckpt").write_text("<html>not found</html>")
    assert "web page" in refuses(tmp_path / "page.ckpt", *command)
    torch.save([1, 2], tmp_path / "list.ckpt")
    assert "list" in refuses(tmp_path / "list.ckpt", *command)
    assert "folder" in refuses(tmp_path, *command)
    bad = torch.load(trained)
    bad["state_dict"] = {k: v * float("nan") for k, v in bad["state_dict"].items()}
    torch.save(bad, tmp_path / "nan.ckpt")
    assert "not finite" in refuses(tmp_path / "nan.ckpt", *command)
    torch.save({"a.weight": torch.zeros(2)}, tmp_path / "foreign.ckpt")
    assert "not a checkpoint of rgbx" in refuses(tmp_path / "foreign.ckpt", *command)
    assert not (tmp_path / "runs").exists()


def test_words_instead_of_a_file(fails, rgbx, mfnet_root):
    for command, word in (("test", "last"), ("predict", "best"), ("fit", "best"), ("fit", "hpc")):
        message = fails(command, *tiny(CONFIG, mfnet_root, "--ckpt_path", word))
        assert word in message
    argv = tiny(CONFIG, mfnet_root, "--trainer.fast_dev_run", "true", "--ckpt_path", "last")
    with pytest.warns(UserWarning, match="no last checkpoint"):
        assert rgbx("fit", *argv) == 0  # as Lightning has it: there is none before the first run


def test_checkpoints_are_never_trusted(fails, mfnet_root):
    """Lightning's `--weights_only false` would run whatever a file names."""
    for command in ("fit", "test"):
        argv = tiny(CONFIG, mfnet_root, "--weights_only", "false")
        assert "weights_only" in fails(command, *argv)
    with pytest.raises(TypeError, match="weights_only"):
        AtomicCheckpointIO().load_checkpoint("a.ckpt", weights_only=False)


def memory(stored):
    """What the optimiser remembers of the first parameter."""
    return stored["optimizer_states"][0]["state"][0]


def best(stored):
    key = next(key for key in stored["callbacks"] if "'val/miou'" in key)
    return stored["callbacks"][key]


DAMAGE = {
    "loops.fit_loop": lambda c: c["loops"].update(fit_loop=None),
    "current.ready": lambda c: c["loops"]["fit_loop"]["epoch_progress"]["current"].pop("ready"),
    "epoch_loop.batch_progress": lambda c: c["loops"]["fit_loop"].update(
        {"epoch_loop.batch_progress": {"total": 3, "current": 1}}
    ),
    "`optimizer_states` are 0": lambda c: c.update(optimizer_states=[]),
    "`lr_schedulers` are 0": lambda c: c.update(lr_schedulers=[]),
    "param_groups": lambda c: c["optimizer_states"][0].pop("param_groups"),
    "hold nothing": lambda c: c["optimizer_states"][0].update(state={}),
    "`exp_avg` of its optimiser is (7,)": lambda c: memory(c).update(exp_avg=torch.zeros(7)),
    "`exp_avg_sq` of its optimiser is not finite": lambda c: memory(c)["exp_avg_sq"].fill_(
        torch.inf
    ),
    "needs exp_avg,": lambda c: c["optimizer_states"][0].update(
        state={k: {"step": v["step"]} for k, v in c["optimizer_states"][0]["state"].items()}
    ),
    "lr_lambdas": lambda c: c["lr_schedulers"][0].pop("lr_lambdas"),
    "`lr_schedulers`": lambda c: c["lr_schedulers"][0].update(last_epoch="3"),
    "best_k_models": lambda c: best(c).update(best_k_models=3),
    "best_model_path": lambda c: best(c).pop("best_model_path"),
    "weights alone": lambda c: c.pop("optimizer_states"),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_the_state_of_the_training_is_damaged(refuses, trained, tmp_path, said):
    stored = torch.load(trained)
    DAMAGE[said](stored)
    torch.save(stored, tmp_path / "hurt.ckpt")
    assert said in refuses(tmp_path / "hurt.ckpt", "fit")


def test_refusals_of_the_content_name_the_file(refuses, trained, tmp_path):
    stored = torch.load(trained)
    name = next(iter(stored["state_dict"]))
    other = copy.deepcopy(stored)
    other["state_dict"][name] = other["state_dict"].pop(name).long()
    torch.save(other, tmp_path / "counted.ckpt")
    for command in COMMANDS[2], COMMANDS[5]:
        assert f"another kind of number ({name})" in refuses(tmp_path / "counted.ckpt", *command)


def test_python_api(trained, tmp_path):
    load = TASeg.load_from_checkpoint
    assert load(trained, map_location="cpu").hparams["encoder"] == "tiny"
    with trained.open("rb") as file:
        assert load(file).hparams["encoder"] == "tiny"
    for name, content, said in (
        ("cut", trained.read_bytes()[:5000], "truncated"),
        ("text", b"hello", "text"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=rf"{name} .*{said}"):
            load(tmp_path / name)
    with pytest.raises(WeightsError, match=r"There is no checkpoint gone\.ckpt"):
        load("gone.ckpt")
    for address in ("https://127.0.0.1:9/a.ckpt", "s3://bucket/a.ckpt"):  # Lightning trusts them
        with pytest.raises(WeightsError, match=r"a\.ckpt is an address"):
            load(address)
    stored = torch.load(trained)
    stored["hyper_parameters"]["lora"] = {"rank": "four"}
    torch.save(stored, tmp_path / "odd.ckpt")
    with pytest.raises(WeightsError, match=r"odd\.ckpt cannot be loaded"):
        load(tmp_path / "odd.ckpt")


@pytest.mark.parametrize("key", ["_instantiator", "_class_path"])
def test_lightnings_instantiator_runs_nothing(trained, tmp_path, monkeypatch, key):
    """Before lightning 2.6.6 a checkpoint could name any function for its model to be built by."""
    mark = tmp_path / "executed"
    (tmp_path / "evil_module.py").write_text(
        f"open({str(mark)!r}, 'w')\ndef build(cls, arguments):\n    return cls()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    stored = torch.load(trained)
    stored["hyper_parameters"] |= {
        "_instantiator": "lightning.pytorch.cli.instantiate_module",
        "_class_path": "rgbx.models.TASeg",
        key: "evil_module.build",
    }
    torch.save(stored, tmp_path / "evil.ckpt")
    with pytest.raises(WeightsError, match=r"evil\.ckpt.*evil_module"):
        TASeg.load_from_checkpoint(tmp_path / "evil.ckpt")
    assert not mark.exists()


@pytest.mark.parametrize("plain", [True, False])
def test_a_file_may_not_choose_the_code_of_surgery(tmp_path, plain):
    mark = tmp_path / "executed"
    evil = {"class_path": "builtins.open", "init_args": {"file": str(mark), "mode": "w"}}
    model = SAMSOD(encoder="tiny")
    model.hparams["surgery"] = "os.getcwd" if plain else evil
    stored = {
        **{"epoch": 0, "global_step": 0, "pytorch-lightning_version": "2.6.6"},
        **{"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)},
    }
    model.on_save_checkpoint(stored)
    torch.save(stored, tmp_path / "evil.ckpt")
    with pytest.raises(WeightsError, match=r"evil\.ckpt asks for surgery"):
        SAMSOD.load_from_checkpoint(tmp_path / "evil.ckpt")
    with open(tmp_path / "evil.ckpt", "rb") as file, pytest.raises(WeightsError, match="surgery"):
        SAMSOD.load_from_checkpoint(file)
    assert not mark.exists()
    loaded = SAMSOD.load_from_checkpoint(tmp_path / "evil.ckpt", surgery="Mean")
    assert loaded.surgery == "Mean"
