"""Generated data sets, written in the real ones' layouts."""
