"""``rgbx table`` on files on disk, as a user calls it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.results.runs import PROTOCOL, salient, semantic, written

SIZES = {"VT5000": 24, "VT1000": 12, "VT821": 12}


@pytest.fixture
def runs(rgbx, tmp_path):
    """Three seeds of one model in ``runs/``; the working folder is above it."""
    results = [semantic(0.5 + 0.01 * seed, seed) for seed in range(3)]
    return written(tmp_path / "runs", *results)


@pytest.mark.parametrize("place", ["runs", "runs/**/test.json", "runs/*/version_0/test.json"])
def test_folders_and_patterns_that_the_shell_did_not_expand(rgbx, runs, capsys, place):
    assert rgbx("table", place, "--published", "none", "--format", "csv") == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0][:4] == ["Method", "Source", "miou day", "miou day std"]
    assert rows[1][:4] == ["TASeg", "rgbx, 3 seeds", "61.00", "1.00"]
    assert len(rows) == 2


def test_a_file_named_twice_counts_once(rgbx, runs, capsys):
    argv = [runs[0], "runs", runs[0].parent, "--published", "none", "-f", "csv"]
    assert rgbx("table", *argv) == 0
    assert "rgbx, 3 seeds" in capsys.readouterr().out


def test_names(rgbx, runs, capsys):
    assert rgbx("table", f"ours={runs[0]}", f"no text={runs[1]}", "-f", "md") == 0
    out = capsys.readouterr().out
    assert "| ours " in out and "| no text " in out
    assert "**50.00**" not in out and "**61.00**" in out  # day of the second run


def test_a_name_does_not_hide_a_file_with_an_equals_sign(rgbx, runs, tmp_path, capsys):
    odd = tmp_path / "lr=1"
    odd.mkdir()
    (odd / "test.json").write_text(runs[0].read_text())
    assert rgbx("table", "lr=1", "--published", "none", "-f", "csv") == 0
    assert "TASeg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("t.md", "**MFNet test (%)**"),
        ("sub/t.tex", r"% needs \usepackage{booktabs}"),
        ("t.csv", "Method,Source,"),
        ("t.html", "<!doctype html>"),
    ],
)
def test_the_suffix_of_the_file_is_the_format(rgbx, runs, tmp_path, capsys, name, start):
    assert rgbx("table", "runs", "-o", name) == 0
    assert (tmp_path / name).read_text().startswith(start)
    assert capsys.readouterr().out == f"written: {name}\n"


def test_without_a_format_the_table_is_for_the_terminal(rgbx, runs, capsys):
    assert rgbx("table", "runs") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80 and "52.00 ± 1.00" not in out
    assert "51.00 ± 1.00" in out and "published: printed in Table I of the TASeg paper" in out


def test_two_kinds_of_scores_have_two_tables(rgbx, runs, tmp_path, capsys):
    written(tmp_path / "more", salient(0.9, 0.03, SIZES))
    assert rgbx("table", "runs", "more", "-f", "csv", "--published", "none") == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.startswith("Method,Source,miou day")
    assert second.startswith("Method,Source,VT5000 S,VT5000 maxF")


def test_protocols_are_not_mixed_unless_in_tables_of_their_own(rgbx, tmp_path, capsys):
    other = {**PROTOCOL, "miou": "absent classes counted as 0"}
    written(tmp_path / "runs", semantic(0.5), semantic(0.6, encoder="x", protocol=other))
    assert rgbx("table", "runs/**/test.json") == 1
    error = capsys.readouterr().err
    assert error.startswith("rgbx: error: These runs follow different protocols")
    assert "runs/0/version_0/test.json" in error and "runs/1/version_0/test.json" in error
    assert "absent classes counted as 0" in error and error.count("\n") == 1
    assert rgbx("table", "runs", "--group", "-f", "csv", "--published", "none") == 0
    tables = capsys.readouterr().out.split("\n\n")
    assert [len(table.strip().splitlines()) for table in tables] == [2, 2]


def _damage(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.json"], "Cannot read the scores in nowhere.json: No such file or directory."),
        (["nothing/**/test.json"], "No file matches nothing/**/test.json in "),
        (["empty"], "There is no test.json in empty or below; `rgbx test` writes it."),
        (["cut.json"], "cut.json is no readable JSON"),
        (["deep.json"], "deep.json is no readable JSON"),
        (["binary.json"], "binary.json is no readable JSON"),
        (["foreign.json"], "foreign.json is not a result of `rgbx test`: the file has the unknown"),
        (["list.json"], "list.json is not a result of `rgbx test`: the file is not a mapping"),
        (["typed.json"], "typed.json is not a result of `rgbx test`: seed is 'one', not of type"),
        (["runs", "-o", "t.docx"], "t.docx has no suffix of a table (.md, .tex, .csv, .html)"),
        (["runs", "-o", "empty", "-f", "md"], "empty cannot be used (Is a directory)"),
        (["runs", "--metrics", "mIuO"], "No run has the metric 'mIuO'; there are miou, miou_image"),
    ],
)
def test_bad_input_is_one_sentence(rgbx, runs, tmp_path, capsys, argv, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.json").write_text(runs[0].read_text()[:200])
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "foreign.json").write_text('{"accuracy": 0.5}')
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "typed.json").write_text(runs[0].read_text())
    _damage(tmp_path / "typed.json", seed="one")
    assert rgbx("table", *argv) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"rgbx: error: {message}") and error.count("\n") == 1


def test_torch_is_not_needed(runs, tmp_path):
    code = (
        "import sys; from rgbx.cli import run\n"
        "assert run(['table', 'runs', '-o', 't.html']) == 0\n"
        "assert run(['table', 'nowhere']) == 1\n"
        "assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.html").is_file()
