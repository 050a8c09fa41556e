"""What Stable-SAM's plug-in is worth on real pairs, with a tiny SAM made here: two trainings.

    python tools/real_pairs.py SAMPLES OUT
    python tools/plugin_gain.py OUT/HQSeg --output gain

The public weights of SAM are no part of the project, and a random decoder knows no masks. So a
tiny SAM's decoder is first taught tight boxes on the training pairs (as SAM was), written as a
weight file, and frozen; then the plug-in is trained on it with prompts of mixed quality. Both are
asked the same prompts about the held-out pairs: the frozen SAM alone, and with its plug-in.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

from rgbx.cli import run
from rgbx.data import HQSeg44K
from rgbx.metrics.prompts import PromptScores
from rgbx.models import StableSAM
from rgbx.prompts import evaluation_prompts
from rgbx.tasks.base import resize

CONFIG = Path(__file__).resolve().parents[1] / "configs/demo/stable_sam.yaml"
KINDS = ("box", "noisy_box", "point_1", "point_3")
TIGHT_BOXES = {"box": 1, "noisy_box": 0, "points": 0, "coarse_mask": 0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="folder in the layout of HQSeg-44K")
    parser.add_argument("--output", type=Path, default=Path("gain"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--sam_epochs", type=int, default=150)
    parser.add_argument("--plugin_epochs", type=int, default=120)
    options = parser.parse_args()
    weights = options.output / "tiny_sam.pth"
    teacher = _fit(
        options,
        "sam",
        options.sam_epochs,
        "--model.train",
        "decoder",
        "--data.occlusion",
        "0",
        "--data.mixture",
        json.dumps(TIGHT_BOXES),
    )
    sam = StableSAM.load_from_checkpoint(teacher, map_location="cpu").network.sam
    torch.save(sam.export_state(), weights)
    trained = _fit(
        options,
        "plugin",
        options.plugin_epochs,
        "--model.train",
        "plugin",
        "--model.weights.path",
        str(weights),
        "--model.optimizer.init_args.lr",
        "1e-3",
        "--data.occlusion",
        "0.3",
        "--data.scale",
        "[0.4, 2.0]",
    )
    model = StableSAM.load_from_checkpoint(trained, map_location="cpu").eval()
    for plugin in (False, True):
        print("with the plug-in" if plugin else "the frozen SAM alone")
        for name, value in _scores(options, model, plugin).items():
            print(f"  {name:<18} {100 * value:6.2f}")
    print(f"attention: rgbx predict --visualize_attention true --ckpt_path {trained}")
    return 0


def _fit(options: argparse.Namespace, name: str, epochs: int, *extra: str) -> Path:
    """Train with the demo's settings; the last checkpoint."""
    folder = options.output / name
    status = run(
        [
            "fit",
            "--config",
            str(CONFIG),
            "--model.train_decoder",
            "false",
            "--data.root",
            str(options.root),
            "--data.size",
            f"[{options.size}, {options.size}]",
            "--data.batch_size",
            "4",
            "--data.val_share",
            "0",
            "--trainer.max_epochs",
            str(epochs),
            "--trainer.logger",
            "CSVLogger",
            "--trainer.logger.save_dir",
            str(folder),
            "--trainer.callbacks",
            "ModelCheckpoint",
            "--trainer.callbacks.filename",
            "last",
            "--trainer.callbacks.save_on_train_epoch_end",
            "true",
            *extra,
        ]
    )
    if status:
        sys.exit(status)
    return max(folder.rglob("last.ckpt"), key=lambda path: path.stat().st_mtime)


@torch.no_grad()
def _scores(options: argparse.Namespace, model: StableSAM, plugin: bool) -> dict[str, float]:
    """Scores of the held-out pairs."""
    size = (options.size, options.size)
    data = HQSeg44K(str(options.root), size=size, num_workers=0, val_share=0.0)
    data.setup("test")
    loaders = data.test_dataloader()
    scores = PromptScores(KINDS)
    for loader in loaders if isinstance(loaders, list) else [loaders]:
        for batch in loader:
            embedding, mask = model.embed(batch["rgb"]), batch["mask"][0].bool()
            masks = {}
            for kind in KINDS:
                count = 1 if kind == "box" else 20
                asked = evaluation_prompts(
                    batch["prompt_mask"][0, 0].numpy(), kind, count, f"HQSeg44K/{batch['name'][0]}"
                )
                logits = model.network.decode(embedding, asked, size, plugin=plugin)[0]
                masks[kind] = resize(logits, mask.shape)[:, 0] > 0
            scores.update(masks, mask)
    return scores.compute()


if __name__ == "__main__":
    sys.exit(main())
