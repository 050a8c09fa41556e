"""What makes a run, as dotted keys: to tell runs apart, and to see whether a run was changed."""

from collections.abc import Mapping
from typing import Any

__all__ = ["flat", "run_settings"]

#: parts of the trainer that decide what is learnt, not how fast or where
_OF_TRAINER = (
    "accumulate_grad_batches",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_train_batches",
    "max_epochs",
    "max_steps",
    "precision",
)
#: of the data and the model: where things lie on this machine, and what changes no number
_ELSEWHERE = ("root", "num_workers", "eval_batch_size", "seed", "path", "sha256", "scribbles")
_RECORDED = ("model.class_path", "data.class_path", "model.num_classes", "model.class_names")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted keys.

    ``init_args`` is left out of the keys, as it may be on the command line. An empty mapping is a
    value; lists are values.
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = ".".join(part for part in (prefix, str(key)) if part and part != "init_args")
        if isinstance(value, Mapping) and value:
            found |= flat(value, name)
        else:
            found[name] = value
    return found


def run_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that its result remembers.

    Args:
        config: ``model``, ``data`` and ``trainer``, nested, as plain values.

    Returns:
        Dotted keys without places on this machine, seeds, and what the result holds elsewhere.
    """
    found = flat({part: config.get(part) or {} for part in ("model", "data")})
    found = {
        key: value
        for key, value in found.items()
        if key.rpartition(".")[2] not in _ELSEWHERE and key not in _RECORDED
    }
    trainer = config.get("trainer") or {}
    found |= {f"trainer.{name}": trainer[name] for name in _OF_TRAINER if trainer.get(name)}
    return found
