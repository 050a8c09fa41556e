"""Gram matrices and weighted sums of gradients of any size that their type can hold.

Gradients are float32 (or wider), and their squares leave its range long before they do: at 1e-22
they vanish, at 1e20 they are infinite. Rows to which that happens are brought to a size of about 1
first, by powers of two, which round nothing.
"""

import math
from itertools import combinations

import torch
from torch import Tensor

__all__ = ["conflict_share", "cosine", "dot_products", "gramian", "merge", "repaired"]

_EXPONENT = 100  # weights beyond 2**100 or below 2**-100 are applied in two steps


def gramian(gradients: Tensor) -> Tensor:
    """Inner products of all pairs of gradients, right for gradients of any size.

    Args:
        gradients: (T, P), one row per loss.

    Returns:
        (T, T), symmetric, float64, on the CPU.
    """
    wide = gradients.to(torch.promote_types(gradients.dtype, torch.float32))
    return repaired(wide, dot_products(wide).to("cpu", torch.float64))


def dot_products(gradients: Tensor) -> Tensor:
    """Inner products of all pairs, in the type and on the device of the gradients.

    Args:
        gradients: (T, P).

    Returns:
        (T, T), symmetric. Computed as dot products, not as a matrix product: TF32 or autocast
        would keep ten bits of the cosines.
    """
    count = len(gradients)
    products = gradients.new_empty(count, count)
    for i in range(count):
        for j in range(i, count):
            products[i, j] = products[j, i] = torch.dot(gradients[i], gradients[j])
    return products


def repaired(gradients: Tensor, products: Tensor) -> Tensor:
    """The same products, computed again for rows whose squares left the range of their type.

    Args:
        gradients: (T, P), float32 or float64.
        products: (T, T) float64 on the CPU, from `dot_products`.

    Returns:
        (T, T) float64 on the CPU; not finite only where a gradient is not finite.
    """
    limits = torch.finfo(gradients.dtype)
    norms = products.diagonal()  # squared
    lost = (~((norms > limits.tiny**0.5) & (norms < limits.max**0.75))).tolist()
    exponents = [_exponent(row) if bad else None for row, bad in zip(gradients, lost, strict=True)]
    fixed = products.clone()
    for i, first in enumerate(exponents):
        if first is None:
            continue
        left = _times_power(gradients[i], -first)
        for j, other in enumerate(exponents):
            second = other or 0
            product = torch.dot(left, _times_power(gradients[j], -second)).to("cpu", torch.float64)
            fixed[i, j] = fixed[j, i] = torch.ldexp(product, torch.tensor(first + second))
    return fixed


def _exponent(row: Tensor) -> int | None:
    """e, so that the largest entry lies in [2**(e-1), 2**e); None for rows of 0, NaN or inf."""
    largest = float(row.abs().amax()) if row.numel() else 0.0
    return math.frexp(largest)[1] if largest and math.isfinite(largest) else None


def _times_power(row: Tensor, exponent: int) -> Tensor:
    """``row * 2**exponent``, where the power alone may be out of range."""
    if not exponent:
        return row
    half = exponent // 2
    return row * 2.0**half * 2.0 ** (exponent - half)


def merge(gradients: Tensor, weights: Tensor, out: Tensor | None = None) -> Tensor:
    """Weighted sum of the gradients, ``weights @ gradients``.

    Args:
        gradients: (T, P).
        weights: (T,); a tiny gradient may have a weight that its own type cannot hold.
        out: (P,) that receives the result.

    Returns:
        (P,).
    """
    out = torch.empty_like(gradients[0]) if out is None else out
    for index, (row, weight) in enumerate(zip(gradients, weights.tolist(), strict=True)):
        exponent = math.frexp(weight)[1] if math.isfinite(weight) else 0
        if abs(exponent) > _EXPONENT:
            half = 2.0 ** (exponent // 2)
            row, weight = row * half, weight / half
        if index:
            out.add_(row, alpha=weight)
        else:
            torch.mul(row, weight, out=out)
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
