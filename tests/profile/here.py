"""`rgbx profile` without a process of its own, which takes longer than all that it measures."""

import pytest

from rgbx.cli import run
from rgbx.profile import measured as measuring


def profiled_here(argv: list[str]) -> int:
    """Exit status of a command line; tests/cli/test_profile.py and tests/toys have the process."""

    def measured(build, batch=1, passes=None):
        return measuring._measure(build, batch, passes or 3, threads=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "measured", measured)
        return run(argv)
