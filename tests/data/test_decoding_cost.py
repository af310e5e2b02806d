"""What an image would cost is known from its header, and memory is shared by all threads."""

from __future__ import annotations

import importlib.util
import io
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from transfer_cli.data import decoding, decoding_cost, file_structure
from transfer_cli.data.decoding_cost import MemoryBudget
from transfer_cli.data.image_batches import batches
from transfer_cli.errors import InputError

SIDE = 96


def load_bombs() -> ModuleType:
    """Return the benchmark that makes the files."""
    folder = Path(__file__).parents[2] / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("bombs", folder / "bombs.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(folder))


bombs = load_bombs()


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)  # type: ignore[arg-type]
    return target.getvalue()


def reason_of(data: bytes) -> str:
    with pytest.raises(ValueError, match="too large") as caught:
        decoding.decode(data, SIDE, "squash")
    return decoding.failure_reason(caught.value, data)


def animated_webp(side: int) -> bytes:
    """Return an animation of small frames on a canvas of `side` pixels."""
    frame = Image.new("RGB", (16, 16), "red")
    data = bytearray(encoded(frame, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")]))
    data[24:30] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("RGB", (4, 4)), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def jpeg_of_single_components(side: int, scans: int) -> bytes:
    """Return a sequential JPEG whose scans have one component each, and repeat."""
    data = bytearray(encoded(Image.new("RGB", (16, 16), "red"), "JPEG", subsampling=0))
    frame, scan = data.index(b"\xff\xc0") + 5, data.index(b"\xff\xda")
    data[frame : frame + 4] = struct.pack(">HH", side, side)
    single = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(data[scan + 14 : -2])
    return bytes(data[:scan]) + single * scans + b"\xff\xd9"


BOMBS = {
    "webp, one colour": lambda: bombs.webp(9_000),
    "webp, canvas of an animation": lambda: animated_webp(15_000),
    "png, rgba": lambda: bombs.png(11_000, 9_000, bits=8, colour=6),
    "png, 16-bit grey": lambda: bombs.png(16_000, 9_000, bits=16, colour=0),
    "png, 16-bit rgb": lambda: bombs.png(9_000, 9_000, bits=16, colour=2),
    "png, 1-bit with transparency": lambda: bombs.png(17_000, 12_000, bits=1, colour=3),
    "png, one row": lambda: bombs.png(90_000_000, 1, bits=8, colour=6),
    "png, one column": lambda: bombs.png(1, 90_000_000, bits=8, colour=2),
    "gif, canvas": lambda: bombs.gif(20_000),
    "gif, the largest canvas": lambda: bombs.gif(65_535),
    "tiff, one strip": lambda: bombs.tiff(11_000, 9_000),
    "tiff, a tile larger than the image": lambda: bombs.tiff(10, 10, tile=16_000),
    "bmp": lambda: bmp(30_000, 20_000),
    "jpeg, coefficients": lambda: bombs.jpeg(20_000, 1),
    "jpeg, many scans": lambda: bombs.jpeg(3_000, 1_500),
    "jpeg, many scans of a small image": lambda: bombs.jpeg(500, 3_000),
    "jpeg, sequential scans": lambda: jpeg_of_single_components(5_000, 900),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_decode_bomb_is_refused_with_limit_and_option(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = BOMBS[kind]()
    assert len(data) < 2_000_000
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("pixels were decoded"))
    reason = reason_of(data)
    assert reason.startswith("too large: ")
    assert "exceeds limit of 600 MB per image" in reason
    assert "transfer-cli --max-image-memory" in reason


def test_decode_planted_fault_without_check_decodes_the_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs.png(6_000, 6_000, bits=1, colour=3)
    monkeypatch.setenv(decoding_cost.ENVIRONMENT, "100MB")
    assert "exceeds limit of 100 MB" in reason_of(data)
    monkeypatch.setattr(decoding, "check_cost", lambda *_: 0)
    assert decoding.decode(data, SIDE, "squash").shape == (SIDE, SIDE, 3)


def test_decode_size_in_the_reason_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bombs.png(2_000, 2_000, bits=8, colour=6)
    monkeypatch.setenv(decoding_cost.ENVIRONMENT, "1MB")
    size = reason_of(data).partition("--max-image-memory ")[2].split()[0]
    monkeypatch.setenv(decoding_cost.ENVIRONMENT, size)
    assert decoding.decode(data, SIDE, "squash").shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("size", [(9504, 6336), (6000, 4000), (12_000, 1_000)])
def test_check_cost_photographs_of_cameras_are_below_the_limit(size: tuple[int, int]) -> None:
    for colour, bits in ((2, 8), (6, 8), (0, 8), (0, 16), (2, 16)):
        image = decoding.open_image(bombs.png(*size, bits=bits, colour=colour))
        assert decoding_cost.check_cost(image, 1) <= decoding_cost.DEFAULT_LIMIT


def test_check_cost_large_jpeg_is_cheap_at_the_scale_of_the_codec() -> None:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    frame = data.index(b"\xff\xc0") + 5
    data[frame : frame + 4] = struct.pack(">HH", 12_240, 16_320)  # 200 megapixels, as telephones take
    assert decoding_cost.check_cost(decoding.open_image(bytes(data), 224), 1) < 100_000_000


@pytest.mark.parametrize(
    ("data", "passes"),
    [
        (encoded(Image.new("RGB", (16, 16)), "JPEG"), 1),
        (encoded(Image.new("L", (16, 16)), "JPEG"), 1),
        (encoded(Image.new("L", (16, 16)), "JPEG", progressive=True), 6),
        (encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=True), 10),
        (encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=True) + b"\xff\xda" * 9_000, 10),  # a video behind it
        (encoded(Image.new("RGB", (16, 16)), "PNG"), 1),
        (b"\xff\xd8\xff", 1),
        (b"no image", 1),
    ],
)
def test_check_structure_counts_the_passes_of_the_decoder(data: bytes, passes: int) -> None:
    assert file_structure.check_structure(data) == passes


def many_tag_values() -> bytes:
    count = file_structure.MAX_TAG_VALUES + 1
    entries = struct.pack("<HHIIHHII", 256, 4, 1, 8, 339, 6, count, 100)
    return b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4 + 100 + count)


