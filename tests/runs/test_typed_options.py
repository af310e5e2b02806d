"""The options of a command as they were typed."""

from __future__ import annotations

from pathlib import Path

from transfer_cli.runs.typed_options import TypedOptions


def test_value_last_one_counts_in_both_notations() -> None:
    typed = TypedOptions(("transfer-cli", "extract", "a", "--seed", "1", "--seed=2", "--tune", "--weights"))
    assert [typed.value(option) for option in ("--seed", "--tune", "--weights", "--backbone")] == ["2", None, "", None]
    assert typed.has("--tune")
    assert not typed.has("--tun")


def test_read_missing_or_broken_command_has_no_words(tmp_path: Path) -> None:
    path = tmp_path / "command.txt"
    assert TypedOptions.read(path) == TypedOptions()
    path.write_text("transfer-cli extract 'a b' -o \"runs/x\"\n")
    assert TypedOptions.read(path).words == ("transfer-cli", "extract", "a b", "-o", "runs/x")
    path.write_text("transfer-cli 'extract\n")
    assert TypedOptions.read(path) == TypedOptions()


def test_is_same_ignores_what_does_not_change_the_run() -> None:
    first = TypedOptions(("/bin/transfer-cli", "extract", "a", "--seed", "1"))
    assert first.is_same(TypedOptions(("transfer-cli", "--json", "extract", "a", "--seed", "1", "--overwrite")))
    assert not first.is_same(TypedOptions(("transfer-cli", "extract", "a", "--seed", "2")))
    assert not TypedOptions().is_same(TypedOptions())
