import pytest

from rgbx.cli.make_demo_data import main
from rgbx.data import NEURSDDS, PST900, VT5000, FolderRGBX, HQSeg44K, MFNet, RGBDSaliency
from rgbx.data.synthetic.layouts import FOLDER_CLASSES
from rgbx.errors import DataError, RGBXError

COUNTS = ["--train", "4", "--val", "2", "--test", "2", "--size", "32", "48"]


@pytest.mark.parametrize(
    ("layout", "module", "options", "lengths"),
    [
        ("mfnet", MFNet, {}, [4, 2, 2]),
        ("pst900", PST900, {"val_share": 0.34}, [4, 2, 2]),
        ("folder", FolderRGBX, {"class_names": list(FOLDER_CLASSES)}, [4, 2, 2]),
        ("vt5000", VT5000, {"val_share": 0.34}, [4, 2, 2, 1, 1]),
        ("vt5000_scribble", VT5000, {"val_share": 0.34}, [4, 2, 2, 1, 1]),
        ("rgbd", RGBDSaliency, {"val_share": 0.34}, [4, 2, 1, 2, 1]),
        ("neu_rsdds", NEURSDDS, {"val_share": 0.34}, [4, 2, 2]),
    ],
)
def test_what_is_written_can_be_read(tmp_path, layout, module, options, lengths, capsys):
    root = tmp_path / "demo"
    assert main(["--root", str(root), "--layout", layout, *COUNTS]) == 0
    assert f"4 train, 2 val, 2 test scenes in {layout}'s layout" in capsys.readouterr().out
    data = module(str(root), size=(32, 48), num_workers=0, **options)
    assert [len(data.find_records(split)) for split in data.splits] == lengths
    assert all(data.read(r).x.shape == (32, 48) for s in data.splits for r in data.find_records(s))


def test_thin_structures_are_written_as_hqseg(tmp_path):
    root = tmp_path / "demo"
    assert main(["--root", str(root), "--layout", "hqseg", *COUNTS[:-2], "48", "64"]) == 0
    data = HQSeg44K(str(root), size=(64, 64), num_workers=0)
    assert [len(data.find_records(split)) for split in data.splits] == [6, 2, 2, 2, 2]
    assert all(data.find_records(split)[0].mask.is_file() for split in data.splits)


def test_own_folder_is_replaced_and_others_are_kept(tmp_path):
    root = tmp_path / "demo"
    main(["--root", str(root), *COUNTS])
    main(["--root", str(root), *COUNTS[2:], "--train", "1"])
    assert len((root / "train.txt").read_text().split()) == 1
    foreign = tmp_path / "mine"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="is not empty and was not made by make-demo-data"):
        main(["--root", str(foreign), *COUNTS])
    assert (foreign / "thesis.txt").read_text() == "precious"
    assert main(["--root", str(foreign), *COUNTS, "--force"]) == 0
    assert not (foreign / "thesis.txt").exists()


def test_arguments_that_cannot_work(tmp_path):
    with pytest.raises(RGBXError, match="height and width 32 or more"):
        main(["--root", str(tmp_path / "a"), "--size", "8", "8"])
    with pytest.raises(RGBXError, match="counts and seed must be 0 or more"):
        main(["--root", str(tmp_path / "a"), "--train", "-1"])
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file, not a folder"):
        main(["--root", str(tmp_path / "file"), *COUNTS])
