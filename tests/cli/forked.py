"""Children of `rgbx sweep` and `rgbx ablate` that do not import everything again."""

import os
import sys
from pathlib import Path


class Forked:
    """In place of subprocess.Popen: a fork that runs the command."""

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
            os.environ.update(env)
            status = _run(argv[argv.index("-m") + 1 :])
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


def _run(argv):
    from rgbx.cli import run
    from rgbx.cli.sweep_child import run_child

    module, *options = argv
    if module == "rgbx.cli.sweep_child":
        return run_child(Path(options[0]), options[1:])
    return run(options)
