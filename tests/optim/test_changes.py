"""What may change while training goes on: window length, losses, frozen parameters, groups."""

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import BackboneFinetuning, Callback, GradientAccumulationScheduler
from torch import nn

from rgbx.errors import RGBXError
from rgbx.optim import GroupedGradients
from tests.optim.test_manual import Batches, StopAt, Summed, fit, toy
from tests.optim.toy import Toy, data, loader, trainer, vector


class At(Callback):
    """Calls a function at the beginning of one batch, counted over all epochs."""

    def __init__(self, batch, action) -> None:
        self.batch, self.action, self.count = batch, action, 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.count == self.batch:
            self.action(pl_module)
        self.count += 1


# ---------------------------------------------------------------------- length of the window
def test_a_window_that_is_shortened_in_its_middle_is_closed(tmp_path):
    module = toy(accumulate=4)
    shorten = At(2, lambda m: setattr(m, "accumulate", 1))
    run = fit(module, tmp_path, count=64, max_epochs=1, callbacks=[shorten])
    assert run.global_step == 6, "batches 0 to 2 in one step, then one step each"
    # the first step is one batch of 24
    whole = toy()
    x, y = data(64).tensors
    parts = [slice(0, 24), *(slice(i, i + 8) for i in range(24, 64, 8))]
    trainer(tmp_path, max_epochs=1).fit(whole, Batches([(x[p], y[p]) for p in parts]))
    torch.testing.assert_close(vector(module), vector(whole), rtol=0, atol=1e-6)


def test_lightnings_scheduler_of_accumulation_is_refused_with_its_own_numbers(tmp_path):
    callback = GradientAccumulationScheduler({0: 4, 3: 2})
    with pytest.raises(RGBXError, match=r"\{0: 4, 3: 2\}.*model\.accumulate"):
        fit(toy(), tmp_path, callbacks=[callback])


# ---------------------------------------------------------------------- losses that come and go
class Changing(Toy):
    """Hands its losses to `change`, together with the number of the batch."""

    change = staticmethod(lambda losses, step: losses)

    def training_losses(self, batch):
        return self.change(super().training_losses(batch), self.trainer.fit_loop.total_batch_idx)


def changing(change, **options):
    torch.manual_seed(0)
    module = Changing()
    module.change = change
    for name, value in options.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("surgery", ["PCGrad", None])
