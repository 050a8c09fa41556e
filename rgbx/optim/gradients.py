"""One flat buffer that holds the gradient of every loss on every group of parameters it trains."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.optim.surgery import gramian, merge

__all__ = ["Cut", "GroupedGradients", "Groups"]

#: group name -> (pattern searched in parameter names, names of the losses that train it)
Groups = Mapping[str, tuple[str, Sequence[str]]]


@dataclass
class Cut:
    """A place where the graph is taken apart: everything behind it is walked through once.

    Losses are differentiated down to ``leaves``, then their gradients there are carried on into
    what computed ``tensors``. Losses that train different groups behind the cut share a walk.
    """

    tensors: list[Tensor]
    leaves: list[Tensor]
    #: loss -> gradient at every leaf, None where the loss does not depend on it
    gradients: dict[str, list[Tensor | None]] = field(default_factory=dict)


@dataclass
class _Group:
    name: str
    losses: tuple[str, ...]
    names: list[str]
    params: list[nn.Parameter]
    offset: int = 0  # of this group's rows in the flat buffer

    def __post_init__(self) -> None:
        self.size = sum(p.numel() for p in self.params)

    def rows(self, flat: Tensor) -> Tensor:
        """This group's part of the buffer as (T, P)."""
        return flat[self.offset : self.offset + len(self.losses) * self.size].view(-1, self.size)

    def views(self, row: Tensor) -> list[Tensor]:
        """A row (P,) as tensors of the parameters' shapes."""
        parts = row.split([p.numel() for p in self.params])
        return [part.view_as(p) for part, p in zip(parts, self.params, strict=True)]


