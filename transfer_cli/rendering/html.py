"""Self-contained HTML pages: one file each, with styles, script and images inside, that loads nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from transfer_cli.io.atomic import atomic_write
from transfer_cli.text import counted, printable

_OPTION = re.compile(r"((?<!\S)--[a-z][a-z-]*(?: [a-z][a-z-]*)?)")


def render(package: str, template: str, target: Path, *, script: str | None = None, **values: Any) -> int:
    """Write a page and return its size in bytes.

    Parameters
    ----------
    package : str
        The package whose ``templates/`` folder holds `template` and `script`.
    template : str
        Extends ``page.html`` of this package. All values are escaped.
    target : Path
    script : str, optional
        A JavaScript file. The content security policy of the page holds its digest, so that a browser runs this script
        and nothing else, and forbids every connection.
    **values
        The variables of the template.
    """
    environment = _environment(package)
    code = environment.loader.get_source(environment, script)[0] if script and environment.loader else ""
    page = environment.get_template(template).render(
        values, script=Markup(code), policy=_content_security_policy(code), version=metadata.version("transfer-cli")
    )
    # A file name may hold surrogates, which UTF-8 cannot encode.
    data = page.encode("utf-8", "replace")
    with atomic_write(target) as draft:
        draft.write_bytes(data)
    return len(data)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share from 0 to 1 as a percentage.

    Examples
    --------
    >>> percent(0.5), percent(0.125, 0), percent(None)
    ('50.0 %', '12 %', '-')
    """
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def with_code(text: str) -> Markup:
    """Return text as HTML: text between backticks becomes code whose words are not broken across lines."""
    pieces = text.split("`")
    return Markup("").join(_code(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _code(text: str) -> Markup:
    words = Markup(" ").join(Markup("<span>{}</span>").format(word) for word in text.split(" "))
    return Markup("<code>{}</code>").format(words)


def with_options(text: str) -> Markup:
    """Return text as HTML: command-line options and their value become code: ``--group-by near-duplicates``."""
    marked = Markup('<code class="option">{}</code>')
    pieces = _OPTION.split(text)
    return Markup("").join(marked.format(piece) if place % 2 else piece for place, piece in enumerate(pieces))


def _content_security_policy(code: str) -> str:
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    scripts = f"'sha256-{digest}'" if code else "'none'"
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {scripts}; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("transfer_cli.rendering")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (percent, printable, with_code, with_options, counted, zip)
    environment.filters |= {function.__name__: function for function in filters}
    return environment
