"""The part of every model that writes and reads checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from typing_extensions import Self

from rgbx.checkpoints.load import build_from
from rgbx.checkpoints.trained import (
    fill_frozen,
    identity,
    keep_trained,
    refuse_other_backbone,
    refuse_other_model,
)
from rgbx.checkpoints.trained_with import compare_arguments, plain, say_other_input
from rgbx.errors import RGBXError

__all__ = ["Checkpointed"]


class Checkpointed(LightningModule):
    """What a checkpoint keeps next to the weights, and what is compared when it is loaded.

    Arguments of the constructor that differ from those of the checkpoint are refused if they
    change what the network computes. A resumed training says so, and goes on with the new ones.

    Attributes:
        needs_x: the network looks at a second modality.
        outside_forward: arguments that do not change what a trained network computes: losses,
            scores, how it is trained, how much memory it takes. All others are compared, so that a
            new argument is safe until it is listed here. Those of the base classes count too.
        override: use arguments that differ from the checkpoint's, and say so.
        data_info: what is known of the training's data, see `rgbx.data.RGBXDataModule.describe`;
            empty for a model that was not trained yet.
    """

    needs_x: bool = True
    outside_forward: ClassVar[tuple[str, ...]] = ("checkpoint_blocks",)

    def __init__(self) -> None:
        super().__init__()
        self._fingerprint: str | None = None
        self.override = False
        self.data_info: dict[str, Any] = {}

    @property
    def _data(self) -> Any:
        return getattr(self._trainer, "datamodule", None)

    @property
    def _fits(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING

    def keep_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Save constructor arguments as plain values, so that checkpoints load with weights_only.

        Args:
            arguments: ``locals()`` of the constructor; objects that are not plain (optimiser,
                schedule) are left out and take their defaults in ``load_from_checkpoint``.
        """
        skip = {"self", "__class__", "optimizer", "schedule"}
        self.save_hyperparameters({k: plain(v) for k, v in arguments.items() if k not in skip})

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # fewer options than Lightning
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: torch.device | str | None = None,
        *,
        override: bool = False,
        weights_only: bool | None = None,
        **arguments: Any,
    ) -> Self:
        """A trained model.

        Args:
            checkpoint_path: the file, or an open one.
            map_location: the device that the model is moved to; None: the CPU.
            override: use `arguments` that change what the network computes.
            weights_only: None or True; code in a file is never run.
            **arguments: of the constructor, in place of the checkpoint's.

        Raises:
            RGBXError: there is no such argument.
            WeightsError: see `rgbx.checkpoints.load.build_from`.
        """
        if weights_only is False:
            raise RGBXError("Nothing but tensors and plain values is read: leave out weights_only.")
        return build_from(checkpoint_path, cls, arguments, override).to(map_location or "cpu")

    def setup(self, stage: str) -> None:
        """Remember the data that are trained on, or compare them with those of the training."""
        if stage == "fit" and hasattr(self._data, "describe"):
            self.data_info = self._data.describe()
        elif self.data_info and stage != "fit":
            say_other_input(self, self.data_info, self._data)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained, on which frozen weights, and what the network saw."""
        checkpoint["rgbx"] = identity(self) | {"data": self.data_info}
        checkpoint["state_dict"] = keep_trained(self, checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse what is another paper's, function's or backbone's; complete the rest."""
        refuse_other_model(self, checkpoint)
        compare_arguments(self, checkpoint.get("hyper_parameters", {}), resumed=self._fits)
        refuse_other_backbone(self, checkpoint)
        checkpoint["state_dict"] = fill_frozen(self, checkpoint["state_dict"])
        info = checkpoint["rgbx"].get("data", {})
        say_other_input(self, info, self._data)
        if not self._fits:
            self.data_info = dict(info)
