"""Values and configuration files that cannot be: one sentence that names the key or the file."""

import os

import pytest
import yaml

from rgbx.cli.config.config_file import KEYS, read_config
from rgbx.cli.config.parsed import parse_fit
from rgbx.errors import RGBXError
from tests.cli.conftest import CONFIGS, tiny, write_checkpoint

CONFIG = str(CONFIGS / "demo/tasseg_mfnet.yaml")


def refusal(*options):
    with pytest.raises(RGBXError) as error:
        parse_fit(["--config", CONFIG, *options])
    return str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--trainer.devices=-7", "trainer.devices"),
        ("--trainer.devices=0", "trainer.devices"),
        ("--trainer.num_nodes=0", "trainer.num_nodes"),
        ("--trainer.accelerator=quantum", "trainer.accelerator"),
        ("--trainer.strategy=quantum", "trainer.strategy"),
        ("--trainer.precision=17", "trainer.precision"),
        ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches"),
        ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch"),
        ("--trainer.val_check_interval=0", "trainer.val_check_interval"),
        ("--trainer.val_check_interval=1.5", "trainer.val_check_interval"),
        ("--trainer.limit_train_batches=0", "trainer.limit_train_batches"),
        ("--trainer.limit_val_batches=-1", "trainer.limit_val_batches"),
        ("--trainer.limit_test_batches=1.5", "trainer.limit_test_batches"),
        ("--trainer.overfit_batches=-0.5", "trainer.overfit_batches"),
        ("--trainer.log_every_n_steps=-1", "trainer.log_every_n_steps"),
        ("--trainer.gradient_clip_val=.nan", "trainer.gradient_clip_val"),
        ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val"),
        ("--trainer.max_epochs=-2", "trainer.max_epochs"),
        ("--trainer.max_epochs=0", "trainer.max_epochs is 0"),
        ("--trainer.max_steps=0", "trainer.max_steps is 0"),
        ("--trainer.max_steps=99999999999999999999", "trainer.max_steps"),
        ("--trainer.num_sanity_val_steps=-2", "trainer.num_sanity_val_steps"),
        ("--trainer.callbacks=[5]", "trainer.callbacks"),
        ("--trainer=word", "`trainer`"),
        ("--seed_everything=-1", "seed_everything"),
        ("--seed_everything=99999999999", "seed_everything"),
        ("--model.schedule=null", "model.schedule"),
        ("--model.schedule.power=word", "model.schedule.power"),
        ("--model.optimizer=null", "model.optimizer"),
        ("--model.optimizer=[]", "model.optimizer"),
        ("--model.optimizer.lr=nan", "model.optimizer.lr"),
        ("--model.optimizer.moment=1", "AdamW has no option `moment`"),
        ("--model.encoder=null", "model.encoder"),
        ("--model.weights=5", "model.weights"),
        ("--data.root=null", "data.root"),
        ("--data.size=[1,2,3]", "data.size"),
    ],
    ids=lambda value: value if value.startswith("--") else "",
)
def test_an_option_that_cannot_be(option, named):
    assert named in refusal(option)


@pytest.mark.parametrize(
    ("option", "named", "near"),
    [
        ("--trainer.max_epoch=1", "trainer.max_epoch", "trainer.max_epochs"),
        ("--trainer.limit_train=1", "trainer.limit_train", "trainer.limit_train_batches"),
        ("--seed=1", "seed", "seed_everything"),
        ("--ckpt=x", "ckpt", "ckpt_path"),
        ("--mod=TASeg", "mod", "model"),
        ("--model.enc=tiny", "enc", "encoder"),
    ],
)
def test_the_beginning_of_a_name_is_no_name(option, named, near):
    assert f"`{named}`; did you mean `{near}`?" in refusal(option)
    assert f"`{named}`; did you mean `{near}`?" in refusal(*option.split("="))


