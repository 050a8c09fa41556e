"""``rgbx fit | validate | test | predict``: stock LightningCLI in subclass mode, traps closed."""

import signal
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException

from rgbx.callbacks.attention import AttentionWriter
from rgbx.callbacks.interrupted import Stopped, how_to_go_on
from rgbx.callbacks.missing import MissingModality
from rgbx.callbacks.per_image import ImageRecorder
from rgbx.callbacks.predictions import PredictionWriter
from rgbx.callbacks.resume import CheckedResume, refuse_checkpoint, restoring
from rgbx.callbacks.run_folder import folder_beside, folders_of_runs, own_run_folder
from rgbx.callbacks.run_loggers import (
    RunConfig,
    arrange_loggers,
    own_wandb_run,
    wandb_beside,
)
from rgbx.callbacks.selection import keep_last_epochs
from rgbx.callbacks.signals import HeedSignals
from rgbx.callbacks.slurm import Job
from rgbx.callbacks.test_results import write_test_results
from rgbx.callbacks.validation_images import ValidationImages
from rgbx.checkpoints.file import read_checkpoint
from rgbx.checkpoints.load import weights_follow
from rgbx.checkpoints.trained import AtomicCheckpointIO
from rgbx.class_path import class_at
from rgbx.cli.config.adjust import (
    Given,
    given_options,
    input_from_checkpoint,
    one_device_no_logs,
    whole_numbers_first,
    without_python,
)
from rgbx.cli.config.checks import (
    LINKED,
    refuse_absent_devices,
    refuse_trainer_values,
    refuse_without_attention,
    warn_about_linked_values,
)
from rgbx.cli.config.config_parser import RGBXParser
from rgbx.cli.config.errors import constructor_errors, lightning_errors, source_of_values
from rgbx.cli.config.own_options import add_own_options
from rgbx.cli.config.quiet import quieten
from rgbx.data.base import RGBXDataModule
from rgbx.data.inputs import class_options
from rgbx.disk import remove_drafts
from rgbx.jobs.settings import run_settings
from rgbx.tasks.base import RGBXModule

__all__ = ["RGBXCLI", "main"]


def main(argv: Sequence[str]) -> int:
    """Run one Lightning command; returns the exit status."""
    quieten()
    try:
        with own_run_folder(), own_wandb_run(), source_of_values(argv), lightning_errors():
            RGBXCLI(list(argv))
    except Stopped as stopped:
        return stopped.status
    return 0


