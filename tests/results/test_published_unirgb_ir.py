"""A paper without own rows, whose peers' numbers are printed elsewhere, in two units."""

import dataclasses

import pytest

from rgbx.results import (
    DataRecord,
    Published,
    benchmark_table,
    combined_tables,
    load_published,
    make_result,
)


@pytest.fixture(scope="module")
def unirgb_ir() -> Published:
    published = load_published("unirgb_ir")
    assert published is not None
    return published


def _first(published, dataset, split):
    table = published.comparison(dataset, split)
    return {row.method: row.scores or row.values["all"] for row in table.rows}, published.unit_of(
        table
    )


def test_rows_that_have_a_source_and_no_others(unirgb_ir):
    assert _first(unirgb_ir, "MFNet", "test") == (
        {
            **{"IV-tuning (Swin-L)": 60.1, "IV-tuning (EVA02-L)": 59.6},
            **{"SpiderMesh-B4": 58.4, "MFTNet": 57.3},
        },
        "percent",
    )
    assert _first(unirgb_ir, "PST900", "test") == ({"SpiderMesh": 82.3}, "percent")
    wanted = {"VT821": (0.923, 0.022), "VT1000": (0.948, 0.013), "VT5000": (0.930, 0.019)}
    for split, (s, mae) in wanted.items():
        scores = {"IV-tuning (EVA02-L)": {"S": s, "MAE": mae}}
        assert _first(unirgb_ir, "VT5000", split) == (scores, "fraction")
    assert len(unirgb_ir.comparisons) == 8 and not unirgb_ir.ablations
    assert not any(row.own for table in unirgb_ir.comparisons for row in table.rows)
    peers = [table for table in unirgb_ir.comparisons if table.table == "peers"]
    assert len(peers) == 5
    assert all("not in the UniRGB-IR paper" in table.source for table in peers)


def test_its_own_detection_results_are_marked_as_quoted_by_others(unirgb_ir):
    cft = {"CFT": {"AP": 40.0, "AP50": 77.7, "AP75": 34.8}}
    own = {"UniRGB-IR (quoted)": {"AP50": 81.4}, "UniRGB-IR (from MOSAIC)": {"AP": 44.1}}
    assert _first(unirgb_ir, "FLIR", "test") == (own | cft, "percent")
    own = {"UniRGB-IR (from MOSAIC)": {"AP": 63.2}}
    cft = {"CFT": {"AP": 63.6, "AP50": 97.5, "AP75": 72.9}}
    assert _first(unirgb_ir, "LLVIP", "test") == (own | cft, "percent")
    for dataset in ("FLIR", "LLVIP"):
        table = unirgb_ir.comparison(dataset, "test")
        assert "quoted by others" in table.source
        for row in table.rows:
            assert row.method == "CFT" or row.note
            assert row.inferred == ("MOSAIC" in row.method)
    table = unirgb_ir.comparison("KAIST", "test")
    assert "computed from the result files" in table.source and table.images == 2252
    assert table.rows[0].values == {"all": 7.58, "day": 7.96, "night": 6.95}
    assert table.rows[1].values == {"all": 8.13, "day": 8.28, "night": 7.86}


def test_a_table_names_the_source_and_claims_no_table_of_the_paper(result, unirgb_ir):
    table = benchmark_table(result, unirgb_ir)
    assert [row.cells[0] for row in table.rows] == [
        "TASeg",
        "IV-tuning (Swin-L)",
        "IV-tuning (EVA02-L)",
        "SpiderMesh-B4",
        "MFTNet",
    ]
    assert table.rows[1].cells[4] == "60.1"
    (source,) = [note for note in table.notes if note.startswith("published: ")]
    assert source == (
        "published: printed by the authors of each method, not in the UniRGB-IR paper, not "
        "reproduced with rgbx."
    )
    assert not any("Table" in note for note in table.notes)


def test_saliency_scores_are_fractions_beside_percent_of_the_same_paper(result, unirgb_ir):
    data = DataRecord(
        "rgbx.data.datasets.vt5000.VT5000", "VT", {"VT821": 821, "VT1000": 9}, ("a", "b")
    )
    scores = {name: {"all": {"S": 0.5, "MAE": 0.25}} for name in ("VT821", "VT1000")}
    run = make_result(
        paper="unirgb_ir",
        model=result.model,
        data=data,
        checkpoint=result.checkpoint,
        scores=scores,
        protocol={},
        seed=0,
    )
    (table,) = combined_tables(dataclasses.replace(run, classes={}), unirgb_ir)
    assert table.rows[0].cells == ("this run", ".500", "-", "-", ".250", ".500", "-", "-", ".250")
    assert table.rows[1].cells == (
        "IV-tuning (EVA02-L)",
        ".923",
        "-",
        "-",
        ".022",
        ".948",
        "-",
        "-",
        ".013",
    )