MANY_PARTS = {
    "jpeg segments": lambda n: b"\xff\xd8" + b"\xff\xe3\0\2" * n,
    "png chunks": lambda n: b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0prIv\0\0\0\0" * n,
    "gif comments": lambda n: b"GIF89a\1\0\1\0\0\0\0" + b"!\xfe\0" * n,
    "gif blocks": lambda n: b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * n,
    "gif rubbish": lambda n: b"GIF89a\1\0\1\0\0\0\0" + b"x" * n,
}


@pytest.mark.parametrize("kind", MANY_PARTS)
def test_check_structure_more_parts_than_programs_write_are_refused(kind: str) -> None:
    make = MANY_PARTS[kind]
    file_structure.check_structure(make(1_000))
    with pytest.raises(ValueError, match="too many"):
        file_structure.check_structure(make(file_structure.MAX_PARTS + 1))


def test_check_structure_tags_of_millions_of_values_are_refused() -> None:
    with pytest.raises(ValueError, match="too many values in the tags of this TIFF file"):
        decoding.decode(many_tag_values(), SIDE, "squash")


def test_read_bytes_huge_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    with open(path, "wb") as file:
        file.write(bombs.png(100, 100, bits=8, colour=2))
        file.truncate(2**30)
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("the file was opened"))
    reason = decoding.read_bytes(str(path))
    assert isinstance(reason, str)
    assert reason.startswith("too large: a file of 1.1 GB exceeds limit of 600 MB per image")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK"])
