"""What of a configuration is changed before anything is built."""

import argparse
from typing import get_args

import pytest
from jsonargparse import ArgumentParser

from rgbx.cli import lightning as command
from rgbx.cli.config.adjust import whole_numbers_first
from rgbx.cli.config.parsed import parse_fit
from tests.cli.conftest import CONFIGS

CONFIG = str(CONFIGS / "demo/tasseg_mfnet.yaml")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (float | int | None, (int, float, type(None))),
        (str | float | bool | int, (str, int, float, bool)),
        (int | float | str, (int, float, str)),
        (float | None, (float, type(None))),
    ],
    ids=str,
)
def test_whole_numbers_come_before_shares(kind, expected):
    parser = ArgumentParser()
    parser.add_argument("--value", type=kind)
    whole_numbers_first(parser)
    (action,) = [action for action in parser._actions if action.dest == "value"]
    assert get_args(action._typehint) == expected


def test_parsers_without_types_are_left_alone():
    parser = argparse.ArgumentParser()
    parser.add_argument("--value", type=float)
    whole_numbers_first(parser)
    assert parser.parse_args(["--value", "1"]).value == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("text", ["1", "1.0", "0.5"])
def test_one_batch_is_not_all_batches_whatever_was_imported_before(text, monkeypatch):
    """As if a package had spelled the union the other way round, and typing remembered that."""
    before = command.RGBXCLI.add_arguments_to_parser

    def turn(self, parser):
        for action in parser._actions:
            if action.dest.startswith("trainer.limit_"):
                action._typehint = float | int | None
        before(self, parser)

    monkeypatch.setattr(command.RGBXCLI, "add_arguments_to_parser", turn)
    trainer = parse_fit(["--config", CONFIG, "--trainer.limit_train_batches", text]).trainer
    found = trainer.limit_train_batches
    assert (found, type(found)) == ((1, int) if text == "1" else (float(text), float))
