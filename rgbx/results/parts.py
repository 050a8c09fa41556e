"""Which runs stand in one table."""

from collections.abc import Sequence

from rgbx.results.columns import family_of
from rgbx.results.find import Run
from rgbx.results.series import joined_rows

__all__ = ["parts_of"]


def parts_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs for one table each, in the order of their first run.

    Those of a table have scores of one kind, and its data sets are linked by models that were
    tested on several of them: a table whose rows have no column in common compares nothing.
    """
    families: dict[str, list[Run]] = {}
    for run in runs:
        families.setdefault(family_of(run.result), []).append(run)
    return [
        [run for run in members if run.result.data.dataset in linked]
        for members in families.values()
        for linked in _linked(members)
    ]


def _linked(runs: Sequence[Run]) -> list[set[str]]:
    """Data sets that rows reach from one another."""
    found = [{run.result.data.dataset} for run in runs]
    for row in joined_rows(runs):
        touched = [group for group in found if not group.isdisjoint(row.runs)]
        found = [group for group in found if group.isdisjoint(row.runs)]
        found.append(set().union(*touched))
    order = list(dict.fromkeys(run.result.data.dataset for run in runs))
    return sorted(found, key=lambda group: min(order.index(name) for name in group))
