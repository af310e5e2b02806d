"""Measure and score one candidate of a ranking; results are kept, so that a ranking can continue."""

from __future__ import annotations

import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.grouping import compiled_backbone, folder_features
from transfer_cli.catalog import runtimes
from transfer_cli.data import decoding
from transfer_cli.data.image_batches import view_batches
from transfer_cli.errors import ImageError
from transfer_cli.inference import network_sources
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.inference.latency import BATCH, ms_per_image, noise
from transfer_cli.io.atomic import write_json
from transfer_cli.io.cache import digest_of_facts
from transfer_cli.io.untrusted.json_text import read_json
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.ranking.options import LOGME, RankOptions
from transfer_cli.ranking.probe import cross_validate
from transfer_cli.ranking.results import CandidateScore
from transfer_cli.ranking.sample import RankingSample
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.system import cpu_count, cpu_name
from transfer_cli.training.setup.resolve import resolve_recipe

VERSION = 3
"""Increased whenever the same images would get another score or time, or a record has other keys."""

Record = dict[str, Any]


class CandidateEvaluation:
    """The score and cost of a candidate: read from an earlier ranking, or measured.

    Parameters
    ----------
    candidate : Candidate
    sample : RankingSample
    request : TrainingRequest
        `folder` holds the images of the sample.
    place : Path
        The folder of the records.
    options : RankOptions
    """

    def __init__(
        self, candidate: Candidate, sample: RankingSample, request: TrainingRequest, place: Path, options: RankOptions
    ) -> None:
        self.candidate = candidate
        self._sample, self._request, self._place, self._options = sample, request, place, options
        recipe = ExtractRecipe.load(settings={**options.overrides, **candidate.overrides})
        self._recipe = resolve_recipe(request, recipe, keeps_model=True)

    def is_known(self) -> bool:
        """Return whether everything is known from an earlier ranking."""
        return self.candidate.is_installed and self._is_done(self._read()[1])

    def score(self, title: str) -> CandidateScore:
        """Return the score and cost of the candidate; write what is new.

        Parameters
        ----------
        title : str
            Precedes the result in the message.
        """
        path, record = self._read()
        if not self._is_done(record):
            network = compiled_backbone(self._request, self._recipe)
            if "ms_per_image" not in record:
                record |= {"ms_per_image": self._measure_time(network), "runtime": network.runtime_version}
                write_json(path, record)
            if not self._is_slow(record):
                places, matrix = folder_features(self._request, self._recipe, network)
                if len(places) < len(self._sample.truth):
                    raise _changed()
                record |= self._cross_validate(matrix)
                write_json(path, record)
        metrics = {name: record.get(name) for name in ("log_loss", "accuracy", "mean_average_precision", "logme")}
        correct = np.array(record["correct"], bool) if "correct" in record else None
        left_out = f"over {self._options.max_ms:g} ms/image" if self._is_slow(record) else ""
        ms, runtime = record["ms_per_image"], record["runtime"]
        row = CandidateScore(self.candidate, ms, runtime, correct=correct, left_out=left_out, **metrics)
        self._request.progress.note(f"{title}: {row.summary()}")
        return row

    def _is_done(self, record: Record) -> bool:
        score = "logme" if self._options.by == LOGME else "log_loss"
        return score in record or self._is_slow(record)

    def _is_slow(self, record: Record) -> bool:
        max_ms = self._options.max_ms
        return max_ms is not None and record.get("ms_per_image", 0.0) > max_ms

    def _read(self) -> tuple[Path, Record]:
        """Return the file of the record, and what it holds for the same images, versions and machine."""
        facts, candidate = self._facts(), self.candidate
        path = self._place / f"{candidate.backbone}-{candidate.weights}-{digest_of_facts(facts)[:16]}.json"
        try:
            record: Record = read_json(path)
            if record["facts"] != facts:
                raise ValueError("it belongs to other images or versions")
            _check_record(record)
        except FileNotFoundError:
            record = {"facts": facts}
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._request.progress.warn(f"{path} is damaged ({error}): {candidate.name} is evaluated again")
            record = {"facts": facts}
        return path, record

    def _facts(self) -> dict[str, Any]:
        recipe, request = self._recipe, self._request
        source = network_sources.backbone_source(recipe, offline=request.offline, progress=request.progress)
        versions = {name: metadata.version(name) for name in ("scikit-learn", "pillow", "opencv-python-headless")}
        return {
            **source.facts,
            **versions,
            "version": VERSION,
            "runtime": [recipe.inference.runtime, runtimes.find(recipe.inference.runtime).version],
            "images": recipe.images.model_dump(),
            "decoder": decoding.DECODER,
            "batch_size": recipe.batch_size,
            "seed": recipe.seed,
            "sample": self._sample.digest,
            "machine": [cpu_name(), cpu_count(), running.has_gpu()],
        }

    def _measure_time(self, network: CompiledNetwork) -> float:
        """Return the ms/image of the network, without decoding."""
        recipe, folder = self._recipe, self._request.folder
        paths = [file.path for file in folder.files[: recipe.batch_size]]
        read = view_batches(paths, [recipe.view], batch_size=recipe.batch_size, root=folder.root)
        batch = next(read).images
        if len(batch) < len(paths):
            raise _changed()
        # The runtime may be compared with Keras on real images. The timed batch is as large as that of an ensemble.
        network(batch)
        return ms_per_image(partial(network, noise(BATCH, recipe.image_size)), BATCH)

    def _cross_validate(self, matrix: NDArray[np.float32]) -> Record:
        from transfer_cli.classifiers.logme import logme

        sample = self._sample
        # With random weights features may underflow, and of an untrained network they may overflow.
        matrix = np.nan_to_num(matrix)
        begun = time.monotonic()
        record: Record = {"logme": logme(matrix, sample.truth), "logme_seconds": time.monotonic() - begun}
        if self._options.by == LOGME:
            return record
        begun = time.monotonic()
        with self._request.progress.track(f"cross-validating on {self.candidate.name}", None):
            score = cross_validate(matrix, sample.truth, sample.group_ids, sample.classes, self._recipe.seed)
        return record | {
            "log_loss": score.log_loss,
            "accuracy": score.accuracy,
            "mean_average_precision": score.mean_average_precision,
            "correct": score.correct.astype(int).tolist(),
            "probe_seconds": time.monotonic() - begun,
        }


def _check_record(record: Record) -> None:
    """Raise ValueError, TypeError or KeyError if a record is not one that was written here."""
    known = [record["ms_per_image"], *(record[key] for key in ("logme", "log_loss") if key in record)]
    if not all(np.isfinite(float(value)) for value in known) or not isinstance(record["runtime"], str):
        raise ValueError("it holds no numbers")
    if "log_loss" in record and abs(np.mean(record["correct"]) - float(record["accuracy"]["value"])) > 1e-9:
        raise ValueError("its accuracy does not match its images")


def _changed() -> ImageError:
    return ImageError("Images of the folder changed while they were read.", hint="Run the same command again.")
