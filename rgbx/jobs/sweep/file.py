"""A W&B sweep file: method, metric, parameters, command, and when to stop early."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rgbx.errors import RGBXError
from rgbx.jobs.sweep.space import Parameter, read_parameters
from rgbx.yaml_file import read_yaml

__all__ = ["EarlyStop", "Metric", "SweepFile", "read_sweep"]

_METHODS = ("grid", "random", "bayes")
_KEYS = (
    "program",
    "command",
    "method",
    "metric",
    "parameters",
    "early_terminate",
    "run_cap",
    "name",
    "description",
    "project",
    "entity",
)
#: strict is W&B's word for judging a trial by those before it alone, which is done here anyway
_EARLY_KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")


@dataclass(frozen=True)
class Metric:
    """What is sought.

    Attributes:
        name: As validation logs it.
        maximize: Whether more is better.
        target: No trial is begun once one is as good; None for never.
    """

    name: str
    maximize: bool
    target: float | None = None

    def better(self, value: float, other: float) -> bool:
        """Whether ``value`` beats ``other``."""
        return value > other if self.maximize else value < other


@dataclass(frozen=True)
class EarlyStop:
    """Hyperband: after ``first * eta ** k`` validations only the best ``1 / eta`` go on.

    Attributes:
        first: Validations before the first cut.
        eta: Share and spacing of the cuts.
    """

    first: int
    eta: int


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    Attributes:
        path: Where it lies.
        method: How parameters are chosen.
        metric: What is sought.
        parameters: What is varied.
        command: The agent's command, with its macros.
        program: What ``${program}`` stands for.
        early: When to stop trials; None for never.
        run_cap: Most trials; None for any number.
        content: The file itself.
    """

    path: Path
    method: Literal["grid", "random", "bayes"]
    metric: Metric
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    program: str
    early: EarlyStop | None
    run_cap: int | None
    content: Mapping[str, Any]

    @property
    def varied(self) -> tuple[Parameter, ...]:
        """The parameters that have more than one value."""
        return tuple(p for p in self.parameters if len(p.choices) != 1)

    def values(self, drawn: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
        """Every parameter's value by its path.

        Args:
            drawn: what was drawn for those that vary, see `Parameter.value`.
        """
        constants = {p.name: p.labels[0] for p in self.parameters if len(p.choices) == 1}
        found = {**constants, **drawn}
        return {
            parameter.path: parameter.value(found[parameter.name]) for parameter in self.parameters
        }

    @property
    def grid_size(self) -> int:
        """Number of combinations; 0 if they are without end."""
        size = 1
        for parameter in self.parameters:
            size *= len(parameter.grid)
        return size


def read_sweep(path: Path) -> SweepFile:
    """Read and check a sweep file.

    Raises:
        RGBXError: It cannot be read, or names what is wrong in it.
    """
    content = read_yaml(path, "sweep")
    try:
        if not isinstance(content, Mapping):
            raise RGBXError("it holds no keys")
        return _read_content(path, content)
    except RGBXError as error:
        raise RGBXError(f"The sweep {path} cannot be used: {error}.") from error


def _read_content(path: Path, content: Mapping[str, Any]) -> SweepFile:
    _known(content, _KEYS)
    for key in ("method", "metric", "parameters"):
        if key not in content:
            raise RGBXError(f"it lacks {key}")
    if content["method"] not in _METHODS:
        raise RGBXError(f"method is {content['method']!r}; known are {', '.join(_METHODS)}")
    file = SweepFile(
        path=path,
        method=content["method"],
        metric=_read_metric(content["metric"]),
        parameters=read_parameters(content["parameters"]),
        command=_read_command(content.get("command")),
        program=str(content.get("program", "rgbx")),
        early=_read_early(content.get("early_terminate")),
        run_cap=_count(content, "run_cap", None),
        content=content,
    )
    names = [parameter.name for parameter in file.parameters]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise RGBXError(f"parameter {twice} is there twice")
    if file.method == "grid":
        endless = next((p.name for p in file.parameters if not p.grid), None)
        if endless:
            raise RGBXError(f"method is grid, so {endless} needs values, or a range of integers")
    return file


def _read_metric(content: Any) -> Metric:
    if not isinstance(content, Mapping) or not isinstance(content.get("name"), str):
        raise RGBXError("metric needs a name, as validation logs it, and a goal")
    _known(content, ("name", "goal", "target"), " of metric")
    goal = content.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise RGBXError(f"goal of metric is {goal!r}; known are minimize, maximize")
    target = content.get("target")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | float)):
        raise RGBXError(f"target of metric is {target!r}, which is no number")
    return Metric(content["name"], goal == "maximize", target)


def _read_command(content: Any) -> tuple[str, ...]:
    if not isinstance(content, list):
        raise RGBXError(
            "it lacks command, the list ${env}, rgbx, fit, --config, CONFIG, ${args}, as rgbx has "
            "no program that could be run without"
        )
    return tuple(str(part) for part in content)


def _read_early(content: Any) -> EarlyStop | None:
    if content is None:
        return None
    if not isinstance(content, Mapping) or content.get("type") != "hyperband":
        raise RGBXError("early_terminate needs type: hyperband")
    _known(content, _EARLY_KEYS, " of early_terminate")
    eta = _count(content, "eta", 3)
    assert eta is not None
    if eta < 2:
        raise RGBXError("eta of early_terminate has to be 2 or more")
    first, last, cuts = (_count(content, key, None) for key in ("min_iter", "max_iter", "s"))
    if (first is None) == (last is None):
        raise RGBXError("early_terminate needs min_iter, or max_iter and s")
    if last is None:
        if cuts is not None:
            raise RGBXError("s of early_terminate belongs to max_iter, not to min_iter")
        assert first is not None
        return EarlyStop(first, eta)
    if cuts is None:
        raise RGBXError("early_terminate has max_iter, so it needs s, the number of cuts")
    return EarlyStop(max(1, last // eta**cuts), eta)


def _count(content: Mapping[str, Any], key: str, default: int | None) -> int | None:
    value = content.get(key, default)
    if value is not None and (type(value) is not int or value < 1):
        raise RGBXError(f"{key} is {value!r}, but has to be an integer above 0")
    return value


def _known(content: Mapping[str, Any], known: Sequence[str], where: str = "") -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}" if near else f"known are {', '.join(known)}"
            raise RGBXError(f"the key {key!r}{where} is unknown; {hint}")
