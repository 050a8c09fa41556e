"""What watches a run: predictions, per-image scores, validation images, run folder, signals."""
