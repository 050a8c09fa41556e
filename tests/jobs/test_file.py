"""What a sweep file may say, and one sentence for every mistake in it."""

import math
import subprocess
import sys

import pytest

from rgbx.errors import RGBXError
from rgbx.jobs.sweep import EarlyStop, read_command, read_sweep
from rgbx.jobs.sweep.grid import next_combination


def test_distributions_have_the_ends_and_kinds_of_wandb(write):
    kinds = {
        "constant": {"value": 3},
        "choice": {"values": [True, None, [1, 2], "a"]},
        "whole": {"min": 2, "max": 5},
        "real": {"min": 2, "max": 5.5},
        "log": {"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1},
        "exponents": {"distribution": "log_uniform", "min": -3, "max": 0},
        "tenths": {"distribution": "q_uniform", "min": 0.05, "max": 0.32, "q": 0.1},
        "eights": {"distribution": "q_log_uniform_values", "min": 8, "max": 64, "q": 8},
    }
    file = read_sweep(write(kinds, method="random"))
    ends = {parameter.name: parameter.ends for parameter in file.parameters}
    assert ends == {
        "constant": (3, 3),
        "choice": (True, "a"),
        "whole": (2, 5),
        "real": (2.0, 5.5),
        "log": (1e-5, 0.1),
        "exponents": (pytest.approx(math.exp(-3)), 1.0),
        "tenths": (0.1, 0.3),
        "eights": (8, 64),
    }
    by_name = {parameter.name: parameter for parameter in file.parameters}
    assert by_name["whole"].value(3.0) == 3 and isinstance(by_name["whole"].value(3.0), int)
    assert [by_name["eights"].value(drawn) for drawn in (8.0, 13.0, 60.1, 64.0)] == [8, 16, 64, 64]
    assert by_name["tenths"].value(0.30000000000000004) == 0.3
    assert [parameter.log for parameter in file.parameters] == [False] * 4 + [True] * 2 + [
        False,
        True,
    ]
    assert file.grid_size == 0
    assert [parameter.name for parameter in file.varied] == list(kinds)[1:]


def test_nested_parameters_become_one_value_of_the_outermost_key(write):
    nested = {
        "model": {
            "parameters": {
                "lora_rank": {"values": [4, 8]},
                "optimizer": {"parameters": {"lr": {"value": 1e-5}}},
            }
        },
        "data.size": {"values": [[64, 96]]},
    }
    file = read_sweep(write(nested, ("--config", "a.yaml")))
    assert [p.name for p in file.parameters] == [
        "model.lora_rank",
        "model.optimizer.lr",
        "data.size",
    ]
    options = read_command(file).options(file.values({"model.lora_rank": "8"}), ["--extra", "1"])
    assert options == [
        "--config",
        "a.yaml",
        "--extra",
        "1",
        "--model={'lora_rank': 8, 'optimizer': {'lr': 1e-05}}",
        "--data.size=[64, 96]",
    ]


def test_hyperband_cuts_at_the_same_places_as_wandb(write):
    def early(**more):
        return read_sweep(write(early_terminate={"type": "hyperband", **more})).early

    assert early(min_iter=4) == EarlyStop(4, 3)
    assert early(min_iter=4, eta=2, strict=True) == EarlyStop(4, 2)
    assert early(max_iter=27, s=2) == EarlyStop(3, 3)  # W&B's own example: cuts at 9 and 3
    assert early(max_iter=45, s=2, eta=3) == EarlyStop(5, 3)


def test_grid_names_every_combination_once(write):
    file = read_sweep(write({"a": {"values": ["x", "y"]}, "b": {"min": 1, "max": 3}}))
    tried = []
    while (found := next_combination(file.varied, tried)) is not None:
        tried.append(found)
    pairs = [("x", 1.0), ("x", 2.0), ("x", 3.0), ("y", 1.0), ("y", 2.0), ("y", 3.0)]
    assert [(one["a"], one["b"]) for one in tried] == pairs
    assert file.grid_size == 6


def test_the_command_may_set_variables_and_name_the_program_otherwise(write, monkeypatch):
    monkeypatch.setenv("RGBX_CONFIG_NAME", "b.yaml")
    command = ["${env}", "OMP_NUM_THREADS=2", "${interpreter}", "-m", "${program}", "fit"]
    command += ["--config", "configs/${envvar:RGBX_CONFIG_NAME}", "${args_no_equals}", "--x", "1"]
    found = read_command(read_sweep(write(command=command)))
    assert found.environment == {"OMP_NUM_THREADS": "2"}
    assert found.options({("a",): 0.5, ("b", "c"): None}) == [
        "--config",
        "configs/b.yaml",
        "--a",
        "0.5",
        "--b",
        "{'c': None}",
        "--x",
        "1",
    ]


ONE = {"values": [1, 2]}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"methd": "grid"}, "the key 'methd' is unknown; did you mean method"),
        ({"drop": ("method",)}, "it lacks method"),
        ({"drop": ("parameters",)}, "it lacks parameters"),
        ({"drop": ("metric",)}, "it lacks metric"),
        ({"drop": ("command",)}, "it lacks command, the list ${env}, rgbx, fit"),
        ({"method": "genetic"}, "method is 'genetic'; known are grid, random, bayes"),
        ({"metric": "val/miou"}, "metric needs a name, as validation logs it, and a goal"),
        ({"metric": {"name": "a", "goal": "max"}}, "goal of metric is 'max'; known are minimize"),
        (
            {"metric": {"name": "a", "gaol": 1}},
            "the key 'gaol' of metric is unknown; did you mean goal",
        ),
        ({"parameters": {"a": 3}}, "parameter a needs value, values, or min and max"),
        ({"parameters": {"a": {"min": 1}}}, "parameter a needs value, values, or min and max"),
        ({"parameters": {"a": {"valeus": [1]}}}, "parameter a has 'valeus', which `rgbx sweep`"),
        ({"parameters": {"a": {"values": []}}}, "values of parameter a is no list of values"),
        ({"parameters": {"a": {"min": 3, "max": 3}}}, "min (3) is not below max (3)"),
        (
            {"parameters": {"a": {"min": "1e-5", "max": 1}}},
            "is the text '1e-5': YAML wants a point",
        ),
        (
            {"parameters": {"a": {"distribution": "normal", "mu": 0, "sigma": 1}}},
            "parameter a has the distribution 'normal'; known are constant",
        ),
        (
            {"parameters": {"a": {"distribution": "beta", "min": 0, "max": 1}}},
            "parameter a has the distribution 'beta'; known are constant, categorical",
        ),
        (
            {"parameters": {"a": {"distribution": "log_uniform_values", "min": 0, "max": 1}}},
            "parameter a is log_uniform_values, so min has to be above 0",
        ),
        (
            {"parameters": {"a.b": ONE, "a": {"parameters": {"b": ONE}}}},
            "parameter a.b is there twice",
        ),
        (
            {"parameters": {"lr": {"min": 0.1, "max": 0.2}}},
            "method is grid, so lr needs values, or a range of integers",
        ),
        ({"early_terminate": {"type": "median"}}, "early_terminate needs type: hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter, or max_iter and s"),
        (
            {"early_terminate": {"type": "hyperband", "max_iter": 9}},
            "early_terminate has max_iter, so it needs s",
        ),
        ({"early_terminate": {"type": "hyperband", "min_iter": 0}}, "min_iter is 0, but has to be"),
        ({"run_cap": "many"}, "run_cap is 'many', but has to be an integer above 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_in_the_file_is_one_sentence(more, sentence, write):
    path = write(**more)
    with pytest.raises(RGBXError) as error:
        read_sweep(path)
    assert str(error.value).startswith(f"The sweep {path} cannot be used: ")
    assert sentence in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["${env}", "rgbx", "test", "${args}"], "does not run `rgbx fit`"),
        (["python", "train.py", "fit", "${args}"], "runs 'train.py' instead of `rgbx fit`"),
        (["${env}", "fit", "${args}"], "does not run `rgbx fit`"),
        (["rgbx", "fit"], "needs ${args} once"),
        (["rgbx", "fit", "${args_json}"], "has ${args_json}, but `rgbx fit` reads ${args}"),
        (["rgbx", "fit", "${args}", "${args}"], "needs ${args} once"),
    ],
)
def test_a_command_that_is_not_rgbx_fit_is_refused(command, sentence, write):
    file = read_sweep(write(command=command))
    with pytest.raises(RGBXError) as error:
        read_command(file)
    assert str(error.value).startswith(f"The command of {file.path} ")
    assert sentence in str(error.value)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(RGBXError, match=r"There is no sweep file .*none\.yaml"):
        read_sweep(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\nb: {")
    with pytest.raises(RGBXError, match=r"broken\.yaml, line 2, .* is no YAML"):
        read_sweep(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(RGBXError, match="cannot be used: it holds no keys"):
        read_sweep(tmp_path / "list.yaml")


@pytest.mark.parametrize("argv", [["--help"], ["none.yaml"], ["FILE"]], ids=lambda argv: argv[0])
def test_help_and_errors_in_the_file_need_no_torch(argv, write):
    argv = [str(write(methd=1)) if word == "FILE" else word for word in argv]
    code = (
        "import sys; from rgbx.cli import main\n"
        f"try: main(['sweep', *{argv!r}])\n"
        "except SystemExit as end: print(end.code)\n"
        "print({'torch', 'lightning', 'optuna'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert (done.stdout.splitlines()[-2], done.stderr.count("\n")) == (
        ("0", 0) if argv == ["--help"] else ("1", 1)
    )
