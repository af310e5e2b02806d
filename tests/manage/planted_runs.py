"""Runs, rankings and ensembles whose files are written directly, without a training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.untrained_runs import planted
from transfer_cli.data.skipped import write_skipped
from transfer_cli.ranking.options import RankOptions
from transfer_cli.ranking.ranking_directory import RankingDirectory
from transfer_cli.runs.run_directory import RunDirectory


def finished_run(target: Path, name: str) -> RunDirectory:
    """Write a complete run with a model; return it."""
    place = target / f".{name}"
    place.mkdir(parents=True)
    run = planted(place)
    write_skipped(run.skipped, [])
    run.path.rename(target / name)
    run = RunDirectory(target / name)
    run.command.write_text(f"transfer-cli extract images --backbone mobilenet@0.25 --set batch_size=8 -o {name}\n")
    run.recipe.write_text(
        'method = "extract"\nbatch_size = 8\n[images]\nsize = 224\n[backbone]\nname = "mobilenet@0.25"\n'
    )
    write_model(run)
    return run


def write_model(run: RunDirectory) -> str:
    """Write a model of one file, different for each run; return the digest of its manifest."""
    run.model.mkdir()
    content = f"weights of {run.path.name}".encode()
    (run.model / "linear.npz").write_bytes(content)
    digest = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = json.dumps({"files": {"linear.npz": digest}}).encode()
    (run.model / "bundle.json").write_bytes(manifest)
    return hashlib.sha256(manifest).hexdigest()


def ensemble_of(target: Path, name: str, *members: RunDirectory) -> RunDirectory:
    """Write a complete ensemble of some runs; return it."""
    run = finished_run(target, name)
    digests = [hashlib.sha256((member.model / "bundle.json").read_bytes()).hexdigest() for member in members]
    rows = "".join(
        f'[[member]]\nrun = "{member.path.name}"\ndigest = "{digest}"\n'
        for member, digest in zip(members, digests, strict=True)
    )
    run.recipe.write_text(f'method = "ensemble"\nseed = 0\n[ensemble]\nmethod = "weighted"\n{rows}')
    run.command.write_text("transfer-cli ensemble " + " ".join(str(member.path) for member in members) + "\n")
    return run


def finished_ranking(target: Path, name: str) -> RankingDirectory:
    """Write a complete ranking of one network."""
    place = RankingDirectory(target / name)
    place.candidates.mkdir(parents=True)
    command = ["transfer-cli", "rank", "images", "--seed", "1"]
    place.write_settings(target / "images", RankOptions(seed=1).settings(None), command)
    candidate = {
        "backbone": "mobilenet", "weights": "imagenet", "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}
    }  # fmt: skip
    content = {"folder": str(target / "images"), "images": 30, "best": candidate, "candidates": [candidate]}
    place.ranking.write_text(json.dumps(content))
    return place
