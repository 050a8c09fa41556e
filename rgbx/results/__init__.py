"""From a finished test to ``test.json`` and to tables beside published numbers."""

from rgbx.results.benchmark import benchmark_table, combined_tables
from rgbx.results.html import HTML_STYLE, html_page, to_html
from rgbx.results.latex import to_latex, to_latex_float
from rgbx.results.load import load_published
from rgbx.results.prompts import has_prompts, kind_label, prompt_tables
from rgbx.results.published import MEAN, SALIENCY, Cost, Published, PublishedRow, PublishedTable
from rgbx.results.record import (
    CheckpointRecord,
    ClassScore,
    DataRecord,
    ModelRecord,
    TestResult,
    make_result,
    sha256_of,
)
from rgbx.results.render import to_csv, to_markdown, to_terminal
from rgbx.results.store import read_result, write_result
from rgbx.results.tables import Row, Table, class_table

__all__ = [
    "HTML_STYLE",
    "MEAN",
    "SALIENCY",
    "CheckpointRecord",
    "ClassScore",
    "Cost",
    "DataRecord",
    "ModelRecord",
    "Published",
    "PublishedRow",
    "PublishedTable",
    "Row",
    "Table",
    "TestResult",
    "benchmark_table",
    "class_table",
    "combined_tables",
    "has_prompts",
    "html_page",
    "kind_label",
    "load_published",
    "make_result",
    "prompt_tables",
    "read_result",
    "sha256_of",
    "to_csv",
    "to_html",
    "to_latex",
    "to_latex_float",
    "to_markdown",
    "to_terminal",
    "write_result",
]