def test_a_loss_that_is_missing_or_new_is_refused_at_every_step(tmp_path, at, surgery):
    def drop(losses, step):
        return {n: v for n, v in losses.items() if n != "b" or step != at}

    def add(losses, step):
        return losses | ({"extra": losses["a"] * 2} if step == at else {})

    with pytest.raises(RGBXError, match="name the loss b, but the losses of Changing are a, c"):
        fit(changing(drop, surgery=surgery, accumulate=2), tmp_path)
    with pytest.raises(RGBXError, match="loss extra of Changing is in no surgery group"):
        fit(changing(add, surgery=surgery, accumulate=2), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("constant", [0.0, 3, torch.zeros(()), torch.ones(1)])
@pytest.mark.parametrize("at", [0, 2])
def test_a_constant_loss_has_a_gradient_of_zero_and_is_named_once(tmp_path, constant, at):
    def rest(losses, step):
        return losses | ({"b": constant} if step in (at, at + 1) else {})

    def zero(losses, step):
        return losses | ({"b": losses["b"] * 0} if step in (at, at + 1) else {})

    resting, zeroed = changing(rest), changing(zero)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run = fit(resting, tmp_path)
    assert run.global_step == 10
    assert len([w for w in said if "'b' is a constant" in str(w.message)]) == 1
    fit(zeroed, tmp_path)
    assert torch.equal(vector(resting), vector(zeroed))


@pytest.mark.parametrize("reaches", [True, False])
def test_a_loss_that_rested_first_is_still_looked_at_when_it_begins(tmp_path, reaches):
    apart = nn.Parameter(torch.ones(()))

    def late(losses, step):
        return losses | {"b": 0.0 if step < 2 else losses["b"] if reaches else apart * 1}

    if reaches:
        assert fit(changing(late), tmp_path).global_step == 10
    else:
        with pytest.raises(RGBXError, match=r"loss 'b' has no gradient in .*'body'"):
            fit(changing(late), tmp_path)


def test_losses_that_are_no_scalars_are_refused_by_name(tmp_path):
    with pytest.raises(RGBXError, match=r"loss b of Changing has the shape \(8,\)"):
        fit(changing(lambda losses, _: losses | {"b": losses["b"].expand(8)}), tmp_path)
    with pytest.raises(RGBXError, match="Changing returned Tensor"):
        fit(changing(lambda losses, _: losses["b"]), tmp_path)


def test_compared_groups_have_to_exist(tmp_path):
    with pytest.raises(RGBXError, match=r"compared_groups.*'tail'.*body, head"):
        fit(toy(compared_groups=("body", "tail")), tmp_path)


@pytest.mark.parametrize(
    ("groups", "fact"),
    [
        ({"all": (".", "a")}, r"'all'.*\['a'\]"),
        ({"all": (".", ("a", "b", "a"))}, "'all' names a loss twice"),
        ({"all": ("(", ("a",))}, r"'\('.*'all'"),
        ({"all": "."}, "'all' is '.'"),
        ({}, "`groups` is {}"),
    ],
)
def test_groups_of_another_form_are_refused(tmp_path, groups, fact):
    with pytest.raises(RGBXError, match=fact):
        fit(toy(groups=groups), tmp_path)


# ---------------------------------------------------------------------- frozen and unfrozen
def freeze(module, frozen=True):
    module.requires_grad_(not frozen)


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("part", ["body", "head"])
@pytest.mark.parametrize("first", [True, False])
def test_freezing_and_unfreezing_is_automatic_optimisations(tmp_path, accumulate, part, first):
    """Whole groups, from the start or later, also in the middle of a window."""

    def made():
        module = toy(surgery="Sum", accumulate=accumulate)
        # no momentum: under automatic optimisation, too, Adam moves on without a gradient
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.02)
        freeze(getattr(module, part), first)
        return module

    def turn(owner):
        freeze(getattr(getattr(owner, "toy", owner), part), not first)

    ours, theirs = made(), made()
    before = getattr(toy(), part).weight.detach().clone()
    fit(ours, tmp_path, count=48, callbacks=[At(4, turn)])
    reference = trainer(tmp_path, accumulate_grad_batches=accumulate, callbacks=[At(4, turn)])
    reference.fit(Summed(theirs), loader(8, 48))
    assert (getattr(ours, part).weight - before).abs().max() > 1e-3
    if accumulate == 1 or first:  # one that is frozen within a window still moves there otherwise
        torch.testing.assert_close(vector(ours), vector(theirs), rtol=0, atol=2e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_is_frozen_stays_from_then_on(tmp_path, accumulate):
    seen = []

    def stop(module):
        freeze(module.head)
        seen.append(vector(module.head))

    module = toy(accumulate=accumulate)
    fit(module, tmp_path, callbacks=[At(3, stop)])
    assert torch.equal(vector(module.head), seen[0])
    assert (vector(module.body) - vector(toy().body)).abs().max() > 1e-2


def test_parameters_that_the_optimiser_does_not_have_are_refused_by_name(tmp_path):
    module = toy()
    freeze(module.body)
    module.configure_optimizers = lambda: torch.optim.SGD(
        [p for p in module.parameters() if p.requires_grad], 0.1
    )
    with pytest.raises(RGBXError, match=r"2 .*body\.weight, body\.bias"):
        fit(module, tmp_path, callbacks=[At(3, lambda m: freeze(m.body, False))])


def test_new_parameters_are_found_when_an_epoch_begins(tmp_path):
    def grow(module):
        module.head.extra = nn.Parameter(torch.zeros(3))
        module.trainer.optimizers[0].add_param_group({"params": [module.head.extra]})

    class Growing(Toy):
        def training_losses(self, batch):
            prediction = self.head(self.body(batch[0]).tanh()) + getattr(self.head, "extra", 0)
            return {n: (prediction[:, i] ** 2).mean() for i, n in enumerate("abc")}

    class Epoch(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                grow(pl_module)

    module = Growing()
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.1)
    fit(module, tmp_path, callbacks=[Epoch()])
    assert module.head.extra.abs().min() > 0


def test_lightnings_finetuning_of_a_backbone_works(tmp_path):
    class Finetuned(Toy):
        def configure_optimizers(self):
            return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], 0.05)

        @property
        def backbone(self):
            return self.body

    seen = []

    class Watch(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            seen.append(vector(pl_module.body))

    tune = BackboneFinetuning(unfreeze_backbone_at_epoch=1, verbose=False)
    torch.manual_seed(0)
    module = Finetuned()
    fit(module, tmp_path, max_epochs=3, callbacks=[tune, Watch()])
    assert torch.equal(seen[0], vector(toy_body()))
    assert not torch.equal(seen[1], seen[0])
    assert module.surgery_history.columns[-1] == "ratio"


def toy_body():
    torch.manual_seed(0)
    return Toy().body


def test_a_shared_parameter_must_have_the_same_losses_under_both_names():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
            self.two.weight = self.one.weight

    names = list(Tied().named_parameters(remove_duplicate=False))
    same = {"one": ("one", ("a", "b")), "two": ("two", ("b", "a"))}
    assert [g.names for g in GroupedGradients(names, same).groups] == [
        ["one.weight", "one.bias"],
        ["two.bias"],
    ]
    with pytest.raises(RGBXError, match=r"one\.weight and two\.weight"):
        GroupedGradients(names, {"one": ("one", ("a",)), "two": ("two", ("b",))})


# ---------------------------------------------------------------------- resuming in a window
def stopped(folder, **options):
    module = toy(accumulate=4, **options)
    trainer(folder, max_epochs=2, callbacks=[StopAt(2)]).fit(module, loader())
    return folder / "stop.ckpt"


def test_a_window_goes_on_in_groups_of_another_order(tmp_path):
    path = stopped(tmp_path, surgery="Sum")
    found = []
    for groups in (Toy.groups, dict(reversed(Toy.groups.items())), {"all": (".", tuple("cba"))}):
        module = toy(accumulate=4, surgery="Sum", groups=groups, compared_groups=None)
        trainer(tmp_path, max_epochs=2).fit(module, Batches(list(loader()), 2), ckpt_path=path)
        found.append(vector(module))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-6)


