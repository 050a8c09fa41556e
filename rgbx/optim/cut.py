"""A place where the graph of several losses is taken apart, so that they share backward walks.

Which losses may share a walk follows from the structure of the graph at this very step, or from
what the module declares; never from the values of a gradient, which may be 0 once and not later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, get_gradient_edge

from rgbx.errors import RGBXError
from rgbx.optim.groups import Group

__all__ = ["Cut"]


@dataclass
class Cut:
    """Losses are differentiated down to ``leaves``, then carried on into what gave ``tensors``.

    Args:
        tensors: results of the shared part; each needs a gradient.
        leaves: their stand-ins, from which the losses are computed.
        streams: for every tensor the group of parameters that alone lies behind it, as the module
            declares; None: the groups behind each tensor are read from the graph.
    """

    tensors: list[Tensor]
    leaves: list[Tensor]
    streams: Sequence[str] | None = None
    #: loss -> gradient at every leaf, None where the loss does not depend on it
    gradients: dict[str, list[Tensor | None]] = field(default_factory=dict)

    def reach(self, groups: Sequence[Group]) -> dict[str, set[str]]:
        """Loss -> groups behind the cut that its gradient can reach."""
        if self.streams is None:
            behind = _groups_behind(self.tensors, groups)
        else:
            trained = {group.name for group in groups if group.params}
            behind = [{stream} & trained for stream in self.streams]
        return {
            loss: set().union(*(b for b, g in zip(behind, found, strict=True) if g is not None))
            for loss, found in self.gradients.items()
        }

    def plan(self, groups: Sequence[Group], reach: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
        """Put the losses into walks; two share one if no group that either trains is met twice."""
        walks: list[tuple[str, ...]] = []
        for loss, met in reach.items():
            if not any(loss in group.losses and group.name in met for group in groups):
                continue
            for i, walk in enumerate(walks):
                if not any(_mix(groups, reach, loss, other) for other in walk):
                    walks[i] = (*walk, loss)
                    break
            else:
                walks.append((loss,))
        return walks

    def pull(
        self, walk: Sequence[str], params: Sequence[Tensor], keep: bool
    ) -> Sequence[Tensor | None]:
        """Gradients of the sum of some losses, through what lies behind the cut."""
        outputs, cotangents = [], []
        for index, tensor in enumerate(self.tensors):
            parts = [p for n in walk if (p := self.gradients[n][index]) is not None]
            if parts:
                outputs.append(tensor)
                cotangents.append(torch.stack(parts).sum(0) if len(parts) > 1 else parts[0])
        return torch.autograd.grad(
            outputs, params, cotangents, retain_graph=keep, allow_unused=True
        )

    def refuse_leaks(self, groups: Sequence[Group]) -> None:
        """Check that behind each declared stream there is its own group alone.

        NaN is sent back through one stream after the other: it also passes factors that happen to
        be 0, so that what is found does not depend on this batch or on an initialisation.

        Raises:
            RGBXError: names the stream and a parameter of another group.
        """
        for stream in dict.fromkeys(self.streams or ()):
            mine = [t for t, s in zip(self.tensors, self.streams or (), strict=True) if s == stream]
            others = [
                (group.name, name, parameter)
                for group in groups
                if group.name != stream
                for name, parameter in zip(group.names, group.params, strict=True)
            ]
            if not others:
                continue
            poison = [torch.full_like(tensor, torch.nan) for tensor in mine]
            with torch.autograd.set_detect_anomaly(False):  # it would refuse the NaN
                found = torch.autograd.grad(
                    mine, [p for _, _, p in others], poison, retain_graph=True, allow_unused=True
                )
            hit = [
                (o, g.isnan().any()) for o, g in zip(others, found, strict=True) if g is not None
            ]
            if hit and bool(torch.stack([flag for _, flag in hit]).any()):
                group_name, name = next(o[:2] for o, flag in hit if flag)
                raise RGBXError(
                    f"cut_streams() was given the stream {stream!r}, which also depends on {name} "
                    f"of the group {group_name!r}: streams that share parameters cannot share a "
                    "walk. Use cut(), which reads from the graph what depends on what."
                )


def _mix(groups: Sequence[Group], reach: Mapping[str, set[str]], one: str, other: str) -> bool:
    """Whether a shared walk would add one loss's gradient to the other's in some group."""
    both = reach[one] & reach[other]
    return any(g.name in both and (one in g.losses or other in g.losses) for g in groups)


def _groups_behind(tensors: Sequence[Tensor], groups: Sequence[Group]) -> list[set[str]]:
    """For every tensor the groups whose parameters its graph holds, used in this step or not."""
    owner = {id(p): {group.name} for group in groups for p in group.params}
    known: dict[Node, set[str]] = {}  # holds the nodes, too: their ids would be used again
    nodes = [get_gradient_edge(tensor).node for tensor in tensors]
    stack = list(nodes)
    while stack:
        node = stack[-1]
        children = [child for child, _ in node.next_functions if child is not None]
        todo = [child for child in children if child not in known]
        if node not in known and todo:
            stack.extend(todo)
            continue
        stack.pop()
        parameter: nn.Parameter | None = getattr(node, "variable", None)  # of a leaf's node
        known[node] = owner.get(id(parameter), set()).union(*(known[child] for child in children))
    return [known[node] for node in nodes]
