"""What UniRGB-IR's two tasks share: any image size, auxiliary losses, the batch of one."""

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.models.unirgb_ir.network import UniRGBIRNetwork, at_input_size
from rgbx.tasks.base import RGBXModule
from rgbx.tasks.image_input import check_rgb, check_x

__all__ = ["UniRGBIRTask"]


class UniRGBIRTask(RGBXModule):
    """Stands before a task base among the parents; the subclass sets :attr:`network`.

    Every loss is taken at the size of the input: logits of the main head and of the auxiliary
    heads are enlarged first, as the authors do.
    """

    published: ClassVar[Path] = Path(__file__).with_name("published.yaml")
    size_multiple = 1  # the backbone pads
    outside_forward: ClassVar[tuple[str, ...]] = (
        "class_weights",
        "bce_weight",
        "iou_weight",
        "ssim_weight",
        "aux_weight",
    )
    parts: ClassVar[dict[str, str]] = {
        "feature pool (MFP)": r"adapter_spm|adapter_level_embed",
        "injectors (SFI)": "adapter_stages",
        "gates": "adapter_grus",
        "relative positions": "rel_pos",
        "neck": r"network\.neck\.",
        "head": r"network\.head\.",
        "auxiliary heads": r"network\.auxiliary_heads\.",
    }
    network: UniRGBIRNetwork

    @abstractmethod
    def losses(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Named losses of one head's logits (B,K,H,W)."""

    def logits(self, rgb: Tensor, x: Tensor | None) -> Tensor:
        """The main head's prediction at the size of the input, (B,K,H,W).

        Raises:
            RGBXError: there is no ``x``, or shapes do not fit.
        """
        check_rgb(type(self).__name__, rgb)
        x = check_x(type(self).__name__, rgb, x)
        return at_input_size(self.network(rgb, x), rgb.shape[-2:])

    def training_losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """`losses` of the main head, and ``aux``: those of all auxiliary heads x `aux_weight`."""
        rgb, x = self.inputs(batch)
        assert x is not None
        size = rgb.shape[-2:]
        main, *auxiliary = (at_input_size(z, size) for z in self.network.all_logits(rgb, x))
        losses = self.losses(main, batch["mask"])
        terms = [t for z in auxiliary for t in self.losses(z, batch["mask"]).values()]
        if terms:
            losses["aux"] = self.hparams["aux_weight"] * sum(terms[1:], terms[0])
        return losses

    def check_aux_weight(self, aux_weight: float) -> bool:
        """Whether there are auxiliary heads.

        Raises:
            RGBXError: the weight is negative.
        """
        if not aux_weight >= 0:
            raise RGBXError(
                f"aux_weight is {aux_weight}: give 0 (no auxiliary heads) or a number above."
            )
        return aux_weight > 0

    def on_fit_start(self) -> None:
        """As every model; says what to set where BatchNorm will see single images."""
        super().on_fit_start()
        synchronised = self.trainer.world_size > 1 and any(
            isinstance(m, nn.SyncBatchNorm) for m in self.modules()
        )
        alone = getattr(self._data, "batch_size", None) == 1
        if alone and self.hparams["norm"] == "bn" and not synchronised:
            rank_zero_warn(
                "data.batch_size is 1 and model.norm is bn: BatchNorm then learns from one image "
                "at a time; set model.norm to gn, a larger data.batch_size, or on several GPUs "
                "trainer.sync_batchnorm to true."
            )
