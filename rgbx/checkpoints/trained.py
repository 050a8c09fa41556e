"""Checkpoints that hold what was trained, and refuse to meet another backbone.

A SAM ViT-H checkpoint of 2.4 GB per epoch stores the same frozen numbers again and again. rgbx
stores trainable parameters, the buffers that belong to trained parts, and a fingerprint of the
frozen tensors. Loading compares the fingerprint and then loads strictly: nothing is ever skipped.

A checkpoint may also be self-contained (it carries the frozen tensors as well); then those are
loaded too and no fingerprint is needed.
"""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import Tensor, nn

import rgbx
from rgbx.backbones.freeze import fingerprint, is_frozen
from rgbx.backbones.weights import number_kind
from rgbx.checkpoints.file import read_checkpoint
from rgbx.disk import whole_file
from rgbx.errors import RGBXError, WeightsError

__all__ = [
    "AtomicCheckpointIO",
    "fill_frozen",
    "identity",
    "keep_trained",
    "refuse_other_backbone",
    "refuse_other_model",
]


def frozen_keys(module: nn.Module) -> set[str]:
    """State-dict keys of parameters without gradient and of buffers that lie next to them.

    A buffer counts as frozen when its owner, or a module around the owner, was frozen as a whole
    (`rgbx.backbones.freeze.freeze`); buffers of trained parts (running statistics, cached text
    embeddings) are stored.
    """
    keys = {name for name, p in module.named_parameters() if not p.requires_grad}
    for prefix, child in module.named_modules():
        if is_frozen(child):
            dotted = f"{prefix}." if prefix else ""
            keys |= {dotted + name for name, _ in child.named_buffers()}
    return keys & set(module.state_dict().keys())


def identity(module: Any) -> dict[str, Any]:
    """What a checkpoint says about its origin: rgbx version, model class, frozen weights."""
    return {
        "version": rgbx.__version__,
        "model": type(module).__name__,
        "frozen_sha256": backbone_fingerprint(module),
    }


def backbone_fingerprint(module: Any) -> str:
    """sha256 over the frozen tensors, computed once: they never change."""
    if module._fingerprint is None:
        keys = frozen_keys(module)
        state = module.state_dict()
        module._fingerprint = fingerprint({k: state[k] for k in sorted(keys)})
    return module._fingerprint


def keep_trained(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without its frozen entries."""
    frozen = frozen_keys(module)
    return {k: v for k, v in state.items() if k not in frozen}


def refuse_other_model(module: Any, checkpoint: dict[str, Any]) -> None:
    """Check that a checkpoint was written by this model.

    Raises:
        WeightsError: not an rgbx checkpoint, or another model.
    """
    info = checkpoint.get("rgbx")
    name = type(module).__name__
    if not isinstance(info, dict):
        raise WeightsError(
            f"This is not a checkpoint of rgbx (it has no `rgbx` entry), so {name} cannot load it."
        )
    if info["model"] not in {c.__name__ for c in type(module).__mro__}:
        raise WeightsError(
            f"The checkpoint belongs to {info['model']}, not to {name}: use the configuration it "
            "was trained with."
        )


def refuse_other_backbone(module: Any, checkpoint: dict[str, Any]) -> None:
    """Check that a checkpoint was trained on these frozen weights, unless it brings its own.

    Raises:
        WeightsError: it was trained on others.
    """
    if not frozen_keys(module) - set(checkpoint["state_dict"]):
        return
    mine, theirs = backbone_fingerprint(module), checkpoint["rgbx"]["frozen_sha256"]
    if theirs != mine:
        raise WeightsError(
            f"The checkpoint was trained on other frozen weights (sha256 {theirs[:12]}..., here "
            f"{mine[:12]}...): set `model.weights` to the file it was trained with."
        )


def fill_frozen(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` completed by the live frozen tensors, ready for strict loading.

    Raises:
        WeightsError: a trained entry is missing, unexpected, or of another shape or kind.
    """
    live = module.state_dict()
    frozen = frozen_keys(module)
    full = {k: live[k] for k in frozen} | state
    missing = [k for k in live if k not in full]
    unexpected = [k for k in full if k not in live]
    shapes = [k for k in live if k in full and full[k].shape != live[k].shape]
    kinds = [k for k in live if k in full and number_kind(full[k]) != number_kind(live[k])]
    if missing or unexpected or shapes or kinds:
        found = [
            f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
            for what, keys in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
                ("of another kind of number", kinds),
            )
            if keys
        ]
        raise WeightsError(
            f"The checkpoint does not fit this {type(module).__name__}: {'; '.join(found)}. Use "
            "the configuration it was trained with."
        )
    return full


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves next to the target and renames, so that a full disk never costs the previous file.

    Loading goes through `read_checkpoint`: nothing in a file is executed.

    Lightning's own writer goes through the temporary directory of the system; when that is another
    file system, the last step is a copy that can end half-way.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write ``checkpoint`` to ``path``.

        Raises:
            RGBXError: the disk is full or the folder not writable; the previous file is intact.
        """
        if storage_options is not None:
            raise TypeError("AtomicCheckpointIO writes local files and takes no storage_options")
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as draft, draft.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            kept = f" The previous {target.name} is intact." if target.exists() else ""
            raise RGBXError(
                f"Could not save the checkpoint {target}: {error}. Free some space and resume "
                f"with --ckpt_path.{kept}"
            ) from error

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint of rgbx.

        Args:
            path: the file.
            map_location: not asked: tensors come on the CPU, and Lightning moves them.
            weights_only: None or True; nothing but tensors and plain values is read.

        Raises:
            WeightsError: see `read_checkpoint`.
        """
        if weights_only is False:
            raise TypeError("AtomicCheckpointIO reads plain values and takes no weights_only=False")
        return read_checkpoint(os.fspath(path))
