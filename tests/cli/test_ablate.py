"""``rgbx ablate``: shipped files, one command per row, resuming, refusals, the table."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

import rgbx.models
from rgbx.cli.config.parsed import parse_fit
from rgbx.jobs import process as job_process
from rgbx.jobs.ablation import run as ablation_run
from rgbx.jobs.ablation.file import AblationRow, read_ablation, slug
from rgbx.jobs.ablation.job import Job, logger_overlay
from rgbx.jobs.folder import JobFolder
from rgbx.jobs.runner import Bar
from rgbx.jobs.settings import flat
from rgbx.results import load_published, tables_named
from tests.cli.conftest import CONFIGS, tiny
from tests.forked import Forked

pytestmark = pytest.mark.slow

FILES = sorted((CONFIGS / "ablations").glob("*.yaml"))
TABLES = {
    **{"samsod_table2": 4, "samsod_table3": 7, "taseg_table3": 7, "stable_sam_table5": 4},
    **{"stable_sam_table6": 10, "stable_sam_table7": 6, "stable_sam_table10": 9},
    **{"stable_sam_table11": 4, "mca_sam_components": 4, "unirgb_ir_flir": 4},
}


def jobs_of(file: Path, output: Path = Path("out")) -> list[Job]:
    ablation = read_ablation(file)
    config = file.parent / ablation.config
    content = yaml.safe_load(config.read_text())
    return [
        Job.of(row, 0, output, [(config, content)], ablation.base, ())
        for row in ablation.rows
        if row.runnable
    ]


# ---------------------------------------------------------------------- shipped files
def test_every_ablation_of_the_papers_is_shipped():
    assert {path.stem: len(read_ablation(path).rows) for path in FILES} == TABLES


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.stem)
def test_every_row_is_a_command_that_parses(file):
    if file.stem.startswith("mca_sam") and not hasattr(rgbx.models, "MCASAM"):
        pytest.skip("rgbx.models has no MCASAM")
    for job in jobs_of(file):
        parsed = parse_fit(job.checked)
        assert parsed.seed_everything == 0
        for key, value in job.row.overrides.items():
            part, _, rest = key.partition(".")
            where = parsed[part] if part == "trainer" else parsed[part].init_args
            found = where[rest]
            assert (list(found) if isinstance(found, tuple) else found) == value, key


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if not f.stem.startswith(("mca_sam", "unirgb_ir"))],
    ids=lambda p: p.stem,
)
def test_rows_are_those_that_the_paper_prints(file):
    ablation = read_ablation(file)
    published = load_published(ablation.paper)
    data = yaml.safe_load((file.parent / ablation.config).read_text())["data"]["class_path"]
    parts = tables_named(published, ablation.table, data)
    names = {row.published or row.name for row in ablation.rows}
    for part in parts:
        printed = {row.method: row for row in part.rows}
        if ablation.table == "10":  # gathered with Tables 1 and 2
            assert set(printed) - names == {"DT-SAM", "PT-SAM"} and names <= set(printed)
            continue
        assert names == set(printed)
        for row in ablation.rows:
            for name, value in flat(printed[row.published or row.name].settings).items():
                changed = {**ablation.base, **row.overrides}
                if f"model.{name}" in changed:
                    assert changed[f"model.{name}"] == value, (row.name, name)
    shown = ablation.splits or [part.split for part in parts]
    assert set(shown) <= {part.split for part in parts}


# ---------------------------------------------------------------------- parts
def test_folder_names():
    assert slug("SAM+VA, supervision and deconfliction") == "sam_va_supervision_and_deconfliction"
    assert slug("+ TC") == "tc" and slug("7") == "7" and slug("a/../b") == "a_.._b"


def test_loggers_lead_into_the_folder_of_the_row_and_others_stay():
    wandb = {"class_path": "WandbLogger", "init_args": {"offline": True}}
    loggers = [
        {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "x"}},
        {"class_path": "lightning.pytorch.loggers.TensorBoardLogger"},
        wandb,
    ]
    overlay = logger_overlay(loggers, Path("out/row/seed_3"))["trainer"]["logger"]
    where = {"save_dir": "out/row", "name": "seed_3", "version": 0}
    assert overlay == [
        {"class_path": "CSVLogger", "init_args": where},
        {"class_path": "TensorBoardLogger", "init_args": where},
        wandb,
    ]
    for none in (None, True, False):
        assert len(logger_overlay(none, Path("a/b"))["trainer"]["logger"]) == 2


def test_settings_are_flat_and_the_last_word_wins(tmp_path):
    config = tmp_path / "c.yaml"
    content = {"model": {"class_path": "M", "init_args": {"a": 1, "opt": {"lr": 1}}}}
    row = AblationRow("r", {"model.opt.init_args.lr": 2, "model.mix": {"x": 0}})
    extra = ["--model.a=5", "--data.root", "here", "--trainer.max_epochs", "3"]
    job = Job.of(row, 1, tmp_path, [(config, content)], {"model.a": 4}, extra)
    assert job.settings == {
        **{"model.class_path": "M", "model.a": 5, "model.opt.lr": 2, "model.mix.x": 0},
        **{"data.root": "here", "trainer.max_epochs": 3},
    }
    assert job.checked == [
        "--config",
        str(config),
        "--model.a",
        "4",
        *extra,
        "--model.opt.init_args.lr",
        "2",
        "--model.mix",
        '{"x": 0}',
        "--seed_everything",
        "1",
    ]


def test_states_of_a_row(tmp_path):
    folder = JobFolder(tmp_path / "row" / "seed_0")
    now = {"model.a": 1, "data.num_workers": 4}
    assert folder.state(now) == ("new", "")
    folder.write("running", now)
    assert folder.state(now)[0] == "interrupted"
    assert folder.state({**now, "data.num_workers": 8})[0] == "interrupted"
    other = {"model.a": 2, "model.b": None}
    assert folder.state(other) == ("new", "")  # nothing would be lost
    folder.write("failed", now, reason="no memory")
    assert folder.state(now) == ("failed", "no memory")
    (folder.run / "checkpoints").mkdir(parents=True)
    (folder.run / "checkpoints" / "last.ckpt").touch()
    assert folder.state(other) == (
        "changed",
        "model.a was 1 and is 2, model.b was not set and is null",
    )
    folder.write("trained", now)
    assert folder.state(now)[0] == "trained" and folder.chosen.name == "last.ckpt"
    (folder.run / "checkpoints" / "best.ckpt").touch()
    assert folder.chosen.name == "best.ckpt"
    (folder.run / "test_best").mkdir()
    (folder.run / "test_best" / "test.json").touch()
    folder.write("done", now)
    assert folder.state(now)[0] == "done"
    (folder.path / "state.json").write_text("{")
    assert folder.state(now) == ("changed", "state.json is damaged")
    assert folder.set_aside().name == "seed_0_before_1" and folder.state(now)[0] == "new"


def test_metrics_over_an_interruption_are_one_file(tmp_path):
    folder = JobFolder(tmp_path)
    folder.run.mkdir()
    metrics = folder.run / "metrics.csv"
    metrics.write_text("epoch,step,loss\n0,4,3.0\n0,9,2.0\n1,14,1.5\n1,1")
    folder.keep_metrics()
    assert not metrics.exists()
    metrics.write_text("epoch,extra,loss,step\n1,x,1.4,14\n1,y,1.2,19\n")
    folder.join_metrics()
    with metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["step"], r["loss"], r["extra"]) for r in rows] == [
        ("4", "3.0", ""),
        ("9", "2.0", ""),
        ("14", "1.4", "x"),
        ("19", "1.2", "y"),
    ]
    before = metrics.read_text()
    folder.keep_metrics()
    folder.keep_metrics()  # stopped again before anything was logged
    folder.join_metrics()
    assert metrics.read_text() == before


# ---------------------------------------------------------------------- bad input
GOOD = {
    **{"title": "t", "config": "c.yaml", "output": "o", "metrics": ["S"]},
    "rows": [{"name": "a", "overrides": {}}, {"name": "b", "overrides": {"model.x": 1}}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": []}, "rows is empty"),
        ({"metrics": []}, "metrics is empty"),
        ({"titel": 1}, "unknown key 'titel' (did you mean 'title'?)"),
        ({"rows": [{"overrides": {}}]}, "rows[0].name is missing"),
        (
            {"rows": [{"name": "A b"}, {"name": "a-B"}]},
            "'A b' and 'a-B' would share the folder a_b",
        ),
        ({"rows": [{"name": "a"}, {"name": "b"}]}, "'a' and 'b' have the same overrides"),
        ({"rows": [{"name": "--"}]}, "the row '--' has no letter or digit in its name"),
        ({"base": {"ckpt_path": "x"}}, "base sets ckpt_path, which `rgbx ablate` decides"),
        ({"base": {"trainer.logger.name": "x"}}, "base sets trainer.logger.name, which"),
        ({"base": {"lr": 1}}, "base sets 'lr', which is no dotted key of model, data or trainer"),
        ({"paper": "samsod", "table": "XX"}, "SAMSOD has no Table XX in published.yaml"),
        (
            {"paper": "samsod", "table": "II", "rows": [{"name": "a", "published": "SAM+AV"}]},
            "row 'a' names the printed row 'SAM+AV', which Table II does not have",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(rgbx, tmp_path, capsys, change, message):
    (tmp_path / "f.yaml").write_text(yaml.safe_dump({**GOOD, **change}))
    assert rgbx("ablate", "f.yaml") == 1
    error = capsys.readouterr().err
    assert error.startswith("rgbx: error: The ablation f.yaml cannot be used: ")
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere.yaml"], "There is no ablation file nowhere.yaml."),
        (["f.yaml"], "There is no configuration file c.yaml."),
        (["f.yaml", "--row", "aa"], "The ablation has no row 'aa'; did you mean 'a'?"),
        (["f.yaml", "--ckpt_path", "x"], "--ckpt_path is decided by `rgbx ablate`"),
        (["f.yaml", "--", "--seed_everything=1"], "for every row; use --seeds."),
        (["f.yaml", "--trainer.logger", "x"], "--trainer.logger: rows log into folders of their"),
        (["f.yaml", "another.yaml"], "'another.yaml' belongs to no option"),
        (["broken.yaml"], "The ablation broken.yaml, line 1, column 6 is no YAML"),
    ],
)
def test_wrong_arguments_are_one_sentence(rgbx, tmp_path, capsys, argv, message):
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(GOOD))
    (tmp_path / "broken.yaml").write_text("a: [1")
    assert rgbx("ablate", *argv) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


# ---------------------------------------------------------------------- the whole command
@pytest.fixture(autouse=True)
def _children_find_the_tests(monkeypatch):
    """Callbacks of the tests are imported by the processes that train."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def ablation(tmp_path, vt5000_root) -> list[str]:
    """An ablation of two rows on generated data, and options that make it tiny."""
    rows = [
        {"name": "SAM+VA", "overrides": {"model.adapter": "vanilla", "model.surgery": None}},
        {"name": "SAM+DA", "overrides": {"model.surgery": None}},
        {"name": "another", "runnable": False, "note": "not part of rgbx"},
    ]
    content = {
        **{"title": "two rows", "paper": "samsod", "table": "II", "output": "out"},
        **{"config": str(CONFIGS / "samsod_vt5000.yaml"), "metrics": ["S", "MAE"], "rows": rows},
    }
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(content))
    options = tiny("samsod_vt5000.yaml", vt5000_root)[2:]  # without the configuration
    return ["f.yaml", *options, "--trainer.max_epochs", "2", "--trainer.precision", "32-true"]


