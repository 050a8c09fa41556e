"""A paper's ablation: its file, its rows as jobs, its table."""
