"""The Tab key in bash, zsh and fish: runs, networks, layers, recipes, settings, formats."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.test_imports import HEAVY
from transfer_cli.cli import _shells
from transfer_cli.cli._completion import complete_models
from transfer_cli.cli.main import main
from transfer_cli.recipe.builtin_recipes import recipe_names

WORDBREAKS = " \t\n\"'@><=;|&(:"
COMMAND = str(Path(sys.executable).parent / "transfer-cli")
Complete = Callable[[str], list[str]]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Complete:
    """Return a function from a line to its completions, as the script of bash gets them, in a folder with runs."""
    for name in ("runs/first", "runs/my run", "other/third"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "recipe.toml").write_text('[backbone]\nname = "vgg16"\n')
    (tmp_path / "runs/no run").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMP_WORDBREAKS", "")

    def completions(line: str) -> list[str]:
        monkeypatch.setenv("COMP_LINE", f"transfer-cli {line}")
        return _shells.Bash(main, {}, "transfer-cli", "_TRANSFER_CLI_COMPLETE").complete().splitlines()

    return completions


def test_commands_and_words(complete: Complete) -> None:
    assert complete("pre") == ["plain,predict", "plain,preview"]
    assert complete("help bundle ") == [f"plain,{name}" for name in ("pack", "show", "unpack", "verify")]
    assert complete("help predict ") == []
    assert complete("val runs/f") == ["path,runs/first"]
    assert complete("completion ") == ["plain,bash", "plain,zsh", "plain,fish"]


def test_runs_are_found_in_runs_and_in_the_typed_folder(complete: Complete) -> None:
    assert complete("report ") == ["path,runs/first", "path,runs/my run"]
    assert complete("report runs/my") == ["path,runs/my run"]
    assert complete("report 'runs/my") == ["path,runs/my run"]
    assert complete("report other/") == ["path,other/third"]
    assert complete("report ./other/") == ["path,./other/third"]
    assert complete("compare runs/first ") == ["path,runs/my run"]
    assert complete("predict elsewhere/x") == ["file,elsewhere/x"]


def test_every_argument_for_a_model_is_completed() -> None:
    def commands(command: click.Command) -> list[click.Command]:
        if not isinstance(command, click.Group):
            return [command]
        context = click.Context(command)
        names = command.list_commands(context)
        return [each for name in names if (below := command.get_command(context, name)) for each in commands(below)]

    arguments = [each for command in commands(main) for each in command.params if isinstance(each, click.Argument)]
    models = [each for each in arguments if "RUN" in each.make_metavar(click.Context(main))]
    assert len(models) > 12
    assert {each._custom_shell_complete for each in models} == {complete_models}


def test_networks(complete: Complete) -> None:
    assert complete("extract --backbone mobilenet@") == [f"plain,mobilenet@{width}" for width in (0.25, 0.5, 0.75)]
    assert complete("extract --backbone=vgg1") == ["plain,--backbone=vgg16", "plain,--backbone=vgg19"]
    assert complete("auto --among vgg16,vgg") == ["plain,vgg16,vgg19"]
    assert complete("predict imagenet:vgg") == ["plain,imagenet:vgg16", "plain,imagenet:vgg19"]
    assert complete("extract --weights i") == ["plain,imagenet"]


def test_recipes_are_those_of_the_command(complete: Complete) -> None:
    assert complete("extract --recipe ") == ["plain,quick", "plain,snow-leopard"]
    assert complete("finetune --recipe ") == [f"plain,{name}" for name in recipe_names("finetune")]
    assert complete("recipes show ") == [f"plain,{name}" for name in recipe_names()]
    assert complete("extract --recipe mine") == ["file,mine"]


def test_settings(complete: Complete) -> None:
    assert complete("finetune --set stage.1.e") == ["plain,stage.1.ema=", "plain,stage.1.epochs="]
    assert complete("finetune --recipe gentle-two-stage --set stage.2.ep") == ["plain,stage.2.epochs="]
    assert complete("extract --set classifier.") == [f"plain,classifier.{n}=" for n in ("name", "tune", "tune_seconds")]
    assert complete("extract --set stage") == []
    assert complete("recipes check quick --set classifier.n") == ["plain,classifier.name="]
    assert complete("finetune --set head.kind=m") == ["plain,head.kind=mlp"]
    assert complete("finetune --set head.start=") == ["plain,head.start=probe", "plain,head.start=random"]
    assert complete("finetune --set stage.1.nesterov=") == [
        "plain,stage.1.nesterov=true",
        "plain,stage.1.nesterov=false",
    ]
    assert complete("finetune --set seed=") == []
    assert complete("finetune --backbone vgg16 --set stage.1.unfreeze=from:block5_p") == [
        "plain,stage.1.unfreeze=from:block5_pool"
    ]


def test_layers_are_those_of_the_network(complete: Complete) -> None:
    block = [f"block5_{name}" for name in ("conv1", "conv2", "conv3", "pool")]
    assert complete("extract --backbone vgg16 --layer block5") == [f"plain,{name}" for name in block]
    assert complete("extract --set backbone.name=vgg16 --layer block5_p") == ["plain,block5_pool"]
    assert complete("finetune --recipe vgg16-flatten-1024 --layer block5_p") == ["plain,block5_pool"]
    assert complete("explain runs/first --layer block5_p") == ["plain,block5_pool"]
    assert complete("explain imagenet:vgg19 --layer block5_conv4") == ["plain,block5_conv4"]
    assert complete("inspect runs/first --activations block1_pool,block5_p") == ["plain,block1_pool,block5_pool"]
    assert complete("extract --layer out_") == ["plain,out_relu"]


def test_formats(complete: Complete) -> None:
    assert complete("export runs/first --format onnx,litert-") == ["plain,onnx,litert-int8"]
    assert complete("predict runs/first --format j") == ["plain,jsonl"]


def test_bash_gets_the_part_after_its_word_breaks(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_WORDBREAKS", WORDBREAKS)
    assert complete("extract --backbone mobilenet@0.2") == ["plain,@0.25"]
    assert complete("extract --backbone=vgg1") == ["plain,vgg16", "plain,vgg19"]
    assert complete("predict imagenet:vgg1") == ["plain,vgg16", "plain,vgg19"]
    assert complete("predict 'imagenet:vgg16") == ["plain,imagenet:vgg16"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nosuch ",
        "finetune --recipe missing.toml --set stage.1.ep",
        "finetune --recipe broken.toml --layer blo",
        "finetune --set stage --layer blo",
        "finetune --set a.b.c=",
        "finetune --epochs x --set zzz",
        "report 'unfinished",
        'report "',
        "report back\\",
        "explain missing --layer x",
    ],
)
def test_lines_that_are_wrong_print_no_error(line: str, complete: Complete, capfd: pytest.CaptureFixture[str]) -> None:
    Path("broken.toml").write_text("a == 1")
    complete(line)
    assert capfd.readouterr() == ("", "")


def test_completions_that_cannot_be_found_are_none(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("click.shell_completion._resolve_context", fail)
    assert complete("report ") == []


@pytest.mark.parametrize("line", ["report ", "finetune --set stage.1.ep", "extract --layer blo"])
def test_nothing_heavy_is_imported(line: str, tmp_path: Path) -> None:
    code = (
        "import atexit, json, sys\nfrom transfer_cli.cli.main import main\n"
        f"atexit.register(lambda: print(json.dumps(sorted({set(HEAVY)!r} & set(sys.modules))), file=sys.stderr))\n"
        "main(prog_name='transfer-cli')"
    )
    words = {"COMP_LINE": f"transfer-cli {line}", "_TRANSFER_CLI_COMPLETE": "bash_complete"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, **words}, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stderr)) == (0, [])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_command_prints_the_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"_TRANSFER_CLI_COMPLETE={shell}_complete" in result.stdout
    by_default = CliRunner().invoke(main, ["completion"], env={"SHELL": f"/usr/bin/{shell}"})
    assert by_default.stdout == result.stdout


def test_completion_command_without_a_shell_is_an_error() -> None:
    result = CliRunner().invoke(main, ["completion"], env={"SHELL": ""})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Expected a shell: bash, zsh, fish. Received: none, and SHELL is not set." in result.stderr


def test_scripts_of_zsh_and_fish_are_changed() -> None:
    assert "compadd -U -S" in _shells.Zsh.source_template
    assert "string split -m 1" in _shells.Fish.source_template


LINES = {
    "extract --backbone mobilenet@0.2": "<extract --backbone mobilenet@0.25>",
    "report runs/my": "<report runs/my run",
    "finetune --set stage.1.ep": "<finetune --set stage.1.epochs=>",
    "export runs/first --format onnx,litert-": "<export runs/first --format onnx,litert-int8>",
}
"""What is typed before the Tab key, and what the program gets."""
START = {
    "bash": 'eval "$(transfer-cli completion bash)"',
    "zsh": 'autoload -Uz compinit && compinit -u -D\neval "$(transfer-cli completion zsh)"',
}
ARGUMENTS = {"bash": ["--noprofile", "--rcfile", ".start"], "zsh": []}
PATH = f"{Path(COMMAND).parent}:{os.environ['PATH']}"


def type_into(shell: str, folder: Path, lines: Mapping[str, str]) -> str:
    """Start a shell on a terminal of its own, type each line, the Tab key and Return; return what is shown."""
    # Instead of the program, this function shows its arguments.
    start = f"{START[shell]}\ntransfer-cli() {{ printf '<%s>\\n' \"$*\"; }}\nPS1='READY '\n"
    for name in (".start", ".zshrc"):
        (folder / name).write_text(start)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        environment = {**os.environ, "TERM": "dumb", "PATH": PATH, "ZDOTDIR": str(folder)}
        os.execvpe(shell, [shell, *ARGUMENTS[shell], "-i"], environment)
    shown = ""
    for typed, until in {"": "READY ", **{f"transfer-cli {line}\t\n": end for line, end in lines.items()}}.items():
        os.write(terminal, typed.encode())
        end = time.monotonic() + 60
        while until not in shown and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 65536).decode()
    os.close(terminal)
    os.waitpid(process, 0)
    return shown


@pytest.mark.integration
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_key_in_a_terminal(shell: str, complete: Complete, tmp_path: Path) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    shown = type_into(shell, tmp_path, LINES)
    assert [line for line in LINES.values() if line not in shown] == [], shown
    assert "rror" not in shown


@pytest.mark.integration
def test_completions_in_fish(complete: Complete, tmp_path: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    environment = {**os.environ, "PATH": PATH}
    for typed, expected in LINES.items():
        script = f"transfer-cli completion fish | source; complete -C'transfer-cli {typed}'"
        done = subprocess.run(["fish", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.stderr == ""
        assert done.stdout.strip()
        assert expected.strip("<>").endswith(done.stdout.strip())
