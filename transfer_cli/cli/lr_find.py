"""``transfer-cli lr-find``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from transfer_cli.cli._console import Console
from transfer_cli.cli._options import backbone_options, backbone_words, recipe_options, runtime_option


@click.command("lr-find")
@click.argument("folder", type=click.Path(path_type=Path))
@backbone_options
@recipe_options
@runtime_option
@click.option("--split", type=click.Path(), metavar="FILE", help="Follow the parts in a split.csv.")
@click.option("--stage", type=click.IntRange(1), default=1, show_default=True, help="The stage of the recipe to sweep.")
@click.option("--lowest", type=float, default=1e-7, show_default=True, help="The first learning rate.")
@click.option(
    "--highest", type=float, default=10.0, show_default=True, help="The last, if the loss is not lost before."
)
@click.option("--steps", type=click.IntRange(10, 10_000), default=100, show_default=True, help="From one to the other.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The PNG to write.  [plots/NAME-lr.png]")
@click.pass_context
def command(ctx: click.Context, /, folder: Path, output: Path | None, **options: Any) -> None:
    """Find a learning rate for a stage of a recipe.

    The stage is trained for about a hundred steps on the pictures of train while the rate rises exponentially (Smith
    2017), from the pretrained network and a random head. Printed is a tenth of the rate at which the smoothed loss is
    lowest, or half of it where the stage's schedule ends at zero. Nothing is written but a plot, and the test pictures
    are not looked at.

    \b
    Example:
        transfer-cli lr-find photos
        transfer-cli lr-find photos --recipe gentle-two-stage --stage 2
    """
    from transfer_cli.data.image_folder import ImageFolder
    from transfer_cli.data.split import Split
    from transfer_cli.io.atomic import must_be_writable
    from transfer_cli.recipe.recipes import FinetuneRecipe
    from transfer_cli.training.plots import is_sweep

    console = ctx.ensure_object(Console)
    recipe = FinetuneRecipe.load(options["recipe"], options["overrides"], backbone_words(options))
    images = ImageFolder.scan(folder)
    target = output or Path("plots") / f"{images.name}-lr.png"
    if target.suffix.lower() != ".png":
        raise click.UsageError(f"{target} is no PNG. Expected a name that ends in .png.", ctx)
    # An earlier plot is replaced; a picture of somebody's is not.
    if not is_sweep(target):
        must_be_writable(target)

    from transfer_cli.training.lr_find import lr_find

    number = options["stage"]
    sweep = lr_find(
        images,
        recipe,
        target,
        stage=number,
        lowest=options["lowest"],
        highest=options["highest"],
        steps=options["steps"],
        split=Split.read(Path(options["split"])) if options["split"] else None,
        offline=console.offline,
        progress=console,
    )
    unfreeze, rate = recipe.stage[number - 1].unfreeze, f"{sweep.suggestion:.2g}"
    of = f"stage {number} of {len(recipe.stage)} (unfreeze {unfreeze})"
    console.note(
        f"swept: {of}, from the pretrained network and a random head; {len(sweep.rates)} steps, ended by: {sweep.ended}"
    )
    console.note(f"loss {sweep.start:.3f} at low rates, {sweep.lowest:.3f} at its lowest")
    console.note(f"the loss falls fastest at {sweep.steepest:.2g}")
    console.note(f"suggested: {rate}, somewhat below the rate where the loss is lowest; compare on val")
    console.note(f"plot: {target}")
    typed = [f"--recipe {shlex.quote(options['recipe'])}"] if options["recipe"] else []
    typed += [f"--backbone {options['backbone']}"] if options["backbone"] else []
    typed += [f"--set {shlex.quote(word)}" for word in options["overrides"]]
    words = " ".join([shlex.quote(str(folder)), *typed])
    console.note(f"next: transfer-cli finetune {words} --set stage.{number}.learning_rate={rate}")
    facts = {
        "suggestion": sweep.suggestion,
        "steepest": sweep.steepest,
        "stage": number,
        "unfreeze": unfreeze,
        "ended": sweep.ended,
        "loss_at_start": sweep.start,
        "lowest_loss": sweep.lowest,
        "rates": sweep.rates,
        "losses": sweep.losses,
        "smoothed": sweep.smoothed,
        "output": str(target),
    }
    console.result(rate, facts)
