"""A full disk, little memory, killed processes, Ctrl-C, odd outputs: never a traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from rgbx.cli import run, weights
from rgbx.cli.machine import machine_fault
from rgbx.disk import whole_file, write_image, write_text
from tests.cli.conftest import tiny

HANDED_ON = "Caught OSError in DataLoader worker process 0.\nOriginal Traceback:\nOSError: {}"


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b.png"), ("a/b.png", "make room")),
        (OSError(errno.ENOSPC, "No space left on device"), ("make room",)),
        (OSError(errno.EROFS, "Read-only file system", "a/b.png"), ("a/b.png", "Read-only")),
        (PermissionError(errno.EACCES, "Permission denied", "a/b.png"), ("a/b.png", "permission")),
        (FileNotFoundError(errno.ENOENT, "No such file", "a/b.png"), ("a/b.png",)),
        (OSError(errno.EMFILE, "Too many open files"), ("ulimit", "data.num_workers")),
        (OSError(HANDED_ON.format("[Errno 24] Too many open files: 'x'")), ("ulimit",)),
        (RuntimeError("received 0 items of ancdata"), ("ulimit",)),
        (
            RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed. "),
            ("77", "memory", "data.num_workers"),
        ),
        (RuntimeError("DataLoader worker (pid(s) 7, 8) exited unexpectedly"), ("7, 8", "memory")),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is ..."),
            ("/dev/shm", "data.num_workers"),
        ),
        (RuntimeError("unable to open shared memory object </torch_1_2> in rw"), ("/dev/shm",)),
        (RuntimeError("unable to write to file </torch_9_8>: No space left"), ("/dev/shm",)),
        (MemoryError(), ("memory", "data.batch_size", "data.size")),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9"), ("memory",)),
        (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), ("on the GPU", "2 GiB")),
        (RuntimeError("CUDA error: out of memory"), ("on the GPU", "data.batch_size")),
        (cv2.error("OpenCV: (-4:Insufficient memory) Failed to allocate 3000 bytes"), ("memory",)),
        (RuntimeError("can't start new thread"), ("ulimit -u",)),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ("ulimit -u",)),
        (RuntimeError("PytorchStreamWriter failed writing file data/1"), ("make room",)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_machine_does_is_said(error, named):
    sentence = machine_fault(error)
    assert sentence is not None
    assert all(word in sentence for word in named), sentence


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape '[2]' is invalid for input of size 3"),
        OSError("encoder error -2 when writing image file"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        FileNotFoundError(errno.ENOENT, "No such file", str(Path(weights.__file__).parent / "x")),
        cv2.error("OpenCV: (-215:Assertion failed) !ssize.empty()"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_keeps_its_traceback(error, monkeypatch):
    assert machine_fault(error) is None

    def fails(argv):
        raise error

    monkeypatch.setattr(weights, "main", fails)
    with pytest.raises(type(error)):
        run(["weights", "list"])


def stopped(argv):
    raise KeyboardInterrupt


def stopped_by_lightning(argv):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


@pytest.mark.parametrize("main", [stopped, stopped_by_lightning])
def test_ctrl_c_in_any_command(main, monkeypatch, capsys):
    monkeypatch.setattr(weights, "main", main)
    assert run(["weights", "list"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def full_disk(monkeypatch):
    """Half of everything is written, then the disk is full."""
    real = Path.write_bytes

    def half(path, content):
        real(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check-data", "make-demo-data", "predict", "test"])
def test_a_full_disk_leaves_nothing_half_written(
    command, rgbx, mfnet_root, tmp_path, monkeypatch, capsys
):
    options = tiny("demo/tasseg_mfnet.yaml", mfnet_root)
    argv = {
        "check-data": ["--config", options[1], "--data.root", mfnet_root, "-o", "out"],
        "make-demo-data": ["--root", "out", "--train", "1", "--val", "1", "--test", "1"],
    }.get(command)
    if argv is None:
        assert rgbx("fit", *options, "--trainer.max_epochs=1") == 0
        (checkpoint,) = tmp_path.rglob("last.ckpt")
        argv = [*options, "--ckpt_path", checkpoint, "--output", "out"]
        argv += ["--save_predictions", "true"] if command == "test" else []
    before = files(tmp_path)
    full_disk(monkeypatch)
    capsys.readouterr()
    assert rgbx(command, *argv) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "error:" in text]
    assert "out/" in line and "No space left" in line
    assert files(tmp_path) == before


def test_a_draft_has_a_short_name_and_faults_name_the_file(tmp_path, monkeypatch):
    path = tmp_path / ("n" * 250 + ".txt")
    write_text(path, "before")
    assert path.read_text() == "before"
    with pytest.raises(OSError) as error, whole_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_images_are_written_whole(suffix, tmp_path, monkeypatch):
    path = tmp_path / "folder" / f"image{suffix}"
    write_image(torch.full((8, 8, 3), 90, dtype=torch.uint8).numpy(), path)
    assert cv2.imread(str(path)).shape == (8, 8, 3)
    before = path.read_bytes()
    full_disk(monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        write_image(torch.zeros(64, 64, 3, dtype=torch.uint8).numpy(), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def shell(line, **environment):
    program = f'"{sys.executable}" -m rgbx'
    root = str(Path(__file__).resolve().parents[2])
    found = {**os.environ, "PYTHONPATH": root, **environment}
    return subprocess.run(
        ["bash", "-c", line.replace("rgbx", program, 1)], capture_output=True, env=found, cwd=root
    )


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("rgbx --help >&-", 0),
        ("rgbx --help <&- >&- 2>&-", 0),
        ("rgbx --help | true; exit ${PIPESTATUS[0]}", None),
        ("rgbx --help > /dev/full", 1),
        ("rgbx --help > /dev/full 2> /dev/full", 1),
        ("rgbx \udcff\u2713", 1),
    ],
)
def test_odd_outputs(line, status):
    done = shell(line, PYTHONIOENCODING="ascii", LANG="C")
    assert done.returncode in ((0, 141) if status is None else (status,)), done.stderr
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_letters_that_the_output_does_not_have(monkeypatch, capfd):
    monkeypatch.setattr(weights, "main", lambda argv: print("mean \u00b1 std, \udcff") or 0)
    with open(1, "w", encoding="ascii", closefd=False) as plain:
        monkeypatch.setattr(sys, "stdout", plain)
        assert run(["weights", "list"]) == 0
    assert capfd.readouterr().out == "mean \\xb1 std, \\udcff\n"
