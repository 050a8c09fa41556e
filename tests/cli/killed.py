"""What the kernel does to a process that wants too much memory; imports nothing heavy."""

import os
import signal


def killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
