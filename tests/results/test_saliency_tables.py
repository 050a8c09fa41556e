import csv
import dataclasses
import io

import pytest
from rich.console import Console

from rgbx.results import (
    CheckpointRecord,
    DataRecord,
    ModelRecord,
    TestResult,
    benchmark_table,
    combined_tables,
    load_published,
    make_result,
    read_result,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    write_result,
)

IMAGES = {"VT5000": 2500, "VT1000": 1000, "VT821": 821}
SCORES = {
    **{"S": 0.9304, "adpE": 0.95, "meanE": 0.94, "maxE": 0.9666, "adpF": 0.9, "meanF": 0.91},
    **{"maxF": 0.9249, "wF": 0.89, "MAE": 0.0185, "IoU": 0.85, "Dice": 0.9},
}
METRICS = ("S", "maxF", "maxE", "MAE↓", "meanF", "adpF", "wF", "meanE", "adpE", "IoU", "Dice")


def _result(dataset: str, images: dict[str, int], **changes: float) -> TestResult:
    return make_result(
        paper="samsod",
        model=ModelRecord("rgbx.models.samsod.module.SAMSOD", {"encoder": "hiera_t"}),
        data=DataRecord(f"rgbx.data.{dataset}", "RGBT", images, ("background", "salient")),
        checkpoint=CheckpointRecord("best.ckpt", "ab" * 32, epoch=None, step=None),
        scores={split: {"all": {**SCORES, **changes}} for split in images},
        protocol={"S": "mean over the images", "maxF": "largest of the mean curve"},
    )


@pytest.fixture
def result() -> TestResult:
    return _result("VT5000", IMAGES)


@pytest.fixture
def samsod():
    return load_published("samsod")


@pytest.fixture
def combined(result, samsod):
    (table,) = combined_tables(result, samsod)
    return table


def _terminal(table) -> list[str]:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(to_terminal(table))
    return console.file.getvalue().splitlines()


def test_one_split_shows_what_papers_print_first_and_the_rest_for_this_run(result, samsod):
    table = benchmark_table(result, samsod, "VT821")
    assert table.title == "VT821"
    assert table.columns == ("Method", "Source", *METRICS)
    assert table.rows[0].own
    assert table.rows[0].cells == (
        "SAMSOD",
        "this run",
        ".930",
        ".925",
        ".967",
        ".018",
        ".910",
        ".900",
        ".890",
        ".940",
        ".950",
        ".850",
        ".900",
    )
    assert table.rows[1].cells == (
        "SAMSOD-tiny",
        "published",
        ".913",
        ".895",
        ".950",
        ".022",
        *(["-"] * 7),
    )
    assert len(table.rows) == 18 and not any(row.own for row in table.rows[1:])


def test_the_variant_that_was_run_stands_before_the_other_then_peers_by_s(result, samsod):
    names = [row.cells[0] for row in benchmark_table(result, samsod, "VT5000").rows]
    assert names[:4] == ["SAMSOD", "SAMSOD-tiny", "SAMSOD-large", "TCINet"]
    large = dataclasses.replace(
        result, model=dataclasses.replace(result.model, hyper_parameters={"encoder": "hiera_l"})
    )
    rows = benchmark_table(large, samsod, "VT5000").rows
    assert [row.cells[0] for row in rows[:3]] == ["SAMSOD", "SAMSOD-large", "SAMSOD-tiny"]
    peers = [float(row.cells[2]) for row in rows[3:]]
    assert peers == sorted(peers, reverse=True) and peers[-1] == 0.895


def test_published_means_stand_beside_ours_and_a_dash_stays_a_dash(samsod):
    table = benchmark_table(_result("NEURSDDS", {"test": 362}), samsod)
    assert table.title == "NEURSDDS test"
    rows = {row.cells[0]: row.cells[2:] for row in table.rows}
    # S, maxF, maxE, MAE, meanF, adpF, wF, meanE, adpE, IoU, Dice
    assert rows["SAMSOD-large"] == (
        ".875",
        ".915",
        ".947",
        ".048",
        ".896",
        "-",
        "-",
        ".942",
        "-",
        "-",
        "-",
    )
    assert rows["PENet"] == (".859", ".905", ".940", ".054", *(["-"] * 7))


