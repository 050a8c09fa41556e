"""Runs and tests as one page to look at: tables, curves, bars, and every image worst first."""

from rgbx.report.build import Options, Written, build_report

__all__ = ["Options", "Written", "build_report"]
