"""The report as one HTML page that needs nothing else."""

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2

from rgbx import __version__
from rgbx.metrics.catalogue import metric_info
from rgbx.report.bars import BarTable
from rgbx.report.charts import Charts
from rgbx.report.gallery import CAPTIONS, Gallery
from rgbx.report.images import headline_of
from rgbx.report.panels import ERRORS
from rgbx.results import HTML_STYLE, Unit, kind_label, unit_of

__all__ = ["Section", "render_page"]

_CHUNK = 128  # images that the browser reads at a time


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own; left out if it has neither charts nor bars.

    Attributes:
        id: Where its address leads.
        link: What leads there.
        title: Its heading.
        charts: Lines.
        bars: Tables whose numbers are bars.
        note: Above them.
    """

    id: str
    link: str
    title: str
    charts: Sequence[Charts] = ()
    bars: Sequence[BarTable] = ()
    note: str = ""


def render_page(
    sections: Sequence[Section], gallery: Gallery, styles: Mapping[str, int], **content: Any
) -> bytes:
    """The page as HTML: no address in it, everything it shows is in it.

    Args:
        sections: Charts and bars.
        gallery: The images.
        styles: Name of a run -> number of its colour.
        content: What else ``page.html`` shows.
    """
    assets = resources.files("rgbx") / "report" / "assets"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (assets / name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["shown"] = _shown
    environment.tests["number"] = lambda rate: not math.isnan(rate)
    chunks = range(0, len(gallery.data), _CHUNK)
    text = environment.get_template("page.html").render(
        content,
        sections=[section for section in sections if section.charts or section.bars],
        gallery=gallery,
        styles=styles,
        style=HTML_STYLE + (assets / "page.css").read_text("utf-8"),
        script=(assets / "page.js").read_text("utf-8"),
        entries=_json(_entries(gallery, styles)),
        chunks=[_json(gallery.data[start : start + _CHUNK]) for start in chunks],
        errors=[(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in ERRORS.items()],
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )
    return text.strip().encode("utf-8", "replace")  # names of files may hold bytes that are no text


def _shown(rate: float, unit: Unit) -> str:
    return f"{100 * rate:.1f}" if unit == "percent" else f"{rate:.3f}"


def _entries(gallery: Gallery, styles: Mapping[str, int]) -> dict[str, Any]:
    """What the script sorts and filters, with names replaced by numbers."""
    scores = list(dict.fromkeys(name for row in gallery.rows for name in row.scores))
    fields = {"run": "test", "split": "split", "subset": "subset", "prompt": "kind"}
    lists = {
        key: list(dict.fromkeys(getattr(row, field) for row in gallery.rows))
        for key, field in fields.items()
    }
    entries = []
    for row, panels in zip(gallery.rows, gallery.panels, strict=True):
        headline = headline_of(row.scores)
        numbers = [row.scores.get(score) for score in scores]
        entries.append(
            [
                row.name,
                *(lists[key].index(getattr(row, field)) for key, field in fields.items()),
                scores.index(headline) if headline else -1,
                [None if number is None else round(number, 4) for number in numbers],
                panels,
            ]
        )
    return {
        "chunk": _CHUNK,
        "captions": CAPTIONS,
        "scores": scores,
        "lower": [not metric_info(score).higher_is_better for score in scores],
        "fraction": [unit_of(score) == "fraction" for score in scores],
        **lists,
        "promptLabel": [kind_label(kind) if kind else "" for kind in lists["prompt"]],
        "style": [styles.get(name, 0) % 8 for name in lists["run"]],
        "entries": entries,
    }


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
