"""Training that was interrupted goes on with the samples that had not been seen."""

import logging

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint

from rgbx.data import MFNet
from rgbx.data.resume import Position, Shape, position_in


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


def fit(model, root, workers=0, resume=None, callbacks=(), batch_size=2, **options):
    drop = options.pop("drop_last", True)
    data = MFNet(
        str(root),
        size=(32, 48),
        batch_size=batch_size,
        num_workers=workers,
        seed=3,
        drop_last=drop,
    )
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, data, ckpt_path=resume)
    return trainer


def run(root, workers=0, resume=None, callbacks=(), **options):
    model = Recorder()
    fit(model, root, workers, resume, callbacks, **options)
    return model.seen


BATCH_END = {"every_n_train_steps": 1}
EPOCH_END = {"save_on_train_epoch_end": True}


@pytest.mark.slow
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


class Diary(LightningModule):
    """Notes everything that happens, and learns; asks for the number of steps as schedules do."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        torch.nn.init.constant_(self.layer.weight, 0.1)
        torch.nn.init.zeros_(self.layer.bias)
        self.events = []

    def training_step(self, batch, batch_idx):
        self.events.append(("train", self.current_epoch, batch_idx, tuple(batch["name"])))
        return (self.layer(batch["rgb"].mean((2, 3))) - 1).square().mean()

    def validation_step(self, batch, batch_idx):
        self.events.append(("validate", self.current_epoch, batch_idx, self.global_step))

    def on_train_epoch_end(self):
        logged = self.trainer.fit_loop.epoch_loop._batches_that_stepped
        self.events.append(("end", self.current_epoch, self.global_step, logged))

    def configure_optimizers(self):
        assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveEverywhere(Callback):
    """A checkpoint after every batch, validation, and before every epoch: path -> events so far."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}

    def save(self, trainer, module, *_):
        path = self.folder / f"{len(module.events)}_{len(self.made)}.ckpt"
        trainer.save_checkpoint(path)
        self.made[path] = len(module.events)

    on_train_batch_end = on_validation_end = on_train_epoch_start = save


def diary(root, folder, resume=None, **options):
    model, save = Diary(), SaveEverywhere(folder)
    fit(model, root, resume=resume, callbacks=[save, *options.pop("more", ())], **options)
    return model, save.made


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": 3},
        {"max_epochs": None, "max_steps": 12},
        {"max_epochs": 3, "accumulate_grad_batches": 3},
        {"max_epochs": 2, "val_check_interval": 0.5},
        {"max_epochs": 3, "check_val_every_n_epoch": 2, "limit_train_batches": 3},
        {"max_epochs": 2, "batch_size": 3, "drop_last": False},
    ],
    ids=lambda options: "-".join(options),
)
def test_three_interruptions_anywhere_change_nothing(mfnet_root, tmp_path, options):
    """What happens after each, the validation that was due included, and every weight."""
    whole, made = diary(mfnet_root, tmp_path / "0", **options)
    assert len(made) >= 10
    for first in list(made)[:: 1 + len(made) // 6]:
        seen, path, again = 0, first, made
        for number in (1, 2, 3):
            seen += again[path]
            resumed, again = diary(mfnet_root, tmp_path / str(number), path, **options)
            rest = whole.events[seen:]
            if "max_steps" in options and all(event[0] != "train" for event in rest):
                rest = []  # nothing is left to train, and Lightning ends at once
            assert resumed.events == rest, f"{first.name}, time {number}"
            assert torch.equal(resumed.layer.weight, whole.layer.weight)
            if len(again) < 3:
                break
            path = list(again)[2]


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = trainer.global_step == self.step


@pytest.mark.slow
@pytest.mark.parametrize("how", ["max_steps", "should_stop"])
def test_an_epoch_that_was_cut_short_goes_on(mfnet_root, tmp_path, how):
    end = ModelCheckpoint(str(tmp_path), filename="cut", save_on_train_epoch_end=True)
    whole = run(mfnet_root, max_epochs=3)
    if how == "max_steps":
        cut = run(mfnet_root, callbacks=[end], max_epochs=None, max_steps=6)
        rest = run(mfnet_root, 2, tmp_path / "cut.ckpt", max_epochs=None, max_steps=12)
    else:
        cut = run(mfnet_root, callbacks=[StopAt(6), end], max_epochs=3)
        rest = run(mfnet_root, 2, tmp_path / "cut.ckpt", max_epochs=3)
    assert (cut, rest) == (whole[:6], whole[6:])


def test_accumulation_that_changes_between_epochs_is_that_of_the_epoch(mfnet_root, tmp_path):
    options = {"max_epochs": 2, "more": [GradientAccumulationScheduler({0: 1, 1: 4})]}
    whole, made = diary(mfnet_root, tmp_path, **options)
    middle = next(p for p, n in made.items() if whole.events[n - 1][:3] == ("train", 1, 1))
    options["more"] = [GradientAccumulationScheduler({0: 1, 1: 4})]
    resumed, _ = diary(mfnet_root, tmp_path / "again", middle, **options)
    assert torch.equal(resumed.layer.weight, whole.layer.weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "seen", "batches"), [(1, 7, 2), (4, 6, 1), (3, 7, 0), (3, 5, 2), (4, 5, 1)]
)
def test_other_batches_go_on_with_the_first_sample_that_was_not_seen(
    mfnet_root, tmp_path, size, seen, batches
):
    """Stopped after so many batches of two, four of which make an epoch."""
    save = ModelCheckpoint(str(tmp_path), filename="{step}", save_top_k=-1, **BATCH_END)
    whole = run(mfnet_root, callbacks=[save], max_epochs=2)
    with pytest.warns(UserWarning, match=rf"Epoch 1 goes on after {2 * (seen - 4)} of its"):
        rest = run(mfnet_root, 0, tmp_path / f"step={seen}.ckpt", max_epochs=2, batch_size=size)
    assert [len(names) for _, _, names, _ in rest] == [size] * batches
    order = [name for epoch, _, names, _ in whole for name in names if epoch == 1]
    later = order[2 * (seen - 4) :]
    assert [name for _, _, names, _ in rest for name in names] == later[: size * batches]


