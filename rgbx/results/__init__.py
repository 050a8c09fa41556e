"""From a finished test to ``test.json`` and to tables next to published numbers."""

from rgbx.results.ablation import AblationEntry, ablation_table, tables_named
from rgbx.results.families import groups_of, kind_label, unit_of
from rgbx.results.find import Run, find_runs
from rgbx.results.joined import JoinedOptions, joined_tables
from rgbx.results.load import load_published, published_of
from rgbx.results.missing import missing_tables
from rgbx.results.published import (
    MEAN,
    OVERALL,
    Cost,
    Published,
    PublishedRow,
    PublishedTable,
)
from rgbx.results.records import (
    CheckpointRecord,
    ClassScore,
    DataRecord,
    ModelRecord,
    TestResult,
    make_result,
    read_result,
    write_result,
)
from rgbx.results.render.html import HTML_STYLE, html_page, to_html
from rgbx.results.render.latex import to_latex, to_latex_float
from rgbx.results.render.narrow import narrowed
from rgbx.results.render.tables import Row, Table, Unit, class_table
from rgbx.results.render.text import to_csv, to_markdown, to_terminal
from rgbx.results.single import (
    benchmark_table,
    benchmark_tables,
    combined_tables,
    has_prompts,
    prompt_tables,
)
from rgbx.results.tidy import Record, records_of, to_tidy_csv

__all__ = [
    "HTML_STYLE",
    "MEAN",
    "OVERALL",
    "AblationEntry",
    "CheckpointRecord",
    "ClassScore",
    "Cost",
    "DataRecord",
    "JoinedOptions",
    "ModelRecord",
    "Published",
    "PublishedRow",
    "PublishedTable",
    "Record",
    "Row",
    "Run",
    "Table",
    "TestResult",
    "Unit",
    "ablation_table",
    "benchmark_table",
    "benchmark_tables",
    "class_table",
    "combined_tables",
    "find_runs",
    "groups_of",
    "has_prompts",
    "html_page",
    "joined_tables",
    "kind_label",
    "load_published",
    "make_result",
    "missing_tables",
    "narrowed",
    "prompt_tables",
    "published_of",
    "read_result",
    "records_of",
    "tables_named",
    "to_csv",
    "to_html",
    "to_latex",
    "to_latex_float",
    "to_markdown",
    "to_terminal",
    "to_tidy_csv",
    "unit_of",
    "write_result",
]
