"""``rgbx profile`` from the command line."""

import csv
import io
import re
import warnings
from functools import partial

import pytest
import torch

from rgbx.checkpoints.load import load_checkpoint
from rgbx.cli.config.built import Built
from rgbx.cli.profile import _operations
from rgbx.errors import RGBXError
from rgbx.profile import measured as measuring
from rgbx.profile.cost_table import Costs, cost_table, rounded
from rgbx.profile.costs import Operations
from rgbx.profile.measured import Measured, measured
from rgbx.results import load_published
from tests.cli.conftest import CONFIGS
from tests.cli.killed import killed

pytestmark = pytest.mark.slow

DEMO = str(CONFIGS / "demo/samsod_vt5000.yaml")
SMALL = ["--size", "64", "96", "--passes", "3"]
TABLE_1 = {"SAMSOD-large": ["224.1", "418.0", "6.4"], "SAMSOD-tiny": ["32.7", "60.4", "23.1"]}


def numbers(text: str, heading: str) -> dict[str, float]:
    """The lines ``name  number unit`` below a heading."""
    lines = text[text.index(heading) :].split("\n\n")[0].splitlines()[1:]
    found = (re.match(r"  (\S.*?)  +([\d.]+)", line) for line in lines)
    return {match[1]: float(match[2]) for match in found if match}


def test_the_whole_command(rgbx, capfd):
    with pytest.warns(UserWarning, match="measured on a CPU: they cannot be compared"):
        assert rgbx("profile", "--config", DEMO, *SMALL, "--batch", "2") == 0
    out = capfd.readouterr().out
    parts = numbers(out, "SAMSOD: parameters")
    own = sum(parts[name] for name in ("RGB adapters", "X adapters", "mask decoder"))
    assert own == pytest.approx(parts["trainable"], abs=2e-4)
    assert parts["trainable"] + parts["frozen"] == pytest.approx(parts["total"], abs=2e-4)
    counted = numbers(out, "operations, one image, 64 x 96 (height x width)")
    flops, total = counted.pop("FLOPs, 2 x MAC"), counted.pop("total")
    assert sum(counted.values()) == pytest.approx(total, abs=3e-4)
    assert flops == pytest.approx(2 * total, abs=3e-4) and "not counted: norms" in out
    here = numbers(out, "CPU, 1 thread, precision 32-true, batch 2")
    assert 0.002 < here["peak memory"] < 0.5 and here["frames per second"] > 0
    assert "median of 3 passes" in out
    assert re.search(r"SAMSOD-large \(published\) +224\.1 +- +418\.0 +- +6\.4", out)
    assert re.search(rf"SAMSOD tiny, MAC +{parts['total']:.4f} ", out)


def test_the_table_alone(rgbx, capfd, monkeypatch):
    here = Measured("cuda", "a GPU", "bf16-mixed", 4, [0.5, 0.25, 0.2], 3 * 10**9)
    monkeypatch.setattr(measuring, "measured", lambda *_: here)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # that of a CPU is not for a GPU
        assert rgbx("profile", "--config", DEMO, "--format", "csv") == 0
    out = capfd.readouterr().out
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["Model", "Params (M)", "Trainable (M)", "FLOPs (G)", "Memory (GB)", "FPS"]
    mac, twice = rows[1:3]
    assert (mac[0], twice[0]) == ("SAMSOD tiny, MAC", "SAMSOD tiny, 2 x MAC")
    assert float(twice[3]) == pytest.approx(2 * float(mac[3]), rel=1e-3)
    assert mac[4:] == twice[4:] == ["3.00", "16.00"]  # 4 images in 0.25 s
    published = {row[0].removesuffix(" (published)"): row for row in rows[3:]}
    assert [*published][:2] == [*TABLE_1]
    assert {name: [published[name][i] for i in (1, 3, 5)] for name in TABLE_1} == TABLE_1


def measure(options, batch=1, checkpoint=None):
    """In this process, three passes on one thread."""
    build = partial(Built, options, checkpoint is not None, checkpoint=checkpoint)
    return measuring._measure(build, batch, 3, threads=1)


def made_costs():
    parts = {"head": 80_000, "frozen": 312_000_000}
    here = Measured("cpu", "CPU, 2 threads", "32-true", 1, [2.0], None)
    return Costs(
        "Model tiny", (32, 64), "image", parts, Operations(2 * 10**9, 4 * 10**9, 10**9, 0), here
    )


@pytest.mark.parametrize(
    ("paper", "cells"),
    [
        ("taseg", ("TASeg at 640x480 (published)", "-", "28.77", "-", "-", "4.65")),
        ("stable_sam", ("Stable-SAM-L at 1024x1024 (published)", "-", "-", "-", "-", "5.0")),
        ("samsod", ("SAMSOD-large (published)", "224.1", "-", "418.0", "-", "6.4")),
    ],
)
def test_published_costs_stand_below(paper, cells):
    table = cost_table(made_costs(), load_published(paper))
    assert table.rows[0].cells == ("Model tiny, MAC", "312.1", "0.08000", "3.500", "-", "0.5000")
    assert table.rows[1].cells[3] == "7.000" and table.rows[2].cells == cells
    assert all(row.published for row in table.rows[2:])
    assert "here 0.5000 G MAC" in table.notes[0] and "CPU, 2 threads" in table.notes[1]