NOW = Shape(samples=784, batch=8, processes=1, batches=98, seed=0, window=1, drop_last=True)


def progress(shape, epoch=60, batches=100, pending=0):
    seen = batches * shape.step
    return {
        "shape": shape._asdict(),
        "epoch": epoch,
        "batches": batches,
        "seen": seen,
        "pending": pending,
    }


@pytest.mark.parametrize(
    ("before", "batches", "pending", "expected"),
    [
        ({}, 50, 0, Position(60, 50, 400)),
        ({"batch": 4, "batches": 196}, 0, 0, Position(60, 0, 0)),
        ({"batch": 4, "batches": 196}, 100, 0, Position(60, 50, 400, exact=False)),
        ({"batch": 4, "batches": 196}, 101, 0, Position(60, 51, 404, exact=False)),
        ({"batch": 4, "processes": 2}, 50, 0, Position(60, 50, 400, exact=False)),
        ({"batch": 4, "batches": 196}, 196, 0, Position(60, 98, 784)),
        ({"window": 4}, 50, 2, Position(60, 48, 384, exact=False)),
        ({"window": 4, "batch": 4, "batches": 196}, 102, 2, Position(60, 50, 400, exact=False)),
        ({"samples": 1568, "batches": 196}, 98, 0, Position(60, 49, 392, exact=False)),
        ({"drop_last": False}, 50, 0, Position(60, 50, 400)),
    ],
)
def test_where_a_run_goes_on(before, batches, pending, expected):
    earlier = NOW._replace(**before)
    assert position_in(progress(earlier, 60, batches, pending), NOW) == expected


def test_the_last_shorter_batch_is_trained_on_request(mfnet_root):
    whole = run(mfnet_root, max_epochs=1, batch_size=3, drop_last=False)
    assert [len(names) for _, _, names, _ in whole] == [3, 3, 2]
    assert len({name for _, _, names, _ in whole for name in names}) == 8
    assert run(mfnet_root, max_epochs=1, batch_size=3) == whole[:2]


def test_every_epoch_has_its_own_order_and_each_sample_once(mfnet_root):
    seen = run(mfnet_root, max_epochs=2)
    epochs = [[n for e, _, names, _ in seen if e == epoch for n in names] for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) and len(set(epochs[0])) == 8
    assert epochs[0] != epochs[1]