class GroupedGradients:
    """Per-loss gradients of named groups of parameters, accumulated and merged.

    ``add`` once per micro-batch, ``reduce`` once per optimiser step (this is the only
    communication between processes), ``gramians``, then ``merge``, which fills ``.grad``.
    ``torch.autograd.grad`` is used throughout: it touches neither ``.grad`` nor DDP's hooks.

    Args:
        parameters: names and parameters; those without ``requires_grad`` are passed over.
        groups: see `Groups`; the first pattern that fits a name wins.

    Raises:
        RGBXError: a group matches nothing, or a trainable parameter is in no group.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], groups: Groups) -> None:
        self.groups = _assign([(n, p) for n, p in parameters if p.requires_grad], groups)
        self.losses = tuple(dict.fromkeys(loss for g in self.groups for loss in g.losses))
        offset = 0
        for group in self.groups:
            group.offset = offset
            offset += group.size * len(group.losses)
        self._total = offset
        self._flat: Tensor | None = None
        self._views: dict[tuple[str, str], list[Tensor]] = {}
        self._merged: dict[str, Tensor] = {}
        self._reached: dict[tuple[str, str], set[str]] = {}  # of the first micro-batch
        self._behind: dict[str, list[int]] = {}  # group -> its parameters behind the cut
        self._walks: list[tuple[str, ...]] | None = None
        self._learning = True
        self.count = 0  # micro-batches in the buffer

    # ------------------------------------------------------------------ collecting
    @property
    def flat(self) -> Tensor:
        """The buffer: all rows of all groups behind each other; float32 or wider."""
        if self._flat is None:
            first = self.groups[0].params[0]
            kind = torch.promote_types(first.dtype, torch.float32)
            self._flat = torch.zeros(self._total, dtype=kind, device=first.device)
            for group in self.groups:
                for loss, row in zip(group.losses, group.rows(self._flat), strict=True):
                    self._views[group.name, loss] = group.views(row)
        return self._flat

    def add(
        self,
        losses: dict[str, Tensor],
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        cut: Cut | None = None,
    ) -> None:
        """Add the gradients of one micro-batch.

        Args:
            losses: scalar losses by name; **emptied**, so that each one's graph is freed as soon
                as it has been walked through.
            scale: applied to every loss first (a gradient scaler's).
            cut: where the graph was taken apart, if it was.

        Raises:
            RGBXError: at the first call, a loss that has no gradient in a group that it trains,
                or a parameter that gets none from any loss.
        """
        if self.count == 0:
            self.flat.zero_()
        with torch.autocast(self.flat.device.type, enabled=False):
            while losses:
                name = next(iter(losses))
                loss = scale(losses.pop(name))
                self._differentiate(name, loss, keep=bool(losses), cut=cut)
                del loss
            if cut is not None:
                self._walk_on(cut)
        self.count += 1
        if self._learning:
            self._refuse_idle()
            self._learning = False

    def _differentiate(self, name: str, loss: Tensor, keep: bool, cut: Cut | None) -> None:
        groups = [g for g in self.groups if name in g.losses]
        params = [p for g in groups for p in g.params]
        leaves = cut.leaves if cut else []
        found = torch.autograd.grad(loss, [*params, *leaves], retain_graph=keep, allow_unused=True)
        if cut:
            cut.gradients[name] = list(found[len(params) :])
        start = 0
        for group in groups:
            part = found[start : start + len(group.params)]
            self._add_row(group, name, range(len(part)), part)
            start += len(part)

    def _add_row(
        self, group: _Group, loss: str, indices: Sequence[int], found: Sequence[Tensor | None]
    ) -> None:
        """Add one loss's gradients to some parameters of a group."""
        pairs = [(i, g) for i, g in zip(indices, found, strict=True) if g is not None]
        if pairs:
            views = self._views[group.name, loss]
            torch._foreach_add_([views[i] for i, _ in pairs], [g for _, g in pairs])
        if self._learning:
            names = self._reached.setdefault((group.name, loss), set())
            names.update(group.names[i] for i, _ in pairs)

    # ------------------------------------------------------------------ behind a cut
    def _walk_on(self, cut: Cut) -> None:
        """Carry the gradients at the cut on to what lies behind it, in as few walks as can be."""
        if self._walks is None:
            self._walks = self._plan(cut)
        for number, walk in enumerate(self._walks):
            goals = [
                (group, loss, self._behind[group.name])
                for group in self.groups
                for loss in walk
                if loss in group.losses and self._behind[group.name]
            ]
            params = [group.params[i] for group, _, indices in goals for i in indices]
            found = self._pull(cut, walk, params, keep=number < len(self._walks) - 1)
            start = 0
            for group, loss, indices in goals:
                self._add_row(group, loss, indices, found[start : start + len(indices)])
                start += len(indices)
            for name in walk:
                del cut.gradients[name]

    def _plan(self, cut: Cut) -> list[tuple[str, ...]]:
        """Put the losses into walks; two share one if no group behind the cut mixes them."""
        for group in self.groups:
            reached = set().union(*(self._reached[group.name, loss] for loss in group.losses))
            self._behind[group.name] = [i for i, n in enumerate(group.names) if n not in reached]
        behind = [group for group in self.groups if self._behind[group.name]]
        walks: list[tuple[str, ...]] = []
        for loss in cut.gradients:
            if not any(loss in group.losses for group in behind):
                continue
            for i, walk in enumerate(walks):
                if not any(self._mix(cut, behind, loss, other) for other in walk):
                    walks[i] = (*walk, loss)
                    break
            else:
                walks.append((loss,))
        return walks

    def _mix(self, cut: Cut, behind: Sequence[_Group], one: str, other: str) -> bool:
        """Whether a shared walk would add one loss's gradient to the other's.

        Both losses train a group, or one reaches a group that only the other trains. The second
        is tried out, once, with this batch's gradients.
        """
        for group in behind:
            trained = {one, other} & set(group.losses)
            if len(trained) == 2:
                return True
            if len(trained) == 1:
                (stranger,) = {one, other} - trained
                params = [group.params[i] for i in self._behind[group.name]]
                found = self._pull(cut, (stranger,), params, keep=True)
                if any(gradient is not None and bool(gradient.any()) for gradient in found):
                    return True
        return False

    def _pull(
        self, cut: Cut, walk: Sequence[str], params: Sequence[Tensor], keep: bool
    ) -> list[Tensor | None]:
        outputs, cotangents = [], []
        for index, tensor in enumerate(cut.tensors):
            parts = [p for n in walk if (p := cut.gradients[n][index]) is not None]
            if parts:
                outputs.append(tensor)
                cotangents.append(torch.stack(parts).sum(0) if len(parts) > 1 else parts[0])
        if not outputs:
            return [None] * len(params)
        return list(
            torch.autograd.grad(outputs, params, cotangents, retain_graph=keep, allow_unused=True)
        )

    # ------------------------------------------------------------------ merging
    def reduce(self, processes: int = 1) -> None:
        """Divide by the number of micro-batches and average over processes.

        One all-reduce for everything. It comes before the surgery: surgery on the gradients of
        each process, averaged afterwards, is something else.
        """
        if processes > 1:
            torch.distributed.all_reduce(self.flat)
        if self.count * processes > 1:
            self.flat.div_(self.count * processes)
        self.count = 0

    def gramians(self) -> dict[str, Tensor]:
        """Group -> (T, T) Gram matrix on the CPU in float64; one transfer for all groups."""
        products = [gramian(group.rows(self.flat)) for group in self.groups]
        together = torch.cat([p.flatten() for p in products]).to("cpu", torch.float64)
        sizes = [p.numel() for p in products]
        return {
            group.name: part.view(len(group.losses), -1)
            for group, part in zip(self.groups, together.split(sizes), strict=True)
        }

    def merge(self, weights: Mapping[str, Tensor]) -> None:
        """Set every parameter's ``.grad`` to the weighted sum of its group's rows.

        Args:
            weights: group -> (T,).
        """
        for group in self.groups:
            rows = group.rows(self.flat)
            if group.name not in self._merged:
                self._merged[group.name] = torch.empty_like(rows[0])
            merged = merge(rows, weights[group.name], out=self._merged[group.name])
            for parameter, view in zip(group.params, group.views(merged), strict=True):
                parameter.grad = view.to(parameter.dtype)

    def _refuse_idle(self) -> None:
        for group in self.groups:
            for loss in group.losses:
                if not self._reached[group.name, loss]:
                    raise RGBXError(
                        f"The loss {loss!r} has no gradient in the parameter group "
                        f"{group.name!r} that it is to train: take it out of the group's losses, "
                        "or look for a detach, a frozen part, or reentrant activation "
                        "checkpointing (use_reentrant=False) on the way."
                    )
            reached = set().union(*(self._reached[group.name, n] for n in group.losses))
            idle = [name for name in group.names if name not in reached]
            if idle:
                raise RGBXError(
                    f"{len(idle)} trainable parameters of the group {group.name!r} get no "
                    f"gradient from any of its losses, for example {', '.join(idle[:3])}: freeze "
                    "them or use them in the forward pass."
                )


def _assign(parameters: Sequence[tuple[str, nn.Parameter]], groups: Groups) -> list[_Group]:
    found: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in groups}
    orphans = []
    for name, parameter in parameters:
        owner = next((g for g, (pattern, _) in groups.items() if re.search(pattern, name)), None)
        if owner is None:
            orphans.append(name)
        else:
            found[owner].append((name, parameter))
    for name, (pattern, losses) in groups.items():
        if not losses:
            raise RGBXError(f"The surgery group {name!r} names no loss: give at least one.")
        if not found[name]:
            raise RGBXError(
                f"The surgery group {name!r} is empty: its pattern {pattern!r} matches no "
                "trainable parameter that is not in an earlier group."
            )
    if orphans:
        raise RGBXError(
            f"{len(orphans)} trainable parameters are in no surgery group, for example "
            f"{', '.join(orphans[:3])}: extend a group's pattern or freeze them."
        )
    return [
        _Group(name, tuple(losses), [n for n, _ in found[name]], [p for _, p in found[name]])
        for name, (_, losses) in groups.items()
    ]
