"""The parameters of a sweep: what may be drawn for each, and how the agent would write it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rgbx.errors import RGBXError

__all__ = ["Parameter", "read_parameters"]

#: distribution -> logarithmic
_REAL = {
    "uniform": False,
    "q_uniform": False,
    "log_uniform": True,
    "log_uniform_values": True,
    "q_log_uniform": True,
    "q_log_uniform_values": True,
}
_KNOWN = ("constant", "categorical", "int_uniform", *_REAL)
_KEYS = ("value", "values", "distribution", "min", "max", "q", "parameters")


@dataclass(frozen=True)
class Parameter:
    """One parameter: a list of choices, or a range.

    Attributes:
        path: Keys from the outside in; one (dotted) key unless the file nests ``parameters``.
        choices: What may be chosen; empty for a range. One choice is a constant.
        low: Lowest value of a range.
        high: Highest value of a range.
        log: Whether the logarithm is drawn evenly.
        step: Values are multiples of it; 0 for any value.
        whole: Whether values are integers.
    """

    path: tuple[str, ...]
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float = 0.0
    whole: bool = False

    @property
    def name(self) -> str:
        """The dotted key."""
        return ".".join(self.path)

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices as text, as the agent writes them; the study holds these."""
        return tuple(str(choice) for choice in self.choices)

    def value(self, drawn: Any) -> Any:
        """What goes on the command line.

        Args:
            drawn: a label, or a number of the range.
        """
        if self.choices:
            return self.choices[self.labels.index(drawn)]
        if not self.step:
            return float(drawn)
        multiples = self.multiples
        value = min(max(round(drawn / self.step), multiples[0]), multiples[-1]) * self.step
        return int(value) if self.whole else float(f"{value:.12g}")

    @property
    def multiples(self) -> range:
        """Which multiples of the step lie in the range; empty for a range without step."""
        if not self.step:
            return range(0)
        tiny = 1e-9
        lowest = math.ceil(self.low / self.step - tiny)
        return range(lowest, math.floor(self.high / self.step + tiny) + 1)

    @property
    def grid(self) -> tuple[Any, ...]:
        """All that can be drawn; empty if that is without end."""
        if self.choices:
            return self.labels
        return tuple(multiple * self.step for multiple in self.multiples)

    @property
    def ends(self) -> tuple[Any, Any]:
        """First and last value, as on the command line."""
        if self.choices:
            return self.choices[0], self.choices[-1]
        return self.value(self.low), self.value(self.high)


def read_parameters(content: Any, path: tuple[str, ...] = ()) -> tuple[Parameter, ...]:
    """The parameters of a sweep file, nested ones included.

    Raises:
        RGBXError: names the parameter and what is wrong with it.
    """
    if not isinstance(content, Mapping) or not content:
        where = f"parameters of {'.'.join(path)}" if path else "parameters"
        raise RGBXError(f"{where} holds nothing to choose from")
    found: list[Parameter] = []
    for key, spec in content.items():
        name = (*path, str(key))
        if not isinstance(spec, Mapping):
            raise RGBXError(f"parameter {'.'.join(name)} needs value, values, or min and max")
        if "parameters" in spec:
            found += read_parameters(spec["parameters"], name)
        else:
            found.append(_read_parameter(name, spec))
    return tuple(found)


def _read_parameter(path: tuple[str, ...], spec: Mapping[str, Any]) -> Parameter:
    name = ".".join(path)
    kind = spec.get("distribution", "constant")
    if kind not in _KNOWN:
        raise RGBXError(
            f"parameter {name} has the distribution {kind!r}; known are {', '.join(_KNOWN)}"
        )
    unknown = [str(key) for key in spec if key not in _KEYS]
    if unknown:
        raise RGBXError(
            f"parameter {name} has {unknown[0]!r}, which `rgbx sweep` does not use; "
            f"known are {', '.join(_KEYS)}"
        )
    kind = spec.get("distribution") or _implied(name, spec)
    if kind == "constant":
        return Parameter(path, (_given(name, spec, "value"),))
    if kind == "categorical":
        values = _given(name, spec, "values")
        if not isinstance(values, list) or not values:
            raise RGBXError(f"values of parameter {name} is no list of values")
        return Parameter(path, tuple({str(value): value for value in values}.values()))
    return _read_range(path, name, str(kind), spec)


def _implied(name: str, spec: Mapping[str, Any]) -> str:
    """The distribution that W&B takes where none is named."""
    if "values" in spec:
        return "categorical"
    if "value" in spec:
        return "constant"
    if "min" not in spec or "max" not in spec:
        raise RGBXError(f"parameter {name} needs value, values, or min and max")
    whole = all(type(spec[end]) is int for end in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _read_range(path: tuple[str, ...], name: str, kind: str, spec: Mapping[str, Any]) -> Parameter:
    low, high = (_number(name, end, _given(name, spec, end)) for end in ("min", "max"))
    quantised = kind.startswith("q_")
    step = _number(name, "q", spec.get("q", 1)) if quantised else 0.0
    if "q" in spec and not quantised:
        raise RGBXError(f"parameter {name} has q, which {kind} does not use; use q_{kind}")
    if kind in ("log_uniform", "q_log_uniform"):  # as W&B: ends are exponents of e
        low, high = math.exp(low), math.exp(high)
    if low >= high:
        raise RGBXError(f"parameter {name}: min ({low:g}) is not below max ({high:g})")
    if kind == "int_uniform":
        if not (float(low).is_integer() and float(high).is_integer()):
            raise RGBXError(f"parameter {name} is int_uniform, but min and max are no integers")
        return Parameter(path, low=low, high=high, step=1.0, whole=True)
    if _REAL[kind] and low <= 0:
        raise RGBXError(f"parameter {name} is {kind}, so min has to be above 0")
    whole = quantised and float(step).is_integer()
    found = Parameter(path, low=low, high=high, log=_REAL[kind], step=float(step), whole=whole)
    if quantised and (step <= 0 or len(found.multiples) < 2):
        raise RGBXError(f"parameter {name}: min to max holds fewer than two multiples of q")
    return found


def _given(name: str, spec: Mapping[str, Any], key: str) -> Any:
    if key not in spec:
        raise RGBXError(f"parameter {name} lacks {key}")
    return spec[key]


def _number(name: str, key: str, value: Any) -> float:
    if isinstance(value, str):
        raise RGBXError(
            f"{key} of parameter {name} is the text {value!r}: YAML wants a point and a sign in "
            "numbers with an exponent, as in 1.0e-5"
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RGBXError(f"{key} of parameter {name} is {value!r}, which is no number")
    return value
