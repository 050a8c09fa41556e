"""``rgbx report`` from the command line: what it prints, and a sentence for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rgbx.cli import run
from tests.report.made import semantic_test, trained_run


@pytest.fixture
def rgbx(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *argv: run(["report", *map(str, argv)])


def test_a_report_of_a_run(rgbx, tmp_path, capsys):
    folder = trained_run(tmp_path / "tasseg/version_0", epochs=2, of=5)
    semantic_test(folder / "test_MFNet_best")
    assert rgbx("tasseg/version_0", "-o", "report", "--title", "Mine", "--published", "own") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "note: tasseg/version_0: metrics.csv ends in epoch 2 of 5."
    assert out[-1].startswith("written: report/index.html (1 run, 4 images, 0.")
    assert "<title>Mine</title>" in (tmp_path / "report/index.html").read_text()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere", "-o", "out"], ["There is no nowhere"]),
        (["empty", "-o", "out"], ["nothing to report in empty"]),
        (["file.txt", "-o", "out"], ["file.txt is no test.json"]),
        (["runs/*/version_9", "-o", "out"], ["There is no runs/*/version_9"]),
        (["good", "-o", "file.txt"], ["cannot be written into file.txt", "--output"]),
        (["good", "-o", "file.txt/out"], ["cannot be written into file.txt/out", "--output"]),
        (["good", "-o", "/proc/out"], ["cannot be written into /proc/out", "--output"]),
        (["good", "-o", "out", "--images", "-1"], ["--images", "0 or more"]),
        (["good", "-o", "out", "--megabytes", "nan"], ["--megabytes", "0 or more"]),
    ],
    ids=lambda value: " ".join(value[:3]),
)
def test_errors_are_one_sentence(rgbx, tmp_path, capsys, argv, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("hello")
    semantic_test(tmp_path / "good", count=1)
    assert rgbx(*argv) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and printed.err.startswith("rgbx: error: ")
    assert all(word in printed.err for word in words)
    assert not (tmp_path / "out").exists()


def test_no_torch_is_loaded(tmp_path):
    semantic_test(tmp_path / "good", count=1)
    code = (
        "import sys; from rgbx.cli import run\n"
        "assert run(['report', 'good', '-o', 'out']) == 0\n"
        "assert run(['report', 'bad', '-o', 'out']) == 1\n"
        "heavy = {'torch', 'lightning', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/index.html").is_file()
