"""Walks that losses share behind a cut: right at every step, whatever the first one looked like."""

from typing import ClassVar

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from rgbx.errors import RGBXError
from rgbx.models.samsod import SAMSOD
from rgbx.optim import GradientSurgery
from rgbx.optim.gradients import GroupedGradients
from tests.optim.toy import trainer


class Streams(GradientSurgery, LightningModule):
    """Two parameters before a cut; `how` says how the second stream comes to see the first."""

    groups: ClassVar = {"one": ("one", ("a",)), "two": ("two", ("b",))}
    surgery = "Sum"

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.one, self.two = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        self.seen: list[dict[str, float]] = []

    def training_losses(self, batch):
        u, v = self.one * 1, self.two * 1
        if self.how == "factor behind":
            v = v + 5 * batch * u
        elif self.how == "choice behind":
            v = torch.where(batch > 0, v + 5 * u, v)
        elif self.how == "branch behind" and batch > 0:
            v = v + 5 * u
        u, v = self.cut(u, v)
        b = v
        if self.how == "factor in front":
            b = b + 5 * batch * u
        elif self.how == "branch in front" and batch > 0:
            b = b + 5 * u
        return {"a": (5 * u).sum(), "b": b.sum()}

    def on_train_batch_end(self, *_):
        self.seen.append({"one": self.one.grad.item(), "two": self.two.grad.item()})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def run(module, folder, values=(0.0, 1.0, 0.0, 1.0)):
    loader = torch.utils.data.DataLoader(torch.tensor(values), batch_size=1)
    trainer(folder, max_epochs=1).fit(module, loader)
    return module


@pytest.mark.parametrize(
    "how",
    [
        "none",
        "factor behind",
        "choice behind",
        "branch behind",
        "factor in front",
        "branch in front",
    ],
)
@pytest.mark.parametrize("values", [(0.0, 1.0, 0.0, 1.0), (1.0, 0.0, 1.0)])
def test_no_loss_enters_a_group_that_it_does_not_train(tmp_path, how, values):
    found = run(Streams(how), tmp_path, values).seen
    assert found == [{"one": 5.0, "two": 1.0}] * len(values)


def test_losses_share_a_walk_at_the_steps_at_which_they_are_apart(tmp_path):
    walks = []

    class Watched(Streams):
        def on_train_batch_end(self, *_):
            walks.append(self._gradients._walks)

    run(Watched("branch behind"), tmp_path)
    together, apart = [("a", "b")], [("a",), ("b",)]
    assert walks == [together, apart, together, apart]


