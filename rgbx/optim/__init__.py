"""Optimisation: learning-rate schedules, gradient surgery."""

from rgbx.optim.by_name import ByName
from rgbx.optim.gradients import GroupedGradients, Groups
from rgbx.optim.manual import GradientSurgery
from rgbx.optim.schedules import Constant, Cosine, Poly, Schedule, Step
from rgbx.optim.surgery import Mean, PCGrad, Sum, Weighting, build_weighting

__all__ = [
    "ByName",
    "Constant",
    "Cosine",
    "GradientSurgery",
    "GroupedGradients",
    "Groups",
    "Mean",
    "PCGrad",
    "Poly",
    "Schedule",
    "Step",
    "Sum",
    "Weighting",
    "build_weighting",
]
