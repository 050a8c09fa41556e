"""ReduceLROnPlateau under gradient surgery, in every form that Lightning knows."""

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim.lr_scheduler import ReduceLROnPlateau

from rgbx.errors import RGBXError
from tests.optim.test_manual import fit, toy
from tests.optim.toy import loader, trainer


class Values(Callback):
    """Logs a fixed value per epoch, and notes the learning rate that the next one has."""

    def __init__(self, values, name="val/loss") -> None:
        self.values, self.name, self.rates = values, name, []

    def on_train_epoch_start(self, trainer, pl_module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, pl_module, *_):
        pl_module.log(self.name, self.values[trainer.current_epoch], on_step=False, on_epoch=True)


FORMS = {
    "in the schedule": lambda o, s: {
        "optimizer": o,
        "lr_scheduler": {"scheduler": s, "monitor": "val/loss"},
    },
    "next to it": lambda o, s: {"optimizer": o, "lr_scheduler": s, "monitor": "val/loss"},
    "two lists": lambda o, s: ([o], [{"scheduler": s, "monitor": "val/loss"}]),
    "a list": lambda o, s: [
        {"optimizer": o, "lr_scheduler": {"scheduler": s, "monitor": "val/loss"}}
    ],
}


def module(form, **options):
    made = toy()
    optimizer = torch.optim.SGD(made.parameters(), 1.0)
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    made.configure_optimizers = lambda: form(optimizer, schedule)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_the_rate_falls_after_epochs_that_are_no_better(tmp_path, form):
    watch = Values([3.0, 2.0, 2.5, 1.0, 1.5])
    made = module(form)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit(made, tmp_path, max_epochs=5, callbacks=[watch])
    assert watch.rates == [1.0, 1.0, 1.0, 0.5, 0.5]
    assert made.trainer.optimizers[0].param_groups[0]["lr"] == 0.25
    assert not [w for w in said if "will be ignored" in str(w.message)]


def test_it_goes_on_where_a_checkpoint_stopped(tmp_path):
    values = [3.0, 2.0, 2.5, 1.0, 1.5]
    form = FORMS["in the schedule"]
    run = trainer(tmp_path, max_epochs=3, callbacks=[Values(values)])
    run.fit(module(form), loader())
    run.save_checkpoint(tmp_path / "three.ckpt")
    watch = Values(values)
    again = trainer(tmp_path, max_epochs=5, callbacks=[watch])
    again.fit(module(form), loader(), ckpt_path=tmp_path / "three.ckpt")
    assert watch.rates == [0.5, 0.5]
    assert again.optimizers[0].param_groups[0]["lr"] == 0.25


def test_the_losses_of_training_itself_can_be_watched_every_step(tmp_path):
    def form(optimizer, schedule):
        entry = {"scheduler": schedule, "monitor": "train/loss", "interval": "step", "frequency": 2}
        return {"optimizer": optimizer, "lr_scheduler": entry}

    made = module(form)
    run = fit(made, tmp_path, max_epochs=1)
    schedule = run.lr_scheduler_configs[0].scheduler
    assert schedule.last_epoch == 2, "after steps 2 and 4 of 5"
    assert 0 < schedule.best < 100


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tmp_path):
    callbacks = [Values([1.0] * 2, name="val/other")]
    with pytest.raises(RGBXError, match=r"val/loss.*train/loss.*val/other"):
        fit(module(FORMS["in the schedule"]), tmp_path, callbacks=callbacks)

    def lenient(optimizer, schedule):
        entry = {"scheduler": schedule, "monitor": "val/loss", "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": entry}

    made = module(lenient)
    with pytest.warns(UserWarning, match="val/loss"):
        fit(made, tmp_path, callbacks=callbacks)
    assert made.trainer.optimizers[0].param_groups[0]["lr"] == 1.0


def test_one_that_watches_nothing_is_refused(tmp_path):
    with pytest.raises(RGBXError, match=r"ReduceLROnPlateau.*'monitor'"):
        fit(module(lambda o, s: {"optimizer": o, "lr_scheduler": s}), tmp_path)


def test_the_module_keeps_its_own_way_to_make_optimisers(tmp_path):
    made = toy()
    before = dict(vars(made))
    fit(made, tmp_path)
    assert ("configure_optimizers" in before) is ("configure_optimizers" in vars(made)) is False
    own = module(FORMS["next to it"])
    wanted = own.configure_optimizers
    fit(own, tmp_path, callbacks=[Values([1.0, 1.0])])
    assert own.configure_optimizers is wanted
