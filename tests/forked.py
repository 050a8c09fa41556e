"""Processes of jobs, forked from this one: they need not import everything again."""

import os
import sys
from pathlib import Path


class Forked:
    """In place of subprocess.Popen, for ``-m rgbx`` and ``-m rgbx.cli.sweep_child``."""

    def __init__(self, argv, stdin, stdout, stderr, env, pass_fds, start_new_session):
        self.returncode = None
        self.pid = os.fork()
        if self.pid:
            return
        status = 70
        try:
            os.setsid()
            if stdout is not None:
                os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
            sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
            os.environ.clear()
            os.environ.update(env)
            status = _work(*argv[argv.index("-m") + 1 :])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def _work(module: str, *argv: str) -> int:
    if module == "rgbx":
        from rgbx.cli import run

        return run(list(argv))
    assert module == "rgbx.cli.sweep_child"
    from rgbx.cli.sweep_child import run_child

    return run_child(Path(argv[0]), list(argv[1:]))
