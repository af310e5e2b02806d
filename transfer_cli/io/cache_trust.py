"""Whether a cache can be trusted: no other user may write its folders, and its entries carry a code made with a key.

The key is a file in the user's configuration folder, which another user can neither read nor write.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from transfer_cli.regular_file import read_regular
from transfer_cli.text import shell_command

_KEY_BYTES = 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OFF = "the cache is not used"


def folder_fault(folders: Iterable[Path]) -> str | None:
    """Return why folders of a cache cannot be trusted, and what to type; None if they can, or do not exist yet."""
    for folder in folders:
        try:
            found = folder.stat()
        except OSError:
            continue
        if not _is_own(found):
            return (
                f"{_OFF}: {folder} belongs to another user. Set TRANSFER_CLI_CACHE to a folder of your own, or remove "
                f"it: rm -r {shell_command(folder)}"
            )
        if os.name == "posix" and found.st_mode & _OTHERS_WRITE:
            return f"{_OFF}: other users can write {folder}. To use it: chmod -R go-w {shell_command(folder)}"
    return None


def make_private(*folders: Path) -> None:
    """Create folders that only this user can read and write, each after its parents."""
    for folder in folders:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def code(key: bytes, *parts: bytes) -> str:
    """Return the HMAC-SHA256 of some bytes, in hexadecimal; where one part ends and the next begins counts."""
    mac = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(8, "big"))
        mac.update(part)
    return mac.hexdigest()


def user_key() -> tuple[bytes, str | None]:
    """Return the key of this user, which is created at the first call, or the reason why there is none."""
    folder = _configuration_folder()
    if folder is None:
        return b"", f"{_OFF}: there is no home folder for its key. To use it: export HOME=FOLDER"
    path = folder / "cache.key"
    try:
        if not path.exists():
            _create(path)
        found = path.stat()
        key = read_regular(path, most_bytes=_KEY_BYTES)
    except OSError as error:
        return b"", f"{_OFF}: its key {path} cannot be read or created ({error.strerror or error})"
    if not _is_own(found) or (os.name == "posix" and found.st_mode & _OTHERS):
        return b"", f"{_OFF}: other users can read its key. To use it: chmod 600 {shell_command(path)}"
    if len(key) != _KEY_BYTES:
        return b"", f"{_OFF}: its key is damaged. To make a new one: rm {shell_command(path)}"
    return key, None


def _configuration_folder() -> Path | None:
    import platformdirs

    if os.name == "posix" and not os.environ.get("HOME") and not os.environ.get("XDG_CONFIG_HOME"):
        return None
    return platformdirs.user_config_path("transfer-cli", appauthor=False)


def _create(path: Path) -> None:
    """Write a new key; if another process does so at the same moment, the first one stays."""
    make_private(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _is_own(found: os.stat_result) -> bool:
    return os.name != "posix" or found.st_uid in (os.geteuid(), 0)
