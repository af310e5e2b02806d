"""Pages a person opens in a browser: one file each, with all that is in it, and no way out of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from transfer_cli.data.decoding import fitted
from transfer_cli.io.atomic import written_whole
from transfer_cli.system import processors
from transfer_cli.text import counted, printable

SIDE = 128
"""The longer side of a thumbnail in pixels."""
_QUALITY = 62
_OPTION = re.compile(r"((?<!\S)--[a-z][a-z-]*(?: [a-z][a-z-]*)?)")


def render(template: str, target: Path, *, script: str | None = None, **facts: Any) -> int:
    """Write a page and return its size in bytes.

    Parameters
    ----------
    template : str
        A file of ``templates/`` that extends ``page.html``. Whatever it is given is escaped.
    target : Path
    script : str, optional
        A file of ``templates/`` with the JavaScript: the only one that a browser will run there, since the page's
        policy names its digest, and forbids every connection.
    **facts
        What the template shows.
    """
    environment = _environment()
    code = environment.loader.get_source(environment, script)[0] if script and environment.loader else ""
    page = environment.get_template(template).render(
        facts, script=Markup(code), policy=_policy(code), version=metadata.version("transfer-cli")
    )
    # A browser cannot show what is no Unicode; names were made printable where they are shown.
    data = page.encode("utf-8", "replace")
    with written_whole(target) as draft:
        draft.write_bytes(data)
    return len(data)


def thumbnails(paths: Iterable[str], root: Path, side: int = SIDE) -> dict[str, str | None]:
    """Return each picture, small and whole, as a data URI; None where it cannot be read any more.

    Parameters
    ----------
    paths : iterable of str
        Relative to `root`, or absolute.
    root : Path
    side : int
        The longer side in pixels.
    """
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(min(8, processors()), thread_name_prefix="thumbnail") as pool:
        return dict(zip(wanted, pool.map(lambda path: _thumbnail(root / path, side), wanted), strict=True))


def data_uri(image: NDArray[np.uint8], quality: int = _QUALITY) -> str:
    """Return an RGB picture of shape (h, w, 3), uint8, as a data URI."""
    file = BytesIO()
    Image.fromarray(image).save(file, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a person writes it."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def with_code(text: str) -> Markup:
    """Return text in which what stands between backticks is code, each of its words one that no line breaks."""
    pieces = text.split("`")
    return Markup("").join(_code(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _code(text: str) -> Markup:
    words = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in text.split(" "))
    return Markup("<code>{}</code>").format(words)


def with_options(text: str) -> Markup:
    """Return text in which options are code, with the word that follows them: ``--group-by near-duplicates``."""
    marked = Markup('<code class="option">{}</code>')
    pieces = _OPTION.split(text)
    return Markup("").join(marked.format(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _thumbnail(path: Path, side: int) -> str | None:
    image = fitted(path, side)
    return None if isinstance(image, str) else data_uri(image)


def _policy(code: str) -> str:
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    scripts = f"'sha256-{digest}'" if code else "'none'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {scripts}; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("transfer_cli", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["printable"] = printable
    environment.filters["with_code"] = with_code
    environment.filters["with_options"] = with_options
    environment.filters["counted"] = counted
    environment.filters["zip"] = zip
    return environment
