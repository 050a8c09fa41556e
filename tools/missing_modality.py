"""What training without a modality now and then is worth where one is missing, on generated scenes.

    python tools/missing_modality.py [--root demo] [--rgb 0.25] [--x 0.25] [--epochs 32]

Trains the demo's TASeg twice from the same seed, plainly and with ``data.drop``, tests both with
``--missing true``, and prints mIoU with both cameras, without RGB and without X, and what is lost.
About four minutes on two cores.
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rgbx.cli import run

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "demo" / "tasseg_mfnet.yaml"


def tested(root: Path, name: str, epochs: int, options: list[str]) -> dict[str, float]:
    """Train and test once; mIoU in percent of every input."""
    runs, output = root / "runs" / f"missing_{name}", root / f"missing_{name}"
    common = ["--config", str(CONFIG), "--data.root", str(root / "MFNet")]
    fit = [*common, *options, "--trainer.max_epochs", str(epochs)]
    fit += ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(runs)]
    if status := run(["fit", *fit]):
        raise SystemExit(status)
    newest = max(runs.rglob("best.ckpt"), key=lambda path: path.stat().st_mtime)
    test = [*common, "--ckpt_path", str(newest), "--missing", "true", "--output", str(output)]
    if status := run(["test", *test]):
        raise SystemExit(status)
    found = json.loads((output / "test.json").read_text())
    inputs = {"both": found["numbers"], **found["missing"]}
    return {name: 100 * scores["test"]["all"]["miou"] for name, scores in inputs.items()}


def main() -> None:
    """Run both trainings and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("demo"))
    parser.add_argument("--rgb", type=float, default=0.25, help="share that loses RGB")
    parser.add_argument("--x", type=float, default=0.25, help="share that loses X")
    parser.add_argument("--epochs", type=int, default=32)
    given = parser.parse_args()
    if not (given.root / "MFNet").is_dir():
        run(["make-demo-data", "--layout", "mfnet", "--root", str(given.root / "MFNet")])
    drop = ["--data.drop.rgb", str(given.rgb), "--data.drop.x", str(given.x)]
    table = Table(title="mIoU (%) on generated scenes")
    for heading in ("trained", "both", "without RGB", "without X", "lost on average"):
        table.add_column(heading, justify="left" if heading == "trained" else "right")
    for name, options in (("plainly", []), (f"drop {given.rgb:g}/{given.x:g}", drop)):
        scores = tested(given.root, name.split()[0], given.epochs, options)
        lost = scores["both"] - (scores["rgb"] + scores["x"]) / 2
        table.add_row(name, *(f"{value:.2f}" for value in (*scores.values(), lost)))
    Console().print(table)


if __name__ == "__main__":
    main()
