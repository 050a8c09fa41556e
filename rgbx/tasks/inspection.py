"""What can be asked of any model without data: its parts, a pass through it, what it exports."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from rgbx.checkpoints.module import Checkpointed
from rgbx.errors import RGBXError
from rgbx.tasks.export_part import Part, Port, dense_part

__all__ = ["Inspectable"]


class Inspectable(Checkpointed):
    """What `rgbx profile` and `rgbx export` ask a model; a new task overrides what differs.

    Attributes:
        task: one word, kept in exported files.
        input_text: what one pass takes, for the tables of costs.
        parts: part name -> pattern searched in parameter names; the first match wins.
    """

    task: ClassVar[str] = "custom"
    input_text: ClassVar[str] = "image"
    parts: ClassVar[Mapping[str, str]] = {}

    # ------------------------------------------------------------------ a pass
    def inputs(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """``rgb`` (B,3,H,W) and ``x`` (B,3,H,W) of a batch.

        Raises:
            RGBXError: this model needs X and the data set has none.
        """
        x = batch.get("x")
        if x is None and self.needs_x:
            name = batch.get("name", ["the batch"])[0]
            raise RGBXError(
                f"{type(self).__name__} needs a second modality, but {name} came without `x`: use "
                "a data set with thermal or depth images."
            )
        return batch["rgb"], x

    def dummy_inputs(self, size: tuple[int, int], batch: int = 1) -> dict[str, Any]:
        """Noise as a batch of images, made on torch's default device.

        Args:
            size: (H,W).
            batch: B.

        Returns:
            The keys of a batch that `raw_output` reads: "rgb" (B,3,H,W), and "x" of the same shape
            if the model needs it.
        """
        names = ("rgb", "x") if self.needs_x else ("rgb",)
        return {name: torch.randn(batch, 3, *size) for name in names}

    def raw_output(self, batch: Mapping[str, Any]) -> Tensor | list[Tensor]:
        """What the network says of a batch, before any decision, at the size of its input.

        Returns:
            (B,K,H,W) logits of K classes, or of one map; or a tensor for each image.
        """
        output: Tensor = self(*self.inputs(batch))
        return output

    # ------------------------------------------------------------------ export
    def output_port(self, size: tuple[int, int]) -> Port:
        """Name, shape and meaning of the one map that an exported file returns.

        Args:
            size: (H,W) of the images.

        Raises:
            RGBXError: the model does not say, and so cannot be exported.
        """
        raise RGBXError(f"{type(self).__name__} cannot be exported: it defines no output_port.")

    def export_parts(self, merged: Self, size: tuple[int, int]) -> list[Part]:
        """What goes into a file each; one file from images to a map if not overridden.

        Args:
            merged: a copy of this model with LoRA merged, which may be taken apart.
            size: (H,W) of the images.

        Raises:
            RGBXError: the model cannot be exported.
        """
        return [dense_part(self, merged, size, self.output_port(size))]

    # ------------------------------------------------------------------ parameters
    def parameters_by_part(self) -> dict[str, int]:
        """How many parameters there are, everything counted once.

        Returns:
            Part -> trainable ones, "other" for those that belong to no part, and "frozen".
        """
        counts = dict.fromkeys((*self.parts, "other", "frozen"), 0)
        for name, parameter in self.named_parameters():
            found = (part for part, pattern in self.parts.items() if re.search(pattern, name))
            counts[next(found, "other") if parameter.requires_grad else "frozen"] += (
                parameter.numel()
            )
        return {part: n for part, n in counts.items() if n or part == "frozen"}

    def parameter_summary(self) -> str:
        """A table of trainable parameters by part, the frozen rest and all, in millions."""
        counts = self.parameters_by_part()
        total, frozen = sum(counts.values()), counts.pop("frozen")
        rows = [*counts.items(), ("trainable", total - frozen), ("frozen", frozen)]
        rows.append(("total", total))
        width = max(len(part) for part, _ in rows)
        lines = [f"  {part:<{width}}  {n / 1e6:10.4f} M" for part, n in rows]
        lines.insert(len(counts), "  " + "-" * (width + 14))
        return "\n".join([f"{type(self).__name__}: parameters", *lines])
