"""A job of SLURM that is requeued before its time is over, and goes on from its own checkpoint.

Lightning writes ``hpc_ckpt_N.ckpt`` into the working directory, and whatever run starts there next
begins from it. Here the checkpoint lies in the folder of its run, next to a note of the job and the
configuration that it belongs to, and no other run restores it unasked.
"""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from rgbx.disk import whole_file

__all__ = ["Job"]

_FOLDER = "checkpoints"


class Job:
    """This job of SLURM, running one configuration.

    Args:
        number: of the job; of an array, with the task's.
        settings: fingerprint of the configuration.
    """

    def __init__(self, number: str, settings: str) -> None:
        self._note = {"job": number, "settings": settings}

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Job | None":
        """The job that this process belongs to; None outside of SLURM.

        Args:
            config: the whole configuration, as plain values.
        """
        if not SLURMEnvironment.detect() or "SLURM_JOB_ID" not in os.environ:
            return None
        number = os.environ["SLURM_JOB_ID"]
        if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
            number = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        text = json.dumps(config, sort_keys=True, default=str)
        return cls(number, hashlib.sha256(text.encode()).hexdigest())

    def checkpoint(self, trainer: Trainer) -> Path | None:
        """The newest checkpoint that this job left with this configuration, if there is one."""
        run = _run_folder(trainer)
        folders = (run / _FOLDER, *run.parent.glob(f"version_*/{_FOLDER}"))
        notes = {note for folder in folders for note in folder.glob("hpc_ckpt_*.json")}
        mine = [
            note.with_suffix(".ckpt")
            for note in notes
            if json.loads(note.read_text(encoding="utf-8")) == self._note
        ]
        there = [path for path in mine if path.is_file()]
        return max(there, key=lambda path: path.stat().st_mtime, default=None)

    def save_and_requeue(self, trainer: Trainer) -> None:
        """Save a checkpoint on all ranks, and have SLURM start the job again."""
        folder = _run_folder(trainer) / _FOLDER
        numbers = [int(n) for p in folder.glob("hpc_ckpt_*.ckpt") if (n := _number(p.stem))]
        path = folder / f"hpc_ckpt_{max(numbers, default=0) + 1}.ckpt"
        trainer.save_checkpoint(path)
        if not trainer.is_global_zero:
            return
        with whole_file(path.with_suffix(".json")) as draft:
            draft.write_text(json.dumps(self._note) + "\n", encoding="utf-8")
        try:
            command = ["scontrol", "requeue", self._note["job"]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            failed = done.stderr.strip() if done.returncode else ""
        except FileNotFoundError:
            failed = "there is no scontrol"
        if failed:
            rank_zero_warn(
                f"Job {self._note['job']} was not requeued ({failed}); it trains on. {path} is "
                "there to go on from."
            )
        else:
            rank_zero_info(f"Job {self._note['job']} is requeued, and goes on from {path}.")


def _run_folder(trainer: Trainer) -> Path:
    return Path(trainer.log_dir or trainer.default_root_dir)


def _number(stem: str) -> str:
    found = re.fullmatch(r"hpc_ckpt_(\d+)", stem)
    return found.group(1) if found else ""
