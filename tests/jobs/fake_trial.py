"""A trial without torch: ``fake_trial.py FOLDER fit --key=value ...`` behaves as `rgbx fit` does.

``--score`` is what it logs; ``--epochs``, ``--pause`` (seconds per epoch), ``--slope`` (added per
epoch), ``--fails``, ``--metric``, ``--kill_at`` (kills itself there, once), ``--hangs_below``
(waits for ever after two epochs) and ``--gate`` (a file that trials above ``--gate_above`` wait
for after their first epoch) say how.
"""

import csv
import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from rgbx.cli import sweep_child
from rgbx.errors import RGBXError


def fit(argv: list[str]) -> None:
    assert argv[0] == "fit"
    options = dict(token[2:].split("=", 1) for token in argv if "=" in token)
    overlay = yaml.safe_load(Path(argv[argv.index("--config") + 1]).read_text())
    where = overlay["trainer"]["logger"][0]["init_args"]
    run = Path(where["save_dir"], where["name"], f"version_{where['version']}")
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    start = 0
    if "--ckpt_path" in argv:
        start = json.loads(Path(argv[argv.index("--ckpt_path") + 1]).read_text())
        (run / "metrics.csv").unlink(missing_ok=True)
    with (run.parent / "starts").open("a") as file:
        file.write(f"{start}\n")
    if "fails" in options and options["fails"] == options["score"]:
        raise RGBXError("this one fails.")
    for epoch in range(start, int(options.get("epochs", 1))):
        value = float(options["score"]) + epoch * float(options.get("slope", 0))
        new = not (run / "metrics.csv").exists()
        with (run / "metrics.csv").open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(("epoch", "step", options.get("metric", "val/miou")))
            writer.writerow((epoch, epoch, value))
        (run / "checkpoints" / "last.ckpt").write_text(str(epoch + 1))
        once = run.parent / "killed"
        if options.get("kill_at") == options["score"] and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if epoch == 1 and value < float(options.get("hangs_below", 0)):
            time.sleep(600)
        if epoch == 0 and "gate" in options and value > float(options["gate_above"]):
            wait_for(Path(options["gate"]))
        time.sleep(float(options.get("pause", 0)))


def wait_for(gate: Path) -> None:
    end = time.monotonic() + 600  # a test that failed leaves nobody waiting for ever
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.02)


def main(argv: list[str]) -> None:
    try:
        fit(list(argv))
    except RGBXError as error:
        print(f"rgbx: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    sweep_child.main = main
    sys.exit(sweep_child.run_child(Path(sys.argv[1]), sys.argv[2:]))
