"""The manual-optimisation mixin: one process, every option, every refusal."""

import csv
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule, seed_everything
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.strategies import FSDPStrategy
from torch.utils.data import TensorDataset

from rgbx.errors import RGBXError
from tests.optim.test_surgery import pcgrad_on_vectors
from tests.optim.toy import Toy, data, loader, trainer, vector


def toy(**options) -> Toy:
    seed_everything(0)
    module = Toy()
    for name, value in options.items():
        setattr(module, name, value)
    return module


def fit(module, folder, batch=8, count=40, **options):
    run = trainer(folder, **options)
    run.fit(module, loader(batch, count), ckpt_path=options.pop("ckpt_path", None))
    return run


class Batches:
    """A loader of given batches; in its first epoch it passes over those seen before a stop."""

    def __init__(self, batches, seen: int = 0) -> None:
        self.batches, self.skip = batches, seen % len(batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self):
        skip, self.skip = self.skip, 0  # a generator: only once a batch is asked for
        yield from self.batches[skip:]


class Summed(LightningModule):
    """The same network under Lightning's automatic optimisation of the summed loss."""

    def __init__(self, toy: Toy) -> None:
        super().__init__()
        self.toy = toy

    def training_step(self, batch, batch_idx):
        return sum(self.toy.training_losses(batch).values())

    def configure_optimizers(self):
        return self.toy.configure_optimizers()


@pytest.mark.slow
@pytest.mark.parametrize("surgery", ["Sum", None])
@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (3, None), (1, 0.5), (3, 0.5)])
def test_a_sum_of_gradients_equals_automatic_optimisation(tmp_path, surgery, accumulate, clip):
    # 48 images in batches of 8: windows of 3 fill; Lightning divides short ones by 3
    ours = toy(surgery=surgery, accumulate=accumulate, clip=clip)
    run = fit(ours, tmp_path, count=48)
    theirs = toy()
    reference = trainer(tmp_path, accumulate_grad_batches=accumulate, gradient_clip_val=clip)
    reference.fit(Summed(theirs), loader(8, 48))
    assert run.global_step == reference.global_step == 12 // accumulate
    assert (vector(toy()) - vector(ours)).abs().max() > 1e-3
    torch.testing.assert_close(vector(ours), vector(theirs), rtol=0, atol=2e-6)


def test_the_last_short_window_is_divided_by_its_true_length(tmp_path):
    # batches 8 8 8 8 8, windows of 3 and 2: as one batch of 24 and one of 16
    ours = toy(accumulate=3)
    assert fit(ours, tmp_path, max_epochs=1).global_step == 2
    whole = toy()
    x, y = data().tensors
    batches = [(x[:24], y[:24]), (x[24:], y[24:])]
    run = trainer(tmp_path, max_epochs=1)
    run.fit(whole, Batches(batches))
    assert run.global_step == 2
    torch.testing.assert_close(vector(ours), vector(whole), rtol=0, atol=1e-6)


def test_a_step_is_pcgrad_per_group_on_the_gradient_vectors(tmp_path):
    """One SGD step against autograd and vector projections, order by order."""

    class Conflict(Toy):
        def training_losses(self, batch):
            return super().training_losses((batch[0], batch[1] * torch.tensor([3, -3, 1])))

    seed_everything(0)
    module = Conflict().double()
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 1.0)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    batch = [t.double() for t in data().tensors]
    orders = {}

    def spy(products):
        count = len(products)
        drawn = torch.stack([torch.randperm(count) for _ in range(count)])
        from rgbx.optim.surgery import pcgrad_weights

        orders[len(orders)] = drawn
        return pcgrad_weights(products, drawn)

    module.surgery = spy
    losses = module.training_losses(batch)
    wanted = {}
    for index, group in enumerate(("body", "head")):
        names = [n for n in before if n.startswith(group)]
        params = [dict(module.named_parameters())[n] for n in names]
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(v, params, retain_graph=True)])
            for v in losses.values()
        ]
        wanted[index] = (torch.stack(rows), names)
    trainer(tmp_path, max_steps=1).fit(module, Batches([batch]))
    moved = dict(module.named_parameters())
    for index, (rows, names) in wanted.items():
        step = torch.cat([(before[n] - moved[n].detach()).flatten() for n in names])
        merged = pcgrad_on_vectors(rows, orders[index])
        torch.testing.assert_close(step, merged, rtol=0, atol=1e-12)
        solved = (merged - rows.mean(0)).abs().max()
        assert solved > 1e-3 if index == 0 else solved == 0, "each loss has its own row of the head"


class StopAt(Callback):
    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx + 1 == self.batch:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/stop.ckpt")
            trainer.should_stop = True
            trainer.limit_val_batches = 0


