"""The report as one HTML page that needs nothing else."""

import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
from rgbx.results import HTML_STYLE, Table, kind_label, to_html, unit_of

__all__ = ["Page", "RunCard", "render_page"]

_CHUNK = 128  # images that the browser reads at a time


@dataclass(frozen=True)
class RunCard:
    """One run or test at the top of the page.

    Attributes:
        name: What it is called everywhere.
        style: Number of its colour.
        facts: (what, value) pairs.
        notes: What is missing, as sentences.
    """

    name: str
    style: int
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass
class Page:
    """Everything on the page, section by section.

    Attributes:
        title: Of the page.
        cards: The runs.
        tables: Results next to published rows.
        table_notes: What could not be joined.
        training: Training curves.
        thresholds: Curves by threshold.
        classes: Bars of the classes.
        subsets: Bars of day, night, ...
        prompts: Bars of the kinds of prompts.
        surgery: Curves of gradient surgery.
        gallery: The images.
        gallery_notes: What the gallery lacks.
        styles: Name of a run -> number of its colour.
        legends: Name of a data set -> (class, its colour in predictions) pairs.
    """

    title: str
    cards: list[RunCard] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    table_notes: list[str] = field(default_factory=list)
    training: list[Charts] = field(default_factory=list)
    thresholds: list[Charts] = field(default_factory=list)
    classes: list[BarTable] = field(default_factory=list)
    subsets: list[BarTable] = field(default_factory=list)
    prompts: list[BarTable] = field(default_factory=list)
    surgery: list[Charts] = field(default_factory=list)
    gallery: Gallery = field(default_factory=lambda: Gallery([]))
    gallery_notes: list[str] = field(default_factory=list)
    styles: dict[str, int] = field(default_factory=dict)
    legends: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def render_page(page: Page) -> str:
    """The page as HTML: no address in it, everything it shows is in it."""
    assets = resources.files("rgbx") / "report" / "assets"
    texts = {name: (assets / name).read_text("utf-8") for name in ("page.css", "page.js")}
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (assets / name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = lambda rate: f"{100 * rate:.1f}"
    environment.filters["shown"] = lambda rate, unit: (
        f"{100 * rate:.1f}" if unit == "percent" else f"{rate:.3f}"
    )
    environment.tests["number"] = lambda rate: not math.isnan(rate)
    text = environment.get_template("page.html").render(
        page=page,
        style=HTML_STYLE + texts["page.css"],
        script=texts["page.js"],
        tables=[to_html(table) for table in page.tables],
        subsets_title=_subsets_title(page.subsets),
        entries=_json(_entries(page)),
        chunks=[
            _json(page.gallery.data[start : start + _CHUNK])
            for start in range(0, len(page.gallery.data), _CHUNK)
        ],
        errors=[(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in ERRORS.items()],
        date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
    )
    # names of files may hold bytes that are no text
    return text.strip().encode("utf-8", "replace").decode("utf-8")


def _subsets_title(tables: Sequence[BarTable]) -> str:
    names = {label for table in tables for label, _, _ in table.rows}
    return "Day and night" if names <= {"all", "day", "night"} else "Subsets"


def _entries(page: Page) -> dict[str, Any]:
    """What the script sorts and filters, with names replaced by numbers."""
    gallery = page.gallery
    scores = list(dict.fromkeys(name for row in gallery.rows for name in row.scores))
    lists = {
        "run": list(dict.fromkeys(row.test for row in gallery.rows)),
        "split": list(dict.fromkeys(row.split for row in gallery.rows)),
        "subset": list(dict.fromkeys(row.subset for row in gallery.rows)),
        "prompt": list(dict.fromkeys(row.kind for row in gallery.rows)),
    }
    places = {key: {name: i for i, name in enumerate(names)} for key, names in lists.items()}
    entries = [
        [
            row.name,
            places["run"][row.test],
            places["split"][row.split],
            places["subset"][row.subset],
            places["prompt"][row.kind],
            scores.index(name) if (name := headline_of(row.scores)) else -1,
            [_rounded(row.scores.get(score)) for score in scores],
            panels,
        ]
        for row, panels in zip(gallery.rows, gallery.panels, strict=True)
    ]
    return {
        "chunk": _CHUNK,
        "captions": CAPTIONS,
        "scores": scores,
        "lower": [not metric_info(score).higher_is_better for score in scores],
        "fraction": [unit_of(score) == "fraction" for score in scores],
        **lists,
        "promptLabel": [kind_label(kind) if kind else "" for kind in lists["prompt"]],
        "style": [page.styles.get(name, 0) % 8 for name in lists["run"]],
        "entries": entries,
    }


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def _json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
