"""Checkpoints of what was trained: written, read without executing anything, loaded strictly."""
