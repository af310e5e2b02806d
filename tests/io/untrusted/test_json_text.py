from __future__ import annotations

import pytest

from transfer_cli.io.untrusted.json_text import MOST_DEPTH, objects, parsed


def test_what_it_says() -> None:
    assert parsed(b'{"a": [1, 2.5, null, "\xc3\xa4"]}', most_bytes=100) == {"a": [1, 2.5, None, "\u00e4"]}
    assert [sorted(each) for each in objects({"a": [{"b": {"c": 1}}]})] == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "it says 'c' twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b"[" * 200 + b"]" * 200, "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b" " * 1_000_001, "1,000,001 bytes of JSON, where 1,000,000 at most"),
        (b'{"a": 1} x', "Extra data"),
    ],
    ids=["twice", "nan", "infinite", "deep", "deeper", "deep objects", "digits", "long", "more"],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parsed(data, most_bytes=1_000_000)


def test_the_greatest_depth_is_taken() -> None:
    assert parsed(b"[" * MOST_DEPTH + b"]" * MOST_DEPTH, most_bytes=1000) is not None
