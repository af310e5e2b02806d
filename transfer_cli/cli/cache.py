"""``transfer-cli cache``."""

from __future__ import annotations

import click

from transfer_cli.cli._console import Console, pass_console
from transfer_cli.io.cache import KINDS
from transfer_cli.text import megabytes


@click.group("cache")
def command() -> None:
    """Show or delete cached features, networks, predictions."""


@command.command("info")
@pass_console
def info(console: Console) -> None:
    """Show where the cache is, what it contains and its size.

    \b
    Example:
        transfer-cli cache info
    """
    from transfer_cli.io.cache import Cache

    cache = Cache.of_user()
    entries = cache.sizes()
    total = sum(entries.values())
    rows = [(kind, network, megabytes(size)) for (kind, network), size in entries.items()]
    data = {
        "path": str(cache.path),
        "limit": cache.limit,
        "bytes": total,
        "entries": [{"kind": kind, "network": network, "bytes": size} for (kind, network), size in entries.items()],
    }
    console.note(f"{cache.path}: {megabytes(total)} used, limit {megabytes(cache.limit)}")
    if fault := cache.fault():
        console.warn(fault)
    if rows or console.json:
        console.table(("kind", "network", "size"), rows, data, numeric=("size",))
    else:
        console.note("the cache is empty")


@command.command("clear")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@pass_console
def clear(console: Console, kind: str | None) -> None:
    """Delete the cache (all, or only features / networks / predictions).

    Only time is lost: deleted data is computed again when needed. Runs and models do not depend on the cache.

    \b
    Example:
        transfer-cli cache clear
        transfer-cli cache clear features
    """
    from transfer_cli.io.cache import Cache

    cache = Cache.of_user()
    freed = cache.clear(kind)
    console.note(f"{megabytes(freed)} deleted")
    console.result(str(cache.path), {"path": str(cache.path), "bytes": freed})
