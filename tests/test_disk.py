"""Files that are there whole or not at all, and their fingerprints."""

import hashlib

import pytest

from rgbx.disk import sha256_of, whole_file


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
