"""``transfer-cli cache``."""

from __future__ import annotations

import click

from transfer_cli.cli._console import Console


@click.group("cache")
def command() -> None:
    """See or remove what is kept so that it need not be computed again."""


@command.command("info")
@click.pass_context
def info(ctx: click.Context) -> None:
    """Say where the cache is and what is in it.

    \b
    Example:
        transfer-cli cache info
    """
    from transfer_cli.cli._summaries import megabytes
    from transfer_cli.io.cache import Cache

    console, cache = ctx.ensure_object(Console), Cache.of_user()
    kept = cache.kept()
    total = sum(kept.values())
    rows = [(kind, network, megabytes(size)) for (kind, network), size in kept.items()]
    facts = {
        "path": str(cache.path),
        "limit": cache.limit,
        "bytes": total,
        "kept": [{"kind": kind, "network": network, "bytes": size} for (kind, network), size in kept.items()],
    }
    console.note(f"{cache.path}: {megabytes(total)} of {megabytes(cache.limit)} at most")
    if rows or console.json:
        console.table(("kind", "network", "size"), rows, facts)
    else:
        console.note("nothing is kept yet")


@command.command("clear")
@click.argument("kind", type=click.Choice(["features", "networks"]), required=False)
@click.pass_context
def clear(ctx: click.Context, kind: str | None) -> None:
    """Remove what is kept: all of it, or one KIND.

    Nothing is lost but time: what is needed is computed again. Runs and their models have copies of their own.

    \b
    Example:
        transfer-cli cache clear
        transfer-cli cache clear features
    """
    from transfer_cli.cli._summaries import megabytes
    from transfer_cli.io.cache import Cache

    console, cache = ctx.ensure_object(Console), Cache.of_user()
    freed = cache.clear(kind)
    console.note(f"{megabytes(freed)} removed")
    console.result(str(cache.path), {"path": str(cache.path), "bytes": freed})
