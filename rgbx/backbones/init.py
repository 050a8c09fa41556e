"""Random weights that are the same on every machine.

Floating-point normal draws differ between processors and library versions. Here integers are
drawn (bit-exact everywhere) and scaled by one correctly rounded multiplication, from a generator
seeded by the tensor's name: adding a module elsewhere shifts nothing, and the global random state
is left alone.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

_STEPS = 2**23  # integers of this size are exact in float32
_SMALL = 0.1  # std of positions, tokens and other embeddings
_BIAS = 0.02


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Overwrite the random tensors of a freshly built module by portable ones.

    Weights are uniform with standard deviation 1 / sqrt(fan in); position tables and embeddings
    get small values although constructors leave them at zero; random buffers get unit variance.
    Tensors that the constructor made constant (norms, zero biases) keep their value. Tensors on
    the meta device are skipped.

    Args:
        module: changed in place.
        seed: another seed gives other values.
    """
    stored = set(module.state_dict())  # not derived buffers such as attention masks
    for prefix, part in module.named_modules():
        own = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        for name, tensor in own:
            path = f"{prefix}.{name}".lstrip(".")
            if tensor.is_meta or not tensor.is_floating_point() or path not in stored:
                continue
            std = _deviation(part, name, tensor)
            if std is not None:
                _fill(tensor, path, std, seed)


def smooth_filters(patches: nn.Conv2d) -> None:
    """Make a random patch embedding's filters constant on the cells of a 4 x 4 grid.

    Images are smooth: white-noise filters see little of them. Values are moved, not computed.

    Args:
        patches: the convolution, its kernel a multiple of 4; changed in place.
    """
    with torch.no_grad():
        filters, cell = patches.weight, patches.kernel_size[0] // 4
        coarse = filters[:, :, ::cell, ::cell]
        filters.copy_(coarse.repeat_interleave(cell, 2).repeat_interleave(cell, 3))


def _deviation(part: nn.Module, name: str, tensor: Tensor) -> float | None:
    """Standard deviation for one tensor, None to keep it."""
    if "pos" in name or isinstance(part, nn.Embedding):
        return _SMALL
    first = tensor.detach().flatten()[0]
    if bool((tensor == first).all()) and (tensor.numel() > 1 or float(first) in (0.0, 1.0)):
        return None  # one number alone is constant only if a constructor would choose it
    if not isinstance(tensor, nn.Parameter):
        return 1.0
    if tensor.ndim < 2:
        return _BIAS
    transposed = isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    fan_in = tensor.shape[0] if transposed else tensor[0].numel()
    return 1 / math.sqrt(fan_in)


def _fill(tensor: Tensor, name: str, std: float, seed: int) -> None:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    size = tuple(tensor.shape)
    with torch.device("cpu"):
        steps = torch.randint(-_STEPS, _STEPS + 1, size, generator=generator, dtype=torch.int32)
    values = steps.to(torch.float32).mul_(math.sqrt(3) * std / _STEPS)
    with torch.no_grad():
        tensor.copy_(values)
