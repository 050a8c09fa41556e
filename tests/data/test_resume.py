"""Training that was interrupted goes on with the samples that had not been seen."""

import logging

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from rgbx.data import MFNet


class Recorder(LightningModule):
    """Notes epoch, batch, names and the very pixels of every batch it is trained on."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 2, 1)
        self.seen = []

    def training_step(self, batch, batch_idx):
        pixels = float(batch["rgb"].double().sum())
        self.seen.append((self.current_epoch, batch_idx, tuple(batch["name"]), pixels))
        return self.layer(batch["rgb"]).mean()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


@pytest.fixture(autouse=True)
def quiet():
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.pytorch.utilities")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def run(root, workers=0, resume=None, callbacks=(), **options):
    model = Recorder()
    data = MFNet(str(root), size=(32, 48), batch_size=2, num_workers=workers, seed=3)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, data, ckpt_path=resume)
    return model.seen


BATCH_END = {"every_n_train_steps": 1}
EPOCH_END = {"save_on_train_epoch_end": True}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("limit", "saves", "steps"),
    [
        ({"max_epochs": 3}, BATCH_END, (1, 3, 4, 6)),
        ({"max_epochs": 3}, EPOCH_END, (4, 8)),
        ({"max_epochs": None, "max_steps": 12}, BATCH_END, (2, 4, 7)),
        ({"max_epochs": None, "max_steps": 12}, EPOCH_END, (4, 8)),
        ({"max_epochs": 3, "val_check_interval": 0.5}, {}, (2, 4, 6)),
        ({"max_epochs": 3, "limit_train_batches": 3}, BATCH_END, (2, 3, 4)),
    ],
)
def test_resumed_run_sees_what_the_whole_run_sees(
    mfnet_root, tmp_path, workers, limit, saves, steps
):
    if workers and steps[0] != 1 and saves is not EPOCH_END:
        steps = steps[:1]  # starting workers takes time; the place found is the same
    save = ModelCheckpoint(str(tmp_path), filename="{step}", save_top_k=-1, **saves)
    whole = run(mfnet_root, callbacks=[save], **limit)
    assert len(whole) == 3 * limit.get("limit_train_batches", 4)
    for step in steps:
        resumed = run(mfnet_root, workers, tmp_path / f"step={step}.ckpt", **limit)
        assert resumed == whole[step:], f"resumed after step {step}"


def test_second_interruption_after_an_empty_epoch(mfnet_root, tmp_path):
    limit = {"max_epochs": None, "max_steps": 12}
    first = ModelCheckpoint(str(tmp_path / "a"), filename="{step}", save_top_k=-1, **EPOCH_END)
    whole = run(mfnet_root, callbacks=[first], **limit)
    second = ModelCheckpoint(str(tmp_path / "b"), filename="{step}", save_top_k=-1, **BATCH_END)
    run(mfnet_root, 0, tmp_path / "a" / "step=4.ckpt", callbacks=[second], **limit)
    assert run(mfnet_root, 0, tmp_path / "b" / "step=6.ckpt", **limit) == whole[6:]


def test_every_epoch_has_its_own_order_and_each_sample_once(mfnet_root):
    seen = run(mfnet_root, max_epochs=2)
    epochs = [[n for e, _, names, _ in seen if e == epoch for n in names] for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) and len(set(epochs[0])) == 8
    assert epochs[0] != epochs[1]
