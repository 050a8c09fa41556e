"""Tables of camouflage, shadows and polyps: columns, units, ranks, inferred rows, sizes."""

import io

import pytest
from rich.console import Console

from rgbx.metrics import OverlapScores, SaliencyScores, ShadowScores
from rgbx.results import (
    CheckpointRecord,
    DataRecord,
    ModelRecord,
    TestResult,
    benchmark_table,
    benchmark_tables,
    combined_tables,
    groups_of,
    load_published,
    make_result,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
)
from rgbx.tasks.map_evaluation import EvalConfig, MapScoring

SALIENCY = (
    "S",
    "maxF",
    "maxE",
    "MAE",
    "meanF",
    "adpF",
    "wF",
    "meanE",
    "adpE",
    "IoU",
    "Dice",
)
COD = {"CAMO": 250, "CHAMELEON": 76, "COD10K": 2026, "NC4K": 4121}
ISTD, KVASIR = {"test": 540}, {"test": 200}


def _result(dataset, images, families, size="original", beta=1.0, **extra) -> TestResult:
    """Scores are .100, .101, .102 ... in the order in which the model gives them."""
    scoring = MapScoring(tuple(families), EvalConfig(size, beta))
    protocol = scoring.protocol()
    scores = {name: 0.1 + index / 1000 for index, name in enumerate(protocol)}
    return make_result(
        paper="mca_sam",
        model=ModelRecord("rgbx.models.mca_sam.module.MCASAM", {"sample_branch": True}),
        data=DataRecord(f"rgbx.data.sets.{dataset}", "root", images, ("background", "object")),
        checkpoint=CheckpointRecord("best.ckpt", "ab" * 32, epoch=None, step=None),
        scores={split: {"all": scores} for split in images},
        protocol=protocol | extra,
    )


@pytest.fixture(scope="module")
def published():
    return load_published("mca_sam")


def _terminal(table) -> list[str]:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(to_terminal(table))
    return console.file.getvalue().splitlines()


def _cells(table) -> dict[str, tuple[str, ...]]:
    return {row.cells[0]: row.cells[1:] for row in table.rows}


def test_groups_follow_the_model_and_the_size_of_the_masks_comes_first():
    numbers = MapScoring(("polyp", "saliency"), EvalConfig("both", 0.3)).protocol()
    groups = groups_of(dict.fromkeys(numbers, 0.5))
    assert [(group.family, group.suffix) for group in groups] == [
        ("polyp", ""),
        ("saliency", ""),
        ("polyp", "@input"),
        ("saliency", "@input"),
    ]
    assert groups[0].metrics == tuple(OverlapScores().protocol())
    assert groups[1].metrics[:4] == ("S", "maxF", "maxE", "MAE")
    assert groups[3].metrics[6] == "wF_0.3@input"
    assert groups_of({"miou": 1, "noisy_box/mIoU": 1, "AP": 1}) == []
    for scores in (SaliencyScores, ShadowScores, OverlapScores):
        (group,) = groups_of(dict.fromkeys(scores().protocol(), 0.5))
        assert set(group.metrics) == set(scores().protocol())  # no score is left out


def test_camouflage_sets_side_by_side_with_the_scores_their_papers_print(published):
    result = _result("COD", COD, ("saliency",))
    first, second = combined_tables(result, published)
    assert first.columns == ("Method", *("S", "meanE", "wF", "MAE↓") * 2)
    assert [name for name, _, _ in first.spans] == ["CAMO", "CHAMELEON"]
    rows = _cells(first)
    assert list(rows) == [
        "this run",
        "SAM-Adapter",
        "JCOD",
        "FBNet",
        "PFNet",
        "SINet",
        "RankNet",
        "SAM",
        "MCA-SAM (inferred)",
    ]
    assert rows["this run"][:4] == (".100", ".102", ".107", ".108")
    assert rows["SAM-Adapter"] == (
        ".847",
        ".873",
        ".765",
        ".070",
        ".896",
        ".919",
        ".824",
        ".033",
    )
    assert rows["MCA-SAM (inferred)"] == ("-", "-", "-", ".066", "-", "-", "-", "-")
    assert rows["JCOD"][2] == "-"
    assert _cells(second)["SAM-Adapter"] == (".883", ".918", ".801", ".025", "-", "-", "-", "-")


