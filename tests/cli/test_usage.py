"""Options that argparse cannot read: one sentence, and exit status 2."""

import re
from pathlib import Path

import pytest
import yaml

from rgbx.cli import COMMANDS, run

PROJECT = Path(__file__).resolve().parents[2]

OWN = [name for name, (module, _) in COMMANDS.items() if module != "rgbx.cli.lightning"]


def said(capsys) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["table"], "the following arguments are required: FILE"),
        (["table", "x", "--format", "pdf"], "argument -f/--format: invalid choice: 'pdf'"),
        (["report", "x"], "the following arguments are required: -o/--output"),
        (["sweep", "x.yaml", "--count", "two"], "argument --count: invalid int value: 'two'"),
        (["ablate"], "the following arguments are required: FILE"),
        (["export", "--format", "onnx"], "the following arguments are required: --ckpt_path"),
        (["export", "--ckpt_path", "x", "--format", "tflite"], "invalid choice: 'tflite'"),
        (["profile", "--format", "pdf"], "invalid choice: 'pdf'"),
        (["profile", "--batch"], "argument --batch: expected one argument"),
        (["weights", "fetch"], "the following arguments are required: NAME"),
        (["eval-coco", "--iou", "a"], "argument --iou: "),
        (["make-demo-data"], "the following arguments are required: --root"),
        (["check-data", "--output"], "argument -o/--output: expected one argument"),
    ],
    ids=" ".join,
)
def test_one_sentence(argv, expected, capsys):
    assert run(argv) == 2
    found = said(capsys)
    assert found.startswith(f"rgbx: error: rgbx {argv[0]}") and expected in found
    assert found.endswith("--help`.")


@pytest.mark.parametrize("command", OWN)
def test_help_keeps_its_lines_and_names_files_that_exist(command, capsys):
    with pytest.raises(SystemExit) as end:
        run([command, "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: rgbx {command}")
    shipped = re.findall(r"\b(?:configs|tools)/[\w./-]*\w", text)
    assert [name for name in shipped if not (PROJECT / name).exists()] == []


def test_the_readme_names_files_that_exist():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    shipped = re.findall(r"\b(?:configs|tools|tests|rgbx)/[\w./-]*\w", text)
    assert len(shipped) > 20
    assert [name for name in shipped if not (PROJECT / name).exists()] == []


def test_the_rows_that_the_help_of_ablations_names_exist(capsys):
    with pytest.raises(SystemExit):
        run(["ablate", "--help"])
    lines = re.findall(r"rgbx ablate (configs/\S+)(.*)", capsys.readouterr().out)
    named = [(file, re.findall(r"--row (\S+)", options)) for file, options in lines]
    assert any(rows for _, rows in named)
    for file, rows in named:
        known = yaml.safe_load((PROJECT / file).read_text())["rows"]
        names = {str(row[key]) for row in known for key in ("name", "published") if key in row}
        assert set(rows) <= names, file
