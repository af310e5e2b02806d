"""Whether every backbone can be exported to every format with the same predictions.

    python benchmarks/exports.py ../shared/data/clothing --output exports.jsonl

Each backbone is built at a small image size with random weights whose predictions depend on the input (BatchNorm with
the statistics of real images; a head that spreads the probabilities by at least 0.3 and over three classes, on 32
images), saved as a bundle and exported by the code of `transfer-cli export`, which checks the parity. Each backbone has
its own process. A second call resumes with the missing rows and prints the whole table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from transfer_cli.catalog import backbones, export_formats

FORMATS = [spec.name for spec in export_formats.EXPORT_FORMATS.values() if spec.precision == "f32"]
SIDE = 64
COUNT = 32


def main() -> None:
    """Export the missing rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--output", type=Path, default=Path("exports.jsonl"))
    parser.add_argument("--backbones", nargs="+", default=pretrained())
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        json.dump(exported(options.one, options.photographs, options.formats), sys.stdout)
        return
    for name in options.backbones:
        done = {row["format"] for row in read(options.output) if row["backbone"] == name}
        missing = [format for format in options.formats if format not in done]
        if not missing:
            continue
        words = [sys.executable, __file__, str(options.photographs), "--one", name, "--formats", *missing]
        process = subprocess.run(words, capture_output=True, text=True)
        if process.returncode:
            print(f"{name}: {(process.stderr.strip().splitlines() or ['killed'])[-1]}", file=sys.stderr)
            continue
        with options.output.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in json.loads(process.stdout))
    print(table(read(options.output), options.formats))


def pretrained() -> list[str]:
    """Return the names of all backbones of keras.applications, small ones first."""
    named = (backbones.find(name) for name in backbones.names() if "@" not in name)
    specs = [spec for spec in named if spec.has_imagenet]
    return [spec.name for spec in sorted(specs, key=lambda spec: spec.parameters)]


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of an earlier call."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def exported(name: str, photographs: Path, formats: list[str]) -> list[dict[str, Any]]:
    """Return one row per format for a backbone."""
    from transfer_cli.quiet_imports import import_tensorflow

    import_tensorflow()
    from tests.live_networks import alive, answers_to_its_input, bundle_of, outputs, sample_images
    from transfer_cli.export.export import export

    spec = backbones.find(name)
    size = max(SIDE, spec.min_size)
    images = sample_images(photographs, size, COUNT)
    model = alive(spec, images)
    assert answers_to_its_input(outputs(model, images)), f"{name} predicts the same for all images"
    with tempfile.TemporaryDirectory() as folder:
        bundle, some = Path(folder) / "bundle", Path(folder) / "images"
        bundle_of(model, spec, bundle)
        some.mkdir()
        paths = sorted(photographs.rglob("*.jpg"))
        for number, path in enumerate(paths[:: len(paths) // COUNT][:COUNT]):
            (some / f"{number}.jpg").symlink_to(path.resolve())
        made = export(str(bundle), list(map(export_formats.find, formats)), Path(folder) / "export", images=some)
        return [{"backbone": name, "side": size} | each.to_dict() for each in made]


def table(rows: list[dict[str, Any]], formats: list[str]) -> str:
    """Return the rows as Markdown: the maximum absolute difference of the probabilities, or why a file was rejected."""
    cells = {(row["backbone"], row["format"]): row for row in rows}
    known = {row["backbone"] for row in rows}
    names = [name for name in pretrained() if name in known]
    lines = [f"| backbone | {' | '.join(formats)} |", f"|---|{'---|' * len(formats)}"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(cell(cells.get((name, format))) for format in formats)} |")
    passed = sum(not cells[key].get("failure") for key in cells if key[1] in formats)
    return "\n".join([*lines, "", f"{passed} of {len(names) * len(formats)} passed."])


def cell(row: dict[str, Any] | None) -> str:
    """Return the text of one cell."""
    if row is None:
        return "not tried"
    return f"failed: {row['failure']}" if row["failure"] else f"{row['max_abs_diff']:.0e}"


if __name__ == "__main__":
    main()