def test_a_command_that_no_row_could_run_leaves_everything_as_it_is(rgbx, ablation, capsys):
    assert rgbx("ablate", *ablation, "--model.adaptr", "x") == 1
    assert "Row 'SAM+VA': SAMSOD has no option `adaptr`; did you mean `adapter`?" in (
        capsys.readouterr().err
    )
    assert not Path("out").exists()


def test_dry_run_says_what_would_be_done(rgbx, ablation, capsys):
    assert rgbx("ablate", *ablation, "--dry_run", "--seeds", "0", "1", "--row", "SAM+DA") == 0
    out = capsys.readouterr().out
    assert "SAM+DA, seed 0: to be trained" in out and "SAM+DA, seed 1: to be trained" in out
    assert "SAM+VA" not in out and "--seed_everything 1" in out
    assert not Path("out").exists()


def test_killed_resumed_and_in_a_table(rgbx, ablation, tmp_path, capfd, monkeypatch):
    """Kill -9 in the second epoch; the row goes on from the first, and is not done twice.

    What trains are processes as users have them, what tests is forked.
    """
    killer = threading.Thread(target=_kill_what_hangs, args=(tmp_path / "hanging",))
    killer.start()
    slow = "--trainer.callbacks+=tests.cli.stopping.HangInSecondEpoch"
    assert rgbx("ablate", *ablation, "--row", "SAM+VA", slow) == 1
    killer.join()
    folder = JobFolder(Path("out/sam_va/seed_0"))
    record = json.loads((folder.path / "state.json").read_text())
    killed = "it was killed by SIGKILL (memory may have run out)"
    assert (record["status"], record["reason"]) == ("failed", killed)
    assert folder.last and not folder.test
    assert f"failed: SAM+VA, seed 0: {killed}" in capfd.readouterr().out
    assert f"- SAM+VA: seed 0 failed: {killed}." in Path("out/table.md").read_text()
    assert rgbx("ablate", *ablation) == 1  # the callback that hung is part of the settings
    assert "Row 'SAM+VA' cannot go on in out/sam_va/seed_0" in capfd.readouterr().err
    del record["settings"]["trainer.callbacks+"]
    (folder.path / "state.json").write_text(json.dumps(record))

    started = subprocess.Popen

    def popen(argv, **more):
        return (Forked if "test" in argv[:4] else started)(argv, **more)

    monkeypatch.setattr(job_process.subprocess, "Popen", popen)
    assert rgbx("ablate", *ablation, "--row", "SAM+VA") == 0
    out, error = capfd.readouterr()
    assert "Restored all states from the checkpoint at out/sam_va" in out + error
    with (folder.run / "metrics.csv").open() as file:
        assert {row["epoch"] for row in csv.DictReader(file)} == {"0", "1"}
    assert json.loads(folder.test.read_text())["settings"]["trainer.max_epochs"] == 2
    with Path("out/table.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert [row[:2] for row in rows] == [["SAM+VA", "rgbx"], ["SAM+VA", "published"]]
    assert rows[1][2:4] == [".923", ".021"] and rows[0][2] != "-"
    assert r"\textit{SAM+VA} & \textit{published}" in Path("out/table.tex").read_text()
    assert Path("out/table.html").is_file()

    tested = folder.test.stat().st_mtime_ns
    assert rgbx("ablate", *ablation, "--row", "sam_va") == 0
    assert "SAM+VA, seed 0: done before" in capfd.readouterr().out
    assert folder.test.stat().st_mtime_ns == tested


def test_the_plan_has_the_table_of_what_is_there(rgbx, ablation, capsys):
    assert rgbx("ablate", *ablation, "--dry_run") == 0
    out = capsys.readouterr().out
    assert "another: not part of rgbx." in out
    assert ".923 .021  .940 .015  .915 .025" in out


def _kill_what_hangs(flag: Path) -> None:
    """Kill -9 the training that writes its process into a file and hangs."""
    deadline = time.monotonic() + 600
    while not (flag.exists() and flag.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(int(flag.read_text()), signal.SIGKILL)


def test_a_row_that_another_process_holds_is_waited_for(tmp_path, monkeypatch):
    """The other process finishes it, so that nothing is started."""
    job = jobs_of(FILES[0], tmp_path)[0]
    gate, folder = tmp_path / "gate", job.folder.path
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(job.settings, default=str))
    code = (
        "import fcntl, json, os, sys, time; from pathlib import Path\n"
        "from rgbx.jobs.folder import JobFolder\n"
        "folder = JobFolder(Path(sys.argv[1]))\n"
        "lock = (folder.path / '.lock').open('w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "folder.note_owner(os.getpid())\n"
        "print('held', flush=True)\n"
        "while not Path(sys.argv[2]).exists(): time.sleep(0.02)\n"
        "(folder.run / 'test_best').mkdir(parents=True)\n"
        "(folder.run / 'test_best/test.json').touch()\n"
        "folder.write('done', json.loads((folder.path / 'settings.json').read_text()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(gate)],
        env=environment,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    said = []

    def heard(_, text):  # the other one ends only once it is waited for
        said.append(text)
        if "waiting" in text:
            gate.touch()

    monkeypatch.setattr(Bar, "say", heard)
    monkeypatch.setattr(ablation_run, "start", pytest.fail)
    assert ablation_run.run_rows([job]) == {}
    assert holder.wait() == 0
    (text,) = [text for text in said if "waiting" in text]
    assert text.startswith(f"{job.title}: another process (id {holder.pid}) is at work on it")


def test_two_workers_run_rows_side_by_side(rgbx, ablation, tmp_path, capfd, monkeypatch):
    """Both seeds are trained before one is tested, without a word on the terminal."""
    monkeypatch.setattr(job_process.subprocess, "Popen", Forked)
    argv = [*ablation, "--row", "SAM+VA", "--seeds", "0", "1", "--workers", "2"]
    assert rgbx("ablate", *argv) == 0
    out = capfd.readouterr().out
    order = [
        out.index(f"SAM+VA, seed {s}: {word}") for s in (0, 1) for word in ("running", "testing")
    ]
    assert max(order[0], order[2]) < min(order[1], order[3])  # both began before one was tested
    assert "Epoch" not in out
    for seed in (0, 1):
        folder = JobFolder(Path(f"out/sam_va/seed_{seed}"))
        assert json.loads(folder.test.read_text())["seed"] == seed
    assert "rgbx, 2 seeds" in out or "±" in out


def test_fewer_than_one_worker_is_refused(rgbx, ablation, capsys):
    assert rgbx("ablate", *ablation, "--workers", "0") != 0
    assert "--workers is 0" in capsys.readouterr().err
