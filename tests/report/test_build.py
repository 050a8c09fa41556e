"""The whole page: what it holds, what it says is missing, and that it needs nothing else."""

import json
import os
import re
import shutil
import tempfile
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest

from rgbx.errors import RGBXError
from rgbx.report import Options, build_report
from rgbx.results import DataRecord
from tests.report.made import prompted_test, saliency_test, semantic_test, trained_run


class Reader(HTMLParser):
    """Headings, ids, addresses, and open elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.addresses, self.stack, self.headings = [], [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[k] for k in ("src", "href", "action") if values.get(k)]
        if tag not in ("meta", "link", "input", "img", "br", "circle", "path"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.stack and self.stack[-1] == tag:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack and self.stack[-1] == tag, (self.stack, tag, self.getpos())
        self.stack.pop()

    def handle_data(self, data):
        if self.stack and self.stack[-1] in ("h2", "figcaption"):
            self.headings.append(data.strip())


def page(tmp_path, *places, **options) -> tuple[str, Reader, tuple[str, ...]]:
    written = build_report([str(p) for p in places], tmp_path / "out", Options(**options))
    text = written.path.read_text()
    assert len(text.encode()) == written.bytes
    return text, Reader(text), written.notes


def gallery(text: str) -> dict:
    return json.loads(re.search(r'<script [^>]*id="data">(.*?)</script>', text, re.S).group(1))


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Three models: a whole run, a test elsewhere, prompts."""
    run = trained_run(tmp_path / "runs/tasseg/version_0", surgery=True)
    semantic_test(run / "test_MFNet_best")
    saliency_test(tmp_path / "runs/result_samsod")
    prompted_test(tmp_path / "runs/result_stable_sam")
    return tmp_path / "runs"


def test_several_kinds_of_models_share_a_page(tmp_path, mixed):
    text, reader, notes = page(tmp_path, mixed, title="Mine & yours")
    sections = ["runs", "scores", "training", "thresholds", "classes", "subsets", "prompts"]
    assert [i for i in reader.ids if i in sections] == sections
    assert {"gradients", "gallery"} <= set(reader.ids)
    assert "<title>Mine &amp; yours</title>" in text
    assert "MFNet test (%)" in reader.headings and "val/miou" in reader.headings
    assert "rgb: cosine between gradients" in reader.headings
    assert "HQSeg44K, DIS" in reader.headings
    data = gallery(text)
    assert data["run"] == ["result_stable_sam", "tasseg/version_0"]
    assert len(data["entries"]) == 4 + 2
    assert notes == (
        "result_samsod: no images.csv in "
        + str(mixed / "result_samsod")
        + ": test again to have its images here.",
    )


def test_nothing_is_loaded_from_elsewhere(tmp_path, mixed):
    text, reader, _ = page(tmp_path, mixed)
    assert all(a.startswith(("#", "data:")) for a in reader.addresses)
    assert not re.findall(r"https?://|@import|url\(", text)
    assert all(f'href="#{i}"' in text for i in ("runs", "gallery"))


@pytest.mark.slow
def test_published_rows_stand_beside_unless_unwanted(tmp_path, mixed):
    assert "RTFNet" in page(tmp_path, mixed)[0]
    assert "RTFNet" not in page(tmp_path, mixed, published="none")[0]


def test_seeds_are_one_row_and_several_columns(tmp_path):
    for seed in (0, 1):
        semantic_test(tmp_path / f"runs/seed_{seed}", seed=seed)
    text, _, _ = page(tmp_path, tmp_path / "runs", published="none")
    assert "rgbx, 2 seeds" in text
    assert text.count('class="swatch s0"></span>seed_0</th>') == 3  # classes, miou, miou_image


def test_different_protocols_are_never_side_by_side(tmp_path):
    semantic_test(tmp_path / "runs/a")
    semantic_test(tmp_path / "runs/b", protocol={"miou": "another"})
    _, reader, _ = page(tmp_path, tmp_path / "runs", published="none")
    for number in (1, 2):
        assert f"MFNet, protocol {number} of 2" in reader.headings