def test_overall_stands_beside_the_papers_own_on_all_images(result, samsod):
    numbers = result.numbers | {"overall": {"all": {**SCORES, "maxF": 0.9266}}}
    protocol = result.protocol | {"overall": "the images of all sets as one"}
    whole = dataclasses.replace(result, numbers=numbers, protocol=protocol)
    table = benchmark_table(whole, samsod, "overall")
    rows = {row.cells[0]: row.cells[2:6] for row in table.rows}
    assert rows["SAMSOD"] == (".930", ".927", ".967", ".018")
    assert rows["SAMSOD-tiny"] == (".925", ".921", ".964", ".020")
    notes = " ".join(table.notes)
    assert "the images of all sets as one" in notes and "NOT COMPARABLE" not in notes
    few = dataclasses.replace(whole, data=dataclasses.replace(whole.data, split_sizes={"VT821": 8}))
    assert "on 8 images" in " ".join(benchmark_table(few, samsod, "overall").notes)
    tables = combined_tables(whole, samsod)
    groups = [group for table in tables for group in dict.fromkeys(table.groups)]
    assert groups == ["VT5000", "VT1000", "VT821", "overall"]
    assert sum("the images of all sets as one" in " ".join(t.notes) for t in tables) == 1


def test_only_measured_scores_are_columns(result):
    few = {"test": {"all": {"MAE": 0.0214, "S": 1.0, "maxF": float("nan")}}}
    table = benchmark_table(dataclasses.replace(result, numbers=few), None)
    assert table.columns[2:] == ("S", "maxF", "MAE↓")
    assert table.rows[0].cells[2:] == ("1.00", "-", ".021")


def test_all_splits_side_by_side(combined):
    assert combined.columns == ("Method", *METRICS[:4] * 3)
    assert combined.groups == tuple(split for split in IMAGES for _ in range(4))
    assert combined.spans == [("VT5000", 1, 5), ("VT1000", 5, 9), ("VT821", 9, 13)]
    assert combined.rows[0].cells == ("this run", *(".930", ".925", ".967", ".018") * 3)
    rows = {row.cells[0]: row.cells[1:] for row in combined.rows}
    assert list(rows)[:4] == ["this run", "SAMSOD-tiny", "SAMSOD-large", "TCINet"]
    assert rows["SAMSOD-large"] == (
        ".934",
        ".933",
        ".969",
        ".017",
        ".948",
        ".949",
        ".981",
        ".012",
        ".924",
        ".916",
        ".956",
        ".021",
    )
    assert len(rows) == 18


def test_many_splits_make_tables_of_about_equal_width(samsod):
    names = ("NLPR", "NJU2K", "STERE", "SIP", "LFSD", "DES", "SSD")
    tables = combined_tables(_result("RGBDSaliency", dict.fromkeys(names, 1)), samsod)
    assert [[group for group, _, _ in t.spans] for t in tables] == [
        ["NLPR", "NJU2K", "STERE"],
        ["SIP", "LFSD", "DES"],
        ["SSD"],
    ]
    four = combined_tables(_result("RGBDSaliency", dict.fromkeys(names[:4], 1)), samsod)
    assert [len(t.spans) for t in four] == [2, 2]
    # a split that the paper does not have keeps dashes for its rows
    assert tables[1].rows[1].cells == (
        "SAMSOD-large",
        ".920",
        ".937",
        ".955",
        ".029",
        *(["-"] * 8),
    )
    assert [row.cells[0] for row in tables[2].rows] == ["this run"]


def test_without_published_numbers_this_run_stands_alone(result):
    (table,) = combined_tables(result, None)
    assert [row.cells[0] for row in table.rows] == ["this run"]
    assert table.notes == ("S: mean over the images.", "maxF: largest of the mean curve.")


def test_other_numbers_of_images_are_not_comparable(result, samsod, combined):
    assert not any("NOT COMPARABLE" in note for note in combined.notes)
    data = dataclasses.replace(result.data, split_sizes={**IMAGES, "VT1000": 4})
    demo = dataclasses.replace(result, data=data)
    (table,) = combined_tables(demo, samsod)
    assert [note for note in table.notes if "NOT COMPARABLE" in note] == [
        "NOT COMPARABLE: this run was scored on 4 images of VT1000, the published rows on 1000."
    ]
    notes = {split: benchmark_table(demo, samsod, split).notes for split in IMAGES}
    assert notes["VT1000"][0] == (
        "NOT COMPARABLE: this run was scored on 4 images, the published rows on 1000."
    )
    assert not any("NOT COMPARABLE" in note for note in (*notes["VT5000"], *notes["VT821"]))


def test_runs_on_scribbles_stand_beside_methods_trained_on_scribbles(result, samsod):
    data = dataclasses.replace(result.data, supervision="scribble")
    (table,) = combined_tables(dataclasses.replace(result, data=data), samsod)
    assert [row.cells[0] for row in table.rows] == [
        "this run",
        "SAMSOD-large",
        "LGR",
        "RGBTScribble",
        "DENet",
        "WSVSOD",
    ]
    assert "Every method here was trained on scribbles, not on full masks." in table.notes
    assert any("Table IV of the SAMSOD paper" in note for note in table.notes)


