"""What counts as a run or a test, what they are called, and which test belongs to which run."""

import pytest

from rgbx.errors import RGBXError
from rgbx.report.find import find_sources
from tests.report.made import result, saliency_test, semantic_test, trained_run


def names(places) -> tuple[list[str], list[str]]:
    trained, tested = find_sources([str(place) for place in places])
    return [run.name for run in trained], [test.name for test in tested]


def test_a_run_and_its_only_test_share_their_name(tmp_path):
    run = trained_run(tmp_path / "tasseg/version_0")
    semantic_test(run / "test_MFNet_best")
    assert names([run]) == (["tasseg/version_0"], ["tasseg/version_0"])
    saliency_test(run / "test_VT5000_best")
    tests = [f"tasseg/version_0/test_{name}_best" for name in ("MFNet", "VT5000")]
    assert names([run]) == (["tasseg/version_0"], tests)


@pytest.mark.parametrize("place", ["tasseg/version_0", "tasseg", "", "tasseg/version_*"])
def test_folders_above_and_patterns_find_the_same(tmp_path, place):
    semantic_test(trained_run(tmp_path / "tasseg/version_0") / "test_MFNet_best")
    trained, tested = find_sources([str(tmp_path / place)])
    assert len(trained) == len(tested) == 1
    assert tested[0].run.result.data.dataset == "MFNet"


def test_a_test_json_stands_for_its_folder_and_is_taken_once(tmp_path):
    folder = semantic_test(tmp_path / "result")
    trained, tested = find_sources([str(folder / "test.json"), str(folder), str(tmp_path)])
    assert (trained, [test.folder for test in tested]) == ([], [folder.resolve()])
    assert tested[0].name == "result"


def test_a_test_elsewhere_belongs_to_the_run_with_its_checkpoint(tmp_path):
    import hashlib

    from rgbx.results import CheckpointRecord, write_result

    run = trained_run(tmp_path / "runs/tasseg/version_3")
    (run / "checkpoints/best.ckpt").write_bytes(b"these weights")
    sha = hashlib.sha256(b"these weights").hexdigest()
    for name, digest in (("its_own", sha), ("foreign", "00" * 32)):
        checkpoint = CheckpointRecord("best.ckpt", digest, 1, 2)
        numbers = {"test": {"all": {"miou": 0.5}}}
        path = tmp_path / "out" / name / "test.json"
        write_result(path, result(numbers, checkpoint=checkpoint))
    assert names([tmp_path]) == (["tasseg/version_3"], ["foreign", "tasseg/version_3"])


def test_given_names_win_and_stay_apart(tmp_path):
    for version in (0, 1):
        trained_run(tmp_path / f"a/version_{version}")
    run = tmp_path / "a/version_0"
    assert names([f"ours={run}", tmp_path / "a/version_1"])[0] == ["ours", "a/version_1"]
    both = names([f"ours={tmp_path / 'a'}"])[0]
    assert both == ["ours a/version_0", "ours a/version_1"]


def test_a_name_given_to_a_run_is_its_tests_too(tmp_path):
    run = trained_run(tmp_path / "a/version_0")
    semantic_test(run / "test_MFNet_best")
    (tested,) = find_sources([f"ours={run}"])[1]
    assert (tested.name, tested.given, tested.run.name) == ("ours", "ours", "ours")
    (tested,) = find_sources([str(run)])[1]
    assert (tested.name, tested.given) == ("a/version_0", "")


def test_the_same_ends_of_paths_are_told_apart(tmp_path):
    for parent in ("x", "y"):
        trained_run(tmp_path / parent / "tasseg/version_0")
    assert names([tmp_path])[0] == ["x/tasseg/version_0", "y/tasseg/version_0"]


def test_a_test_that_was_cut_off_is_found_and_said(tmp_path):
    run = trained_run(tmp_path / "version_0")
    (run / "test_MFNet_best/masks").mkdir(parents=True)
    (run / "predict_MFNet_best/masks").mkdir(parents=True)  # no test at all
    _, tested = find_sources([str(run)])
    assert [test.folder.name for test in tested] == ["test_MFNet_best"]
    assert tested[0].run is None and "cut off" in tested[0].problem


def test_a_damaged_test_json_does_not_hide_the_rest(tmp_path):
    semantic_test(tmp_path / "good")
    semantic_test(tmp_path / "bad")
    (tmp_path / "bad/test.json").write_text('{"rgbx": "0.1",')
    _, tested = find_sources([str(tmp_path)])
    assert [(test.name, test.run is None) for test in tested] == [("bad", True), ("good", False)]
    assert "no readable JSON" in tested[0].problem


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "absent", ["There is no", "absent"]),
        (lambda p: p / "*.nothing", ["There is no", "*.nothing"]),
        (lambda p: p, ["nothing to report", "rgbx fit", "rgbx test"]),
        (lambda p: p / "notes.txt", ["notes.txt is no test.json"]),
    ],
)
def test_places_that_hold_nothing(tmp_path, make, words):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(RGBXError) as error:
        find_sources([str(make(tmp_path))])
    assert all(word in str(error.value) for word in words)
    assert str(error.value).count("\n") == 0