class RGBXCLI(LightningCLI):
    """LightningCLI whose configuration beats checkpoints and whose ``test`` leaves runs intact."""

    typed = True  # whether a person wrote the options, as errors say where a value is from

    def __init__(self, args: list[str]) -> None:
        self.argv = args
        self.job: Job | None = None
        self.given = Given({}, {})
        self.taken: dict[str, Any] = {}  # values of the checkpoint in place of the data's own
        self.missing: MissingModality | None = None
        self.trained_on: dict[str, Any] = {}  # where a checkpoint decides what the network sees
        super().__init__(
            RGBXModule,
            RGBXDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=RGBXParser,
            save_config_callback=RunConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # models keep plain arguments themselves
            args=args,
        )

    # ------------------------------------------------------------------ parser
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """As the base, without its warning about being called from Python."""
        assert isinstance(args, list)
        plain = [without_python(argument) for argument in args]
        plain = wandb_beside(plain)
        with source_of_values(plain, self.typed):
            self.config = parser.parse_args(plain)
            command = self.config.subcommand
            refuse_trainer_values(self.config[command], training=command == "fit")
        given = parser.parse_args(plain, defaults=False)
        self.given = given_options(given[given.subcommand], plain)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The data set decides how many classes there are and what they are called."""
        whole_numbers_first(parser)
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        add_own_options(parser, subcommand)
        return parser

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one that was asked for, of the base's four: building each parser takes a while.

        Without its `weights_only`: nothing in a checkpoint is ever executed.
        """
        command = self.argv[0]
        return {command: {*LightningCLI.subcommands()[command], "weights_only"}}

    def _parse_ckpt_path(self) -> None:
        """Nothing: the base would let the checkpoint's arguments win over the configuration."""

    # ------------------------------------------------------------------ before anything is built
    def before_instantiate_classes(self) -> None:
        """Refuse what cannot work and fix what Lightning would do behind the user's back."""
        config = self.config[self.subcommand]
        warn_about_linked_values(config)
        model: Any = class_at(config.model.class_path)
        untrained = model.predicts_untrained(config.model.init_args.as_dict())
        refuse_checkpoint(str(self.subcommand), config.get("ckpt_path"), untrained)
        if self.subcommand == "fit":
            self.job = Job.of({k: v for k, v in config.as_dict().items() if k != "ckpt_path"})
            refuse_absent_devices(config.trainer)
            arrange_loggers(config.trainer)
            return
        if config.get("visualize_attention"):
            refuse_without_attention(model)
        one_device_no_logs(config.trainer)
        if config.ckpt_path:
            self.take_classes(Path(config.ckpt_path))
        else:
            rank_zero_info(f"no --ckpt_path: {model.__name__} is used untrained")
        if self.subcommand == "predict" and not config.data.init_args.get("binary"):
            config.data.init_args.pop("soft_masks", None)  # no mask is read

    def take_classes(self, checkpoint: Path) -> None:
        """Look up what the checkpoint's training saw; the model is built for its classes."""
        self.trained_on = read_checkpoint(checkpoint, mmap=True)["rgbx"].get("data", {})
        arguments = self.config[self.subcommand].data.init_args
        # a folder of images has no classes of its own
        taken = class_options(self.trained_on, dict(arguments), self.given.anywhere)
        for name, value in taken.items():
            arguments[name] = value

    def instantiate_classes(self) -> None:
        """As the base; a sentence of a constructor is not buried in the parser's attempts.

        Data that are not trained on come to the network as in its training.
        """
        follow = weights_follow if self.config[self.subcommand].get("ckpt_path") else nullcontext
        with constructor_errors(), follow():
            super().instantiate_classes()
        self.model.refuse_data(self.datamodule)
        self.datamodule.fills_x = self.model.needs_x
        given = self.given
        self.taken = input_from_checkpoint(
            self.datamodule, self.trained_on, given.here, given.anywhere
        )
        self.model.override = bool(self.config[self.subcommand].get("override"))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, saving checkpoints atomically; ``test`` writes into no training run."""
        config = self.config_init[self.subcommand]
        plugins = _listed(config.trainer.get("plugins"))
        if not any(isinstance(p, CheckpointIO) for p in plugins):
            plugins.append(AtomicCheckpointIO())
        if self.subcommand != "fit":
            self.save_config_callback = None
        elif not self.datamodule.has_val:
            given = _listed(config.trainer.get("callbacks"))
            keep_last_epochs(given, type(self.datamodule).__name__)
        trainer = super().instantiate_trainer(plugins=plugins, **kwargs)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self.signals = HeedSignals(self.job)
        callbacks.append(self.signals)
        if self.subcommand == "fit":
            callbacks += [ValidationImages()] * ValidationImages.can_be_logged(trainer)
            callbacks.append(CheckedResume())
        if self.subcommand == "predict" or config.get("save_predictions"):
            callbacks.append(PredictionWriter(self.output_folder))
        if self.subcommand == "test":
            callbacks.append(ImageRecorder(self.output_folder, bool(config.save_predictions)))
        if config.get("missing"):  # after all that look at the model's own scores
            self.missing = MissingModality()
            callbacks.append(self.missing)
        if config.get("visualize_attention"):
            callbacks.append(AttentionWriter(self.output_folder))
        return trainer

    @property
    def output_folder(self) -> Path:
        """``--output``, or a folder of its own in the run that the checkpoint belongs to.

        Without a checkpoint it is in ``runs/MODEL_untrained``.
        """
        config = self.config[self.subcommand]
        if config.output:
            return Path(config.output)
        name = type(self.datamodule).__name__
        if not config.ckpt_path:
            model = type(self.model).__name__
            return Path("runs") / f"{model}_untrained" / f"{self.subcommand}_{name}"
        return folder_beside(Path(config.ckpt_path), f"{self.subcommand}_{name}")

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """As the base; a job that SLURM requeued goes on, and from nothing but its own."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if self.job is None:
            return kwargs
        if own := self.job.checkpoint(self.trainer):
            rank_zero_info(f"This job goes on from {own}, which it left before it was requeued.")
            kwargs["ckpt_path"] = str(own)
        elif not kwargs.get("ckpt_path"):  # Lightning would take any hpc_ckpt_N.ckpt it finds
            self.trainer._checkpoint_connector._user_managed = True
        return kwargs

    def _run_subcommand(self, subcommand: str) -> None:
        """As the base; Ctrl-C and SIGTERM during training are no errors, and the run can go on."""
        if subcommand == "fit":  # what is wrong with the data shows before loggers write
            self.datamodule.setup("fit")
        if self.trainer.is_global_zero:
            remove_drafts(self._written_folders(subcommand))
        try:
            with restoring(self.trainer), self.signals.listening(self.trainer):
                super()._run_subcommand(subcommand)
        except SIGTERMException:
            number = signal.SIGTERM
        except SystemExit as end:
            # Lightning exits with 1 after its clean-up
            if subcommand != "fit" or not self.trainer.interrupted or end.code != 1:
                raise
            number = signal.SIGINT
        else:
            return
        if subcommand == "fit" and self.trainer.is_global_zero:
            print(how_to_go_on(self.trainer, self.argv), flush=True)
        self.signals.wait_for_ranks()
        raise Stopped(number)

    def _written_folders(self, subcommand: str) -> list[Path]:
        """Folders that this command and earlier ones like it write to."""
        if subcommand == "validate":
            return []
        if subcommand == "fit":
            begun = self.config[subcommand].ckpt_path
            return [*folders_of_runs(self.trainer), *([Path(begun).parent] if begun else [])]
        return [self.output_folder, *(p for p in self.output_folder.glob("*") if p.is_dir())]

    # ------------------------------------------------------------------ after the run
    def after_test(self) -> None:
        """Print the benchmark table and write test.json."""
        config = self.config[self.subcommand]
        write_test_results(
            self.model,
            self.datamodule,
            Path(config.ckpt_path) if config.ckpt_path else None,
            self.output_folder,
            seed=config.seed_everything,
            settings=run_settings(config.as_dict())
            | {f"data.{name}": value for name, value in self.taken.items()},
            missing=self.missing.results if self.missing else None,
        )

    def after_predict(self) -> None:
        """Say where the images are."""
        contents = self.model.prediction_files(self.output_folder).contents
        print(f"{contents}: {self.output_folder}")


def _listed(given: Any) -> list[Any]:
    """One or several of something, or None, as a list."""
    return list(given) if isinstance(given, list | tuple) else [given] if given else []