def test_an_inferred_row_is_last_marked_and_explained_below_every_table(published):
    result = _result("COD", COD, ("saliency",))
    tables = combined_tables(result, published)
    tables += [benchmark_table(result, published, split) for split in ("CAMO", "COD10K")]
    for table in tables:
        assert table.rows[-1].cells[0].startswith("MCA-SAM")
        assert "inferred" in " ".join(table.rows[-1].cells[:2])
        assert not any("inferred" in " ".join(row.cells) for row in table.rows[:-1])
        notes = [note for note in table.notes if "inferred" in note]
        assert notes[0] == (
            "inferred: computed, printed nowhere and measured by nobody; not ranked."
        )
        assert all(note.startswith("MCA-SAM (inferred): ") for note in notes[1:])
        assert len(notes) == 2 and "abstract of MCA-SAM" in notes[1]
        assert not any("MCA-SAM (published)" in note for note in table.notes)
    # its MAE is the best of the column, and still it does not move up
    cells = _cells(tables[-1])
    assert cells["MCA-SAM"][4] == ".020" and cells["SAM-Adapter"][4] == ".025"
    chameleon = benchmark_table(result, published, "CHAMELEON")
    assert not any("inferred" in text for text in (*chameleon.notes, str(chameleon.rows)))


def test_where_the_rows_come_from_is_said(published):
    notes = benchmark_table(_result("COD", COD, ("saliency",)), published, "CAMO").notes
    assert (
        "published: printed in the technical report of SAM-Adapter (ViT-H), not reproduced with "
        "rgbx."
    ) in notes
    (released,) = [note for note in notes if note.startswith("SAM-Adapter, SAM (published): ")]
    assert "1024 x 1024" in released and "beta^2 0.3" in released


def test_shadows_are_percent_and_ranked_from_the_smallest(published):
    table = benchmark_table(_result("ISTD", ISTD, ("shadow",)), published)
    assert table.title == "ISTD test (%)"
    assert table.columns == ("Method", "Source", "BER↓", "BER_image↓")
    assert [row.cells for row in table.rows] == [
        ("MCASAM", "this run", "10.00", "10.10"),
        ("SAM-Adapter", "published", "-", "1.43"),
        ("FDRNet", "published", "1.55", "-"),
        ("DSD", "published", "2.17", "-"),
        ("BDRAR", "published", "2.69", "-"),
        ("DSC", "published", "3.42", "-"),
        ("Stacked CNN", "published", "8.60", "-"),
        ("SAM", "published", "-", "40.51"),
        ("MCA-SAM", "inferred", "-", "1.21"),
    ]
    alone = benchmark_table(_result("Other", ISTD, ("shadow",)), None)
    assert (alone.title, alone.rows[0].cells[2:]) == ("Other test (%)", ("10.00", "10.10"))


def test_polyps_have_a_table_for_each_family_and_their_split_is_stated(published):
    division = "divided 800/200 by seed 42"
    result = _result("KvasirSEG", KVASIR, ("polyp", "saliency"), split=division)
    dice, saliency = benchmark_tables(result, published)
    assert dice.title == "KvasirSEG test, Dice and IoU"
    assert dice.columns[2:] == tuple(OverlapScores().protocol())
    rows = _cells(dice)
    assert list(rows) == ["MCASAM", "SAM-Adapter", "UNet++", "UNet", "SAM", "SFA", "MCA-SAM"]
    assert rows["MCASAM"][1:3] == (".100", ".101")
    assert rows["SAM-Adapter"][1:] == (".850", ".776", *["-"] * 6)
    assert rows["MCA-SAM"][:4] == ("inferred", ".917", "-", ".917")
    assert dice.notes[0] == saliency.notes[0] == "Split: divided 800/200 by seed 42."
    assert any("not settled" in note for note in dice.notes)
    # nothing is published for these scores, so nothing but this run is shown
    assert saliency.title == "KvasirSEG test, saliency scores"
    assert saliency.columns[2:] == tuple(n.replace("MAE", "MAE↓") for n in SALIENCY)
    assert list(_cells(saliency)) == ["MCASAM"]
    assert not any("published" in note for note in saliency.notes)


def test_the_checkpoints_choice_stands_before_the_split(published):
    result = _result("KvasirSEG", KVASIR, ("polyp",), choice="THE TEST SET", split="80/20")
    notes = benchmark_table(result, published).notes
    assert notes[:2] == ("CHECKPOINT CHOSEN ON: THE TEST SET.", "Split: 80/20.")


