"""``rgbx fit | validate | test | predict``: stock LightningCLI in subclass mode, traps closed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from rgbx.cli.adjust import (
    LINKED,
    classes_from_checkpoint,
    one_device_no_logs,
    refuse_absent_devices,
    refuse_without_attention,
    refuse_without_prompts,
    warn_about_linked_values,
    whole_numbers_first,
)
from rgbx.cli.attention import FOLDER as ATTENTION
from rgbx.cli.attention import AttentionWriter
from rgbx.cli.chosen import keep_last_epochs
from rgbx.cli.logged_pictures import ValidationPictures
from rgbx.cli.messages import RGBXParser, class_at, quieten
from rgbx.cli.per_image import ImageRecorder
from rgbx.cli.predictions import PredictionWriter
from rgbx.cli.python_values import without_python
from rgbx.cli.report import report_test
from rgbx.cli.run_folder import own_run_folder
from rgbx.cli.run_loggers import (
    RunConfig,
    arrange_loggers,
    own_wandb_run,
    wandb_beside,
)
from rgbx.cli.settings import run_settings
from rgbx.cli.stopped import Stopped, how_to_go_on
from rgbx.data.base import RGBXDataModule
from rgbx.errors import RGBXError
from rgbx.models import PromptableModule
from rgbx.models.base import RGBXModule
from rgbx.models.checkpoint import AtomicCheckpointIO

__all__ = ["RGBXCLI", "main"]


def main(argv: Sequence[str]) -> int:
    """Run one Lightning command; returns the exit status."""
    quieten()
    try:
        with own_run_folder(), own_wandb_run():
            RGBXCLI(list(argv))
    except Stopped:
        return 130
    except MisconfigurationException as error:
        raise RGBXError(" ".join(str(error).split())) from error
    return 0


class RGBXCLI(LightningCLI):
    """LightningCLI whose configuration beats checkpoints and whose ``test`` leaves runs intact."""

    def __init__(self, args: list[str]) -> None:
        self.argv = args
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
        self.config = parser.parse_args(wandb_beside(plain))

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The data set decides how many classes there are and what they are called."""
        whole_numbers_first(parser)
        for name in LINKED:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def _prepare_subcommand_parser(
        self, klass: type, subcommand: str, **kwargs: Any
    ) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand in ("test", "predict"):
            parser.add_argument(
                "--output",
                type=str | None,
                default=None,
                help="folder for what the command writes (default: beside the run's checkpoints)",
            )
            parser.add_argument(
                "--visualize_attention",
                type=bool,
                default=False,
                help="also draw where a model with prompts looks in the first 16 images",
            )
        if subcommand == "test":
            parser.add_argument(
                "--save_predictions",
                type=bool,
                default=False,
                help="also write what was predicted for every test image, and a sheet of some",
            )
        return parser

    def _parse_ckpt_path(self) -> None:
        """Nothing: the base would let the checkpoint's arguments win over the configuration."""

    # ------------------------------------------------------------------ before anything is built
    def before_instantiate_classes(self) -> None:
        """Refuse what cannot work and fix what Lightning would do behind the user's back."""
        config = self.config[self.subcommand]
        warn_about_linked_values(config)
        if self.subcommand == "fit":
            refuse_absent_devices(config.trainer)
            arrange_loggers(config.trainer)
            return
        if not config.get("ckpt_path"):
            raise RGBXError(
                f"`rgbx {self.subcommand}` needs a checkpoint: add --ckpt_path "
                "RUN/checkpoints/best.ckpt."
            )
        if config.ckpt_path not in ("best", "last") and not Path(config.ckpt_path).is_file():
            raise RGBXError(f"There is no checkpoint {config.ckpt_path}.")
        if config.get("visualize_attention"):
            refuse_without_attention(class_at(config.model.class_path))
        one_device_no_logs(config.trainer)
        if self.subcommand == "predict":
            classes_from_checkpoint(config)

    def instantiate_classes(self) -> None:
        """As the base; a sentence of a constructor is not buried in the parser's attempts."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if isinstance(error.__cause__, RGBXError):
                raise error.__cause__ from error
            raise
        refuse_without_prompts(self.model, self.datamodule)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, saving checkpoints atomically; ``test`` writes into no training run."""
        config = self.config_init[self.subcommand]
        plugins = config.trainer.get("plugins") or []
        plugins = list(plugins) if isinstance(plugins, list | tuple) else [plugins]
        if not any(isinstance(p, CheckpointIO) for p in plugins):
            plugins.append(AtomicCheckpointIO())
        if self.subcommand != "fit":
            self.save_config_callback = None
        elif not self.datamodule.has_val:
            given = config.trainer.get("callbacks") or []
            given = list(given) if isinstance(given, list | tuple) else [given]
            keep_last_epochs(given, type(self.datamodule).__name__)
        self.model.data_info = _describe(self.datamodule)
        trainer = super().instantiate_trainer(plugins=plugins, **kwargs)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if self.subcommand == "fit" and ValidationPictures.have_a_place(trainer, self.model):
            callbacks.append(ValidationPictures())
        if self.subcommand == "predict" or config.get("save_predictions"):
            callbacks.append(PredictionWriter(self.output_folder))
        if self.subcommand == "test":
            saved = bool(config.save_predictions)
            callbacks.append(ImageRecorder(self.output_folder, saved))
        if config.get("visualize_attention"):
            callbacks.append(AttentionWriter(self.output_folder))
        return trainer

    @property
    def output_folder(self) -> Path:
        """``--output``, or a folder of its own in the run that the checkpoint belongs to."""
        config = self.config[self.subcommand]
        if config.output:
            return Path(config.output)
        checkpoint = Path(config.ckpt_path)
        run = checkpoint.parent
        if run.name == "checkpoints":
            run = run.parent
        return run / f"{self.subcommand}_{type(self.datamodule).__name__}_{checkpoint.stem}"

    def _run_subcommand(self, subcommand: str) -> None:
        """As the base; Ctrl-C during training is no error, and the run can go on."""
        try:
            super()._run_subcommand(subcommand)
        except SystemExit as end:
            # Lightning exits with 1 after its clean-up
            if subcommand != "fit" or not self.trainer.interrupted or end.code != 1:
                raise
            if self.trainer.is_global_zero:
                print(how_to_go_on(self.trainer, self.argv), flush=True)
            raise Stopped from None

    # ------------------------------------------------------------------ after the run
    def after_test(self) -> None:
        """Print the benchmark table and write test.json."""
        config = self.config[self.subcommand]
        report_test(
            *(self.model, self.datamodule, Path(config.ckpt_path), self.output_folder),
            seed=config.seed_everything,
            settings=run_settings(config.as_dict()),
        )
        self._say_where_attention_is()

    def after_predict(self) -> None:
        """Say where the pictures are."""
        prompted = isinstance(self.model, PromptableModule)
        what = "masks by prompt" if prompted else "predictions"
        print(f"{what} and overlays: {self.output_folder}")
        self._say_where_attention_is()

    def _say_where_attention_is(self) -> None:
        if self.config[self.subcommand].visualize_attention:
            print(f"attention: {self.output_folder / ATTENTION}")


def _describe(data: Any) -> dict[str, Any]:
    """What a checkpoint remembers of its data set, as plain values."""
    return {
        "class": type(data).__name__,
        "class_names": list(data.class_names or ()),
        "palette": [list(map(int, colour)) for colour in data.palette or ()],
        "size": list(data.size),
        "resize": data.resize,
        "choice": data.choice,
        "scribbles": bool(getattr(data, "scribbles", None)),
    }