def test_decode_strips_give_the_pixels_of_the_whole_image(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    colours = Image.fromarray(rng.integers(0, 256, (50, 70, 4), np.uint8))
    image = (colours if mode.endswith("A") else colours.convert("RGB")).convert(mode)
    data = encoded(image, "TIFF" if mode == "CMYK" else "PNG", **({"transparency": 3} if mode == "P" else {}))
    whole = decoding.decode(data, SIDE, "squash")
    monkeypatch.setattr(decoding, "STRIP_PIXELS", 7 * 70)
    assert np.array_equal(decoding.decode(data, SIDE, "squash"), whole)


def test_budget_images_beyond_the_limit_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decoding_cost.ENVIRONMENT, "100MB")
    budget, in_use, peaks, lock = MemoryBudget(), [0], [], threading.Lock()

    def decode(size: int) -> None:
        with budget.reserve(size):
            with lock:
                in_use[0] += size
                peaks.append(in_use[0])
            threading.Event().wait(0.005)
            with lock:
                in_use[0] -= size

    sizes = [60_000_000, 30_000_000, 90_000_000, 10_000_000, 150_000_000] * 3
    threads = [threading.Thread(target=decode, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    # An image above the limit of the budget is decoded alone.
    assert max(peak for peak in peaks if peak != 150_000_000) <= 100_000_000


def test_budget_large_files_are_read_one_at_a_time(tmp_path: Path) -> None:
    for name, size in (("a", decoding_cost.LARGE_FILE + 1), ("b", decoding_cost.LARGE_FILE + 1), ("c", 10)):
        with open(tmp_path / name, "wb") as file:
            file.truncate(size)
    budget, second, small = MemoryBudget(), threading.Event(), threading.Event()

    def read(name: str, reached: threading.Event) -> None:
        with budget.reading(str(tmp_path / name)):
            reached.set()

    with budget.reading(str(tmp_path / "a")):
        threading.Thread(target=read, args=("b", second)).start()
        threading.Thread(target=read, args=("c", small)).start()
        assert small.wait(5)
        assert not second.wait(0.02)
    assert second.wait(5)


def test_limit_that_is_no_size_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(decoding_cost.ENVIRONMENT, "much")
    with pytest.raises(InputError, match="'much' is not a size"):
        decoding_cost.limit()


def test_batches_bombs_beside_good_images_are_listed_and_the_others_decoded(tmp_path: Path) -> None:
    names = bombs.write(tmp_path)
    good = [tmp_path / f"good{number}.png" for number in range(5)]
    for path in good:
        Image.new("RGB", (40, 30), "red").save(path)
    paths = sorted(map(str, tmp_path.iterdir()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    got = list(batches(paths, size=SIDE, resize="squash", batch_size=8))
    assert [path for batch in got for path in batch.paths] == [str(path) for path in good]
    skipped = {Path(item.path).name: item.reason for batch in got for item in batch.skipped}
    assert sorted(skipped) == sorted(names)
    assert all(reason.startswith("too large: ") for reason in skipped.values())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


# The peak of this process alone; that of `resource` includes the process that started it.
PEAK = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
"""


def value_of(program: str, argument: Path) -> float:
    done = subprocess.run([sys.executable, "-c", PEAK + program, str(argument)], capture_output=True, check=True)
    return float(done.stdout)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "make",
    [
        lambda: bombs.png(7_000, 7_000, bits=8, colour=6),
        lambda: bombs.png(7_000, 7_000, bits=1, colour=3),
        lambda: bombs.png(7_000, 7_000, bits=16, colour=0),
        lambda: bombs.webp(4_500),
        lambda: bombs.tiff(7_000, 7_000),
        lambda: bombs.gif(7_000),
        lambda: bombs.jpeg(8_000, 1),
    ],
)
def test_decode_takes_no_more_memory_than_check_cost_says(make: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(make())  # type: ignore[operator]
    program = """
import sys
from transfer_cli.data import decoding, decoding_cost, file_structure, resizing
data = open(sys.argv[1], "rb").read()
image = decoding.open_image(data, 96)
cost = decoding_cost.check_cost(image, file_structure.check_structure(data))
del image
before = peak()
decoding.decode(data, 96, "squash")
print((peak() - before) / cost)
"""
    assert value_of(program, tmp_path / "file") < 1.1


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_batches_images_just_below_the_limit_on_eight_threads_take_little_more_than_the_limit(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"rgba{number}.png").write_bytes(bombs.png(8_000, 7_000, bits=8, colour=6))
        (tmp_path / f"grey{number}.png").write_bytes(bombs.png(8_000, 7_500, bits=16, colour=0))
        (tmp_path / f"webp{number}.webp").write_bytes(bombs.webp(4_900))
        (tmp_path / f"tiff{number}.tif").write_bytes(bombs.tiff(7_500, 7_500))
    program = """
import sys
from pathlib import Path
from transfer_cli.data import image_batches
image_batches.cpu_count = lambda: 8
paths = sorted(map(str, Path(sys.argv[1]).iterdir()))
got = list(image_batches.batches(paths, size=96, resize="squash", batch_size=8))
assert sum(len(batch.paths) for batch in got) == 12
print(peak())
"""
    assert value_of(program, tmp_path) < 1.2e9