def test_five_polyp_sets_side_by_side():
    images = {"Kvasir": 100, "CVC-ClinicDB": 62, "CVC-ColonDB": 380, "CVC-300": 60, "ETIS": 196}
    tables = combined_tables(_result("KvasirSEG", images, ("polyp", "saliency")), None)
    assert [len(table.spans) for table in tables] == [3, 2]
    assert tables[0].columns == ("Method", *("mDice", "mIoU", "S", "MAE↓") * 3)
    (shadow,) = combined_tables(_result("X", {"a": 1, "b": 2}, ("shadow",)), None)
    assert shadow.columns == ("Method", *("BER↓", "BER_image↓") * 2)
    assert shadow.rows[0].cells == ("this run", *("10.00", "10.10") * 2)


def test_scores_at_network_size_have_tables_of_their_own(published):
    result = _result("COD", dict(list(COD.items())[:3]), ("saliency",), "both", 0.3)
    tables = combined_tables(result, published)
    titles = [table.title for table in tables]
    assert titles == [
        "COD: CAMO, CHAMELEON",
        "COD: COD10K",
        "COD: CAMO, CHAMELEON; at network size, @input",
        "COD: COD10K; at network size, @input",
    ]
    original, at_input = _cells(tables[0]), _cells(tables[2])
    assert tables[2].columns == ("Method", *("S", "meanE", "wF_0.3", "MAE↓") * 2)
    assert original["this run"][:4] == (".100", ".102", ".107", ".108")
    assert at_input["this run"][:4] == (".111", ".113", ".118", ".119")
    assert original["SAM-Adapter"] == at_input["SAM-Adapter"]
    # others were scored at the size of the masks with beta^2 1
    assert original["PFNet"][:4] == (".782", ".852", "-", ".085")
    assert list(at_input) == ["this run", "SAM-Adapter", "SAM", "MCA-SAM (inferred)"]
    assert tables[2].notes[0] == (
        "S@input, meanE@input, wF_0.3@input, MAE@input: as the score without @input, but at the "
        "size of the network's input, masks resized to it by nearest neighbour."
    )
    single = benchmark_table(_result("ISTD", ISTD, ("shadow",), "input"), published)
    assert single.title == "ISTD test, at network size, @input (%)"
    assert single.columns[2:] == ("BER↓", "BER_image↓")
    assert list(_cells(single)) == ["MCASAM", "SAM-Adapter", "SAM", "MCA-SAM"]


def test_another_number_of_images_is_not_comparable(published):
    table = benchmark_table(_result("ISTD", {"test": 4}, ("shadow",)), published)
    assert table.notes[0] == (
        "NOT COMPARABLE: this run was scored on 4 images, the published rows on 540."
    )
    polyps = benchmark_table(_result("KvasirSEG", {"test": 4}, ("polyp",)), published)
    assert polyps.notes[0] == (
        "NOT COMPARABLE: this run was scored on 4 images, the published rows on 200 or 120 or 100."
    )
    for count in (100, 120, 200):
        result = _result("KvasirSEG", {"test": count}, ("polyp",))
        assert "NOT COMPARABLE" not in " ".join(benchmark_table(result, published).notes)


@pytest.mark.parametrize("size", ["original", "both"])
@pytest.mark.parametrize(
    ("dataset", "images", "families"),
    [
        ("COD", COD, ("saliency",)),
        ("ISTD", ISTD, ("shadow",)),
        ("KvasirSEG", KVASIR, ("polyp", "saliency")),
        (
            "KvasirSEG",
            dict.fromkeys(("Kvasir", "CVC-ClinicDB", "ETIS-LaribPolypDB"), 9),
            ("polyp",),
        ),
    ],
)
def test_every_table_fits_80_characters_and_other_formats(
    published, dataset, images, families, size
):
    result = _result(dataset, images, families, size, 0.3)
    tables = [t for split in images for t in benchmark_tables(result, published, split)]
    if len(images) > 1:
        tables += combined_tables(result, published)
    for table in tables:
        lines = _terminal(table)
        assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
        cells = [line.split() for line in lines]
        for row in table.rows:
            assert " ".join(row.cells).split() in cells
        assert len(to_csv(table).splitlines()) == 1 + len(table.rows)
        assert to_markdown(table).count("**MCASAM**") + to_markdown(table).count("**this run**")
        assert to_latex(table).count(r"\textbf") == len(table.columns)