def test_a_model_without_published_costs_stands_alone():
    assert len(cost_table(made_costs(), None).rows) == 2
    assert [rounded(x) for x in (0, 0.08183, 24.0, 224.154, 5e5)] == [
        "0",
        "0.08183",
        "24.00",
        "224.2",
        "500000",
    ]


@pytest.mark.parametrize(
    ("config", "options", "x"),
    [
        ("demo/stable_sam.yaml", ["--trainer.precision", "bf16-true"], False),
        ("demo/tasseg_mfnet.yaml", ["--model.fusion", "none"], False),
        ("demo/unirgb_ir_mfnet.yaml", [], True),
    ],
)
def test_dummy_inputs_and_raw_outputs_of_every_task(config, options, x):
    """With prompts, without X, with both."""
    options = ["--config", str(CONFIGS / config), "--data.size", "[64, 64]", *options]
    built = Built(options, weights=False)
    inputs = built.model.eval().dummy_inputs(built.size, batch=2)
    assert ("x" in inputs) is x
    assert len(inputs.get("prompts", ())) == (2 if "stable" in config else 0)
    with torch.no_grad():
        logits = built.model.raw_output(inputs)
    assert [tuple(found.shape[-2:]) for found in logits] == [(64, 64)] * 2
    here = measure(options, batch=2)
    assert (here.device, here.name, here.batch) == ("cpu", "CPU, 1 thread", 2)
    assert here.precision == ("bf16-true" if "bf16-true" in options else "32-true")
    assert len(here.seconds) == 3


def test_prompts_are_part_of_the_count():
    """Of an image with one box: encoder and decoder."""
    options = ["--config", str(CONFIGS / "stable_sam_hqseg44k_vit_b.yaml")]
    built = Built(options, weights=False, device="meta")
    gmac = _operations(built).macs / 1e9
    encoder = 486.04
    assert encoder + 1 < gmac < encoder + 6
    assert built.size == (1024, 1024) and built.model.input_text == "image with a prompt"
    assert next(built.model.parameters()).is_meta


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--config", "absent.yaml"], "There is no configuration file .*absent.yaml"),
        ([], "Missing: `data`, `model`. Give a configuration"),
        ([DEMO], "samsod_vt5000.yaml stands alone: give a configuration with --config"),
        (["-c", DEMO, "--size", "100", "160"], r"next valid size is \[128, 160\]"),
        (["-c", DEMO, "--size", "0"], "--size: 0 is no whole number of 1 or more"),
        (["-c", DEMO, "--size", "64", "64", "3"], "--size is 64 64 3: give height and width"),
        (["-c", DEMO, "--size", "64.5"], r"--size: 64\.5 is no whole number"),
        (["-c", DEMO, "--batch", "0"], "--batch: 0 is no whole number of 1 or more"),
        (["-c", DEMO, "--passes", "two"], "--passes: two is no whole number"),
        (["-c", DEMO, "--ckpt_path", "no.ckpt"], "There is no checkpoint no.ckpt"),
        (["-c", DEMO, "--model.encodr", "x"], "SAMSOD has no option `encodr`; did you mean"),
        (["-c", DEMO, "--sise", "64"], "There is no key `sise`"),
        (["-c", DEMO, "--trainer.accelerator", "gpu"], "this machine has no GPU"),
    ],
)
def test_what_cannot_be_is_one_sentence(rgbx, capfd, options, sentence):
    if "gpu" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert rgbx("profile", *options) in (1, 2)
    err = capfd.readouterr().err.strip().splitlines()
    assert err[-1].startswith("rgbx: error: ") and re.search(sentence, err[-1])
    assert len([line for line in err if "warning" not in line]) == 1


def test_an_image_that_is_too_large_is_one_sentence():
    options = ["--config", DEMO, "--data.size", "[64, 64]"]
    with pytest.raises(RGBXError, match="not enough memory: lower --batch or --size"):
        measure(options, batch=10**9)


def test_a_measurement_that_is_killed_is_one_sentence(monkeypatch):
    monkeypatch.setattr(measuring, "_measure", killed)
    with pytest.raises(RGBXError, match="killed, most likely for want of memory: lower --batch"):
        measured(dict)  # the new process then has nothing heavy to import


def test_trained_weights_are_measured_or_refused(rgbx, vt5000_root, tmp_path):
    data = ["--config", DEMO, "--data.root", str(vt5000_root), "--data.size", "[64, 64]"]
    short = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1"]
    quiet = ["--trainer.limit_val_batches", "0", "--trainer.logger", "CSVLogger"]
    assert rgbx("fit", *data, *short, *quiet, "--trainer.logger.save_dir", str(tmp_path)) == 0
    checkpoint = next(tmp_path.rglob("last.ckpt"))
    here = measure(data, checkpoint=checkpoint)
    assert len(here.seconds) == 3
    trained = torch.load(checkpoint, weights_only=True)["state_dict"]
    model = Built(data).model
    load_checkpoint(model, checkpoint)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in trained.items())
    other = Built(["--config", str(CONFIGS / "demo/stable_sam.yaml")]).model
    with pytest.raises(RGBXError, match="SAMSOD"):
        load_checkpoint(other, checkpoint)
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(RGBXError, match=r"damaged.ckpt .*cannot be read as a checkpoint"):
        load_checkpoint(model, damaged)
