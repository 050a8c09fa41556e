"""One row of an ablation with one seed: its command line, its settings, its folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rgbx.jobs.ablation.file import AblationRow, as_options, slug
from rgbx.jobs.folder import JobFolder
from rgbx.jobs.settings import flat

__all__ = ["Job", "logger_overlay"]


@dataclass(frozen=True)
class Job:
    """One row with one seed.

    Attributes:
        row: The row.
        seed: Of the training.
        folder: Where it lives.
        configs: Configuration files.
        changes: Options of ``rgbx fit`` that change them.
        settings: Both as flat dotted keys.
        loggers: ``trainer.logger`` of the configuration.
    """

    row: AblationRow
    seed: int
    folder: JobFolder
    configs: tuple[str, ...]
    changes: tuple[str, ...]
    settings: Mapping[str, Any]
    loggers: Any

    @property
    def title(self) -> str:
        """Its name on the terminal."""
        return f"{self.row.name}, seed {self.seed}"

    @property
    def options(self) -> list[str]:
        """Options of ``rgbx fit`` and ``rgbx test``."""
        files = (*self.configs, str(self.folder.path / "overlay.yaml"))
        return [*(part for file in files for part in ("--config", file)), *self.changes]

    @property
    def checked(self) -> list[str]:
        """The same without the overlay, which is written when the job runs."""
        return [*(part for file in self.configs for part in ("--config", file)), *self.changes]

    @classmethod
    def of(
        cls,
        row: AblationRow,
        seed: int,
        output: Path,
        configs: Sequence[tuple[Path, Mapping[str, Any]]],
        base: Mapping[str, Any],
        extra: Sequence[str],
    ) -> "Job":
        """A row's job.

        Args:
            row: The row.
            seed: Of the training.
            output: Folder of the ablation.
            configs: Configuration files and what they hold, later ones win.
            base: Changes that all rows share.
            extra: Further options of ``rgbx fit``, as ``--key value`` or ``--key=value``.
        """
        folder = JobFolder(output / slug(row.name) / f"seed_{seed}")
        # the row comes last: an option for all rows must not undo what makes one of them
        changes = [*as_options(base), *extra, *as_options(row.overrides)]
        changes += ["--seed_everything", str(seed)]
        settings: dict[str, Any] = {}
        loggers: Any = None
        for _, content in configs:
            settings |= flat(
                {k: content[k] for k in ("model", "data", "trainer") if content.get(k)}
            )
            loggers = (content.get("trainer") or {}).get("logger", loggers)
        for layer in (flat(base), dict(_pairs(extra)), flat(row.overrides)):
            settings |= {key.replace(".init_args.", "."): value for key, value in layer.items()}
        settings.pop("trainer.logger", None)
        files = tuple(str(path) for path, _ in configs)
        return cls(row, seed, folder, files, tuple(changes), settings, loggers)


def logger_overlay(loggers: Any, folder: Path) -> dict[str, Any]:
    """The configuration that lets a run log into a folder of its own.

    CSV and TensorBoard always log there, into ``version_0``; other loggers stay as they are.
    """
    where = {"save_dir": str(folder.parent), "name": folder.name, "version": 0}
    ours = ["CSVLogger", "TensorBoardLogger"]
    entries = loggers if isinstance(loggers, list) else [loggers]
    others = [
        entry
        for entry in entries
        if isinstance(entry, Mapping)
        and str(entry.get("class_path", "")).rpartition(".")[2] not in ours
    ]
    own = [{"class_path": name, "init_args": dict(where)} for name in ours]
    return {"trainer": {"logger": [*own, *others]}}


def _pairs(extra: Sequence[str]) -> list[tuple[str, Any]]:
    """Options as (key, value); an option without a value has the value True."""
    found: list[tuple[str, Any]] = []
    for token in extra:
        if token.startswith("--"):
            key, equals, value = token[2:].partition("=")
            found.append((key, _value(value) if equals else True))
        elif found:
            found[-1] = (found[-1][0], _value(token))
    return [(key, value) for key, value in found if key != "config"]


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
