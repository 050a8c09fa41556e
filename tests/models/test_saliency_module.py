"""The task base of maps: families of scores, sizes, what is logged, what stays as it was."""

import math

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from rgbx.data.dataset import collate
from rgbx.errors import RGBXError
from rgbx.metrics import OverlapScores, SaliencyScores, ShadowScores
from rgbx.optim.schedules import Constant
from rgbx.tasks.map_evaluation import EvalConfig, MapEvaluator, MapScoring
from rgbx.tasks.saliency import SaliencyModule

SIZE = (16, 24)  # of the network's input
SALIENCY = tuple(SaliencyScores().protocol())
SHADOW = ("BER", "BER_image")
POLYP = tuple(OverlapScores().protocol())


class Toy(SaliencyModule):
    """Its logits are the first channel of rgb, so that every score can be computed next to it."""

    needs_x = False

    def __init__(self, **options) -> None:
        config = {k: v for k, v in options.items() if k != "scores"}
        scores = options.get("scores", ("saliency",))
        super().__init__(torch.optim.SGD, Constant(), scores, EvalConfig(**config))
        self.calls = 0
        self.logged: list[str] = []

    def logits(self, rgb, x):
        self.calls += 1
        return rgb[:, :1]

    def log(self, name, value, **options):
        self.logged.append(name + " (bar)" * options.get("prog_bar", False))
        super().log(name, value, **options)


