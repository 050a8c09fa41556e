"""What checkpoints are chosen on: a part of train, the data's own set, test sets, or nothing."""

from collections.abc import Mapping
from pathlib import Path

from rgbx.data.splits.folders import join_sets
from rgbx.data.splits.records import Scan
from rgbx.errors import DataError

__all__ = ["SelectionSplit"]


class SelectionSplit:
    """The part of a data set that says what validation reads.

    Attributes:
        test_splits: splits that ``test`` runs over.
        expected: usual number of samples per split; another number is a warning.
        choose_on: names of the test splits that checkpoints are chosen on; nothing is held out of
            training then.
        val_share: part of the training set held out where there is no validation set.
        seed: of that part.
    """

    test_splits: tuple[str, ...] = ("test",)
    expected: Mapping[str, int] = {}
    choose_on: tuple[str, ...] = ()
    val_share: float = 0.0
    seed: int = 0
    root: Path

    def scan(self, split: str) -> Scan:
        """Pair the files of a split; see `rgbx.data.source.Source.scan`."""
        raise NotImplementedError

    @property
    def chooses_on_test(self) -> bool:
        """Validation reads test sets, those of `chosen_on`."""
        return bool(self.choose_on)

    @property
    def chosen_on(self) -> tuple[str, ...]:
        """The test splits that checkpoints are chosen on; none where validation is held out."""
        return self.choose_on

    def expected_size(self, split: str) -> int | None:
        """Usual number of samples of a split, where it is known."""
        if split != "val" or not self.chooses_on_test:
            return self.expected.get(split)
        sizes = [self.expected[name] for name in self.chosen_on if name in self.expected]
        return sum(sizes) if len(sizes) == len(self.chosen_on) else None

    @property
    def own_val(self) -> str:
        """The validation set that the data set has of its own, in words; empty for none."""
        return ""

    @property
    def has_val(self) -> bool:
        """There is something to validate on."""
        return self.chooses_on_test or self.held_out_share > 0 or bool(self.own_val)

    @property
    def held_out_share(self) -> float:
        """Part of the training set that is held out where there is no validation set."""
        return 0.0 if self.chooses_on_test else self.val_share

    @property
    def validates_as_test(self) -> bool:
        """Validation masks keep the size of their file, as those of a test do."""
        return False

    @property
    def choice(self) -> str:
        """What checkpoints are chosen on, as words for a table."""
        if self.chooses_on_test:
            names = [name for name in self.chosen_on if name != "test"]
            return f"THE TEST SET{'S' * (len(names) > 1)} {', '.join(names)}".rstrip()
        if self.own_val:
            return self.own_val
        if not self.has_val:
            return "nothing: the last epoch"
        return f"a seeded {100 * self.val_share:g} % of train (seed {self.seed})"

    def scan_split(self, split: str) -> Scan:
        """As `scan`; "val" is what checkpoints are chosen on, test sets too.

        Raises:
            DataError: as `scan`, or a test set to choose checkpoints on is not there.
        """
        if split != "val" or not self.chooses_on_test:
            return self.scan(split)
        absent = [name for name in self.chosen_on if name not in self.test_splits]
        if absent or not self.chosen_on:
            there = ", ".join(self.test_splits) or "none"
            raise DataError(
                f"{self.root} has no {' '.join(['test set', *absent[:1]])} to choose checkpoints "
                f"on; data.choose_on may name one of: {there}"
            )
        return join_sets({name: self.scan(name) for name in self.chosen_on})
