"""Options that several commands share, and what they complete to in a shell."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from transfer_cli.catalog import backbones, ensemble_methods, runtimes, tta
from transfer_cli.cli._console import Console
from transfer_cli.io.cache import LIMIT, Cache, parse_size

Command = TypeVar("Command", bound=Callable[..., Any])


class Share(click.FloatRange):
    """A number from 0 to 1, which is not typed as a percentage."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        try:
            return float(super().convert(value, param, ctx))
        except click.BadParameter as error:
            match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%?\s*", str(value))
            share = float(match[1]) / 100 if match else 2.0
            guess = f" Did you mean {share:g}?" if share <= 1 else ""
            self.fail(f"{error.message}{guess}", param, ctx)


BAR: dict[str, Any] = {"type": Share(), "metavar": "SHARE"}


class Duration(click.ParamType[float]):
    """Seconds, typed as 90s, 10m, 1h or 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", str(value).strip().replace(" ", "").lower())
        hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
        total = 3600 * hours + 60 * minutes + seconds
        if not total:
            self.fail(f"{value!r} is no time. Expected one such as 90s, 10m, 1h or 1h30m.", param, ctx)
        return float(total)


class Words(click.ParamType[tuple[str, ...]]):
    """Several words, parted by commas."""

    name = "words"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the words."""
        if isinstance(value, tuple):
            return value
        return tuple(word.strip() for word in str(value).split(",") if word.strip())


def seed_option(
    text: str = "Of all that is drawn by chance.  [0]", default: int | None = None
) -> Callable[[Command], Command]:
    """Return what adds ``--seed``, which NumPy takes from 0 to 2^32 - 1."""
    return click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=default, metavar="N", help=text)


def recipe_options(command: Command) -> Command:
    """Add the choice of a recipe and of what is overridden in it."""
    options = [
        click.option(
            "--recipe",
            metavar="NAME|FILE",
            shell_complete=complete_recipes,
            help="Start from a shipped recipe (transfer-cli recipes list) or a TOML file.",
        ),
        click.option("--set", "overrides", multiple=True, metavar="WORD=VALUE", help="Override a word of the recipe."),
        seed_option(),
    ]
    return _added(options, command)


def training_options(command: Command) -> Command:
    """Add what every command that trains takes beside a recipe."""
    options = [
        click.option("-o", "--output", type=click.Path(), metavar="RUN", help="The run to write.  [runs/NAME]"),
        recipe_options,
        runtime_option,
        click.option("--split", type=click.Path(), metavar="FILE", help="Follow the parts in a split.csv."),
        group_option,
        click.option("--strict", is_flag=True, help="Stop at the first picture that cannot be read."),
        click.option("--min-accuracy", **BAR, help="Write no model below it; on test, else on val."),
        click.option("--overwrite", is_flag=True, help="Replace an earlier run; its test pictures stay the same."),
    ]
    return _added(options, command)


def bags_option(command: Command) -> Command:
    """Add ``--bags``."""
    return click.option(
        "--bags",
        type=click.IntRange(ensemble_methods.FEWEST_BAGS, ensemble_methods.MOST_BAGS),
        metavar="N",
        help="Train N members on bootstrap samples of train, in RUN/bags, and join them.",
    )(command)


def backbone_options(command: Command) -> Command:
    """Add the choice of the network, its weights and its cut."""
    options = [
        click.option(
            "--backbone",
            metavar="NAME",
            shell_complete=complete_backbones,
            help="See: transfer-cli backbones list.  [mobilenet_v2]",
        ),
        click.option("--weights", metavar="imagenet|none|FILE", help="Pretrained, random, or a file.  [imagenet]"),
        click.option("--pooling", type=click.Choice(["avg", "max", "flatten"]), help="Map to row.  [avg]"),
        click.option("--layer", metavar="NAME", help="Cut after this layer.  [the last below the top]"),
    ]
    return _added(options, command)


def candidate_options(command: Command) -> Command:
    """Add the choice of the backbones that are compared, and whether weights are brought for that."""
    options = [
        click.option(
            "--among",
            type=Words(),
            metavar="NAMES",
            shell_complete=complete_backbones,
            help="Backbones or patterns: mobilenet*,resnet50.  [all whose weights are here]",
        ),
        click.option("--download", is_flag=True, help="Bring the weights that are not here."),
    ]
    return _added(options, command)


def runtime_option(command: Command) -> Command:
    """Add the choice of what runs a network."""
    return click.option("--runtime", type=click.Choice([runtimes.AUTO, *runtimes.names()]), help="[auto]")(command)


def tta_option(command: Command) -> Command:
    """Add the choice of what is averaged over several variants of each picture."""
    return click.option(
        "--tta",
        metavar="|".join([*tta.names(), "N"]),
        shell_complete=complete_tta,
        help="Ask about variants of each picture, N of them by chance, and average.  [none]",
    )(command)


def group_option(command: Command) -> Command:
    """Add the choice of what keeps pictures in one part."""
    text = "Keep pictures in one part whose paths agree in this, or copies of one picture."
    return click.option("--group-by", metavar="REGEX|near-duplicates", help=text)(command)


def pictures_option(command: Command) -> Command:
    """Add ``--images``."""
    return click.option(
        "--images",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Where the pictures are now.  [where they were when RUN was made]",
    )(command)


def cache_option(command: Command) -> Command:
    """Add the choice of how much is kept for another time."""
    bound = f"What is kept for another time may take so much; 0: nothing is read or kept.  [{LIMIT // 10**9}GB]"
    return click.option("--cache-limit", metavar="SIZE", help=bound)(command)


def cache_of(options: Mapping[str, Any]) -> Cache:
    """Return the person's cache with the limit that was typed."""
    said = options.get("cache_limit")
    return Cache.of_user(None if said is None else parse_size(said))


def backbone_words(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a recipe that these options stand for."""
    if options["backbone"]:
        # A name that was typed is a fault of usage, not of a recipe.
        backbones.find(options["backbone"])
    return {
        "backbone.name": options["backbone"],
        "backbone.weights": options["weights"],
        "backbone.pooling": options["pooling"],
        "backbone.layer": options["layer"],
        "inference.runtime": options["runtime"],
        "seed": options["seed"],
    }


def training_request(console: Console, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a function that trains takes beside the folder, the recipe and the run."""
    from transfer_cli.data.split import Split

    return {
        "split": Split.read(Path(options["split"])) if options["split"] else None,
        "offline": console.offline,
        "strict": options["strict"],
        "overwrite": options["overwrite"],
        "min_accuracy": options["min_accuracy"],
        "command": ["transfer-cli", *sys.argv[1:]],
        "cache": cache_of(options),
        "progress": console,
    }


def complete_backbones(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of backbones that begin with what was typed."""
    return [CompletionItem(name) for name in backbones.names() if name.startswith(incomplete)]


def complete_tta(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of test-time augmentations that begin with what was typed."""
    return [CompletionItem(name) for name in tta.names() if name.startswith(incomplete)]


def complete_recipes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of recipes that begin with what was typed."""
    from transfer_cli.recipe.recipes import recipe_names

    return [CompletionItem(name) for name in recipe_names() if name.startswith(incomplete)]


def _added(options: Sequence[Callable[..., Any]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
