"""Files that are there whole or not at all, and their fingerprints."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rgbx.disk import remove_drafts, sha256_of, whole_file


def test_the_draft_takes_the_place_of_the_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with whole_file(path) as draft:
        draft.write_text("after")
        assert path.read_text() == "before" and draft.parent == tmp_path
    assert path.read_text() == "after"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_what_goes_wrong_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(error), whole_file(path) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_a_draft_that_was_not_written_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "file.txt"):
        pass
    assert not list(tmp_path.iterdir())


def test_sha256_of_a_file(tmp_path):
    content = bytes(range(256)) * 20_000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


LEFT = """
import os, sys
from pathlib import Path
from rgbx.disk import whole_file
with whole_file(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    if len(sys.argv) > 2:
        print("written", flush=True)
        sys.stdin.readline()
    os._exit(9)
"""


def leave_draft(path, *more, **streams):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", LEFT, str(path), *more], env=environment, **streams
    )


def test_drafts_of_killed_processes_are_removed_and_no_others(tmp_path):
    path = tmp_path / "last.ckpt"
    assert leave_draft(path).wait() == 9
    (left,) = tmp_path.iterdir()
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with leave_draft(path, "wait", **streams) as living:
        living.stdout.readline()
        (at_work,) = set(tmp_path.iterdir()) - {left}
        machine = left.name.split(".")[-2].split("-")[0]
        other = left.name.replace(machine, "0" * 8)  # of another machine on a shared disk
        foreign = [tmp_path / name for name in (other, ".last.ckpt.tmp", ".mine.123.tmp", "a.tmp")]
        for file in foreign:
            file.write_text("keep")
        assert remove_drafts([tmp_path, tmp_path / "absent", path]) == [left]
        assert set(tmp_path.iterdir()) == {at_work, *foreign}
        living.stdin.close()
    assert remove_drafts([tmp_path]) == [at_work]
