"""Peak memory of `predict` at a few and at many pictures: it must not grow with their number.

Say ``python benchmarks/predict_memory.py RUN PICTURE``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile


def main() -> None:
    """Print the peak memory in MB of 10^6 bytes at both numbers, and the ratio."""
    run, picture = sys.argv[1:]
    peaks = {count: peak(run, picture, count) for count in (300, 6000)}
    for count, megabytes in peaks.items():
        print(f"{count} pictures: {megabytes:.0f} MB")
    print(f"ratio: {peaks[6000] / peaks[300]:.3f}")


def peak(run: str, picture: str, count: int) -> float:
    """Return the largest resident size of one command."""
    with tempfile.NamedTemporaryFile(suffix=".csv") as target:
        command = [sys.executable, "-m", "transfer_cli", "--quiet", "predict", run, "-", "-o", target.name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stdin is not None
        process.stdin.write(f"{picture}\n".encode() * count)
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"predict ended with status {status}")
    return usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
