"""CSV files that may have been cut off while they were written or copied."""

import csv
import io
from pathlib import Path

__all__ = ["cut_off", "read_lines"]


def read_lines(path: Path, *needed: str) -> tuple[list[dict[str, str]], list[str]]:
    """Read a CSV file with a heading.

    A last line without an end may have lost digits of its last number, so it does not count.

    Args:
        path: The file.
        needed: Columns without which it is another file.

    Returns:
        A mapping for every whole line; what is wrong, as sentences without their full stop.
    """
    try:
        # names are bytes to the file system: those that are no text must survive
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read().replace("\0", "")
        whole = text[: text.rfind("\n") + 1]
        heading, *lines = list(csv.reader(io.StringIO(whole, newline=""))) or [[]]
    except FileNotFoundError:
        return [], [f"no {path.name}"]
    except (OSError, csv.Error) as error:
        return [], [f"{path.name} cannot be read ({error})"]
    if not heading:
        return [], [f"{path.name} is empty"]
    for column in needed:
        if column not in heading:
            writer = "rgbx fit" if column == "step" else "rgbx test"
            return [], [f"{path} is no {path.name} of `{writer}`: it has no column `{column}`"]
    rows = [dict(zip(heading, line, strict=True)) for line in lines if len(line) == len(heading)]
    return rows, cut_off(path, len(lines) - len(rows) + (len(whole) < len(text)))


def cut_off(path: Path, count: int) -> list[str]:
    """The sentence for lines that are left out, if there are any."""
    lines = "a line" if count == 1 else f"{count} lines"
    return [f"{lines} of {path.name} cut off or damaged, left out"] if count else []
