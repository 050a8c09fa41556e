"""From a finished test to ``test.json`` and to tables beside published numbers."""

from rgbx.results.benchmark import benchmark_table, benchmark_tables, combined_tables
from rgbx.results.families import groups_of
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
from rgbx.results.render import to_csv, to_latex, to_markdown, to_terminal
from rgbx.results.store import read_result, write_result
from rgbx.results.tables import Row, Table, class_table

__all__ = [
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
    "benchmark_tables",
    "class_table",
    "combined_tables",
    "groups_of",
    "has_prompts",
    "kind_label",
    "load_published",
    "make_result",
    "prompt_tables",
    "read_result",
    "sha256_of",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_terminal",
    "write_result",
]
