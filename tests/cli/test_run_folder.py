"""Every run has a folder of its own, also when several begin at once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rgbx.callbacks import run_folder
from rgbx.callbacks.run_folder import VERSION_VARIABLE, own_run_folder, reserve_version
from rgbx.errors import RGBXError


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.delenv(VERSION_VARIABLE, raising=False)
    yield
    os.environ.pop(VERSION_VARIABLE, None)


def test_the_first_that_no_logger_has(tmp_path):
    (tmp_path / "a" / "version_2").mkdir(parents=True)
    (tmp_path / "b" / "version_6").mkdir(parents=True)
    (tmp_path / "b" / "version_of_mine").mkdir()
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "none"]
    with own_run_folder():
        assert reserve_version(folders) == 7 and (tmp_path / "a" / "version_7").is_dir()
        assert os.environ[VERSION_VARIABLE] == "7"
        assert reserve_version(folders) == 7  # as the ranks that inherit it
    assert VERSION_VARIABLE not in os.environ


def test_runs_that_begin_at_once_have_a_folder_each(tmp_path):
    barrier = threading.Barrier(8)

    def claim(_):
        barrier.wait()
        return run_folder._claimed([tmp_path / "runs" / "name"])

    with ThreadPoolExecutor(8) as pool, own_run_folder():
        assert sorted(pool.map(claim, range(8))) == list(range(8))


@pytest.mark.parametrize("written", [False, True])
def test_a_folder_that_nothing_was_written_to_goes(written, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(KeyError), own_run_folder():
        reserve_version([tmp_path / "there" / "runs" / "name"])
        if written:
            (tmp_path / "there" / "runs" / "name" / "version_0" / "metrics.csv").touch()
        raise KeyError
    kept = ["there", "runs", "name", "version_0", "metrics.csv"] if written else ["there"]
    assert [p.name for p in sorted(tmp_path.rglob("*"))] == kept


def test_ranks_of_a_scheduler_make_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.rank_zero_only, "rank", 3)
    assert reserve_version([tmp_path / "name"]) == 0
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RGBXError, match=r"The folder .*version_0 cannot be made \(Not a directory"):
        reserve_version([tmp_path / "file" / "name"])


@pytest.mark.slow
def test_a_run_that_cannot_begin_leaves_nothing(rgbx, mfnet_root, tmp_path, capsys):
    from tests.cli.conftest import tiny

    argv = tiny("tasseg_mfnet.yaml", mfnet_root, "--data.root", str(tmp_path / "none"))
    assert rgbx("fit", *argv) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
