"""Models that need no training, tested and asked without a checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rgbx.models import StableSAM
from rgbx.models.stable_sam.options import PluginConfig
from tests.cli.conftest import CONFIGS


def options(root, *extra):
    plain = ["--config", CONFIGS / "demo/stable_sam.yaml", "--data.size", "[64, 64]"]
    plain += ["--data.root", root, "--data.num_workers", "0", "--model.evaluation.prompts", "3"]
    return [*plain, "--trainer.enable_progress_bar", "false", *extra]


def test_an_untrained_plug_in_is_sam_itself_and_tables_say_untrained(
    hqseg_root, rgbx, tmp_path, capsys
):
    """The fresh mask decoder of `train: decoder` is SAM's own, without a plug-in."""
    found = {}
    for train in ("plugin", "decoder"):
        output = tmp_path / train
        arguments = options(hqseg_root, "--model.train", train, "--output", output)
        arguments += ["--model.train_decoder", "false"]
        assert rgbx("test", *arguments) == 0
        shown = capsys.readouterr().out
        assert "(untrained)" in shown
        found[train] = json.loads((output / "test.json").read_text())
        assert found[train]["checkpoint"] == {
            "file": "none",
            "sha256": "",
            "epoch": None,
            "step": None,
        }
        assert "untrained" in found[train]["protocol"]["choice"]
    plain = found["decoder"]["numbers"]
    for split, subsets in found["plugin"]["numbers"].items():
        for name, value in plain[split]["all"].items():
            assert subsets["all"][name] == pytest.approx(value, abs=1e-6), (split, name)
    assert rgbx("table", tmp_path / "plugin" / "test.json") == 0
    assert "StableSAM (untrained)" in capsys.readouterr().out
    assert rgbx("report", tmp_path / "plugin", "-o", tmp_path / "report") == 0
    assert "StableSAM (untrained)" in (tmp_path / "report" / "index.html").read_text()


def test_prediction_without_a_checkpoint(rgbx, tmp_path, put):
    put(
        tmp_path / "images" / "a.png",
        np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8),
    )
    prompts = {"a": [{"box": [5, 5, 40, 30]}]}
    (tmp_path / "images" / "prompts.json").write_text(json.dumps(prompts))
    assert rgbx("predict", *options(tmp_path / "images", "--data", "PromptFolder")) == 0
    (mask,) = tmp_path.glob("runs/StableSAM_untrained/predict_PromptFolder/masks/a_0.png")
    assert np.asarray(Image.open(mask)).shape == (40, 60)


def test_a_plug_in_that_starts_from_chance_has_to_be_trained(hqseg_root, rgbx, tmp_path, capsys):
    assert rgbx("test", *options(hqseg_root, "--model.plugin.init", "default")) == 1
    assert "`rgbx test` needs a checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_what_an_untrained_model_computes():
    torch.manual_seed(0)
    models = {}
    for train in ("plugin", "decoder", "token"):
        torch.manual_seed(1)
        models[train] = StableSAM(encoder="tiny", train=train).eval()
        assert StableSAM.predicts_untrained({"train": train})
    assert not StableSAM.predicts_untrained({"plugin": PluginConfig(init="default")})
    rgb = torch.randn(1, 3, 64, 64)
    prompts = [[{"box": torch.tensor([8.0, 8.0, 50.0, 40.0])}]]
    with torch.no_grad():
        masks = {train: model(rgb, prompts)[0] for train, model in models.items()}
    assert masks["decoder"].std() > 0
    torch.testing.assert_close(masks["plugin"], masks["decoder"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(masks["token"], masks["decoder"], atol=1e-5, rtol=1e-5)