class Shared(GradientSurgery, LightningModule):
    """One parameter before and behind the cut, and a loss that goes around it."""

    groups: ClassVar = {"all": (".", ("a", "b"))}
    surgery = "Sum"

    def __init__(self) -> None:
        super().__init__()
        self.w, self.v = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(3.0))

    def training_losses(self, batch):
        whole = self.w * self.v * batch.sum()
        frozen = torch.ones(1)
        part, same = self.cut(whole, frozen)
        assert same is frozen
        return {"a": self.w * part, "b": whole + part * 2 + same.sum()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_parameters_on_both_sides_and_ways_around_the_cut_count_in_full(tmp_path):
    module = run(Shared(), tmp_path, (1.0, 1.0))
    # d/dw (w w v + 3 w v) = 2 w v + 3 v = 21; d/dv = w w + 3 w = 10
    assert (module.w.grad.item(), module.v.grad.item()) == (21.0, 10.0)


def test_a_second_cut_in_one_step_is_refused(tmp_path):
    class Twice(Shared):
        def training_losses(self, batch):
            (one,) = self.cut(self.w * self.v * batch.sum())
            (two,) = self.cut(one * self.w)
            return {"a": two, "b": one}

    with pytest.raises(RGBXError, match="twice"):
        run(Twice(), tmp_path)


class Joined(GradientSurgery, LightningModule):
    """Two streams that pass a frozen layer as one batch, declared as apart."""

    groups: ClassVar = {
        "one": ("one", ("a", "both")),
        "two": ("two", ("b", "both")),
        "head": ("head", ("a", "b", "both")),
    }

    def __init__(self, leak=None, names=("one", "two")) -> None:
        super().__init__()
        self.one, self.two, self.head = (nn.Linear(3, 3) for _ in range(3))
        self.frozen = nn.Linear(3, 3).requires_grad_(False)
        self.leak, self.names = leak, names

    def training_losses(self, batch):
        first, second = self.one(batch), self.two(batch)
        if self.leak is not None:
            second = second + self.leak * first
        streams = self.frozen(torch.cat([first, second])).tanh().chunk(2)
        cut = self.cut_streams({n: [s] for n, s in zip(self.names, streams, strict=True)})
        first, second = (part for (part,) in cut.values())
        parts = {"a": first, "b": second, "both": first + second}
        return {name: self.head(part).square().mean() for name, part in parts.items()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def batches():
    return torch.utils.data.DataLoader(torch.randn(8, 3), batch_size=2)


def test_declared_streams_share_walks_though_the_graph_joins_them(tmp_path):
    module = Joined()
    trainer(tmp_path, max_epochs=1).fit(module, batches())
    assert module._gradients._walks == [("a", "b"), ("both",)]


def test_declared_streams_give_every_loss_its_own_gradient():
    torch.manual_seed(0)
    module, batch = Joined().double().train(), torch.randn(4, 3, dtype=torch.float64)
    gradients = GroupedGradients(module.named_parameters(), module.groups)
    gradients.add(module.training_losses(batch), cut=module._cut)
    plain = Joined().double()
    plain.load_state_dict(module.state_dict())
    plain.surgery = None
    for group in gradients.groups:
        for loss, row in zip(group.losses, group.rows(gradients.flat), strict=True):
            params = list(plain.get_submodule(group.name).parameters())
            found = torch.autograd.grad(plain.training_losses(batch)[loss], params)
            torch.testing.assert_close(row, torch.cat([g.flatten() for g in found]))


@pytest.mark.parametrize("leak", [0.0, 0.7])
def test_a_declared_stream_that_depends_on_another_group_is_refused(tmp_path, leak):
    """Also where its weight is 0 for now, so that no gradient shows it."""
    with pytest.raises(RGBXError, match=r"'two'.*one\.weight.*'one'"):
        trainer(tmp_path, max_epochs=1).fit(Joined(torch.tensor(leak)), batches())


def test_a_declared_stream_is_looked_at_again_in_every_epoch(tmp_path):
    class Later(Joined):
        def on_train_epoch_start(self):
            self.leak = 1.0 if self.current_epoch else None

    with pytest.raises(RGBXError, match="'two'"):
        trainer(tmp_path, max_epochs=2).fit(Later(), batches())


def test_a_stream_without_a_group_is_refused(tmp_path):
    with pytest.raises(RGBXError, match=r"stream three.*one, two, head"):
        trainer(tmp_path, max_epochs=1).fit(Joined(names=("one", "three")), batches())


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["decoupled", "vanilla"])
def test_samsods_streams_are_apart_and_take_two_walks(adapter, monkeypatch):
    """In bfloat16 too; every backward walk of a step is counted."""
    module = SAMSOD(encoder="tiny", adapter=adapter).train()
    batch = {
        "rgb": torch.randn(1, 3, 64, 64),
        "x": torch.rand(1, 3, 64, 64),
        "mask": (torch.rand(1, 1, 64, 64) > 0.5).float(),
        "name": ["a"],
    }
    gradients = GroupedGradients(module.named_parameters(), module.groups)
    counted, real = [], torch.autograd.grad
    monkeypatch.setattr(
        torch.autograd, "grad", lambda *args, **kwargs: counted.append(1) or real(*args, **kwargs)
    )
    for wanted in (7, 5):  # three losses and two walks; at first, one check of each stream
        with torch.autocast("cpu", torch.bfloat16):
            losses = module.training_losses(batch)
        counted.clear()
        gradients.add(losses, cut=module._cut)
        assert len(counted) == wanted
    assert gradients._walks == [("fusion",), ("rgb", "x")]
