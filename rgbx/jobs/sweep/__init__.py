"""W&B sweep files on this machine: what they say, the commands they stand for, and an Optuna study.

Nothing here needs torch: an error in a file is reported at once.
"""

from rgbx.jobs.sweep.command import Command, read_command
from rgbx.jobs.sweep.file import EarlyStop, Metric, SweepFile, read_sweep
from rgbx.jobs.sweep.space import Parameter

__all__ = [
    "Command",
    "EarlyStop",
    "Metric",
    "Parameter",
    "SweepFile",
    "read_command",
    "read_sweep",
]
