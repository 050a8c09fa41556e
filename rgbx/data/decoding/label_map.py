"""From what labelling tools store (ids, colours, names) to the class ids of a data set."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbx.data.decoding.decode import SampleError, read_colours
from rgbx.errors import RGBXError

__all__ = ["LabelMap", "read_labelmap_txt"]

IGNORE = 255
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_SHOWN = 8  # values in a message

Colour = tuple[int, int, int]


class LabelMap:
    """Which class id a stored id, a colour or a name means.

    Args:
        entries: from a stored id ("7"), a colour ("#ff0000") or a name to a class: its id, its
            name, or "ignore" for pixels that are not scored. "*" stands for all that is not named;
            without it a stored id that is not named is an error, but for 255.
        class_names: of ids 0, 1, ...; each of them means itself.
        colours: colour -> name or id, of a palette or a file of the labelling tool; `entries` win.

    Raises:
        RGBXError: a value is no class, or a key no colour.
    """

    def __init__(
        self,
        entries: Mapping[str, int | str],
        class_names: Sequence[str],
        colours: Mapping[Colour, str | int] = {},  # never changed
    ) -> None:
        self._class_names = tuple(class_names)
        self.ids: dict[int, int] = {}
        self.names = {name: i for i, name in enumerate(class_names)}
        self.colours: dict[Colour, int] = {}
        self.rest: int | None = None
        for key, value in entries.items():
            self._add(str(key).strip(), self._class_id(str(key), value))
        for colour, label in colours.items():
            if colour not in self.colours:
                found = self.id_of(label) if isinstance(label, str) else label
                if found is not None:
                    self.colours[colour] = found

    def _add(self, key: str, label: int) -> None:
        if key == "*":
            self.rest = label
        elif key.lstrip("-").isdigit():
            self.ids[int(key)] = label
        elif key.startswith("#"):
            if not _COLOUR.fullmatch(key):
                raise RGBXError(f"label_map: {key!r} is no colour; write it as #rrggbb.")
            self.colours[(int(key[1:3], 16), int(key[3:5], 16), int(key[5:7], 16))] = label
        else:
            self.names[key] = label

    def _class_id(self, key: str, value: int | str) -> int:
        """The id that a value of the map means."""
        if value == "ignore" or value == IGNORE:
            return IGNORE
        if isinstance(value, str) and value in self._class_names:
            return self._class_names.index(value)
        text = str(value)
        if not isinstance(value, bool) and text.isdigit() and int(text) < len(self._class_names):
            return int(text)
        raise RGBXError(
            f"label_map: {key!r} becomes {value!r}, which is no class; give an id from 0 to "
            f"{len(self._class_names) - 1}, one of {', '.join(self._class_names)}, or ignore."
        )

    def id_of(self, name: str) -> int | None:
        """Class id of a name, that of "*" if it is not named, or None."""
        return self.names.get(name, self.rest)

    def of_ids(self, path: Path, stored: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class ids (H,W) of stored ids (H,W); the same where no id is mapped.

        Raises:
            SampleError: an id is not named.
        """
        if not self.ids:
            return stored
        known = {IGNORE: IGNORE} | self.ids
        values, places = np.unique(stored, return_inverse=True)
        unknown = [int(v) for v in values if int(v) not in known]
        if unknown and self.rest is None:
            raise SampleError(
                f"{path}: label_map does not name the stored id {_listed(unknown)}; add it, or "
                '"*": ignore for all others',
                "ids",
            )
        table = np.array([known.get(int(v), self.rest) for v in values], dtype=np.int64)
        return table[places].reshape(stored.shape)

    def of_colours(self, path: Path) -> NDArray[np.int64]:
        """Class ids (H,W) of an image whose colours are labels; alpha is dropped.

        Raises:
            SampleError: it is no image of 8 bits, or a colour is not known.
        """
        image = read_colours(path)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] < 3:
            raise SampleError(f"{path}: a mask of colours has 8 bits and 3 channels", "channels")
        packed = image[..., :3].astype(np.int64) @ np.array([65536, 256, 1])
        known = {(r << 16) + (g << 8) + b: label for (r, g, b), label in self.colours.items()}
        values, places = np.unique(packed, return_inverse=True)
        unknown = [f"#{v:06x}" for v in values.tolist() if v not in known]
        if unknown and self.rest is None:
            raise SampleError(
                f"{path}: the colour {_listed(unknown)} stands for no class; name it in label_map "
                "or in the palette (JPEG changes colours: store masks as PNG)",
                "ids",
            )
        table = np.array([known.get(v, self.rest) for v in values.tolist()], dtype=np.int64)
        return table[places].reshape(packed.shape)


def read_labelmap_txt(path: Path) -> dict[Colour, str]:
    """Colours of CVAT's ``labelmap.txt`` (``label:r,g,b:parts:actions``): colour -> name.

    Raises:
        SampleError: names the line that cannot be read.
    """
    found: dict[Colour, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError(f"{path}: it cannot be read as text ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        values = rest.partition(":")[0].split(",")
        if len(values) != 3 or not all(v.strip().isdigit() and int(v) < 256 for v in values):
            raise SampleError(f"{path}, line {number}: expected label:red,green,blue:parts:actions")
        red, green, blue = (int(v) for v in values)
        found[(red, green, blue)] = name.strip()
    return found


def _listed(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN]))
    return shown + (", ..." if len(values) > _SHOWN else "")
