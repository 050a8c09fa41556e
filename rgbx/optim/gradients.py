"""One flat buffer that holds the gradient of every loss on every group of parameters it trains."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.optim.cut import Cut
from rgbx.optim.gram import dot_products, merge, repaired
from rgbx.optim.groups import Group, Groups, assign

__all__ = ["Cut", "GroupedGradients", "Groups"]


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
        parameters = list(parameters)
        self.groups = assign(parameters, groups)
        self._flags = {id(p): (p, p.requires_grad) for _, p in parameters}
        self.losses = tuple(dict.fromkeys(loss for g in self.groups for loss in g.losses))
        offset = 0
        for group in self.groups:
            group.offset = offset
            offset += group.size * len(group.losses)
        self._total = offset
        self._flat: Tensor | None = None
        self._views: dict[tuple[str, str], list[Tensor]] = {}
        self._merged: dict[str, Tensor] = {}
        self._reached: dict[tuple[str, str], set[str]] = {}  # while learning
        self._seen: set[str] = set()  # losses that had a gradient once
        self._warned: set[str] = set()  # losses that were a constant once
        self._walks: list[tuple[str, ...]] = []  # of the last micro-batch
        self._learning = True
        self.count = 0  # micro-batches in the buffer

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Name -> parameter, of all groups."""
        return {
            name: parameter
            for group in self.groups
            for name, parameter in zip(group.names, group.params, strict=True)
        }

    def fits(self, parameters: Iterable[nn.Parameter] | None = None) -> bool:
        """Whether the buffer still is for the parameters that are trainable now.

        Args:
            parameters: all parameters of the module; None: those that it had are looked at.
        """
        if any(p.requires_grad is not flag for p, flag in self._flags.values()):
            return False
        return parameters is None or {id(p) for p in parameters} == self._flags.keys()

    # ------------------------------------------------------------------ collecting
    @property
    def flat(self) -> Tensor:
        """The buffer: all rows of all groups behind each other; float32 or wider."""
        if self._flat is None:
            params = list(self.trained.values())
            kind = torch.float32
            for dtype in {p.dtype for p in params}:
                kind = torch.promote_types(kind, dtype)
            self._flat = torch.zeros(self._total, dtype=kind, device=params[0].device)
            for group in self.groups:
                for loss, row in zip(group.losses, group.rows(self._flat), strict=True):
                    self._views[group.name, loss] = group.views(row)
        return self._flat

    def add(
        self,
        losses: dict[str, Tensor],
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
        cut: Cut | None = None,
        check_cut: bool = False,
    ) -> None:
        """Add the gradients of one micro-batch.

        Args:
            losses: scalar losses by name; **emptied**, so that each one's graph is freed as soon
                as it has been walked through. A loss without a graph is a constant: its gradient
                is 0.
            scale: applied to every loss first (a gradient scaler's).
            cut: where the graph was taken apart, if it was.
            check_cut: look again whether declared streams hold (the first call always does).

        Raises:
            RGBXError: other losses than those that the groups name; at the first call, one that
                has no gradient in a group that it trains, or a parameter that gets none from any
                loss; parameters were frozen or unfrozen since this buffer was made; declared
                streams are not what they are said to be.
        """
        if not self.fits():
            raise RGBXError(
                "Parameters were frozen or unfrozen since GroupedGradients was built: build anew."
            )
        if losses.keys() != set(self.losses):
            raise RGBXError(
                f"The surgery groups name the losses {', '.join(self.losses)}, but these are "
                f"{', '.join(losses)}."
            )
        if self.count == 0:
            self.flat.zero_()
        with torch.autocast(self.flat.device.type, enabled=False):
            while losses:
                name = next(iter(losses))
                loss = scale(losses.pop(name))
                self._note(name, loss)
                if loss.requires_grad:
                    # a loss may go around the cut: what lies behind it is needed once more
                    keep = bool(losses) or cut is not None
                    self._differentiate(name, loss, keep=keep, cut=cut)
                del loss
            if cut is not None:
                if self._learning or check_cut:
                    cut.refuse_leaks(self.groups)
                self._walk_on(cut)
        self.count += 1
        if self._learning:
            self._refuse_idle()
            self._learning = not self._seen.issuperset(self.losses)

    def _note(self, name: str, loss: Tensor) -> None:
        """A constant loss is right (its weight is 0 for a while, say), but may be a mistake."""
        if loss.requires_grad:
            self._seen.add(name)
        elif name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"The loss {name!r} is a constant: it has no gradient and trains nothing until it "
                "has one.",
                stacklevel=2,
            )

    def _differentiate(self, name: str, loss: Tensor, keep: bool, cut: Cut | None) -> None:
        groups = [g for g in self.groups if name in g.losses]
        params = [p for g in groups for p in g.params]
        leaves = cut.leaves if cut else []
        if not params and not leaves:
            return
        found = torch.autograd.grad(loss, [*params, *leaves], retain_graph=keep, allow_unused=True)
        if cut:
            cut.gradients[name] = list(found[len(params) :])
        start = 0
        for group in groups:
            self._add_row(group, name, found[start : start + len(group.params)])
            start += len(group.params)

    def _add_row(self, group: Group, loss: str, found: Sequence[Tensor | None]) -> None:
        """Add one loss's gradients to the parameters of a group."""
        pairs = [(i, g) for i, g in enumerate(found) if g is not None]
        if pairs:
            views = self._views[group.name, loss]
            torch._foreach_add_([views[i] for i, _ in pairs], [g for _, g in pairs])
        if self._learning:
            names = self._reached.setdefault((group.name, loss), set())
            names.update(group.names[i] for i, _ in pairs)

    def _walk_on(self, cut: Cut) -> None:
        """Carry the gradients at the cut on to what lies behind it, in as few walks as can be."""
        reach = cut.reach(self.groups)
        self._walks = cut.plan(self.groups, reach)
        for number, walk in enumerate(self._walks):
            goals = [
                (group, loss)
                for group in self.groups
                for loss in walk
                if loss in group.losses and group.name in reach[loss]
            ]
            params = [p for group, _ in goals for p in group.params]
            found = cut.pull(walk, params, keep=number < len(self._walks) - 1)
            start = 0
            for group, loss in goals:
                self._add_row(group, loss, found[start : start + len(group.params)])
                start += len(group.params)
            for name in walk:
                del cut.gradients[name]

    # ------------------------------------------------------------------ half-filled windows
    def sums(self, processes: int = 1) -> dict[str, dict[str, Tensor]]:
        """A copy of what is in the buffer: loss -> parameter name -> sum of its gradients.

        Args:
            processes: of several, each gets the mean, and goes on with it.
        """
        flat = self.flat.clone()
        if processes > 1:
            torch.distributed.all_reduce(flat)
            flat /= processes
        found: dict[str, dict[str, Tensor]] = {}
        for group in self.groups:
            for loss, row in zip(group.losses, group.rows(flat), strict=True):
                views = zip(group.names, group.views(row), strict=True)
                found.setdefault(loss, {}).update(views)
        return found

    def take_over(
        self, sums: Mapping[str, Mapping[str, Tensor]], count: int
    ) -> list[tuple[str, str]]:
        """Go on with a window that another buffer began; matched by the names.

        Args:
            sums: see `sums`.
            count: micro-batches in them.

        Returns:
            Loss and parameter name of all sums that are not there, and begin at 0.
        """
        missing = []
        self.flat.zero_()
        for group in self.groups:
            for loss in group.losses:
                views = zip(group.names, self._views[group.name, loss], strict=True)
                for name, view in views:
                    found = sums.get(loss, {}).get(name)
                    if found is None or found.shape != view.shape:
                        missing.append((loss, name))
                    else:
                        view.copy_(found)
        self.count = count
        return missing

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
        products = [dot_products(group.rows(self.flat)) for group in self.groups]
        together = torch.cat([p.flatten() for p in products]).to("cpu", torch.float64)
        sizes = [p.numel() for p in products]
        return {
            group.name: repaired(group.rows(self.flat), part.view(len(group.losses), -1))
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
            known = [loss for loss in group.losses if loss in self._seen]
            for loss in known if group.params else ():
                if not self._reached[group.name, loss]:
                    raise RGBXError(
                        f"The loss {loss!r} has no gradient in the parameter group "
                        f"{group.name!r} that it is to train: take it out of the group's losses, "
                        "or look for a detach, a frozen part, or reentrant activation "
                        "checkpointing (use_reentrant=False) on the way."
                    )
            if len(known) < len(group.losses):
                continue  # another loss may reach the rest
            reached = set().union(*(self._reached[group.name, n] for n in group.losses))
            idle = [name for name in group.names if name not in reached]
            if idle:
                raise RGBXError(
                    f"{len(idle)} trainable parameters of the group {group.name!r} get no "
                    f"gradient from any of its losses, for example {', '.join(idle[:3])}: freeze "
                    "them or use them in the forward pass."
                )
