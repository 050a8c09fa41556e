"""Gradient surgery: how to merge the gradients of several losses that share parameters.

Everything follows from the Gram matrix of the gradients. With ``G`` (T, P), one row per loss, a
*weighting* turns ``G @ G.T`` (T, T) into weights ``w`` (T,), and the merged gradient is ``w @ G``.
A weighting is any callable of that form; those of ``torchjd.aggregation`` that read a Gram matrix
fit as they are. Weightings that draw random numbers take them from torch's global CPU generator,
which the caller seeds (see `rgbx.optim.manual`).
"""

import importlib
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from rgbx.errors import RGBXError

__all__ = [
    "Mean",
    "PCGrad",
    "Sum",
    "Weighting",
    "build_weighting",
    "conflict_share",
    "cosine",
    "gramian",
    "merge",
    "pcgrad_weights",
]

Weighting = Callable[[Tensor], Tensor]

#: torchjd weightings that read the gradients themselves, not their Gram matrix
_NOT_FROM_GRAMIAN = ("ExcessMTLWeighting", "MoDoWeighting", "SDMGradWeighting")


def gramian(gradients: Tensor) -> Tensor:
    """Inner products of all pairs of gradients.

    Args:
        gradients: (T, P), one row per loss.

    Returns:
        (T, T), symmetric, of the same type. Computed as dot products, not as a matrix product:
        TF32 or autocast would keep ten bits of the cosines.
    """
    count = len(gradients)
    products = gradients.new_empty(count, count)
    for i in range(count):
        for j in range(i, count):
            products[i, j] = products[j, i] = torch.dot(gradients[i], gradients[j])
    return products


def merge(gradients: Tensor, weights: Tensor, out: Tensor | None = None) -> Tensor:
    """Weighted sum of the gradients, ``weights @ gradients``.

    Args:
        gradients: (T, P).
        weights: (T,).
        out: (P,) that receives the result.

    Returns:
        (P,).
    """
    out = torch.empty_like(gradients[0]) if out is None else out
    first, *rest = weights.tolist()
    torch.mul(gradients[0], first, out=out)
    for row, weight in zip(gradients[1:], rest, strict=True):
        out.add_(row, alpha=weight)
    return out


def cosine(products: Tensor, i: int, j: int) -> float:
    """Cosine between gradients i and j from their Gram matrix; NaN where one of them is zero."""
    norms = float(products[i, i]) ** 0.5 * float(products[j, j]) ** 0.5
    return float(products[i, j]) / norms if norms else float("nan")


def conflict_share(products: Tensor) -> float:
    """Share of pairs of losses whose gradients point against each other, in [0, 1]."""
    pairs = list(combinations(range(len(products)), 2))
    if not pairs:
        return 0.0
    return sum(float(products[i, j]) < 0 for i, j in pairs) / len(pairs)


def pcgrad_weights(products: Tensor, orders: Tensor) -> Tensor:
    """PCGrad as weights (SAMSOD, Eq. 14 to 16; Yu et al., NeurIPS 2020, algorithm 1).

    Every gradient g_i walks through the others in its order; where it points against g_j, its
    projection on the *original* g_j is taken away. The results are averaged over the T losses.

    Args:
        products: Gram matrix (T, T).
        orders: (T, T) integers; row i is the order in which g_i meets the others (a permutation
            of 0..T-1; i itself is passed over).

    Returns:
        (T,) weights w, so that ``w @ G`` is the merged gradient.
    """
    gram = products.tolist()
    count = len(gram)
    weights = torch.zeros(count, dtype=products.dtype)
    for i in range(count):
        current = [float(i == k) for k in range(count)]  # g_i_cur in terms of the originals
        for j in orders[i].tolist():
            if j == i:
                continue
            inner = sum(c * gram[k][j] for k, c in enumerate(current))
            if inner < 0:
                current[j] -= inner / gram[j][j]
        weights += torch.tensor(current, dtype=products.dtype)
    return weights / count


class PCGrad:
    """Project conflicting gradients, in a fresh random order for every gradient, then average."""

    def __call__(self, products: Tensor) -> Tensor:
        """Weights (T,) from a Gram matrix (T, T)."""
        count = len(products)
        return pcgrad_weights(products, torch.stack([torch.randperm(count) for _ in range(count)]))


class Sum:
    """Plain sum of the gradients: what one backward pass through the summed loss gives."""

    def __call__(self, products: Tensor) -> Tensor:
        """Weights (T,) from a Gram matrix (T, T)."""
        return torch.ones(len(products), dtype=products.dtype)


class Mean:
    """Plain mean of the gradients."""

    def __call__(self, products: Tensor) -> Tensor:
        """Weights (T,) from a Gram matrix (T, T)."""
        return torch.full((len(products),), 1 / len(products), dtype=products.dtype)


_OWN: dict[str, Callable[[], Weighting]] = {"PCGrad": PCGrad, "Sum": Sum, "Mean": Mean}


def build_weighting(spec: str | Mapping[str, Any] | Weighting) -> Weighting:
    """A weighting from its plain form, as configuration files and checkpoints hold it.

    Args:
        spec: ``PCGrad``, ``Sum``, ``Mean``; a dotted class path such as
            ``torchjd.aggregation.UPGradWeighting``; ``{class_path: ..., init_args: {...}}``; or
            a callable, which is returned as it is.

    Raises:
        RGBXError: there is no such class, it cannot be built, or it needs more than a Gram matrix.
    """
    if callable(spec):
        return spec
    path, arguments = (
        (spec, {}) if isinstance(spec, str) else (spec.get("class_path"), spec.get("init_args", {}))
    )
    if not isinstance(path, str):
        raise RGBXError(
            f"surgery is {spec!r}: give a name such as PCGrad, or class_path and init_args."
        )
    cls = _find(path)
    if cls.__name__ in _NOT_FROM_GRAMIAN:
        raise RGBXError(
            f"surgery {path} needs the gradients themselves, and rgbx passes their Gram matrix; "
            "use UPGradWeighting, CAGradWeighting, MGDAWeighting or another that reads it."
        )
    try:
        weighting = cls(**arguments or {})
    except (TypeError, ValueError, ImportError) as error:
        raise RGBXError(f"surgery {path} cannot be built with {dict(arguments)}: {error}") from None
    if not callable(weighting):
        raise RGBXError(f"surgery {path} is no weighting: its instances cannot be called.")
    return weighting


def _find(path: str) -> Any:
    known = f"{', '.join(_OWN)}, or a class path such as torchjd.aggregation.UPGradWeighting"
    name = path.removeprefix("rgbx.optim.")
    if name in _OWN:
        return _OWN[name]
    module, _, attribute = path.rpartition(".")
    if not module:
        raise RGBXError(f"There is no surgery {path!r}; known are {known}.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise RGBXError(
            f"surgery {path} cannot be imported ({error}): install the package, or use {known}."
        ) from error
    except AttributeError:
        raise RGBXError(f"{module} has no {attribute}; known are {known}.") from None
