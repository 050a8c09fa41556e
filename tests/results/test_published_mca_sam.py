"""The numbers that stand next to MCA-SAM: SAM-Adapter's tables, and what can be inferred."""

import inspect

import pytest
import yaml

from rgbx.checkpoints.trained_with import plain as plain_value
from rgbx.errors import RGBXError
from rgbx.metrics.catalogue import is_metric, metric_info, plain_name
from rgbx.models.mca_sam import MCASAM
from rgbx.results import Published, load_published

FOUR = ("S", "meanE", "wF", "MAE")


@pytest.fixture(scope="module")
def published() -> Published:
    found = load_published("mca_sam")
    assert found is not None
    return found


def test_the_model_finds_its_file(published):
    model = MCASAM.__new__(MCASAM)
    assert model.paper == "mca_sam"
    assert load_published(model.published) == published
    assert (published.paper, published.unit) == ("MCA-SAM", "fraction")


def _camouflage(published: Published, split: str) -> dict[str, tuple[float | None, ...]]:
    table = published.comparison("COD", split)
    rows = [row for row in table.rows if not row.inferred]
    return {row.method: tuple(row.scores.get(metric) for metric in FOUR) for row in rows}


def test_camouflage(published):
    assert _camouflage(published, "CHAMELEON") == {
        "SINet": (0.869, 0.891, 0.740, 0.044),
        "RankNet": (0.846, 0.913, 0.767, 0.045),
        "JCOD": (0.870, 0.924, None, 0.039),
        "PFNet": (0.882, 0.942, 0.810, 0.033),
        "FBNet": (0.888, 0.939, 0.828, 0.032),
        "SAM": (0.727, 0.734, 0.639, 0.081),
        "SAM-Adapter": (0.896, 0.919, 0.824, 0.033),
    }
    assert _camouflage(published, "CAMO") == {
        "SINet": (0.751, 0.771, 0.606, 0.100),
        "RankNet": (0.712, 0.791, 0.583, 0.104),
        "JCOD": (0.792, 0.839, None, 0.082),
        "PFNet": (0.782, 0.852, 0.695, 0.085),
        "FBNet": (0.783, 0.839, 0.702, 0.081),
        "SAM": (0.684, 0.687, 0.606, 0.132),
        "SAM-Adapter": (0.847, 0.873, 0.765, 0.070),
    }
    assert _camouflage(published, "COD10K") == {
        "SINet": (0.771, 0.806, 0.551, 0.051),
        "RankNet": (0.767, 0.861, 0.611, 0.045),
        "JCOD": (0.800, 0.872, None, 0.041),
        "PFNet": (0.800, 0.868, 0.660, 0.040),
        "FBNet": (0.809, 0.889, 0.684, 0.035),
        "SAM": (0.783, 0.798, 0.701, 0.050),
        "SAM-Adapter": (0.883, 0.918, 0.801, 0.025),
    }
    assert published.comparison("COD", "NC4K") is None
    images = [published.comparison("COD", s).images for s in ("CAMO", "CHAMELEON", "COD10K")]
    assert images == [250, 76, 2026]


def test_shadows_in_percent(published):
    table = published.comparison("ISTD", "test")
    assert (published.unit_of(table), table.images, table.decimals) == ("percent", 540, 2)
    pooled = {row.method: row.scores["BER"] for row in table.rows if "BER" in row.scores}
    assert pooled == {
        **{"Stacked CNN": 8.60, "BDRAR": 2.69, "DSC": 3.42, "DSD": 2.17, "FDRNet": 1.55}
    }
    # what SAM-Adapter's code measures is assumed to be the mean over the images
    rest = {row.method: row.scores for row in table.rows if row.method not in pooled}
    assert rest == {
        "SAM": {"BER_image": 40.51},
        "SAM-Adapter": {"BER_image": 1.43},
        "MCA-SAM": {"BER_image": 1.21},
    }


def test_polyps(published):
    table = published.comparison("KvasirSEG", "test")
    rows = {row.method: tuple(row.scores.values()) for row in table.rows}
    assert rows == {
        "UNet": (0.821, 0.756),
        "UNet++": (0.824, 0.753),
        "SFA": (0.725, 0.619),
        "SAM": (0.778, 0.707),
        "SAM-Adapter": (0.850, 0.776),
        "MCA-SAM": (0.917,),
    }
    assert table.images is None and "not settled" in table.note and "memory" in table.source