TYPED = "(on the command line)"


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("--trainer.max_epochs=many", "trainer.max_epochs"),
        ("--trainer.devices=-7", "trainer.devices"),
        ("--trainer.callbacks=[{class_path: Timer, init_args: {interval: 3}}]", "interval"),
        ("--seed_everything=-1", "seed_everything"),
        ("--model=Nothing", "model"),
        ("--model.class_path=Nothing", "model"),
        ("--model={class_path: TASeg, init_args: {fusion: sum}}", "model.fusion"),
        ("--model.init_args.fusion=sum", "model.fusion"),
        ("--model.encoder=null", "model.encoder"),
        ("--data.sizes=3", "sizes"),
    ],
    ids=lambda value: value if value.startswith("--") else "",
)
def test_what_was_typed_is_not_said_to_be_in_a_file(option, key):
    for options in ([option], option.split("=", 1)):
        message = refusal(*options)
        assert key in message and message.endswith(TYPED) and "configuration" not in message


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("trainer: {max_epochs: many}", "trainer.max_epochs"),
        ("trainer: {max_epoch: 1}", "trainer.max_epoch"),
        ("trainer: {devices: -7}", "trainer.devices"),
        ("trainer: {callbacks: [{class_path: Timer, init_args: {interval: 3}}]}", "interval"),
        ("seed_everything: -1", "seed_everything"),
        ("model: Nothing", "model"),
        ("model: {class_path: TASeg, init_args: {fusion: sum}}", "model.fusion"),
        ("model: {class_path: TASeg, init_args: {encoder: null}}", "model.encoder"),
        ("data: {class_path: MFNet, init_args: {sizes: 3}}", "sizes"),
    ],
    ids=lambda value: value if ":" in value else "",
)
def test_what_is_in_a_file_names_it_once(content, key, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    message = refusal("--config", str(path), "--data.root=x")
    assert key in message and message.count(f"(in the configuration {path})") == 1
    assert message.count("configuration") == 1 + str(path).count("configuration")
    other = tmp_path / "other.yaml"
    other.write_text("trainer: {precision: 16-true}")
    assert f"(in the configuration {path})" in refusal(f"--config={path}", f"--config={other}")


def test_the_last_value_of_a_key_is_the_one_that_is_wrong(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: {devices: -7}")
    assert refusal("--config", str(path), "--trainer.devices=0").endswith(TYPED)


def test_a_wrong_value_that_is_replaced_names_its_own_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: {max_epochs: many}")
    message = refusal("--config", str(path), "--trainer.max_epochs=3")
    assert message.endswith(f"(in the configuration {path})")


def test_check_data_says_where_a_value_is_from(rgbx, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("data: {class_path: MFNet, init_args: {size: [1, 2, 3]}}\n")
    assert rgbx("check-data", "--config", "mine.yaml") == 1
    assert "(in the configuration mine.yaml)" in capsys.readouterr().err
    assert rgbx("check-data", "--data=MFNet", "--data.size=[1,2,3]") == 1
    assert TYPED in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--model.optimizer.lr=-1", "model.optimizer.lr"),
        ("--model.optimizer.lr=.inf", "model.optimizer.lr"),
        ("--model.optimizer.betas=[0.9,1.5]", "model.optimizer.betas"),
        ("--model.optimizer.eps=-1", "model.optimizer.eps"),
        ("--model.schedule.power=-1", "power is -1"),
        ("--model.dffm_width=-1", "dffm.width -1"),
        ("--data.size=[1000000,1000000]", "size [1000000, 1000000]"),
        ("--data.num_workers=-1", "num_workers -1"),
        ("--data.num_workers=100000", "num_workers 100000"),
        ("--trainer.max_time=soon", "trainer.max_time"),
        ("--trainer.profiler=soon", "trainer.profiler"),
        ("--trainer.val_check_interval=1000", "val_check_interval"),
        ("--trainer.callbacks={class_path: ModelCheckpoint, init_args: {save_top_k: -7}}", "-7"),
        (
            "--trainer.callbacks={class_path: EarlyStopping, init_args: {monitor: nothing}}",
            "nothing",
        ),
    ],
    ids=lambda value: value if value.startswith("--") else "",
)
def test_a_value_that_shows_when_things_are_built(option, named, rgbx, mfnet_root, capsys):
    options = tiny("demo/tasseg_mfnet.yaml", mfnet_root, "--trainer.max_epochs=1", option)
    assert rgbx("fit", *options) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "error:" in text]
    assert named in line


