"""SIGTERM, and SLURM's signal before the time of a job is over."""

import json
import shlex
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rgbx.cli import ablate
from rgbx.cli.sweep_child import run_child
from rgbx.jobs import process as job_process
from rgbx.jobs.folder import JobFolder
from tests.cli.conftest import tiny

pytestmark = pytest.mark.slow

#: two batches an epoch; signals come after the second batch of the second epoch
SHORT = ["--trainer.max_epochs", "3", "--trainer.limit_val_batches", "1"]
SHORT += ["--data.batch_size", "4", "--trainer.enable_progress_bar", "false"]
RUN = Path("runs/tasseg_mfnet/version_0")


def send(number: int) -> str:
    arguments = f"{{class_path: tests.cli.stopping.SendSignal, init_args: {{number: {number}}}}}"
    return f"--trainer.callbacks+={arguments}"


def test_sigterm_ends_with_143_and_the_command_that_goes_on(rgbx, mfnet_root, capsys):
    before = signal.getsignal(signal.SIGTERM)
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *SHORT)
    assert rgbx("fit", *argv, send(signal.SIGTERM)) == 143
    assert signal.getsignal(signal.SIGTERM) == before
    command = shlex.split(capsys.readouterr().out.rstrip().splitlines()[-1])
    last = RUN / "checkpoints/last.ckpt"
    assert command[:2] == ["rgbx", "fit"]
    assert command[-2:] == ["--ckpt_path", str(last)]
    assert torch.load(last, weights_only=True)["global_step"] == 2
    assert rgbx(*[a for a in command[1:] if "SendSignal" not in a]) == 0
    # stopped before it saved anything, a resumed run goes on from where it began
    assert rgbx(*command[1:]) == 143
    assert capsys.readouterr().out.rstrip().endswith(f"--ckpt_path {last}")


def test_sigterm_before_the_first_checkpoint_promises_none(rgbx, mfnet_root, capsys):
    saves = "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {save_weights_only: "
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *SHORT, saves + "true}}]")
    assert rgbx("fit", *argv, send(signal.SIGTERM)) == 143
    assert list(RUN.glob("checkpoints/*.ckpt")), "weights alone"
    assert "--ckpt_path" not in capsys.readouterr().out


def test_a_trial_that_sigterm_stopped_has_not_ended(mfnet_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGBX_RUN_VERSION", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *SHORT, send(signal.SIGTERM))
    try:
        assert run_child(tmp_path, ["fit", *argv]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "state.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_row_whose_training_was_stopped_is_not_trained(number, tmp_path):
    ended = SimpleNamespace(returncode=128 + number, pid=0)
    assert number.name in job_process.Process(JobFolder(tmp_path), ended).reason


def test_sigterm_ends_an_ablation_and_what_it_started(tmp_path, monkeypatch, mfnet_root, capsys):
    monkeypatch.chdir(tmp_path)
    children = []

    class Child:
        pid = 2**22 + 1
        returncode = None

        def __init__(self, *_, **__):
            self.heard = []
            children.append(self)

        def poll(self):
            if not self.heard:
                signal.raise_signal(signal.SIGTERM)
            self.heard.append("waited for")
            return -signal.SIGTERM

    def killpg(group, number):
        assert group == Child.pid
        children[-1].heard.append(signal.Signals(number).name)

    monkeypatch.setattr(job_process.subprocess, "Popen", Child)
    monkeypatch.setattr(job_process.os, "killpg", killpg)
    file = Path(__file__).resolve().parents[2] / "configs/ablations/taseg_table3.yaml"
    options = tiny("tasseg_mfnet.yaml", mfnet_root)[2:]
    assert ablate.main([str(file), "--output", "out", "--", *options]) == 143
    assert children[-1].heard == ["SIGTERM", "waited for"]
    assert json.loads(next(Path("out").rglob("state.json")).read_text())["status"] == "running"


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """Job 17 of SLURM; ``scontrol`` notes what it is asked for."""
    values = {"JOB_ID": 17, "NTASKS": 1, "JOB_NAME": "x", "PROCID": 0, "LOCALID": 0, "NODEID": 0}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    program = tmp_path / "bin/scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return tmp_path / "asked"


def test_a_requeued_job_goes_on_and_no_other_run_does(rgbx, slurm, mfnet_root, monkeypatch):
    before = signal.getsignal(signal.SIGUSR1)
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *SHORT, send(signal.SIGUSR1))
    argv.append("--trainer.callbacks+=tests.cli.stopping.SaveEachBatch")

    def steps(*more: str) -> list[str]:
        for old in Path().glob("batch_*.ckpt"):
            old.unlink()
        assert rgbx("fit", *argv, *more) == 0
        return sorted(path.stem for path in Path().glob("batch_*.ckpt"))

    every = [f"batch_{n}" for n in range(1, 7)]
    assert steps() == every
    assert slurm.read_text().split() == ["requeue", "17"]
    assert signal.getsignal(signal.SIGUSR1) == before
    (saved,) = RUN.parent.rglob("hpc_ckpt_*.ckpt")
    assert saved == RUN / "checkpoints/hpc_ckpt_1.ckpt"
    assert torch.load(saved, weights_only=True)["global_step"] == 4
    assert steps() == every[4:]
    shutil.copy(saved, "hpc_ckpt_7.ckpt")  # as Lightning leaves it, for whoever comes next
    assert steps("--data.seed", "1") == every
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert steps() == every


def test_a_job_that_cannot_be_requeued_trains_on(rgbx, slurm, mfnet_root):
    (slurm.parent / "bin/scontrol").write_text("#!/bin/sh\necho no such job >&2; exit 1\n")
    argv = tiny("tasseg_mfnet.yaml", mfnet_root, *SHORT, send(signal.SIGUSR1))
    with pytest.warns(UserWarning, match=r"17 was not requeued.*no such job.*hpc_ckpt_1\.ckpt"):
        assert rgbx("fit", *argv) == 0
    last = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 6