def test_a_run_cut_off_shows_what_is_there(tmp_path):
    run = trained_run(tmp_path / "version_0", epochs=2, of=9)
    path = run / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-4])
    text, reader, notes = page(tmp_path, run)
    assert "train/loss" in reader.headings and "gallery" not in reader.ids
    assert len(notes) == 3
    for words in ("a line of metrics.csv cut off", "ends in epoch 2 of 9", "no test.json"):
        assert any(words in note for note in notes) and words in text


def test_a_missing_panel_has_a_placeholder_and_is_counted(tmp_path):
    test = semantic_test(tmp_path / "r")
    for name in ("00000D", "00001N"):
        (test / f"data/rgb/{name}.png").unlink()
    text, _, notes = page(tmp_path, test)
    assert len(notes) == 1 and notes[0].startswith("2 images are missing or damaged")
    assert "00000D.png" in notes[0] and "2 images are missing" in text
    assert [entry[7][0][1] for entry in gallery(text)["entries"]][:2] == [-1, -1]


def test_the_number_of_images_can_be_limited(tmp_path):
    text, _, notes = page(tmp_path, semantic_test(tmp_path / "r", count=6), images=2)
    assert [entry[0] for entry in gallery(text)["entries"]] == ["00004D", "00005N"]  # the worst
    assert "2 of 6 images" in notes[0]
    text, reader, _ = page(tmp_path, tmp_path / "r", images=0)
    assert "gallery" not in reader.ids


def test_the_style_knows_every_class_that_the_script_gives():
    assets = resources.files("rgbx") / "report/assets"
    script, style = ((assets / name).read_text() for name in ("page.js", "page.css"))
    given = {
        name for text in re.findall(r'element\("\w+", "([\w ]+)"', script) for name in text.split()
    }
    assert {"entry", "images", "missing"} <= given
    assert given <= set(re.findall(r"\.([a-z]\w*)", style))


def test_names_cannot_break_the_page(tmp_path):
    bad = "</script><img src=x onerror=alert(1)>"
    test = semantic_test(tmp_path / "r")
    path = test / "images.csv"
    path.write_bytes(path.read_bytes().replace(b"00000D,", b"\xff" + bad.encode() + b","))
    text, reader, _ = page(tmp_path, f"<b>&me={test}")
    assert "<img src=x" not in text and "<b>&me" not in text
    assert "gallery" in reader.ids
    assert gallery(text)["entries"][0][0].endswith(bad)


def test_the_same_input_gives_the_same_gallery(tmp_path):
    test = semantic_test(tmp_path / "r", count=5)
    first, second = (page(tmp_path, test)[0] for _ in range(2))
    strip = re.compile(r"<footer>.*?</footer>")
    assert strip.sub("", first) == strip.sub("", second)


def test_a_report_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    test = semantic_test(tmp_path / "r")
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(RGBXError, match=r"cannot be written into .*--output"):
            build_report([str(test)], folder)
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_leaves_the_previous_page(tmp_path, monkeypatch):
    test = semantic_test(tmp_path / "r")
    out = tmp_path / "out"
    build_report([str(test)], out)
    before = (out / "index.html").read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RGBXError, match="No space left on device"):
        build_report([str(test)], out)
    assert [p.name for p in out.iterdir()] == ["index.html"]
    assert (out / "index.html").read_bytes() == before


def test_a_result_without_numbers_does_not_stop_the_report(tmp_path):
    data = DataRecord("rgbx.data.datasets.mfnet.MFNet", "MFNet", {"test": 4}, ("a", "b", "c"))
    test = semantic_test(tmp_path / "r", numbers={"test": {"all": {}}}, classes={}, data=data)
    _, reader, notes = page(tmp_path, test)
    assert "gallery" in reader.ids and any("There are no scores" in note for note in notes)


@pytest.mark.slow
def test_2500_images_stay_well_below_50_megabytes():
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        test = semantic_test(folder / "r", count=2500, size=32)
        written = build_report([str(test)], folder / "out", Options(megabytes=20))
        assert written.images == 2500 and written.notes == ()
        assert written.bytes < 22e6
        text = written.path.read_text()
        assert len(gallery(text)["entries"]) == 2500
    finally:
        shutil.rmtree(folder)
