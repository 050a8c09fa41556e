"""LoRA through PEFT, injected in place: the module stays the class that it was.

PEFT freezes everything next to its adapters, so pretrained weights are loaded before
:func:`inject_lora`, and heads are made trainable after it.
"""

import copy
import math
from pathlib import Path
from typing import cast

from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from torch import nn

from rgbx.disk import whole_file
from rgbx.errors import RGBXError

__all__ = ["export_lora", "inject_lora", "merge_lora"]


def inject_lora(module: nn.Module, targets: str, rank: int, alpha: float) -> None:
    """Put ``W x + (alpha / rank) B A x`` in the place of the linears that ``targets`` names.

    A is Kaiming-uniform, B is zero (Hu et al., ICLR 2022), so nothing changes at step 0. All other
    parameters of ``module`` end up frozen.

    Args:
        module: changed in place.
        targets: regular expression matched against whole module names inside ``module``.
        rank: r >= 1.
        alpha: scale, applied as alpha / rank.

    Raises:
        RGBXError: rank below 1, a scale of 0 (nothing would be trained) or below, or the
            expression matches no linear.
    """
    if rank < 1:
        raise RGBXError(f"The LoRA rank must be at least 1, got {rank}: see lora_rank.")
    if not 0 < alpha < math.inf:
        raise RGBXError(f"lora_alpha is {alpha}: give a finite number above 0.")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT only multiplies by it
        target_modules=targets,
        bias="none",
    )
    try:
        inject_adapter_in_model(config, module)
    except ValueError as error:
        if "not found" not in str(error):
            raise
        raise RGBXError(
            f"LoRA: {targets!r} matches no layer of {type(module).__name__}."
        ) from error


def merge_lora(module: nn.Module) -> int:
    """Add every LoRA product to its base weight and put the plain linear back, in place.

    Returns:
        How many layers were merged. Outputs stay the same up to rounding; the adapters are gone,
        so a merged module is for inference and export.
    """
    merged = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                child.merge(safe_merge=True)
                setattr(parent, name, child.get_base_layer())
                merged += 1
    return merged


def export_lora(module: nn.Module, folder: str | Path) -> Path:
    """Write the LoRA of ``module`` in PEFT's own format.

    ``peft.PeftModel.from_pretrained(fresh_module, folder)`` reads it back.

    Args:
        module: the module that :func:`inject_lora` changed.
        folder: made if absent; gets ``adapter_config.json`` and ``adapter_model.safetensors``.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        f"base_model.model.{name}": tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(module).items()
    }
    with whole_file(folder / "adapter_model.safetensors") as draft:
        save_file(state, draft, metadata={"format": "pt"})
    config = copy.copy(cast(dict[str, LoraConfig], module.peft_config)["default"])
    config.inference_mode = True
    config.save_pretrained(str(folder))
    return folder