@pytest.mark.slow
@pytest.mark.parametrize(("accumulate", "stop"), [(1, 4), (1, 5), (2, 5), (3, 5), (2, 7)])
def test_stop_and_resume_repeat_an_uninterrupted_run_bit_for_bit(tmp_path, accumulate, stop):
    """Within an epoch, at its end, and in the middle of a window."""
    batches = list(loader(4, 32))  # 8 batches per epoch
    straight = toy(accumulate=accumulate)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(straight, Batches(batches))

    first = toy(accumulate=accumulate)
    trainer(tmp_path, max_epochs=2, limit_train_batches=8, callbacks=[StopAt(stop)]).fit(
        first, Batches(batches)
    )
    second = toy(accumulate=accumulate)
    torch.manual_seed(99)  # the surgery's order must not come from here
    again = trainer(tmp_path, max_epochs=2)
    again.fit(second, Batches(batches, stop), ckpt_path=f"{tmp_path}/stop.ckpt")
    assert again.global_step == run.global_step
    assert torch.equal(vector(second), vector(straight))
    assert second.surgery_history.columns == straight.surgery_history.columns
    assert torch.equal(
        second.surgery_history.state()["rows"], straight.surgery_history.state()["rows"]
    )


class Overflow(Callback):
    """Scales one batch's loss out of fp16's range."""

    def __init__(self, at: int) -> None:
        self.at, self.before, self.after = at, None, None
        self.rates = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        pl_module.factor = 1e30 if batch_idx == self.at else 1.0
        if batch_idx == self.at:
            self.before = vector(pl_module)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx == self.at:
            self.after = vector(pl_module)
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


class Exploding(Toy):
    factor = 1.0

    def training_losses(self, batch):
        return {name: loss * self.factor for name, loss in super().training_losses(batch).items()}


@pytest.mark.parametrize("clip", [None, 1.0])
def test_an_fp16_overflow_skips_the_step_and_the_schedule(tmp_path, clip):
    seed_everything(0)
    module = Exploding()
    module.clip = clip
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    watch = Overflow(at=2)
    run = trainer(
        tmp_path,
        max_epochs=1,
        plugins=[MixedPrecision("16-mixed", "cpu", scaler)],
        callbacks=[watch],
    )
    run.fit(module, loader())
    assert torch.equal(watch.before, watch.after), "the step with the overflow was skipped"
    assert scaler.get_scale() < 2.0**10
    assert torch.isfinite(vector(module)).all()
    assert (vector(module) - watch.after).abs().max() > 1e-4, "and training went on"
    assert watch.rates[2] == watch.rates[1] > watch.rates[3], "the schedule waited"


