"""What every model refuses early, and what steps' random numbers depend on."""

import pytest
import torch
from lightning.pytorch import Trainer

from rgbx.backbones.weights import Weights
from rgbx.data import MFNet
from rgbx.errors import RGBXError
from rgbx.models import TASeg
from rgbx.optim.schedules import Constant
from rgbx.optim.seeds import mix_seeds
from rgbx.tasks.base import as_weights


def test_a_sample_without_x_is_refused_unless_the_model_is_rgb_only():
    batch = {"rgb": torch.zeros(1, 3, 16, 16), "name": ["0001"]}
    with pytest.raises(RGBXError, match="TASeg needs a second modality, but 0001 came without"):
        TASeg(encoder="tiny").inputs(batch)
    rgb, x = TASeg(encoder="tiny", fusion="none").inputs(batch)
    assert rgb is batch["rgb"] and x is None


def trainer(**options):
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **({"max_epochs": 1} | options),
    )


def test_a_trainable_parameter_without_a_loss_is_refused(mfnet_root):
    model = TASeg(encoder="tiny")
    model.network.idle = torch.nn.Parameter(torch.zeros(3))
    data = MFNet(str(mfnet_root), size=(64, 96), batch_size=2, num_workers=0)
    with pytest.raises(RGBXError, match=r"1 trainable parameters get no gradient.*network\.idle"):
        trainer(fast_dev_run=True).fit(model, data)


class Noisy(TASeg):
    """Remembers the random numbers of its training steps."""

    def training_step(self, batch, batch_idx):
        self.drawn.append(torch.rand(1).item())
        return super().training_step(batch, batch_idx)


@pytest.mark.slow
def test_random_numbers_of_a_step_do_not_depend_on_what_was_drawn_before(mfnet_root):
    drawn = []
    for wasted in (0, 7):
        torch.manual_seed(5)
        model = Noisy(encoder="tiny")
        model.drawn = []
        data = MFNet(str(mfnet_root), size=(64, 96), batch_size=2, num_workers=0)
        torch.manual_seed(5)
        torch.rand(wasted)
        trainer(limit_val_batches=0).fit(model, data)
        drawn.append(model.drawn)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4


class Rates(TASeg):
    """Remembers the learning rate of its training steps."""

    def training_step(self, batch, batch_idx):
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return super().training_step(batch, batch_idx)


@pytest.mark.slow
@pytest.mark.parametrize("length", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 5}])
def test_a_warm_up_in_epochs_is_as_long_where_the_run_is_given_in_steps(mfnet_root, length):
    model = Rates(encoder="tiny", schedule=Constant(warmup_epochs=1))
    model.rates = []
    data = MFNet(str(mfnet_root), size=(64, 96), batch_size=2, num_workers=0)
    trainer(limit_val_batches=0, limit_train_batches=3, **length).fit(model, data)
    assert model.rates[:4] == pytest.approx([5e-4 / 4, 5e-4 / 2, 5e-4 * 3 / 4, 5e-4])


def test_a_run_without_an_end_is_refused(mfnet_root):
    data = MFNet(str(mfnet_root), size=(64, 96), batch_size=2, num_workers=0)
    with pytest.raises(RGBXError, match="or some epochs"):
        trainer(max_epochs=-1).fit(TASeg(encoder="tiny"), data)


def test_mixed_seeds_differ():
    seeds = {
        mix_seeds(s, e, b, r) for s in range(3) for e in range(5) for b in range(5) for r in (0, 1)
    }
    assert len(seeds) == 3 * 5 * 5 * 2
    assert all(0 <= s < 2**63 for s in seeds)


def test_hyper_parameters_are_plain_and_come_back():
    model = TASeg(encoder="tiny", templates=("a {class}",))
    assert model.hparams["templates"] == ["a {class}"]
    assert not {"optimizer", "schedule", "self"} & set(model.hparams)
    assert as_weights({"path": "a.pth", "sha256": None}) == Weights("a.pth")
    assert as_weights(None) is None


def test_the_summary_adds_up():
    model = TASeg(encoder="tiny")
    lines = model.parameter_summary().splitlines()
    numbers = {line[:26].strip(): float(line.split()[-2]) for line in lines if line.endswith(" M")}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad) / 1e6
    assert abs(numbers.pop("trainable") - trained) < 1e-4
    assert abs(numbers.pop("frozen") - frozen) < 1e-4
    assert abs(numbers.pop("total") - trained - frozen) < 1e-3
    assert abs(sum(numbers.values()) - trained) < 1e-3
    assert "other" not in numbers
