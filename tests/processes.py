"""Processes that have imported rgbx already: forked from one that did nothing else.

Importing Lightning takes longer than training a tiny model, so tests that need processes of their
own get them from multiprocessing's fork server. It starts fresh, imports once, and hands out
copies: they know nothing of the tests that ran before, and begin as ``python -m rgbx`` does.
"""

import multiprocessing
import multiprocessing.connection
import os
import socket
from collections.abc import Callable, Mapping
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["rgbx.cli.lightning", "tests.models.mca_processes"])
#: what runs in this process may have left there, and no shell would have set
_OURS = ("RGBX_RUN_VERSION", "PL_GLOBAL_SEED", "PL_SEED_WORKERS")


def start(
    work: Callable[..., Any],
    *args: Any,
    cwd: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> ForkServerProcess:
    """Call `work` in a process of its own.

    Args:
        work: a function of a module.
        args: of `work`.
        cwd: where it runs.
        log: gets what it prints.
        environment: variables besides the present ones.
    """
    with pytest.MonkeyPatch.context() as patch:  # the server imports these files, from anywhere
        patch.setenv("PYTHONPATH", str(_ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        forkserver.ensure_running()
    variables = {k: v for k, v in os.environ.items() if k not in _OURS} | dict(environment or {})
    process = _FORKED.Process(target=_begin, args=(work, args, cwd, log, variables))
    process.start()
    return process


def _begin(
    work: Callable[..., Any], args: tuple, cwd: Path, log: Path, variables: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    work(*args)


def two_ranks(work: Callable[..., Any], *args: Any, cwd: Path) -> None:
    """Call `work` in two processes at once that are told their ranks as by Lightning's launcher.

    Args:
        work: what both do.
        args: of `work`.
        cwd: where both run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    logs = [cwd / f"rank_{rank}.log" for rank in (0, 1)]
    ranks = []
    for rank, log in enumerate(logs):
        own = {**meeting, "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
        ranks.append(start(_ranked, work, args, cwd=cwd, log=log, environment=own))
    try:
        while any(rank.is_alive() for rank in ranks) and not any(rank.exitcode for rank in ranks):
            multiprocessing.connection.wait([r.sentinel for r in ranks if r.is_alive()], 1200)
    finally:
        for rank in ranks:  # one alone would wait for the other
            rank.kill()
            rank.join()
    said = "\n".join(log.read_text()[-3000:] for log in logs)
    assert [rank.exitcode for rank in ranks] == [0, 0], said


def _ranked(work: Callable[..., Any], args: tuple) -> None:
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    rank_zero_only.rank = int(os.environ["LOCAL_RANK"])  # as importing it with the variable does
    work(*args)
