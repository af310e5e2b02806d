"""How bash, zsh and fish ask for completions, where the way of click does not do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import click
from click import shell_completion
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

_PROGRAM, _VARIABLE = "transfer-cli", "_TRANSFER_CLI_COMPLETE"
"""The program, and the environment variable with which the shells ask it for completions."""
# click's script splits mobilenet@0.25 at the @, and does not quote names of folders with blanks.
_BASH = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            path) compopt -o filenames; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value"); [[ $value == *= ]] && compopt -o nospace ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "${1/#\\~/$HOME}" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Silent(ShellComplete):
    """A shell that gets no completions where they cannot be found, instead of a traceback."""

    def complete(self) -> str:
        """Return the completions as the script of the shell reads them."""
        try:
            return super().complete()
        except Exception:
            return ""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return the completions of the whole word; click completes the value of --option=value alone."""
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        for item in items if equals and option.startswith("-") else ():
            item.value = f"{option}={item.value}"
        return items


class Bash(_Silent, BashComplete):
    """bash 4.4 or newer."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor and the unfinished one.

        The script sends the line: COMP_WORDS of bash is split at each of COMP_WORDBREAKS, such as @, : and =.
        """
        if "COMP_LINE" not in os.environ:
            return super().get_completion_args()
        # The end mark shows whether the last word is finished.
        *words, last = shell_completion.split_arg_string(f"{os.environ['COMP_LINE']}\0")
        return words[1:], last.removesuffix("\0")

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return the completions of that part of the unfinished word that bash replaces."""
        line, breaks = os.environ.get("COMP_LINE", ""), os.environ.get("COMP_WORDBREAKS", "")
        is_quoted = line[: len(line) - len(incomplete)].endswith(("'", '"'))
        items = super().get_completions(args, incomplete)
        # The word after an @ has it at its start, as bash completes hosts.
        starts = [incomplete.rfind(each) + (each != "@") for each in breaks if each in incomplete]
        cut = 0 if is_quoted or not line else max(starts, default=0)
        for item in items:
            item.value = item.value[cut:]
        return items

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return a line of type and value; a path is quoted by bash."""
        return f"{'path' if item.is_path else item.type},{item.value}"


class Zsh(_Silent, ZshComplete):
    """zsh, which adds no blank after KEY=."""

    source_template = ZshComplete.source_template.replace(
        'completions+=("$key")',
        'if [[ "$key" == *= ]]; then compadd -U -S "" -- "$key"; else completions+=("$key"); fi',
    )


class Fish(_Silent, FishComplete):
    """fish; values and help texts may contain commas."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split -m 1 ","')


SHELLS: Mapping[str, type[ShellComplete]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Use these shells instead of those of click."""
    for kind in SHELLS.values():
        shell_completion.add_completion_class(kind)


def script(shell: str, command: click.Command) -> str:
    """Return the script that switches completion on in a shell, one of `SHELLS`."""
    return SHELLS[shell](command, {}, _PROGRAM, _VARIABLE).source()