FILES = {  # name -> content, what is named besides the file
    "list": (b"trainer: [1]\n", "trainer"),
    "text": (b"trainer: fast\n", "trainer"),
    "number": (b"data: 5\n", "data"),
    "none": (b"model:\n", "model"),
    "arguments": (b"data: {class_path: MFNet, init_args: [3]}\n", "init_args"),
    "unknown": (b"modell: {class_path: TASeg}\n", "modell"),
    "numbered": (b"1: 2\n", "1"),
    "twice": (b"trainer: {max_epochs: 1}\ndata: MFNet\ntrainer: {precision: 16-true}\n", "trainer"),
    "twice_inside": (b"trainer: {max_epochs: 1, max_epochs: 2}\n", "max_epochs"),
    "tab": (b"model:\n\tclass_path: TASeg\n", "line 2"),
    "bracket": (b"data: [1\n", "line 2"),
    "word": (b"hello\n", "a text"),
    "empty": (b"", "empty"),
    "comments": (b"# nothing\n", "empty"),
    "bytes": (bytes(range(256)), ""),
    "zeros": (b"\0" * 100, ""),
    "gbk": ("# 配置\n".encode("gbk"), "UTF-8"),
    "utf16": ("trainer: {max_epochs: 1}\n".encode("utf-16"), "UTF-16"),
    "nested": (b"[" * 3000, "deep"),
    "date": (b"data: 2001-99-99\n", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be(name, tmp_path):
    path = tmp_path / f"{name}.yaml"
    path.write_bytes(FILES[name][0])
    message = refusal("--config", str(path), "--trainer.max_epochs", "3")
    assert str(path) in message and FILES[name][1] in message


def test_what_only_the_parser_sees_names_its_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: {max_epochs: many}\n")
    message = refusal("--config", str(path), "--config", CONFIG)
    assert str(path) in message and "trainer.max_epochs" in message


def test_places_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for place in (tmp_path, tmp_path / "pipe.yaml", tmp_path / "absent.yaml", "a\0b.yaml"):
        assert str(place).partition("\0")[0] in refusal("--config", str(place))


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("fit",),
        ("validate", "--ckpt_path", "x"),
        ("test", "--ckpt_path", "x"),
        ("predict", "--ckpt_path", "x"),
        ("check-data",),
        ("profile",),
        ("export", "--format", "torch", "--ckpt_path", "own.ckpt"),
        ("eval-coco", "--annotations", "x.json", "--images", "x"),
        ("ablate", str(CONFIGS / "ablations/samsod_table2.yaml")),
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_the_same(command, rgbx, tmp_path, capsys):
    said = []
    write_checkpoint(tmp_path / "own.ckpt")
    for name in ("list", "gbk", "twice", "unknown", "empty"):
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(FILES[name][0])
        with pytest.raises(RGBXError) as error:
            read_config(path)
        assert rgbx(*command, "--config", path) == 1
        said.append((f"rgbx: error: {error.value}", capsys.readouterr().err.strip()))
    assert all(expected in printed for expected, printed in said), said


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sweep", "ablate"])
def test_other_yaml_files_are_read_alike(command, rgbx, tmp_path, capsys):
    for name in ("gbk", "utf16", "twice", "tab", "nested"):
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(FILES[name][0])
        assert rgbx(command, path) == 1
        assert str(path) in capsys.readouterr().err


def test_a_good_file_is_read_as_the_parser_reads_it(tmp_path):
    path = tmp_path / "good.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + b"trainer: {max_epochs: 7}\n")
    assert read_config(path) == {"trainer": {"max_epochs": 7}}
    assert parse_fit(["--config", CONFIG, "--config", str(path)]).trainer.max_epochs == 7
    path.write_text("trainer: {gradient_clip_val: 1e-3}\n")
    assert read_config(path)["trainer"]["gradient_clip_val"] == 0.001


def test_merge_keys_are_no_repetition(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(
        "data: &data {class_path: MFNet}\nmodel: {<<: *data, class_path: TASeg}\n", encoding="utf-8"
    )
    assert read_config(path)["model"] == {"class_path": "TASeg"}


def test_the_keys_are_those_of_the_commands():
    from rgbx.cli.lightning import RGBXCLI

    class Parsers(RGBXCLI):
        def parse_arguments(self, parser, args):
            for own in self._subcommand_parsers.values():
                keys.update(action.dest.split(".")[0] for action in own._actions)
            raise StopIteration

    keys = set()
    for command in ("fit", "validate", "test", "predict"):
        with pytest.raises(StopIteration):
            Parsers([command])
    assert keys - {"help", "config", "print_config"} == set(KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"notes\n", b"trainer: [1]\n", bytes(range(256))])
def test_what_lies_around_is_not_what_a_word_means(content, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = {
        "--model": "TASeg",
        "--model.optimizer": "AdamW",
        "--model.schedule": "Poly",
        "--data": "MFNet",
        "--data.root": "MFNet",
        "--trainer.accelerator": "cpu",
        "--trainer.devices": "1",
        "--trainer.callbacks": "ModelSummary",
        "--trainer.max_epochs": "3",
        "--model.class_names": "[a, b]",
    }
    options = [part for pair in words.items() for part in pair]
    usual = parse_fit(["--config", CONFIG, *options])
    for word in {*words.values(), "DEBUG", "fit"}:
        (tmp_path / word).write_bytes(content)
    assert parse_fit(["--config", CONFIG, *options]) == usual


@pytest.mark.slow
def test_the_written_configuration_can_be_read(rgbx, mfnet_root, tmp_path):
    options = tiny("demo/tasseg_mfnet.yaml", mfnet_root, "--trainer.max_epochs=1")
    assert rgbx("fit", *options) == 0
    (written,) = tmp_path.rglob("config.yaml")
    assert read_config(written) == yaml.safe_load(written.read_text())
