"""Videos and addresses in place of images: the line that makes images of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.data.image_batches import batches
from transfer_cli.data.videos_and_addresses import address_reason, check_for_images, video_reason
from transfer_cli.errors import InputError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("http://a.b/c d.jpg", "download it first: curl -fLO 'http://a.b/c d.jpg'"),
        ("HTTPS://a.b/c.jpg", "download it first: curl -fLO HTTPS://a.b/c.jpg"),
        ("https:/a.b/c.jpg", "download it first: curl -fLO https://a.b/c.jpg"),
        ("ftp://a.b/c.jpg", "curl -fLO ftp://a.b/c.jpg"),
        ("s3://trap/", "aws s3 cp s3://trap/ ."),
        ("gs://trap/1.jpg", "gcloud storage cp gs://trap/1.jpg ."),
        ("abfs://x/y.jpg", "an address, not a file; download it first"),
        ("rtsp://10.0.0.7/live", "ffmpeg -i rtsp://10.0.0.7/live -frames:v 1 frame.jpg"),
        ("file:///home/me/a%20b.jpg", "an address, not a path; give the path: '/home/me/a b.jpg'"),
    ],
)
def test_address_says_how(path: str, expected: str) -> None:
    assert expected in str(address_reason(path))


@pytest.mark.parametrize("path", ["a.jpg", "/http/a.jpg", "C:\\trap\\a.jpg", "a:b.jpg", "-", "", "http", "x//y.jpg"])
def test_address_other_paths(path: str) -> None:
    assert address_reason(path) is None


@pytest.mark.parametrize("name", ["clip.mp4", "CLIP.AVI", "a b.mov", "x.mkv", "x.webm", "x.m2ts", "x.flv"])
def test_video_says_how(name: str) -> None:
    reason = video_reason(name)
    assert reason is not None
    assert "ffmpeg -i" in reason
    assert "%06d.jpg" in reason


def test_video_quoted_for_the_shell() -> None:
    assert video_reason("day 1/a b.mov") == (
        "a video, not an image; save one frame per second as images first: mkdir -p 'a b-frames' && "
        "ffmpeg -i 'day 1/a b.mov' -vf fps=1 'a b-frames'/%06d.jpg"
    )
    assert video_reason("film.jpg") is None


def test_check_for_images_all_others(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.mp4 is a video, not an image. .* So are the other 1.") as caught:
        check_for_images(["a.mp4", "s3://x/y.jpg"])
    assert str(caught.value.hint).startswith("Save one frame per second as images first: mkdir -p a-frames && ffmpeg")
    for paths in (["a.mp4", "b.jpg"], [], ["-"], [str(tmp_path)]):
        check_for_images(paths)


def test_batches_skip_videos_and_addresses_with_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"film")
    paths = [str(tmp_path / "a.mp4"), "http://a.b/c.jpg", str(tmp_path / "missing.mp4")]
    (batch,) = batches(paths, size=8, resize="squash", batch_size=8)
    reasons = [file.reason for file in batch.skipped]
    assert reasons[0].startswith("a video, not an image; ")
    assert reasons[1:] == [
        "an address, not a file; download it first: curl -fLO http://a.b/c.jpg",
        "No such file or directory",
    ]
