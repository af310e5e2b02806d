"""How many of 20 wrong labels, planted among 500 photographs, are among the first 40 label issues.

    python benchmarks/suspects.py RUN [--draws 10] [--json FILE]

RUN is a run of ``extract FOLDER --classifier none``. In each draw 20 random labels of 500 of its training images, up to
50 per class, are made wrong. All rankings use the same out-of-fold probabilities. The last line counts the confident
label issues, and the wrong labels among them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from label_rankings import RANKINGS
from measuring import report
from planting import plant_wrong_labels

from transfer_cli.audit.label_issues import confidently_other, out_of_fold
from transfer_cli.data.groups import assign_group_ids
from transfer_cli.data.split import Split
from transfer_cli.features import table as features

WRONG, FIRST = 20, 40


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    split = Split.read(options.run / "split.csv")
    truth, matrix = split.truth(), features.read(options.run / "features.parquet")
    group_ids = assign_group_ids([row.sha256 for row in split.rows])
    train, classes = np.flatnonzero(split.mask("train")), len(split.class_names)
    each = options.images // classes
    rows = np.concatenate([train[truth[train] == column][:each] for column in range(classes)])
    found: dict[str, list[int]] = {name: [] for name in [*RANKINGS, "random"]}
    sure: list[tuple[int, int, int]] = []
    for draw in range(options.draws):
        labels, wrong = plant_wrong_labels(truth[rows].tolist(), classes, WRONG, draw)
        given = np.array(labels, np.int64)
        probabilities = out_of_fold(matrix[rows], given, classes, groups=group_ids[rows], seed=0)
        scores = {name: ranking(given, probabilities) for name, ranking in RANKINGS.items()}
        confident = set(np.flatnonzero(confidently_other(given, probabilities)).tolist())
        sure.append((len(confident), len(wrong & confident), int((probabilities.argmax(axis=1) != given).sum())))
        scores["random"] = np.random.default_rng(draw).random(len(rows))
        for name, score in scores.items():
            found[name].append(len(wrong & set(np.argsort(score, kind="stable")[:FIRST].tolist())))
    table: list[dict[str, Any]] = [
        {
            "rank by": name,
            f"of {WRONG}, among the first {FIRST}": float(np.mean(counts)),
            "range": f"{min(counts)} to {max(counts)}",
        }
        for name, counts in found.items()
    ]
    report("suspects", table, options.json)
    shown, hit, disagreed = np.mean(sure, axis=0)
    print(f"Confident: {shown:.0f} of {disagreed:.0f} label issues; {hit:.1f} of {WRONG} wrong labels are among them")


if __name__ == "__main__":
    main()