@pytest.mark.parametrize(
    ("dataset", "split", "metric", "gain", "tolerance"),
    [
        ("COD", "COD10K", "MAE", -0.200, 0.0005),
        ("COD", "CAMO", "MAE", -0.060, 0.0005),
        ("ISTD", "test", "BER_image", -0.154, 0.005),
        ("KvasirSEG", "test", "mDice", 0.079, 0.0005),
    ],
)
def test_inferred_rows_are_the_gains_of_the_abstract(
    published, dataset, split, metric, gain, tolerance
):
    rows = {row.method: row for row in published.comparison(dataset, split).rows}
    base, own = rows["SAM-Adapter"].scores[metric], rows["MCA-SAM"]
    assert list(own.scores) == [metric]  # nothing else is known
    assert own.scores[metric] == pytest.approx(base * (1 + gain), abs=tolerance)
    assert own.inferred and own.origin == "inferred" and "abstract" in own.note


def test_inferred_rows_are_mca_sam_and_no_other(published):
    inferred = {
        (t.dataset, t.split): [row.method for row in t.rows if row.inferred]
        for t in published.comparisons
    }
    assert inferred == {
        **{("COD", "CAMO"): ["MCA-SAM"], ("COD", "CHAMELEON"): [], ("COD", "COD10K"): ["MCA-SAM"]},
        **{("ISTD", "test"): ["MCA-SAM"], ("KvasirSEG", "test"): ["MCA-SAM"]},
    }


def test_settings_are_arguments_of_the_model_and_tell_sam_adapter_apart(published):
    known = inspect.signature(MCASAM).parameters
    off = {"token_weight": 0, "sample_weight": 0}
    plain = {"encoder": "vit_h", "contrast": off, "adaptor": {"sample_branch": False}}
    for table in published.comparisons:
        rows = {row.method: row for row in table.rows if row.own}
        assert all(set(row.settings) <= set(known) for row in rows.values())
        defaults = {name: plain_value(known[name].default) for name in known}
        assert rows["SAM-Adapter"].made_by(defaults | plain)
        assert not rows["SAM-Adapter"].made_by(defaults)
        if "MCA-SAM" in rows:
            assert rows["MCA-SAM"].made_by(defaults)
            assert not rows["MCA-SAM"].made_by(defaults | plain)


def test_a_number_stands_under_whatever_it_may_be_and_nowhere_else(published):
    rows = {row.method: row for row in published.comparison("COD", "COD10K").rows}
    ours, peer = rows["SAM-Adapter"], rows["PFNet"]
    for metric in ("wF", "wF_0.3", "wF_0.3@input"):
        assert ours.number(metric, "all") == 0.801
    assert ours.number("S@input", "all") == ours.number("S", "all") == 0.883
    for metric in ("wF@input", "maxE", "MAE_0.3"):
        assert ours.number(metric, "all") is None
    assert ours.number("S@input", "day") is None
    assert peer.number("wF", "all") == 0.660
    assert peer.number("wF_0.3", "all") is None and peer.number("S@input", "all") is None


@pytest.mark.parametrize(
    ("name", "known", "base", "less"),
    [
        ("wF_0.3", True, "wF", False),
        ("wF_0.3@input", True, "wF", False),
        ("MAE@input", True, "MAE", True),
        ("BER_image@input", True, "BER_image", True),
        ("BER", True, "BER", True),
        ("mDice_soft@input", True, "mDice_soft", False),
        ("miou_image", True, "miou_image", False),
        ("miou@input", False, "miou", False),
        ("S_0.3", False, "S_0.3", False),
        ("wF_", False, "wF_", False),
        ("S@output", False, "S@output", False),
        ("box/S@input", False, "box/S", False),
    ],
)
def test_names_of_scores_of_maps(name, known, base, less):
    assert is_metric(name) is known
    assert plain_name(name) == base
    assert metric_info(name).higher_is_better is not less


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inferred": True}, "A is inferred, so it needs a note that says from what"),
        ({"maybe": {"MAE": ["MAE@input"]}}, "A: maybe names 'MAE', which scores has not"),
        ({"maybe": {"S": ["Smax"]}}, "A: S is maybe 'Smax', which it cannot be"),
        ({"maybe": {"S": ["S"]}}, "A: S is maybe 'S', which it cannot be"),
    ],
)
def test_rows_that_cannot_be_are_explained(tmp_path, change, message):
    row = {"method": "A", "own": True, "scores": {"S": 0.5}} | change
    table = {"table": "1", "dataset": "D", "split": "test", "metric": "m", "decimals": 1}
    content = {"paper": "P", "title": "T", "unit": "fraction"}
    content["comparisons"] = [table | {"rows": [row]}]
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(RGBXError, match=message):
        load_published(tmp_path)
