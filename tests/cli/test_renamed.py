"""Configurations and command lines with the names that options had before their groups."""

import pytest
import yaml

from rgbx.cli.config.parsed import parse_fit
from rgbx.cli.config.renamed import model_of, new_argument, with_new_names
from rgbx.errors import RGBXError

FORMER = {
    "class_path": "StableSAM",
    "init_args": {"encoder": "tiny", "eval_kinds": ["box"], "eval_prompts": 1, "use_drp": False},
}


def test_former_options_of_a_file_move_into_their_groups():
    content, said = with_new_names({"model": FORMER, "data": {"class_path": "MFNet"}})
    assert content["model"]["init_args"] == {
        "encoder": "tiny",
        "plugin": {"use_drp": False},
        "evaluation": {"kinds": ["box"], "prompts": 1},
    }
    assert said["model.eval_prompts"] == "model.evaluation.prompts" and len(said) == 3
    assert FORMER["init_args"]["eval_prompts"] == 1, "what was given is left as it is"


def test_the_new_name_counts_where_both_are_given():
    model = {"class_path": "rgbx.MCASAM", "init_args": {"queue": 4, "contrast": {"queue": 8}}}
    content, _ = with_new_names({"model": model})
    assert content["model"]["init_args"] == {"contrast": {"queue": 8}}


@pytest.mark.parametrize(
    ("former", "new"),
    [
        ("--model.queue=8", "--model.contrast.queue=8"),
        ("--model.eval_prompts", "--model.evaluation.prompts"),
        ("--model.init_args.use_dsp", "--model.init_args.plugin.use_dsp"),
        ("--model.layers=[1]", "--model.layers=[1]"),  # of two models
        ("--model.lora_rank=4", "--model.lora.rank=4"),
        ("--data.queue", "--data.queue"),
        ("--model.contrast.queue=8", "--model.contrast.queue=8"),
    ],
)
def test_former_options_of_a_command_line(former, new):
    assert new_argument(former) == new


def test_a_name_that_one_model_had_and_another_has():
    assert new_argument("--model.dice_weight", "TASeg") == "--model.loss.dice_weight"
    assert new_argument("--model.dice_weight", "StableSAM") == "--model.dice_weight"
    words = ["--data", "HQSeg44K", "--data.root", "x", "--model.dice_weight", "0.5"]
    model = parse_fit(["--model", "StableSAM", "--model.encoder", "tiny", *words]).model
    assert model.init_args.dice_weight == 0.5


def test_fit_takes_them_and_says_so(tmp_path):
    file = tmp_path / "former.yaml"
    data = {"class_path": "HQSeg44K", "init_args": {"root": "x"}}
    file.write_text(yaml.safe_dump({"model": FORMER, "data": data}))
    with pytest.warns(UserWarning, match=r"model\.use_drp is model\.plugin\.use_drp"):
        config = parse_fit(["--config", str(file), "--model.max_offset", "2.5"])
    options = config.model.init_args
    assert (options.plugin.use_drp, options.plugin.max_offset) == (False, 2.5)
    assert (options.evaluation.kinds, options.evaluation.prompts) == (["box"], 1)


def test_a_former_name_on_the_command_line_is_said():
    words = ["--model", "TASeg", "--data", "MFNet", "--data.root", "x", "--model.lora_alpha=64"]
    with pytest.warns(UserWarning, match=r"--model\.lora_alpha is --model\.lora\.alpha \(on"):
        config = parse_fit(words)
    assert config.model.init_args.lora.alpha == 64


def test_the_model_of_a_command_line(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"model": {"class_path": "rgbx.StableSAM"}}))
    assert model_of(["-c", str(file)]) == model_of([f"--config={file}"]) == "StableSAM"
    assert model_of(["--config", str(file), "--model", "TASeg"]) == "TASeg"
    assert model_of([]) == model_of(["--config"]) == ""


def test_an_error_of_a_name_that_another_model_had_says_that_it_was_typed():
    words = ["--model", "StableSAM", "--data", "HQSeg44K", "--data.root", "x"]
    with pytest.raises(RGBXError, match=r"dice_weight.*\(on the command line\)"):
        parse_fit([*words, "--model.dice_weight", "many"])
