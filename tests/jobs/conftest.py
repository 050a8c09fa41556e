"""Sweep files written for a test."""

from pathlib import Path

import pytest
import yaml

COMMAND = ["${env}", "rgbx", "fit", "${args}"]


@pytest.fixture
def write(tmp_path):
    """``write(method=..., parameters=..., options=(...), **more) -> path`` of a sweep file."""

    def write(parameters=None, options=(), name="sweep.yaml", drop=(), **more) -> Path:
        content = {
            "program": "rgbx",
            "command": [*COMMAND[:-1], *options, "${args}"],
            "method": "grid",
            "metric": {"name": "val/miou", "goal": "maximize"},
            "parameters": parameters or {"score": {"values": [0.1, 0.2, 0.3]}},
            **more,
        }
        path = tmp_path / name
        path.write_text(
            yaml.safe_dump({k: v for k, v in content.items() if k not in drop}, sort_keys=False)
        )
        return path

    return write
