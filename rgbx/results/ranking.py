"""Mean and std over seeds, and the order of numbers in a column."""

import math
import statistics
from collections.abc import Mapping, Sequence

from rgbx.metrics.catalogue import metric_info
from rgbx.results.render.tables import DEVIATION, MISSING, Unit, printed, rate_text

__all__ = ["mean_of", "places", "rate_over_seeds"]


def mean_of(rates: Sequence[float]) -> float:
    """Mean of the numbers that are none of them NaN; NaN if there is none."""
    known = [rate for rate in rates if not math.isnan(rate)]
    return statistics.fmean(known) if known else math.nan


def rate_over_seeds(rates: Sequence[float], unit: Unit) -> str:
    """Rates in [0, 1] of several seeds as a cell: the mean, and ± the sample standard deviation.

    Args:
        rates: One per seed; NaN where nothing was measured.
        unit: Of the text: percent with two decimals, or fractions with three.

    Returns:
        "77.61 ± 0.32", ".934 ± .002"; without std for one seed; "-" for none.
    """
    known = [rate for rate in rates if not math.isnan(rate)]
    if not known:
        return MISSING
    mean = rate_text(statistics.fmean(known), unit)
    if len(known) == 1:
        return mean
    std = statistics.stdev(known)
    scaled = (100 * std, 2) if unit == "percent" else (std, 3)
    return f"{mean}{DEVIATION}{printed(scaled[0], unit, scaled[1])}"


def places(numbers: Mapping[int, float], metric: str) -> tuple[set[int], set[int]]:
    """Which rows are the best and the second best of a column.

    Args:
        numbers: Row -> number as it is shown; NaN takes no part.
        metric: Name of the column; of errors less is better.

    Returns:
        Rows of the best number and of the next one; both empty if fewer than two rows have one.
    """
    known = {row: number for row, number in numbers.items() if not math.isnan(number)}
    if len(known) < 2:
        return set(), set()
    values = sorted(set(known.values()), reverse=metric_info(metric).higher_is_better)
    best = {row for row, number in known.items() if number == values[0]}
    second = {row for row, number in known.items() if number in values[1:2]}
    return best, second
