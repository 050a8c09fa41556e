"""Data sets on disk: one file per family."""