def _scenes(sizes):
    generator = torch.Generator().manual_seed(0)
    scenes = []
    for index, size in enumerate(sizes):
        mask = torch.zeros(size, dtype=torch.int64)
        mask[size[0] // 4 : size[0] // 2 + index, 3 : size[1] // 2] = 1
        small = torch.nn.functional.interpolate(mask[None, None].float(), SIZE)[0]
        rgb = 3 * (small - 0.5) + torch.randn(3, *SIZE, generator=generator)
        scenes.append({"rgb": rgb, "mask": mask, "name": str(index), "subset": "", "size": size})
    return scenes


TESTED = _scenes([(30, 41), (16, 24), (50, 37)])
VALIDATED = _scenes([SIZE] * 4)


def _run(stage: str, scenes, **options) -> tuple[Toy, list[dict]]:
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    module = Toy(**options)
    loader = DataLoader(scenes, 2, collate_fn=collate)
    return module, getattr(trainer, stage)(module, loader, verbose=False)


def _expected(scores, at_input: bool = False) -> dict[str, float]:
    for scene in TESTED:
        logit, mask = scene["rgb"][None, :1], scene["mask"]
        if at_input:
            rows, columns = (  # the pixel whose centre is nearest
                ((torch.arange(n) + 0.5) * old / n).long()
                for n, old in zip(SIZE, mask.shape, strict=True)
            )
            mask = mask[rows][:, columns]
        elif tuple(mask.shape) != SIZE:
            logit = torch.nn.functional.interpolate(
                logit, tuple(mask.shape), mode="bilinear", align_corners=False
            )
        scores.update(logit[0, 0].sigmoid(), mask)
    return scores.compute()


def _assert_scores(module: Toy, wanted: dict[str, float]) -> None:
    assert list(module.results) == ["test"] and list(module.results["test"]) == ["all"]
    # sums of floats round by where a tensor lies in memory
    assert module.results["test"]["all"] == pytest.approx(wanted, rel=0, abs=1e-9)


def test_by_default_a_test_scores_what_it_always_did():
    module, _ = _run("test", TESTED)
    _assert_scores(module, _expected(SaliencyScores()))
    assert tuple(module.protocol()) == SALIENCY == tuple(module.results["test"]["all"])
    size = "; at the size of each mask, logits resized bilinearly before the sigmoid"
    assert module.protocol() == {k: v + size for k, v in SaliencyScores().protocol().items()}
    assert module.logged == [f"test/all/{name}" for name in ("S", "maxF", "maxE", "MAE")]
    assert set(module.curves()["test"]) == {"precision", "recall", "F", "E"}


@pytest.mark.parametrize(
    ("family", "scores", "headline"),
    [
        ("saliency", SaliencyScores, ["S", "maxF", "maxE", "MAE"]),
        ("shadow", ShadowScores, ["BER", "BER_image"]),
        ("polyp", OverlapScores, ["mDice", "mIoU"]),
    ],
)
@pytest.mark.parametrize("size", ["original", "input", "both"])
def test_every_family_at_every_size(family, scores, headline, size):
    module, _ = _run("test", TESTED, scores=(family,), size=size)
    wanted = {}
    if size != "input":
        wanted |= _expected(scores())
    if size != "original":
        wanted |= {f"{k}@input": v for k, v in _expected(scores(), at_input=True).items()}
    _assert_scores(module, wanted)
    assert tuple(module.protocol()) == tuple(wanted)
    suffixes = {"original": [""], "input": ["@input"], "both": ["", "@input"]}[size]
    assert module.logged == [f"test/all/{name}{s}" for s in suffixes for name in headline]
    assert module.calls == 2  # batches: two sizes need no second pass through the network


def test_sizes_give_different_numbers_and_say_so():
    module, _ = _run("test", TESTED, scores=("shadow",), size="both")
    scores, texts = module.results["test"]["all"], module.protocol()
    assert abs(scores["BER"] - scores["BER@input"]) > 1e-4
    assert texts["BER"].endswith(
        "at the size of each mask, logits resized bilinearly before the sigmoid"
    )
    assert texts["BER@input"] == (
        "as the score without @input, but at the size of the network's input, masks resized to it "
        "by nearest neighbour"
    )
    alone = MapScoring(("shadow",), EvalConfig("input")).protocol()["BER@input"]
    assert alone.startswith("balanced error rate, pixels counted over the whole set")
    assert alone.endswith("masks resized to it by nearest neighbour")


def test_several_families_share_one_result_in_the_order_given():
    module, _ = _run("test", TESTED, scores=("polyp", "saliency"), wf_beta2=0.3)
    scores = module.results["test"]["all"]
    named = tuple("wF_0.3" if name == "wF" else name for name in SALIENCY)
    assert tuple(scores) == (*POLYP, *named) == tuple(module.protocol())
    _assert_scores(module, _expected(OverlapScores()) | _expected(SaliencyScores(wf_beta2=0.3)))
    curves = module.curves()["test"]
    assert list(curves) == ["Dice", "IoU", "precision", "recall", "F", "E"]
    assert scores["maxDice"] == curves["Dice"].max()
    shadow, _ = _run("test", TESTED, scores=("shadow",))
    assert shadow.curves() == {"test": {}}


def test_the_threshold_of_ber_reaches_the_scores():
    module, _ = _run("test", TESTED, scores=("shadow",), ber_threshold=0.9)
    assert module.results["test"]["all"] == _expected(ShadowScores(0.9))
    assert module.results["test"]["all"] != _expected(ShadowScores())
    assert "map > 0.9 is shadow" in module.protocol()["BER"]


@pytest.mark.parametrize(
    ("families", "added"),
    [
        (("saliency",), []),
        (("shadow",), ["val/BER (bar)", "val/BER_image"]),
        (("polyp", "saliency"), ["val/mDice (bar)", "val/mIoU"]),
    ],
)
def test_validation_logs_the_usual_scores_and_those_of_the_family(families, added):
    module, (logged,) = _run("validate", VALIDATED, scores=families)
    usual = ["val/maxF (bar)", "val/MAE", "val/meanF", "val/IoU"]
    assert module.logged == usual + added
    expected = {"shadow": ShadowScores(), "polyp": OverlapScores(("hard",))}
    for family in families:
        if family in expected:
            for scene in VALIDATED:
                expected[family].update(scene["rgb"][0].sigmoid(), scene["mask"])
            for name, value in expected[family].compute().items():
                assert logged[f"val/{name}"] == pytest.approx(value, abs=1e-6)
    assert all(metric.images == 0 for metric in module.validation_families)  # forgotten


def test_validation_leaves_out_unlabelled_pixels_in_every_family():
    scenes = [dict(scene, mask=scene["mask"].clone()) for scene in VALIDATED]
    for scene in scenes:
        scene["mask"][scene["rgb"][0].sigmoid().gt(0.5) != scene["mask"].bool()] = 255
    _, (logged,) = _run("validate", scenes, scores=("shadow", "polyp"))
    assert (logged["val/BER"], logged["val/mDice"], logged["val/mIoU"]) == (0, 1, 1)


def test_images_come_back_at_their_own_size_whatever_is_scored():
    for size in ("original", "input"):
        module = Toy(scores=("polyp",), size=size)
        module.evaluator = MapEvaluator(module.scoring, ("test",))
        module.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        maps = module.test_step(collate(TESTED), 0)
        assert [tuple(m.shape) for m in maps] == [scene["size"] for scene in TESTED]


def test_overall_is_one_metric_of_all_images_in_every_family_and_size():
    """Not the mean of the sets' numbers: curves are averaged before their maximum is taken."""
    scoring = MapScoring(("saliency", "shadow", "polyp"), EvalConfig("both", 0.3))
    evaluator = MapEvaluator(scoring, ("a", "b"))
    alone = MapEvaluator(scoring, ("all",))
    generator = torch.Generator().manual_seed(4)
    for split, count, bias in (("a", 3, -1.0), ("b", 1, 2.0)):
        for _ in range(count):
            mask = torch.zeros(20, 30, dtype=torch.int64)
            mask[4:12, 6:20] = 1
            logits = torch.randn(1, *SIZE, generator=generator) + bias
            map_ = torch.rand(20, 30, generator=generator)
            map_ = (0.6 * map_ + 0.4 * mask).clamp(0, 1) ** (1 + max(bias, 0))
            for each, name in ((evaluator, split), (alone, "all")):
                each.update(name, "", map_, logits, mask)
    found, expected = evaluator.results(), alone.results()["all"]["all"]
    assert list(found) == ["a", "b", "overall"] and "overall" not in alone.results()
    assert found["overall"] == {"all": expected}
    weighted = (3 * found["a"]["all"]["maxF"] + found["b"]["all"]["maxF"]) / 4
    assert abs(weighted - expected["maxF"]) > 1e-3
    curves, one = evaluator.curves(), alone.curves()["all"]
    assert list(curves) == ["a", "b", "overall"]
    for name, values in curves["overall"].items():
        torch.testing.assert_close(values, one[name], rtol=0, atol=0)
    assert evaluator.results()["a"] == found["a"], "the sets keep their own sums"


def test_a_split_without_images_is_nan_in_every_family():
    scoring = MapScoring(("saliency", "shadow", "polyp"), EvalConfig("both"))
    evaluator = MapEvaluator(scoring, ("A", "B"), ("day",))
    mask = TESTED[1]["mask"]
    evaluator.update("A", "day", mask.float(), 9.0 * (2 * mask[None] - 1), mask)
    results = evaluator.results()
    assert results["A"]["day"] == results["A"]["all"]
    assert (results["A"]["all"]["BER"], results["A"]["all"]["mDice@input"]) == (0, 1)
    assert set(results["B"]["all"]) == set(results["A"]["all"]) == set(scoring.protocol())
    assert all(math.isnan(value) for value in results["B"]["day"].values())
    with pytest.raises(ValueError, match="No scores are kept for split 'C'"):
        evaluator.update("C", "", mask.float(), mask[None].float(), mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scores": ()}, r"scores: \[\] cannot be taken; give one or more of saliency, shadow"),
        ({"scores": ("polyps",)}, r"scores: \['polyps'\] cannot be taken"),
        ({"scores": ("shadow", "shadow")}, "each once"),
        ({"size": "full"}, "evaluation.size: 'full' is none of original, input, both"),
        ({"wf_beta2": 0.0}, "wf_beta2: 0.0 must be finite and above 0"),
        ({"ber_threshold": 125}, "ber_threshold: 125 must lie in 0 to below 1"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(options, message):
    with pytest.raises(RGBXError, match=message) as caught:
        Toy(**options)
    assert "\n" not in str(caught.value)


def test_curves_before_a_test_are_refused():
    with pytest.raises(RGBXError, match="There are no curves before a test"):
        Toy().curves()