def test_notes_give_origin_protocol_and_costs(combined):
    assert combined.notes == (
        "S: mean over the images.",
        "maxF: largest of the mean curve.",
        "published: printed in Table I of the SAMSOD paper, not reproduced with rgbx.",
        "SAMSOD-tiny (published): 32.7 M parameters, 60.4 GFLOPs, 23.1 frames per second.",
        "SAMSOD-large (published): 224.1 M parameters, 418.0 GFLOPs, 6.4 frames per second.",
    )


@pytest.mark.parametrize(
    ("choice", "note"),
    [
        ("a seeded 10 % of train", "Checkpoint chosen on: a seeded 10 % of train."),
        ("the TEST SET VT5000", "CHECKPOINT CHOSEN ON: THE TEST SET VT5000."),
    ],
)
def test_what_chose_the_checkpoint_is_the_first_note(result, samsod, choice, note):
    chosen = dataclasses.replace(result, protocol={**result.protocol, "choice": choice})
    tables = [benchmark_table(chosen, samsod, "VT821"), *combined_tables(chosen, samsod)]
    assert [table.notes[0] for table in tables] == [note, note]


def test_an_ablation_names_the_row_that_the_paper_prints_for_it(result, samsod):
    def notes(**arguments) -> list[str]:
        model = dataclasses.replace(result.model, hyper_parameters=arguments)
        table = benchmark_table(dataclasses.replace(result, model=model), samsod, "VT821")
        return [note for note in table.notes if "this run's settings" in note]

    settings = {
        **{"adapter": "vanilla", "modalities": "both"},
        **{"unimodal_supervision": True, "surgery": None, "encoder": "hiera_l"},
    }
    assert notes(**settings) == [
        "Table III of the SAMSOD paper prints for this run's settings (VA, add Unimodal "
        "Supervision): S .919, maxF .902, maxE .947, MAE .023."
    ]
    whole = {**settings, "adapter": "decoupled", "surgery": "PCGrad"}
    assert notes(**whole) == [] == notes(adapter="vanilla")


def test_terminal_fits_80_characters_with_the_splits_above_their_columns(combined, result, samsod):
    lines = _terminal(combined)
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == list(IMAGES)
    assert lines[2].split() == list(combined.columns)
    cells = [line.split() for line in lines]
    for row in combined.rows:
        assert " ".join(row.cells).split() in cells
    name, start = "VT1000", lines[2].index("MAE↓") + 4
    middle = lines[1].index(name) + len(name) / 2
    assert abs(middle - (start + lines[2].index("MAE↓", start) + 4) / 2) < 2
    # perfect scores are as wide as others
    perfect = _result("VT5000", IMAGES, **dict.fromkeys(SCORES, 1.0))
    for table in (*combined_tables(perfect, samsod), benchmark_table(perfect, samsod, "VT821")):
        lines = _terminal(table)
        assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    table = benchmark_table(result, samsod, "VT821")
    cells = [line.split() for line in _terminal(table)]
    for row in table.rows:
        assert " ".join(row.cells).split() in cells


def test_other_formats_of_grouped_tables(combined):
    headings = [f"{split} {metric}" for split in IMAGES for metric in METRICS[:4]]
    rows = list(csv.reader(io.StringIO(to_csv(combined))))
    assert rows[0] == ["Method", *(heading.replace("↓", "") for heading in headings)]
    assert rows[1:] == [list(row.cells) for row in combined.rows]
    line = to_markdown(combined).splitlines()[2]
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["Method", *headings]
    latex = to_latex(combined).splitlines()
    head = latex.index(r"\toprule")
    assert latex[head + 1 : head + 3] == [
        r" & \multicolumn{4}{c}{VT5000} & \multicolumn{4}{c}{VT1000} & "
        r"\multicolumn{4}{c}{VT821} \\",
        r"\cmidrule(lr){2-5} \cmidrule(lr){6-9} \cmidrule(lr){10-13}",
    ]
    assert latex[head + 3].startswith(r"Method & S & maxF & maxE & MAE$\downarrow$ & S")


def test_saliency_results_are_stored_and_read_back(tmp_path, result):
    write_result(tmp_path / "test.json", result)
    again = read_result(tmp_path / "test.json")
    assert again == result
    assert (again.checkpoint.epoch, again.checkpoint.step) == (None, None)
    assert again.data.supervision == "full"
    assert again.classes == {split: {} for split in IMAGES}


def test_results_of_before_scribbles_can_be_read(tmp_path, result):
    write_result(tmp_path / "test.json", result)
    text = (tmp_path / "test.json").read_text()
    assert '"supervision": "full"' in text
    older = text.replace(',\n    "supervision": "full"', "")
    assert "supervision" not in older
    (tmp_path / "test.json").write_text(older)
    assert read_result(tmp_path / "test.json") == result
