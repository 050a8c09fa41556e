"""Promptable data in Lightning, and on real images."""

import runpy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from rgbx.cli.check_data import main as check_data
from rgbx.data import HQSeg44K
from rgbx.prompts import box_iou, evaluation_prompts, stack_prompts, tight_box

pytestmark = pytest.mark.filterwarnings("ignore:.*are usual:UserWarning", "ignore:.*are absent")
TOOL = Path(__file__).resolve().parents[2] / "tools/real_pairs.py"


class Recorder(LightningModule):
    """Trains one number and remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []
        self.validated = 0

    def training_step(self, batch, index):
        stacks = stack_prompts(batch["prompt"])
        self.seen.append((batch["name"], sum(len(stack.positions) for stack in stacks)))
        return ((self.weight - batch["mask"].mean()) ** 2).sum()

    def validation_step(self, batch, index):
        self.validated += 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(root, **options):
    model = Recorder()
    data = HQSeg44K(str(root), size=(64, 64), num_workers=0, batch_size=2, **options)
    Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
    ).fit(model, datamodule=data)
    return model


def test_lightning_trains_without_a_validation_set(hqseg_root):
    model = fit(hqseg_root)
    assert len(model.seen) == 8 and model.validated == 0
    epochs = [sorted(n for names, _ in model.seen[i : i + 4] for n in names) for i in (0, 4)]
    assert epochs[0] == epochs[1] and len(set(epochs[0])) == 8
    assert all(prompts == 2 for _, prompts in model.seen)


def test_lightning_validates_on_what_is_held_out(hqseg_root):
    model = fit(hqseg_root, val_share=0.25)
    assert len(model.seen) == 6 and model.validated == 2 * 2 + 1  # and one sanity step


@pytest.fixture(scope="module")
def real_root(samples, tmp_path_factory):
    """Mattes, camouflage, saliency and polyps as HQSeg-44K: 24 to train on, 8 held out."""
    root = tmp_path_factory.mktemp("real") / "HQSeg"
    assert runpy.run_path(str(TOOL))["write_hqseg"](samples, root) == (24, 8)
    return root


def test_real_images_hold_out_every_fourth(real_root):
    data = HQSeg44K(str(real_root), size=(256, 256), num_workers=0)
    assert data.test_splits == ("DIS",)
    train, test = ({r.name for r in data.find_records(s)} for s in ("train", "DIS"))
    assert (len(train), len(test)) == (24, 8) and not train & test
    kinds = {name.split("#")[0] for name in test}
    assert kinds == {"hq_am2k", "camouflage_person", "rgbd_ssd", "kvasir_seg"}


@pytest.mark.slow
def test_real_training_samples_have_objects_and_prompts(real_root):
    data = HQSeg44K(str(real_root), size=(256, 256), num_workers=0)
    data.setup("fit")
    dataset = data._sets["train"]
    for index in range(len(dataset)):
        sample = dataset[index]
        inside = sample["mask"][0] > 128 / 255
        assert inside.sum() >= 10
        prompt = sample["prompt"]
        if "box" in prompt:
            tight = tight_box(sample["mask"][0]).double().numpy()
            assert box_iou(prompt["box"].double().numpy()[None], tight)[0] >= 0.5
        elif "points" in prompt:
            assert all(inside[int(y), int(x)] for x, y in prompt["points"])
        else:
            assert prompt["mask"].shape == (1, 64, 64)


@pytest.mark.slow
def test_real_test_masks_and_prompts(real_root):
    data = HQSeg44K(str(real_root), size=(256, 256), num_workers=0)
    data.setup("test")
    for batch in data.test_dataloader():
        mask, small = batch["mask"][0], batch["prompt_mask"][0, 0]
        assert mask.shape == batch["size"][0]
        height, width = mask.shape
        scale = torch.tensor([width / 256, height / 256] * 2)
        for kind, count in (("box", 1), ("noisy_box", 3), ("point_10", 3)):
            assert len(evaluation_prompts(small, kind, count, batch["name"][0])) == count
        # stray hairs of a matte fade away at 256 px, so boxes agree roughly and areas well
        boxes = (tight_box(small) * scale).double().numpy()[None], tight_box(mask).double().numpy()
        assert box_iou(*boxes)[0] > 0.75
        assert float(small.mean()) == pytest.approx(float(mask.double().mean()), abs=0.02)


@pytest.mark.slow
def test_real_images_pass_check_data(real_root, tmp_path, capsys):
    arguments = ["--data", "HQSeg44K", "--data.root", str(real_root), "-o", str(tmp_path)]
    assert check_data(arguments) == 0
    assert "no problem found" in capsys.readouterr().out
