"""The numbers of the SAMSOD paper, against its other numbers and against rows copied by hand."""

import inspect
from pathlib import Path
from typing import get_args

import pytest
import yaml

from rgbx.backbones.sam2 import SAM2_PRESETS
from rgbx.errors import RGBXError
from rgbx.models.samsod.module import SAMSOD
from rgbx.optim.surgery import PCGrad, build_weighting
from rgbx.results import Cost, Published, PublishedTable, load_published

FOUR = ("S", "maxF", "maxE", "MAE")
IMAGES = {"VT5000": 2500, "VT1000": 1000, "VT821": 821}


@pytest.fixture(scope="module")
def samsod() -> Published:
    published = load_published("samsod")
    assert published is not None
    return published


def _scores(table: PublishedTable | None, method: str) -> tuple[float, ...]:
    assert table is not None
    (row,) = [row for row in table.rows if row.method == method]
    return tuple(row.scores[metric] for metric in FOUR)


@pytest.mark.parametrize(
    ("method", "split", "scores"),
    [
        ("SAMSOD-tiny", "VT821", (0.913, 0.895, 0.950, 0.022)),
        ("SAMSOD-tiny", "VT1000", (0.942, 0.942, 0.976, 0.015)),
        ("SAMSOD-tiny", "VT5000", (0.923, 0.921, 0.964, 0.021)),
        ("SAMSOD-large", "VT821", (0.924, 0.916, 0.956, 0.021)),
        ("SAMSOD-large", "VT1000", (0.948, 0.949, 0.981, 0.012)),
        ("SAMSOD-large", "VT5000", (0.934, 0.933, 0.969, 0.017)),
        ("TCINet", "VT5000", (0.924, 0.910, 0.965, 0.019)),
        ("ConTriNet", "VT5000", (0.923, 0.898, 0.956, 0.020)),
        ("SACNet", "VT5000", (0.917, 0.888, 0.957, 0.021)),
    ],
)
def test_rgbt_rows(samsod, method, split, scores):
    assert _scores(samsod.comparison("VT5000", split), method) == scores


def test_overall_is_the_mean_over_the_images_of_the_three_sets(samsod):
    parts = [samsod.comparison("VT5000", split) for split in IMAGES]
    overall = samsod.comparison("VT5000", "overall")
    assert [table.images for table in parts] == list(IMAGES.values())
    assert overall.images == sum(IMAGES.values()) and len(overall.rows) == 17
    for row in overall.rows:
        columns = zip(*(_scores(table, row.method) for table in parts), strict=True)
        for metric, values in zip(FOUR, columns, strict=True):
            mean = sum(n * v for n, v in zip(IMAGES.values(), values, strict=True)) / 4321
            # both sides are rounded; a slip of one digit would be .01 or more
            assert row.scores[metric] == pytest.approx(mean, abs=0.0016), (row.method, metric)


@pytest.mark.parametrize(
    ("dataset", "split", "scores", "peers"),
    [
        ("RGBDSaliency", "NLPR", (0.941, 0.942, 0.974, 0.015), 13),
        ("RGBDSaliency", "NJU2K", (0.938, 0.945, 0.966, 0.023), 13),
        ("RGBDSaliency", "STERE", (0.930, 0.931, 0.962, 0.025), 13),
        ("RGBDSaliency", "SIP", (0.920, 0.937, 0.955, 0.029), 13),
        ("NEURSDDS", "test", (0.875, 0.915, 0.947, 0.048), 9),
    ],
)
def test_depth_rows(samsod, dataset, split, scores, peers):
    table = samsod.comparison(dataset, split)
    assert _scores(table, "SAMSOD-large") == scores
    assert len(table.rows) == 1 + peers


