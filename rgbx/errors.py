"""Errors that are meant for the person at the keyboard.

The command line prints their text as one sentence and exits with status 1 (2: its options cannot
be read); everything else is a bug and keeps its traceback.
"""

__all__ = ["DataError", "RGBXError", "UsageError", "WeightsError"]


class RGBXError(Exception):
    """Something the user can mend: says what was wrong, where, and what to do."""


class DataError(RGBXError):
    """A data set on disk is not what its data module expects."""


class WeightsError(RGBXError):
    """A weight file or a checkpoint is missing, damaged, or belongs to another model."""


class UsageError(RGBXError):
    """A command line that argparse cannot read; the exit status is 2."""
