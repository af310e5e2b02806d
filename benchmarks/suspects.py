"""How many wrong labels are found: 20 planted among 500 photographs, how many of them are among the first 40 suspects.

    python benchmarks/suspects.py RUN [--draws 10] [--json FILE]

RUN is what ``extract FOLDER --classifier none`` wrote; 500 of its train pictures, 50 a class where there are so many,
are given 20 wrong labels by chance in each draw. Each way to rank is given the same out-of-fold probabilities. At the
end: how many labels are worth a look, and how many of the wrong ones are among them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from measuring import report
from planting import plant_wrong_labels

from transfer_cli.audit.label_issues import RANKINGS, confidently_other, out_of_fold
from transfer_cli.data.groups import assign_group_ids
from transfer_cli.data.split import Split
from transfer_cli.features import table as features

WRONG, LOOKED_AT = 20, 40


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=int, default=500)
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
            found[name].append(len(wrong & set(np.argsort(score, kind="stable")[:LOOKED_AT].tolist())))
    table: list[dict[str, Any]] = [
        {
            "rank by": name,
            f"of {WRONG}, among the first {LOOKED_AT}": float(np.mean(counts)),
            "range": f"{min(counts)} to {max(counts)}",
        }
        for name, counts in found.items()
    ]
    report("suspects", table, options.json)
    shown, hit, disagreed = np.mean(sure, axis=0)
    print(f"Confident: {shown:.0f} of {disagreed:.0f} labels that the probe disagrees with; {hit:.1f} of {WRONG} wrong")


if __name__ == "__main__":
    main()
