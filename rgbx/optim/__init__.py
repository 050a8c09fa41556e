"""Optimisation: learning-rate schedules."""

from rgbx.optim.schedules import Constant, Cosine, Poly, Schedule

__all__ = ["Constant", "Cosine", "Poly", "Schedule"]
