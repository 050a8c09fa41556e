"""`cut`: where a module with several losses lets their backward walks be shared."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from rgbx.errors import RGBXError
from rgbx.optim.cut import Cut
from rgbx.optim.groups import Groups
from rgbx.optim.surgery import Weighting

__all__ = ["Cutting"]


class Cutting(LightningModule):
    """The part of `GradientSurgery` that a subclass calls in its ``training_losses``."""

    groups: Groups
    surgery: str | Mapping[str, Any] | Weighting | None = "PCGrad"
    _cut: Cut | None = None
    _in_step = False

    def cut(self, *tensors: Tensor) -> list[Tensor]:
        """Take the graph apart here; call it once in ``training_losses``, where streams meet.

        What lies before the returned tensors is walked through once per loss, as always; what
        lies behind ``tensors`` only as often as losses compete there: gradients of losses that
        train different groups share one walk, if the graph shows that none of them reaches a
        group of the other. The gradients are the same.

        Args:
            tensors: results of the shared part, e.g. features of each stream.

        Returns:
            Stand-ins of the same values, to compute the losses from. Outside of training, or
            without surgery, the tensors themselves.

        Raises:
            RGBXError: it was called before in this step.
        """
        return self._stand_ins(tensors, None)

    def cut_streams(self, streams: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
        """As :meth:`cut`, for streams that the graph cannot tell apart, e.g. halves of one batch.

        Args:
            streams: name of a group of parameters -> tensors that depend on that group alone.

        Returns:
            Stand-ins in the same order.

        Raises:
            RGBXError: it was called before in this step, or a stream has no group of its name. In
                the first step of an epoch, a stream that depends on another group as well.
        """
        strangers = [name for name in streams if name not in self.groups]
        if strangers:
            raise RGBXError(
                f"cut_streams() was given the stream {', '.join(strangers)}, but the surgery "
                f"groups are {', '.join(self.groups)}: a stream has the name of the group behind "
                "it."
            )
        owners = [name for name, tensors in streams.items() for _ in tensors]
        found = iter(self._stand_ins([t for part in streams.values() for t in part], owners))
        return {name: [next(found) for _ in tensors] for name, tensors in streams.items()}

    def _stand_ins(self, tensors: Sequence[Tensor], owners: list[str] | None) -> list[Tensor]:
        if self.surgery is None or not torch.is_grad_enabled() or not self.training:
            return list(tensors)
        if self._in_step and self._cut is not None:
            raise RGBXError(
                f"{type(self).__name__} cuts the graph twice in one step: give all tensors to one "
                "cut()."
            )
        found = [t.detach().requires_grad_() if t.requires_grad else t for t in tensors]
        kept = [i for i, t in enumerate(tensors) if t.requires_grad]
        streams = None if owners is None else [owners[i] for i in kept]
        if kept:  # else everything behind is frozen
            self._cut = Cut([tensors[i] for i in kept], [found[i] for i in kept], streams)
        return found
