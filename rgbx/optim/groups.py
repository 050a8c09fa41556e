"""Parameters in named groups, each with a row per loss in one flat buffer."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from rgbx.errors import RGBXError

__all__ = ["Group", "Groups", "assign", "check_groups", "loss_names"]

#: group name -> (pattern searched in parameter names, names of the losses that train it)
Groups = Mapping[str, tuple[str, Sequence[str]]]


@dataclass
class Group:
    """The trainable parameters of one group; there may be none, while all of them are frozen."""

    name: str
    losses: tuple[str, ...]
    names: list[str]
    params: list[nn.Parameter]
    offset: int = 0  # of this group's rows in the flat buffer

    def __post_init__(self) -> None:
        self.size = sum(p.numel() for p in self.params)

    def rows(self, flat: Tensor) -> Tensor:
        """This group's part of the buffer as (T, P)."""
        end = self.offset + len(self.losses) * self.size
        return flat[self.offset : end].view(len(self.losses), self.size)

    def views(self, row: Tensor) -> list[Tensor]:
        """A row (P,) as tensors of the parameters' shapes."""
        parts = row.split([p.numel() for p in self.params])
        return [part.view_as(p) for part, p in zip(parts, self.params, strict=True)]


def loss_names(groups: Groups) -> tuple[str, ...]:
    """The losses that train something, each once."""
    return tuple(dict.fromkeys(loss for _, losses in groups.values() for loss in losses))


def check_groups(groups: object) -> None:
    """Refuse groups of another form than `Groups`.

    Raises:
        RGBXError: names the group and what is wrong with it.
    """
    if not isinstance(groups, Mapping) or not groups:
        raise RGBXError(
            f"`groups` is {groups!r}: give a group's name -> (pattern of parameter names, names of "
            "its losses)."
        )
    for name, value in groups.items():
        if not (isinstance(value, tuple | list) and len(value) == 2 and isinstance(value[0], str)):
            raise RGBXError(
                f"The surgery group {name!r} is {value!r}: give a pattern of parameter names and "
                "the names of its losses."
            )
        pattern, losses = value
        if isinstance(losses, str):
            raise RGBXError(
                f"The surgery group {name!r} has the losses {losses!r}: write [{losses!r}]."
            )
        if not losses:
            raise RGBXError(f"The surgery group {name!r} names no loss: give at least one.")
        if len(set(losses)) < len(losses):
            raise RGBXError(f"The surgery group {name!r} names a loss twice: {list(losses)}.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise RGBXError(
                f"The pattern {pattern!r} of the surgery group {name!r} is no regular expression: "
                f"{error}."
            ) from None


def assign(parameters: Iterable[tuple[str, nn.Parameter]], groups: Groups) -> list[Group]:
    """Put every trainable parameter into the first group whose pattern fits its name.

    Args:
        parameters: names and parameters; a shared one may come under several names.
        groups: see `Groups`.

    Raises:
        RGBXError: a group's pattern matches nothing, a trainable parameter is in no group or in
            two that other losses train, or nothing at all is trainable.
    """
    check_groups(groups)
    members: dict[str, list[tuple[str, nn.Parameter]]] = {name: [] for name in groups}
    owners: dict[int, tuple[str, str]] = {}  # parameter -> its name and group
    orphans: dict[int, str] = {}
    for name, parameter in parameters:
        owner = next((g for g, (pattern, _) in groups.items() if re.search(pattern, name)), None)
        if id(parameter) in owners:
            _refuse_split(name, owner, *owners[id(parameter)], groups)
        elif owner is not None:
            owners[id(parameter)] = (name, owner)
            members[owner].append((name, parameter))
            orphans.pop(id(parameter), None)
        elif parameter.requires_grad:
            orphans[id(parameter)] = name
    for name, (pattern, _) in groups.items():
        if not members[name]:
            raise RGBXError(
                f"The surgery group {name!r} is empty: its pattern {pattern!r} matches no "
                "parameter that is not in an earlier group."
            )
    if orphans:
        raise RGBXError(
            f"{len(orphans)} trainable parameters are in no surgery group, for example "
            f"{', '.join([*orphans.values()][:3])}: extend a group's pattern or freeze them."
        )
    return _trainable(members, groups)


def _refuse_split(
    name: str, owner: str | None, first: str, first_owner: str, groups: Groups
) -> None:
    """A parameter under two names must be trained by the same losses under both."""
    if owner is not None and set(groups[owner][1]) != set(groups[first_owner][1]):
        raise RGBXError(
            f"{first} and {name} are one parameter, but the first is in the surgery group "
            f"{first_owner!r} and the second in {owner!r}, which other losses train: put both into "
            "one group."
        )


def _trainable(
    members: Mapping[str, list[tuple[str, nn.Parameter]]], groups: Groups
) -> list[Group]:
    found = []
    for name, (_, losses) in groups.items():
        trained = [(n, p) for n, p in members[name] if p.requires_grad]
        found.append(Group(name, tuple(losses), [n for n, _ in trained], [p for _, p in trained]))
    if not any(group.params for group in found):
        raise RGBXError(
            f"No parameter of the surgery groups {', '.join(groups)} is trainable: unfreeze one."
        )
    for group in found:
        if not group.params:
            warnings.warn(
                f"The surgery group {group.name!r} is frozen: none of its "
                f"{len(members[group.name])} parameters is trained.",
                stacklevel=2,
            )
    return found