def test_a_window_without_what_the_groups_ask_for_is_refused_by_name(tmp_path):
    fewer = {"body": ("body", ("a", "b")), "head": ("head", ("a", "b", "c"))}
    path = stopped(tmp_path, groups=fewer)
    with pytest.raises(RGBXError, match=r"2 batches.*'c'.*body\.weight"):
        fit_from(path, toy(accumulate=4))
    path = stopped(tmp_path)
    fit_from(path, toy(accumulate=4, groups=fewer))  # all that it needs is there


def fit_from(path, module):
    run = trainer(path.parent, max_epochs=2)
    run.fit(module, Batches(list(loader()), 2), ckpt_path=path)


def test_a_second_fit_does_not_go_on_with_the_window_of_the_first(tmp_path):
    def first_steps(module):
        trainer(tmp_path, max_steps=1, max_epochs=1).fit(module, loader())
        return vector(module)

    def sgd(module):
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.1)
        return module

    used = sgd(toy(accumulate=4))
    trainer(tmp_path, max_epochs=1, callbacks=[StopAt(2)]).fit(used, loader())
    assert used._gradients.count == 2 and torch.equal(vector(used), vector(toy()))
    assert torch.equal(first_steps(used), first_steps(sgd(toy(accumulate=4))))
    assert len(used.surgery_history.rows) == 1


# ---------------------------------------------------------------------- what weightings remember
class Counting:
    """Remembers how often it was asked; `share` is an option."""

    def __init__(self, share=1.0) -> None:
        self.share, self.count = share, 0

    def __call__(self, products):
        self.count += 1
        return torch.full((len(products),), self.share / self.count, dtype=products.dtype)


def test_a_resumed_weighting_keeps_its_memory_and_takes_the_new_options(tmp_path):
    spec = {"class_path": "tests.optim.test_changes.Counting", "init_args": {"share": 0.5}}
    first = toy(surgery=spec)
    trainer(tmp_path, max_epochs=2, callbacks=[StopAt(3)]).fit(first, loader())
    other = toy(surgery=spec | {"init_args": {"share": 0.25}})
    checkpoint = torch.load(tmp_path / "stop.ckpt", weights_only=True)
    other.on_load_checkpoint(checkpoint)
    weighting = other._weightings._of("body")
    assert (weighting.count, weighting.share) == (3, 0.25)
    with pytest.warns(UserWarning, match="'body' is Counting.*PCGrad"):
        toy().on_load_checkpoint(checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize("as_object", [False, True])
def test_torchjds_memory_is_resumed_bit_for_bit(tmp_path, as_object):
    aggregation = pytest.importorskip("torchjd.aggregation")

    def made():
        path = "torchjd.aggregation.GradVacWeighting"
        return toy(surgery=aggregation.GradVacWeighting() if as_object else path)

    batches = list(loader(4, 32))
    straight = made()
    trainer(tmp_path, max_epochs=2).fit(straight, Batches(batches))
    trainer(tmp_path, max_epochs=2, callbacks=[StopAt(5)]).fit(made(), Batches(batches))
    second = made()
    trainer(tmp_path, max_epochs=2).fit(
        second, Batches(batches, 5), ckpt_path=f"{tmp_path}/stop.ckpt"
    )
    assert torch.equal(vector(second), vector(straight))
    assert (vector(straight) - vector(toy())).abs().max() > 1e-2


def test_statistics_of_other_groups_get_columns_of_their_own(tmp_path):
    module = toy()
    module.surgery_history.append(0, {"body/conflict": 0.5, "ratio": 2.0})
    module.surgery_history.append(1, {"trunk/conflict": 1.0, "ratio": 1e60})
    module.surgery_history.append(2**24 + 1, {"ratio": 3.0})
    again = toy()
    again.surgery_history.load(module.surgery_history.state())
    again.surgery_history.write(tmp_path)
    lines = (tmp_path / "surgery.csv").read_text().splitlines()
    assert lines == [
        "step,body/conflict,ratio,trunk/conflict",
        "0,0.5,2,nan",
        "1,nan,1e+60,1",
        "16777217,nan,3,nan",
    ]


def test_everything_frozen_is_refused(tmp_path):
    module = toy()
    freeze(module)
    module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), 0.1)
    with pytest.raises(RGBXError, match="body, head"):
        fit(module, tmp_path)