def test_rail_rows_have_means_too(samsod):
    rows = {row.method: row.scores for row in samsod.comparison("NEURSDDS", "test").rows}
    assert rows["DSSNet"] == {
        **{"S": 0.866, "maxE": 0.946, "maxF": 0.911},
        **{"meanE": 0.942, "meanF": 0.897, "MAE": 0.049},
    }
    assert [name for name, scores in rows.items() if len(scores) < 6] == ["PENet"]
    assert set(rows["PENet"]) == set(FOUR)


def test_scribble_rows_stand_apart(samsod):
    table = samsod.comparison("VT5000", "VT5000", "scribble")
    assert _scores(table, "SAMSOD-large") == (0.916, 0.908, 0.958, 0.023)
    assert [row.method for row in table.rows[1:]] == ["WSVSOD", "DENet", "RGBTScribble", "LGR"]
    full = {row.method for row in samsod.comparison("VT5000", "VT5000").rows}
    assert full.isdisjoint({"WSVSOD", "DENet", "RGBTScribble", "LGR"})
    assert _scores(samsod.comparison("VT5000", "VT821", "scribble"), "LGR") == (
        0.893,
        0.870,
        0.941,
        0.034,
    )


VANILLA, DECOUPLED = {"adapter": "vanilla"}, {"adapter": "decoupled"}
BOTH = {"modalities": "both", "unimodal_supervision": False, "surgery": None}
SUPERVISED = {**BOTH, "unimodal_supervision": True}
SURGERY = {**SUPERVISED, "surgery": "PCGrad"}
TABLE_3 = [
    ({**VANILLA, **BOTH, "modalities": "rgb"}, (0.924, 0.915, 0.959, 0.023)),
    ({**VANILLA, **BOTH}, (0.923, 0.918, 0.961, 0.021)),
    ({**VANILLA, **SUPERVISED}, (0.930, 0.925, 0.966, 0.019)),
    ({**VANILLA, **SURGERY}, (0.932, 0.929, 0.967, 0.018)),
    ({**DECOUPLED, **BOTH}, (0.925, 0.921, 0.964, 0.020)),
    ({**DECOUPLED, **SUPERVISED}, (0.930, 0.928, 0.965, 0.019)),
    ({**DECOUPLED, **SURGERY}, (0.934, 0.933, 0.969, 0.017)),
]


def test_every_row_of_table_3_is_a_setting_of_its_own(samsod):
    tables = [t for t in samsod.ablations if t.table == "III"]
    assert {t.split for t in tables} == set(IMAGES)
    for table in tables:
        assert [row.settings for row in table.rows] == [settings for settings, _ in TABLE_3]
    (vt5000,) = [t for t in tables if t.split == "VT5000"]
    assert [_scores(vt5000, row.method) for row in vt5000.rows] == [s for _, s in TABLE_3]


def test_table_2_repeats_rows_of_table_3_and_both_end_in_the_method(samsod):
    third = {t.split: t for t in samsod.ablations if t.table == "III"}
    second = [t for t in samsod.ablations if t.table == "II"]
    assert len(second) == 3
    for table in second:
        same = [row for row in third[table.split].rows if row.settings["modalities"] == "both"]
        same = [
            r for r in same if r.settings["unimodal_supervision"] == bool(r.settings["surgery"])
        ]
        assert [(row.settings, row.scores) for row in table.rows] == [
            (row.settings, row.scores) for row in same
        ]
        whole = samsod.comparison("VT5000", table.split)
        assert table.rows[-1].own
        assert _scores(table, table.rows[-1].method) == _scores(whole, "SAMSOD-large")


def test_settings_are_arguments_of_the_model(samsod):
    parameters = inspect.signature(SAMSOD).parameters
    rows = [row for table in (*samsod.comparisons, *samsod.ablations) for row in table.rows]
    for settings in (row.settings for row in rows if row.settings):
        assert set(settings) <= set(parameters)
        for name in ("adapter", "modalities"):
            assert settings.get(name, "both") in (*get_args(parameters[name].annotation), "both")
        assert settings.get("encoder", "hiera_l") in SAM2_PRESETS
        if settings.get("surgery"):
            assert isinstance(build_weighting(settings["surgery"]), PCGrad)


