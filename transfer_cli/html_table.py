"""Tables of HTML for notebooks: the `_repr_html_` of results."""

from __future__ import annotations

import html
from collections.abc import Sequence

from transfer_cli.text import printable


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> str:
    """Return a table with a title above and a note below it; all text is escaped.

    Examples
    --------
    >>> html_table("2 images", ["path"], [["<a>.jpg"]])
    '<p>2 images</p><table><thead><tr><th>path</th></tr></thead><tbody><tr><td>&lt;a&gt;.jpg</td></tr></tbody></table>'
    """

    def row(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{_escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row("td", cells) for cells in rows)
    table = f"<table><thead>{row('th', header)}</thead><tbody>{body}</tbody></table>"
    return f"<p>{_escape(title)}</p>{table}" + (f"<p>{_escape(note)}</p>" if note else "")


def _escape(value: object) -> str:
    return html.escape(printable(str(value)))
