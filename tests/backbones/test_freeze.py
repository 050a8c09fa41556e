import copy
import pickle

import torch
from torch import nn

from rgbx.backbones.freeze import fingerprint, freeze


class Parent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = freeze(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)))
        self.head = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))


def test_stays_in_eval_mode_under_a_training_parent() -> None:
    parent = Parent().train()
    assert parent.head[1].training
    assert not any(part.training for part in parent.frozen.modules())
    assert not any(p.requires_grad for p in parent.frozen.parameters())
    for twin in (copy.deepcopy(parent), pickle.loads(pickle.dumps(parent))):
        assert not any(part.training for part in twin.train().frozen.modules())
        assert twin.head.training
    assert not parent.eval().head.training


def test_a_copy_keeps_itself_in_eval_mode_not_the_original() -> None:
    parent = Parent()
    twin = copy.deepcopy(parent)
    twin.frozen.training = True
    twin.train()
    assert not twin.frozen.training


def test_gradients_pass_through() -> None:
    parent = Parent().train()
    leaf = torch.randn(3, 4, requires_grad=True)
    parent.head(parent.frozen(leaf)).sum().backward()
    assert leaf.grad.abs().sum() > 0
    assert parent.frozen[0].weight.grad is None


def test_injected_modules_follow_the_parent() -> None:
    parent = Parent()
    parent.frozen[0] = nn.Sequential(parent.frozen[0], nn.Dropout(0.1))
    parent.train()
    assert parent.frozen[0][1].training
    assert not parent.frozen[0][0].training
    assert not parent.eval().frozen[0][1].training


def test_fingerprint_sees_every_frozen_bit() -> None:
    parent = Parent()
    before = fingerprint(parent)
    assert len(before) == 64
    assert fingerprint(parent) == before
    with torch.no_grad():
        parent.head[0].weight.add_(1)
    assert fingerprint(parent) == before
    with torch.no_grad():
        parent.frozen[0].weight[0, 0] += 1e-6
    changed = fingerprint(parent)
    assert changed != before
    parent.frozen[2].running_mean[1] = 1
    assert fingerprint(parent) not in (before, changed)


def test_fingerprint_of_named_tensors() -> None:
    one = {"a": torch.arange(6.0), "b": torch.tensor(1, dtype=torch.int64)}
    same = {"b": one["b"].clone(), "a": one["a"].clone()}
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint({**one, "a": one["a"].view(2, 3)}) != fingerprint(one)
    assert fingerprint({**one, "a": one["a"].bfloat16()}) != fingerprint(one)
    assert fingerprint({"q.base_layer.weight": one["a"]}) == fingerprint({"q.weight": one["a"]})
    assert fingerprint({"x": torch.arange(6.0).view(2, 3).t()}) == fingerprint(
        {"x": torch.arange(6.0).view(2, 3).t().contiguous()}
    )
