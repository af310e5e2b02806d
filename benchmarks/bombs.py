"""Small files that declare huge images, beside good ones: peak memory and seconds of `extract` and `predict`.

export KERAS_HOME=../shared/keras_home
python benchmarks/bombs.py ../shared/data/clothing
"""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import measuring
from PIL import Image

GOOD = 50
BACKBONE = ["--backbone", "mobilenet@0.25"]


def main() -> None:
    """Print peak memory, seconds, predicted and skipped images with and without the bombs."""
    options = measuring.arguments(__doc__)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        good = measuring.make_images(options.photographs, place / "good", GOOD, 500, 375)
        mixed = measuring.make_images(options.photographs, place / "mixed", GOOD, 500, 375)
        bombs = write(mixed / "a")
        # The network is converted once, which takes more memory than any of these images.
        run_once(["extract", good, *BACKBONE, "-o", place / "first"], place)
        for folder in (good, mixed):
            run = place / f"run-{folder.name}"
            for command, source in (("extract", [folder, *BACKBONE, "-o", run]), ("predict", [run, folder])):
                row, listed = run_once([command, *source], place)
                rows.append({"command": command, "folder": folder.name, **row, "listed": len(set(bombs) & listed)})
    measuring.report(f"{GOOD} images and {len(bombs)} bombs", rows, options.json)


def run_once(arguments: list[Any], place: Path) -> tuple[dict[str, Any], set[str]]:
    """Return the exit code, peak memory in MB and seconds of one command, and the names of the files it skipped."""
    command = [sys.executable, "-m", "transfer_cli", "--json", *map(str, arguments)]
    environment = {**os.environ, "TRANSFER_CLI_CACHE": str(place / "cache")}
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True)
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    row = {"exit": os.waitstatus_to_exitcode(status), "MB": usage.ru_maxrss * 1024 / 1e6}
    tables = [path.read_text() for path in place.glob("run-*/skipped.csv") if str(path.parent) in command]
    words = re.split(r"[\s/,\":]+", output + "".join(tables))
    return {**row, "s": time.perf_counter() - begun}, set(words)


def write(folder: Path) -> list[str]:
    """Write 20 bombs of all kinds into a folder and return their names."""
    files: dict[str, bytes] = {}
    for side in (8_000, 12_000, 16_383):
        files[f"solid-{side}.webp"] = webp(side)
    for side in (12_000, 17_000):
        files[f"rgba-{side}.png"] = png(side, side, bits=8, colour=6)
        files[f"grey16-{side}.png"] = png(side, side, bits=16, colour=0)
        files[f"one-bit-{side}.png"] = png(side, side, bits=1, colour=3)
        files[f"strip-{side}.tif"] = tiff(side, side)
        files[f"canvas-{side}.gif"] = gif(side)
    files["rgba16-10000.png"] = png(10_000, 10_000, bits=16, colour=6)
    files["one-row.png"] = png(280_000_000, 1, bits=8, colour=6)
    files["tile-60000.tif"] = tiff(64, 64, tile=60_000)
    for side, scans in ((4_000, 2_000), (8_000, 500), (17_000, 2_000)):
        files[f"scans-{side}-{scans}.jpg"] = jpeg(side, scans)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with open(folder / "large.png", "wb") as file:
        file.write(files["rgba-12000.png"])
        file.truncate(2**30)
    return [*files, "large.png"]


def zeros(count: int) -> bytes:
    """Return the zlib stream of `count` zero bytes without making them."""
    part = 1 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(part)) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = packer.compress(bytes(count % part)) + packer.flush()
    return b"\x78\xda" + block * (count // part) + rest + struct.pack(">HH", count % 65521, 1)


def png(width: int, height: int, *, bits: int, colour: int) -> bytes:
    """Return a black PNG; a palette (colour type 3) has a transparent entry."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    data = zeros(height * (1 + -(-width * bits * channels // 8)))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if colour == 3:
        chunks += [(b"PLTE", bytes(6)), (b"tRNS", b"\x80\xff")]
    chunks += [(b"IDAT", data), (b"IEND", b"")]
    packed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff(width: int, height: int, tile: int = 0) -> bytes:
    """Return a black RGB TIFF of one deflated strip, or of one tile that is larger than the image."""
    data = zeros(3 * (tile or width) * (tile or height))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 2, 277: 3}
    tags |= {322: tile, 323: tile, 324: 8, 325: len(data)} if tile else {273: 8, 278: height, 279: len(data)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def gif(side: int) -> bytes:
    """Return a GIF of one pixel on a large canvas."""
    target = io.BytesIO()
    Image.new("P", (1, 1)).save(target, "GIF", transparency=0)
    data = bytearray(target.getvalue())
    data[6:10] = struct.pack("<HH", side, side)
    return bytes(data)


def webp(side: int) -> bytes:
    """Return a lossless WebP of one colour: it has no bits per pixel, so that its size can be replaced."""
    target = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(target, "WEBP", lossless=True)
    data = bytearray(target.getvalue())
    start = data.index(b"VP8L") + 9
    flags = int.from_bytes(data[start : start + 4], "little") >> 28
    data[start : start + 4] = (flags << 28 | (side - 1) << 14 | side - 1).to_bytes(4, "little")
    return bytes(data)


def jpeg(side: int, scans: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    target = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(target, "JPEG", progressive=True)
    data = bytearray(target.getvalue())
    frame = data.index(b"\xff\xc2") + 5
    data[frame : frame + 4] = struct.pack(">HH", side, side)
    last = bytes(data[data.rindex(b"\xff\xda") : -2])
    return bytes(data[:-2]) + last * scans + b"\xff\xd9"


if __name__ == "__main__":
    main()
