"""Gradient surgery: how to merge the gradients of several losses that share parameters.

Everything follows from the Gram matrix of the gradients. With ``G`` (T, P), one row per loss, a
*weighting* turns ``G @ G.T`` (T, T) into weights ``w`` (T,), and the merged gradient is ``w @ G``.
A weighting is any callable of that form; those of ``torchjd.aggregation`` that read a Gram matrix
fit as they are. Weightings that draw random numbers take them from torch's global CPU generator,
which the caller seeds (see `rgbx.optim.manual`).
"""

import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rgbx.errors import RGBXError
from rgbx.optim.gram import conflict_share, cosine, gramian, merge

__all__ = [
    "Mean",
    "PCGrad",
    "Sum",
    "Weighting",
    "build_weighting",
    "conflict_share",
    "cosine",
    "gramian",
    "is_known_weighting",
    "merge",
    "pcgrad_weights",
    "weigh",
]

Weighting = Callable[[Tensor], Tensor]

#: torchjd weightings that read the gradients themselves, not their Gram matrix
_NOT_FROM_GRAMIAN = (
    "ExcessMTLWeighting",
    "MoDoWeighting",
    "SDMGradWeighting",
    "_NashMTLWeighting",
)

#: torchjd weightings whose result does not depend on a common scale of the gradients
_SCALE_FREE = (
    "AlignedMTLWeighting",
    "CAGradWeighting",
    "CRMOGMWeighting",
    "ConstantWeighting",
    "DualProjWeighting",
    "GradVacWeighting",
    "IMTLGWeighting",
    "KrumWeighting",
    "MGDAWeighting",
    "MeanWeighting",
    "PCGradWeighting",
    "RandomWeighting",
    "SumWeighting",
    "UPGradWeighting",
)


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
            if inner < 0 < gram[j][j]:
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


class _Scaled:
    """A weighting of torchjd that sees gradients of norm about 1.

    torchjd compares Gram matrices with constants (``norm_eps`` 1e-4): with gradients of norm 0.01,
    UPGrad would be a plain mean, and CAGrad would stand still. The division, by a power of two,
    is exact.

    Args:
        weighting: torchjd's.
        degree: how weights change with the Gram matrix, ``w(c G) = c**degree w(G)``.
    """

    def __init__(self, weighting: Weighting, degree: float = 0.0) -> None:
        self.weighting = weighting
        self.degree = degree

    def __call__(self, products: Tensor) -> Tensor:
        """Weights (T,) from a Gram matrix (T, T)."""
        largest = float(products.diagonal().max())
        if not largest or not math.isfinite(largest):
            return self.weighting(products)
        scale = 2.0 ** math.frexp(largest)[1]
        return self.weighting(products / scale) * scale**self.degree


_OWN: dict[str, Callable[[], Weighting]] = {"PCGrad": PCGrad, "Sum": Sum, "Mean": Mean}


def weigh(weighting: Weighting, products: Tensor, group: str) -> Tensor:
    """The weights of one group, checked.

    Args:
        weighting: from `build_weighting`.
        products: Gram matrix (T, T), finite.
        group: name of the group, for messages.

    Returns:
        (T,) finite; zeros where all gradients are zero, for which not every weighting is defined.

    Raises:
        RGBXError: the weighting fails, or what it gives is not one finite number per loss.
    """
    if not products.any():
        return torch.zeros(len(products), dtype=products.dtype)
    inner = weighting.weighting if isinstance(weighting, _Scaled) else weighting
    name = getattr(inner, "__name__", type(inner).__name__)
    try:
        found = weighting(products)
    except (ArithmeticError, RuntimeError, ValueError) as error:
        raise RGBXError(
            f"surgery {name} failed for the group {group!r}, which has {len(products)} losses: "
            f"{' '.join(str(error).split())}"
        ) from error
    if not isinstance(found, Tensor) or found.shape != products.shape[:1]:
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise RGBXError(
            f"surgery {name} gave {what} for the group {group!r}: a weighting gives one weight for "
            f"each of its {len(products)} losses."
        )
    if not torch.isfinite(found).all():
        raise RGBXError(
            f"surgery {name} gave the weights {found.tolist()} for the group {group!r}, whose Gram "
            f"matrix is {products.tolist()}: use another surgery."
        )
    return found


def build_weighting(spec: str | Mapping[str, Any] | Weighting) -> Weighting:
    """A weighting from its plain form, as configuration files and checkpoints hold it.

    Args:
        spec: ``PCGrad``, ``Sum``, ``Mean``; a dotted class path such as
            ``torchjd.aggregation.UPGradWeighting``; ``{class_path: ..., init_args: {...}}``; or
            a callable, which is returned as it is (one of torchjd: scaled, see `_Scaled`).

    Raises:
        RGBXError: there is no such class, it cannot be built, or it needs more than a Gram matrix.
    """
    if callable(spec):
        return _adapted(spec, type(spec).__name__)
    plain = {"class_path": spec} if isinstance(spec, str) else spec
    path = plain.get("class_path") if isinstance(plain, Mapping) else None
    if not isinstance(path, str):
        raise RGBXError(
            f"surgery is {spec!r}: give a name such as PCGrad, or class_path and init_args."
        )
    arguments = plain.get("init_args") or {}
    if not isinstance(arguments, Mapping):
        raise RGBXError(f"init_args of surgery {path} is {arguments!r}: give name -> value.")
    cls = _find(path)
    _refuse_gradient_readers({getattr(cls, "__name__", "")}, path)
    try:
        weighting = cls(**arguments)
    except (TypeError, ValueError, ImportError) as error:
        raise RGBXError(f"surgery {path} cannot be built with {dict(arguments)}: {error}") from None
    if not callable(weighting):
        raise RGBXError(f"surgery {path} is no weighting: its instances cannot be called.")
    return _adapted(weighting, path)


def _adapted(weighting: Weighting, path: str) -> Weighting:
    """A weighting as it is, or torchjd's: refused if a Gram matrix does not suffice, or scaled."""
    kind = type(weighting)
    if not isinstance(weighting, nn.Module) or kind.__module__.split(".")[0] != "torchjd":
        return weighting
    parts = {type(part).__name__ for part in weighting.modules()}
    _refuse_gradient_readers(parts, path)
    if "Aggregator" in {base.__name__ for base in kind.__mro__}:
        raise RGBXError(
            f"surgery {path} is an aggregator, which merges the gradients themselves, and rgbx "
            f"asks for weights: give torchjd.aggregation.{kind.__name__}Weighting, if there is one."
        )
    if kind.__name__ == "FairGradWeighting":  # solves G w = w ** (-1 / alpha)
        alpha = float(weighting.alpha)  # type: ignore[arg-type]
        return _Scaled(weighting, degree=-alpha / (1 + alpha))
    return _Scaled(weighting) if parts <= set(_SCALE_FREE) else weighting


def _refuse_gradient_readers(names: set[str], path: str) -> None:
    if names & set(_NOT_FROM_GRAMIAN):
        raise RGBXError(
            f"surgery {path} needs the gradients themselves, and rgbx passes their Gram matrix; "
            "use UPGradWeighting, CAGradWeighting, MGDAWeighting or another that reads it."
        )


def is_known_weighting(spec: Any) -> bool:
    """Whether `build_weighting` stays within rgbx and torchjd, so that a file may choose it."""
    path = spec.get("class_path") if isinstance(spec, Mapping) else spec
    name = str(path).removeprefix("rgbx.optim.")
    return path is None or name in _OWN or name.startswith("torchjd.aggregation.")


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