def test_scaled_fp16_steps_agree_with_float32(tmp_path):
    wide, half = toy(clip=0.7), toy(clip=0.7)
    fit(wide, tmp_path, max_epochs=1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    run = trainer(tmp_path, max_epochs=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    run.fit(half, loader())
    assert scaler.get_scale() == 2.0**10
    torch.testing.assert_close(vector(half), vector(wide), rtol=0, atol=1e-2)
    moved = (vector(wide) - vector(toy())).norm()
    assert (vector(half) - vector(wide)).norm() < 0.05 * moved


def test_bf16_steps_agree_with_float32(tmp_path):
    wide, half = toy(), toy()
    fit(wide, tmp_path, max_epochs=1)
    fit(half, tmp_path, max_epochs=1, precision="bf16-mixed")
    moved = (vector(wide) - vector(toy())).norm()
    assert 0 < (vector(half) - vector(wide)).norm() < 0.2 * moved


def test_clipping_acts_on_the_merged_gradient_of_all_groups(tmp_path):
    module = toy(clip=0.01)
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 1.0)
    before = vector(module)
    fit(module, tmp_path, max_steps=1)
    assert (vector(module) - before).norm() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_schedules_are_stepped_once_per_optimiser_step_or_epoch(tmp_path, interval):
    module = toy(accumulate=2, lr=1.0)
    made = module.configure_optimizers()
    made["lr_scheduler"]["interval"] = interval
    module.configure_optimizers = lambda: made
    run = fit(module, tmp_path, max_epochs=3)  # 5 batches: 3 steps per epoch
    count = 9 if interval == "step" else 3
    assert run.global_step == 9
    assert made["optimizer"].param_groups[0]["lr"] == pytest.approx(0.9**count)


@pytest.mark.slow
def test_the_run_leaves_cosines_conflicts_and_ratio_as_numbers_and_curves(tmp_path):
    module = toy()
    run = trainer(tmp_path, logger=CSVLogger(tmp_path, name="toy"), log_every_n_steps=1)
    run.fit(module, loader())
    folder = tmp_path / "toy" / "version_0"
    rows = list(csv.DictReader((folder / "surgery.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(10))
    pairs = [f"{g}/cos_{p}" for g in ("body", "head") for p in ("a_b", "a_c", "b_c")]
    assert list(rows[0]) == [
        "step",
        *pairs[:3],
        "body/conflict",
        *pairs[3:],
        "head/conflict",
        "ratio",
    ]
    # the first row, by autograd
    fresh = toy()
    batch = next(iter(loader()))
    gradients = [
        torch.autograd.grad(loss, list(fresh.body.parameters()), retain_graph=True)
        for loss in fresh.training_losses(batch).values()
    ]
    a, b = (torch.cat([g.flatten() for g in row]) for row in gradients[:2])
    assert float(rows[0]["body/cos_a_b"]) == pytest.approx(float(a @ b / a.norm() / b.norm()), 1e-4)
    assert (folder / "surgery.png").stat().st_size > 10_000
    logged = (folder / "metrics.csv").read_text().splitlines()[0]
    assert "surgery/body/cos_a_b" in logged and "surgery/ratio" in logged


def test_the_trainers_own_accumulation_and_clipping_are_refused(tmp_path):
    with pytest.raises(RGBXError, match=r"instead of trainer.accum.* set model.accumulate to 4"):
        fit(toy(), tmp_path, accumulate_grad_batches=4)
    with pytest.raises(RGBXError, match=r"instead of trainer.grad.* set model.clip to 0\.5"):
        fit(toy(), tmp_path, gradient_clip_val=0.5)


def test_strategies_that_shard_are_refused_by_name():
    module = toy()
    module._trainer = SimpleNamespace(
        accumulate_grad_batches=1, gradient_clip_val=None, strategy=FSDPStrategy()
    )
    with pytest.raises(
        RGBXError, match=r"FSDPStrategy does not keep them: set trainer.strategy to"
    ):
        module.configure_callbacks()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"accumulate": 0}, "accumulate is 0: give 1 or more"),
        ({"clip": -1.0}, "clip is -1.0: give a norm above 0"),
        ({"surgery": "PCGard"}, "There is no surgery 'PCGard'"),
        ({"groups": {"all": (".", ("a", "d"))}}, "name the loss d, but the losses of Toy are a, b"),
        ({"groups": Toy.groups | {"x": ("tail", ("a",))}}, "group 'x' is empty"),
        ({"groups": {"body": ("body", ("a",))}}, "in no surgery group"),
    ],
)
def test_wrong_options_are_refused_at_the_first_step(tmp_path, options, text):
    with pytest.raises(RGBXError, match=text):
        fit(toy(**options), tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_run(tmp_path):
    class Root(Toy):
        def training_losses(self, batch):
            losses = super().training_losses(batch)
            losses["a"] = losses["a"] + (self.body.weight * 0).abs().sqrt().sum()  # 0, slope inf
            return losses

    seed_everything(0)
    with pytest.raises(RGBXError, match="parameter group body is not finite at step 0"):
        fit(Root(), tmp_path)


def test_two_optimisers_are_refused(tmp_path):
    module = toy()
    module.configure_optimizers = lambda: [
        torch.optim.SGD(part.parameters(), 0.1) for part in (module.body, module.head)
    ]
    with pytest.raises(RGBXError, match="one optimiser, but Toy configures 2"):
        fit(module, tmp_path)


@pytest.mark.slow
def test_the_readmes_example_trains(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (code,) = re.findall(r"```python\n([^`]*?class Depth\(GradientSurgery.*?)```", text, re.S)
    names = {}
    exec(code, names)
    seed_everything(0)
    module = names["Depth"]()
    x = torch.randn(32, 8)
    rows = list(TensorDataset(x, x[:, 0], x[:, 1]))
    batches = [
        [torch.stack(part) for part in zip(*rows[i : i + 8], strict=True)] for i in range(0, 32, 8)
    ]

    def error():
        with torch.no_grad():
            return sum(module.training_losses([x, x[:, 0], x[:, 1]]).values()).item()

    before = error()
    trainer(tmp_path, max_epochs=40).fit(module, Batches(batches))
    assert error() < 0.7 * before
    assert module.surgery_history.columns[1:3] == ["trunk/cos_depth_edges", "trunk/conflict"]


def test_checkpoints_of_runs_without_surgery_load(tmp_path):
    plain = toy(surgery=None)
    keep = ModelCheckpoint(tmp_path, filename="plain")
    fit(plain, tmp_path, enable_checkpointing=True, callbacks=[keep])
    checkpoint = torch.load(tmp_path / "plain.ckpt", weights_only=True)
    loaded = toy(surgery="PCGrad")
    loaded.on_load_checkpoint(checkpoint)
    del checkpoint["surgery"]
    loaded.on_load_checkpoint(checkpoint)
    assert loaded.surgery_history.columns == ["step", "ratio"]
