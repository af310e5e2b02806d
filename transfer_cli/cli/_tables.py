"""Tables as text: as wide as their cells need, or folded at spaces so that they fit into a terminal."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.table import Table

from transfer_cli.text import printable

_UNLIMITED = 100_000
_GAP = 2


def table_text(
    header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[str] = (), width: int | None = None
) -> str:
    """Return a table as lines of text.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequence of str
    numeric : collection of str
        The columns that are aligned to the right and whose cells are never folded.
    width : int, optional
        Columns of the terminal. A table that is wider is folded at spaces, never inside a word or a number. If that is
        not enough, the first cell of each row has a line of its own, or at last every cell has one. Default: the table
        is as wide as its cells need.
    """
    shown = [[printable(cell).replace("\n", "\\n") for cell in row] for row in rows]
    names = [printable(name) for name in header]
    right = [name in numeric for name in header]
    for layout in (_in_columns, _below_the_first):
        text = layout(names, shown, right, width)
        if text is not None:
            return text
    return _one_cell_per_line(names, shown)


def _in_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> str | None:
    """Return the table in columns; None if they do not fit."""
    widths = _widths(header, rows, right, width)
    if widths is None:
        return None
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for name, is_right, column in zip(header, right, widths, strict=True):
        table.add_column(name, justify="right" if is_right else "left", width=column)
    for row in rows:
        table.add_row(*row)
    return "\n".join(_lines(table))


def _widths(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> list[int] | None:
    """Return the width of each column; None if they do not fit."""
    columns = [[name, *(row[index] for row in rows)] for index, name in enumerate(header)]
    widths = [max(map(cell_len, column)) for column in columns]
    if width is None:
        return widths
    least = [_least(column, is_right) for column, is_right in zip(columns, right, strict=True)]
    free = width - _GAP * (len(header) - 1)
    if sum(least) > free:
        return None
    while sum(widths) > free:
        widest = max(range(len(widths)), key=lambda index: (widths[index] > least[index], widths[index]))
        widths[widest] -= 1
    return widths


def _least(column: Sequence[str], is_right: bool) -> int:
    """Return the width that a column needs if it is folded at spaces, or only its heading if it has numbers."""
    heading, *cells = column
    parts = cells if is_right else [word for cell in cells for word in cell.split()]
    return max(map(cell_len, [*heading.split(), *parts, ""]))


def _below_the_first(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> str | None:
    """Return the table with the first cell of each row above the others; None if that does not fit either."""
    assert width is not None
    if len(header) < 2:
        return None
    parts = _widths(header[1:], [row[1:] for row in rows], right[1:], width - _GAP)
    if parts is None:
        return None
    lines = [header[0], *_indented(header[1:], right, parts)]
    for first, *others in rows:
        lines += [first, *_indented(others, right, parts)]
    return "\n".join(lines)


def _indented(cells: Sequence[str], right: Sequence[bool], widths: Sequence[int]) -> list[str]:
    """Return one row of cells, folded to these widths, as indented lines."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for is_right, column in zip(right[1:], widths, strict=True):
        grid.add_column(justify="right" if is_right else "left", width=column)
    grid.add_row(*cells)
    return [f"{' ' * _GAP}{line}".rstrip() for line in _lines(grid)]


def _lines(table: Table) -> list[str]:
    console = RichConsole(
        file=io.StringIO(), width=_UNLIMITED, color_system=None, highlight=False, markup=False, emoji=False
    )
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def _one_cell_per_line(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return each row as lines of ``name: cell``, the first without indentation; empty cells are left out."""
    lines: list[str] = []
    for row in rows:
        cells = [f"{name}: {cell}" if name else cell for name, cell in zip(header, row, strict=True) if cell]
        lines += [*cells[:1], *(f"{' ' * _GAP}{cell}" for cell in cells[1:])]
    return "\n".join(lines)
