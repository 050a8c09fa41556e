"""Options that argparse cannot read: one sentence, and exit status 2."""

import pytest

from rgbx.cli import COMMANDS, run

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
def test_help_keeps_its_lines(command, capsys):
    with pytest.raises(SystemExit) as end:
        run([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: rgbx {command}")