def test_costs(samsod):
    assert samsod.costs["SAMSOD-large"] == Cost(224.1, 418.0, 6.4)
    assert samsod.costs["SAMSOD-tiny"] == Cost(32.7, 60.4, 23.1)
    assert samsod.costs["UniTR"] == Cost(72.0, None, 133.3)
    methods = {row.method for row in samsod.comparison("VT5000", "VT5000").rows}
    assert methods - set(samsod.costs) == {"PRLNet", "MAGNet"}  # dashes in all three columns
    assert set(samsod.costs) < methods


def test_own_variants_are_told_apart_by_their_encoder(samsod):
    own = [row for row in samsod.comparison("VT5000", "VT5000").rows if row.own]
    assert {row.method: row.settings for row in own} == {
        "SAMSOD-large": {"encoder": "hiera_l"},
        "SAMSOD-tiny": {"encoder": "hiera_t"},
    }


@pytest.fixture
def content() -> dict:
    return {
        "paper": "P",
        "title": "A paper",
        "unit": "fraction",
        "costs": {"A": {"gflops": 2.0}},
        "comparisons": [
            {
                **{"table": "I", "dataset": "VT5000", "split": "VT821"},
                **{"metric": "S, M", "decimals": 3},
                "rows": [
                    {"method": "A", "own": True, "scores": {"S": 0.9, "MAE": 0.02}},
                    {"method": "B", "scores": {"S": 0.8}},
                ],
            }
        ],
    }


def _load(folder: Path, content: dict) -> Published | None:
    (folder / "published.yaml").write_text(yaml.safe_dump(content))
    return load_published(folder)


def test_several_own_rows_need_settings_that_differ(tmp_path, content):
    first, second = content["comparisons"][0]["rows"]
    second["own"] = True
    first["settings"], second["settings"] = {"encoder": "a"}, {"encoder": "b"}
    assert sum(row.own for row in _load(tmp_path, content).comparisons[0].rows) == 2
    second["settings"] = {"encoder": "a"}
    with pytest.raises(RGBXError, match=r"several own rows that their settings do not tell apart"):
        _load(tmp_path, content)


def _row(content: dict, **changes: object) -> None:
    content["comparisons"][0]["rows"][1].update(changes)


def _twice(content: dict) -> None:
    content["comparisons"] *= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: _row(c, scores={"S": 93.4}), "B: S is 93.4, not between 0 and 1, as fractions"),
        (lambda c: _row(c, scores={"MAE": -0.1}), "B: MAE is -0.1, not between 0 and 1"),
        (lambda c: _row(c, scores={"Fmax": 0.9}), "scores names 'Fmax', which rgbx does not"),
        (lambda c: _row(c, scores={"S": ".9"}), r"rows\[1\]\.scores\.S is '\.9', not of type"),
        (lambda c: _row(c, scores={}), "B has neither scores nor assumed and values"),
        (
            lambda c: _row(c, assumed="S", values={"all": 0.9}),
            "B has scores, so it takes neither assumed nor values",
        ),
        (
            lambda c: c["comparisons"][0].update(supervision="weak"),
            "supervision is 'weak', not one of 'full', 'scribble'",
        ),
        (lambda c: c["costs"].update(A={"gflops": 0}), r"costs\.A\.gflops is 0\.0, not above 0"),
        (lambda c: c["costs"].update(A={"flops": 1}), "unknown key 'flops' .*'gflops'"),
        (_twice, "two comparisons for VT5000 VT821 with full supervision"),
    ],
)
def test_impossible_content_is_explained(tmp_path, content, change, message):
    change(content)
    with pytest.raises(RGBXError, match=rf"published\.yaml cannot be used: .*{message}"):
        _load(tmp_path, content)
