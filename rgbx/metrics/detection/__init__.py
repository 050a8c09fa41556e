"""Scores of boxes: average precision of COCO, miss rate of pedestrians."""
