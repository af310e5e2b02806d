"""Run the commands of docs/courses.md, in order, on the sample images; write their output and pictures into the page.

    python docs/courses.py

A line of output in the page stands for the next line that the command prints with the same words; its numbers are
replaced. `tests/test_courses_page.py` runs the same commands and compares the words.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).with_suffix(".md")
PICTURES = PAGE.with_suffix("")
_MOST_COLOURS, _SIDES = 64, (900, 700)
_NUMBER = re.compile(r"\d[\d,.:]*(e-?\d+)?")


def words_of(line: str) -> str:
    """Return a line of output without its numbers and the width of its columns."""
    return " ".join(_NUMBER.sub("#", line).replace("-#", "#").replace("+#", "#").split())


def run_page(text: str, run: Callable[[list[str]], str]) -> str:
    """Run all commands of a page; return it with the output that they print now.

    Parameters
    ----------
    text : str
    run : callable
        Runs the arguments of a ``transfer-cli`` command, and returns all that it prints.

    Raises
    ------
    ValueError
        If a command does not print a line with the words that the page shows.
    """
    lines, output, is_block = [], [], False
    for line in text.splitlines():
        is_block = line == "```console" or (is_block and line != "```")
        if is_block and line.startswith("$ transfer-cli "):
            output = run(shlex.split(line)[2:]).splitlines()
        elif is_block and line not in ("```console", "..."):
            place = next((at for at, printed in enumerate(output) if words_of(printed) == words_of(line)), None)
            if place is None:
                raise ValueError(f"not printed: {line!r}. Printed: {output}")
            line, output = output[place].rstrip(), output[place + 1 :]
        lines.append(line)
    return "\n".join(lines) + "\n"


def pictures(text: str) -> dict[str, str]:
    """Return the pictures of a page by their name, each with the file that a command wrote."""
    return dict(re.findall(r"\]\(courses/([\w-]+\.png) \"([^\"]+)\"\)", text))


def main() -> None:
    """Write the page and its pictures."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as place:

        def run(arguments: list[str]) -> str:
            environment = {**os.environ, "COLUMNS": "120", "TRANSFER_CLI_CACHE": f"{place}/.cache"}
            command = [sys.executable, "-m", "transfer_cli", *arguments]
            print("transfer-cli", *arguments, file=sys.stderr)
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True)
            return f"{done.stderr}\n{done.stdout}"

        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(run_page(text, run), encoding="utf-8")
        for name, source in pictures(text).items():
            with Image.open(Path(place, source)) as image:
                small = image.convert("RGB")
                small.thumbnail(_SIDES)
                small.quantize(_MOST_COLOURS).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    main()
