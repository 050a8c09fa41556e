"""One sentence instead of a parser's page: what was wrong, and the nearest known name."""

import difflib
import inspect
import logging
import re
import warnings
from collections.abc import Iterable
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from rgbx.class_path import class_at
from rgbx.cli.config.config_file import KEYS
from rgbx.data.base import RGBXDataModule
from rgbx.optim.schedules import Schedule
from rgbx.tasks.base import RGBXModule

__all__ = ["explain", "quieten"]


#: warnings about things that rgbx does on purpose, or that only its authors can mend
_INTENDED = (
    r"Found \d+ module\(s\) in eval mode",  # frozen backbones stay in eval mode
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r".*does not have many workers",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r".*Consider setting `persistent_workers=True`",
    r"Be aware that when using `ckpt_path`, callbacks",  # test needs none of them
    r"Total length of `list` across ranks is zero",  # no validation set, and no need of one
    r"`ModelCheckpoint\(monitor=.*could not find the monitored key",  # no validation this epoch
)


#: key that takes a class -> what that is a subclass of
_BASES: dict[str, type] = {
    "model": RGBXModule,
    "data": RGBXDataModule,
    "callbacks": Callback,
    "logger": Logger,
    "optimizer": Optimizer,
    "schedule": Schedule,
}


def quieten() -> None:
    """Print warnings as one line each, and drop advertisements and what is intended."""
    warnings.formatwarning = _one_line
    for pattern in _INTENDED:
        warnings.filterwarnings("ignore", message=pattern)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)


def _one_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> str:
    return f"warning: {message}\n"


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in str(record.msg)


def explain(message: str) -> str:
    """One sentence from a message of jsonargparse, with the nearest known name."""
    key = _search(r'Parser key "([\w.]+)"', message)
    if re.search(r"Subtypes: [^\n]*<class '(float|int|bool|str)'>", message) and (
        sentence := _no_kind_fits(message)
    ):
        return sentence
    for pattern, sentence_of in (
        (r"Option '([^']+)' is not accepted", _unknown_argument),
        (r"Expected a dot import path string: (\S+)", _unknown_class),
        (r"does not accept option '([^']+)'", _unknown_option),
        (r"(?i)unrecognized arguments: (\S+)", _unknown_option),
        (r"arguments are required: (.+)", _missing),
    ):
        if name := _search(pattern, message):
            return sentence_of(name.strip(), key, message)
    if path := _search(r"File does not exist: '?([^'\n]+)'?", message):
        return f"There is no configuration file {path}."
    inner = re.findall(r'Parser key "[\w.]+":\s+(Expected .+)', message)
    if inner:
        what = " ".join(inner[-1].split())
        return f"`{_place(message)}` in the configuration does not fit: {what}."
    return _no_kind_fits(message) or _unknown_kind(message)


def _place(message: str) -> str:
    """The dotted key of the innermost and last complaint, from complaints within complaints."""
    outer: list[tuple[int, int, str]] = []  # indentation, line, key
    for number, line in enumerate(message.splitlines()):
        indent = len(line) - len(line.lstrip(" -"))
        for key in re.findall(r'Parser key "([\w.]+)"', line):
            while outer and outer[-1][0] >= indent and outer[-1][1] != number:
                outer.pop()
            outer.append((indent, number, key))
    keys = [key for _, _, key in outer]
    return ".".join(key for i, key in enumerate(keys) if key not in keys[:i])


def _no_kind_fits(message: str) -> str | None:
    """The innermost of nested complaints that a value is none of several plain kinds."""
    found = re.findall(
        r'Parser key "[\w.]+":\s+Does not validate against any of the Union subtypes\s+'
        r"Subtypes: \[(.*?)\]\s+Errors:.*?Given value: (.*?)\s*(?:\n| - |\. Got value|$)",
        message[message.rfind('Parser key "') :],
        re.DOTALL,
    )
    if not found or "rgbx." in found[-1][0]:
        return None
    kinds, value = found[-1]
    words = re.sub(r"<class '([\w.]+)'>", r"\1", kinds).replace("collections.abc.", "")
    words = words.replace("NoneType", "null").replace("Sequence", "list")
    return f"`{_place(message)}` is {value}, which is none of: {words}."


def _unknown_kind(message: str) -> str:
    """The innermost complaint as the parser words it."""
    if not (place := _place(message)):
        return f"The configuration cannot be read: {' '.join(message.split())}."
    reason = re.split(r'Parser key "[\w.]+"(?: element \d+)?:\s*', message)[-1].strip()
    reason = re.sub(r"Type \S.* (?=expects a)", "the option ", reason.splitlines()[0])
    value = _search(r"Given value: (?:NestedArg\(key='[\w.]+', val=)?(.+?)\)?$", message)
    given = f" It is {value}." if value and value not in reason else ""
    return f"`{place}` in the configuration does not fit: {reason.rstrip('.')}.{given}"


def _search(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None


def _unknown_argument(name: str, key: str | None, message: str) -> str:
    own = _search(rf"Option '{re.escape(name)}' is not accepted.*?class_path='([\w.]+)'", message)
    path = own or re.findall(r"given class_path '([\w.]+)'", message)[-1]
    cls = class_at(path)
    known = [parameter for parameter in _parameters(cls) if parameter != name]
    return f"{cls.__name__} has no option `{name}`{_hint(name.split('.')[0], known)}"


def _parameters(cls: type) -> list[str]:
    """Constructor parameters, those handed on to base classes included."""
    names: list[str] = []
    for owner in cls.__mro__:
        if "__init__" not in owner.__dict__:
            continue
        parameters = inspect.signature(owner.__dict__["__init__"]).parameters.values()
        names += [p.name for p in parameters if p.name != "self" and p.kind != p.VAR_KEYWORD]
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return names


def _unknown_class(name: str, key: str | None, message: str) -> str:
    place = _place(message) or key or ""
    base = _BASES.get(place.rpartition(".")[2])
    where = f" for `{place}`" if place else ""
    known = sorted({c.__name__ for c in _subclasses(base)}) if base else []
    return f"There is no class {name!r}{where}{_hint(name.split('.')[-1], known) if known else '.'}"


def _subclasses(base: type) -> Iterable[type]:
    direct: list[type] = base.__subclasses__()
    for cls in direct:
        if not inspect.isabstract(cls) and not cls.__name__.startswith("_"):
            yield cls
        yield from _subclasses(cls)


def _unknown_option(name: str, key: str | None, message: str) -> str:
    plain = name.lstrip("-").split("=")[0]
    head, _, rest = plain.partition(".")
    if head == "trainer" and rest:
        known = [f"trainer.{p}" for p in inspect.signature(Trainer.__init__).parameters]
        return f"There is no option `{plain}`{_hint(plain, known)}"
    return f"There is no key `{head}`{_hint(head, (*KEYS, 'config'))}"


def _missing(names: str, key: str | None, message: str) -> str:
    wanted = [re.sub(r"^(fit|test|validate|predict)\.", "", n.strip()) for n in names.split(",")]
    if key:
        wanted = [f"{key}.{n}" for n in wanted]
    listed = ", ".join(f"`{n}`" for n in wanted)
    return f"Missing: {listed}. Give a configuration with --config, or the option itself."


def _hint(name: str, known: Iterable[Any]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; known are {', '.join(names)}."
