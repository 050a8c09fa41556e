"""Frozen modules: no gradient of their own, always in eval mode, and a fingerprint of them."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def freeze(module: M) -> M:
    """Stop training `module`, for good.

    Every parameter gets `requires_grad_(False)` and every submodule stays in eval mode even when
    a parent calls `.train()`. Gradients still flow through to what comes before. Modules that are
    injected afterwards (LoRA layers and their dropout) follow the parent's mode as usual.

    Args:
        module: changed in place.

    Returns:
        The same module.
    """
    module.requires_grad_(False)
    module.eval()
    for part in module.modules():
        part.__dict__["train"] = partial(_keep_eval, part)
    return module


def is_frozen(module: nn.Module) -> bool:
    """Whether `freeze` was called on the module or on one that held it then."""
    return "train" in module.__dict__


def fingerprint(source: nn.Module | Mapping[str, Tensor]) -> str:
    """SHA-256 of frozen tensors: the same weights give the same text on every device.

    Names, shapes, dtypes and bytes enter, sorted by name. PEFT's `.base_layer` is left out of the
    names, so that injecting LoRA into a module does not change its fingerprint.

    Args:
        source: a module (its buffers and its parameters without gradient are taken, as far as
            they are part of the state dict) or named tensors (all are taken).

    Returns:
        64 hexadecimal digits.
    """
    if isinstance(source, nn.Module):
        state = source.state_dict(keep_vars=True)
        source = {name: t for name, t in state.items() if not t.requires_grad}
    named = {name.replace(".base_layer.", "."): tensor for name, tensor in source.items()}
    digest = hashlib.sha256()
    for name in sorted(named):
        tensor = named[name].detach()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _keep_eval(module: nn.Module, mode: bool = True) -> nn.Module:
    """Stand-in for `Module.train`: stays in eval mode but passes the mode on to the children."""
    module.training = False
    for child in module.children():
        child.train(mode)
    return module
