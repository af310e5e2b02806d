"""One candidate of a ranking: timed, scored, and written down so that it need not be done again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer_cli.audit.grouping import folder_features, prepared
from transfer_cli.catalog import classifiers, runtimes
from transfer_cli.data import decoding
from transfer_cli.errors import ImageError
from transfer_cli.inference import network_sources
from transfer_cli.inference import runtimes as running
from transfer_cli.inference.compiled_network import CompiledNetwork
from transfer_cli.inference.latency import BATCH, noise, timed
from transfer_cli.io.atomic import write_json
from transfer_cli.io.cache import digest_of_facts
from transfer_cli.metrics.intervals import proportion
from transfer_cli.metrics.scores import of_epoch
from transfer_cli.ranking.candidates import Candidate
from transfer_cli.ranking.results import LOGME, By, CandidateScore, RankingDirectory
from transfer_cli.ranking.sample import RankingSample
from transfer_cli.recipe.recipes import ExtractRecipe
from transfer_cli.runs.request import TrainingRequest
from transfer_cli.system import processor, processors
from transfer_cli.training.setup import lifecycle

VERSION = 2
"""Changes whenever the same pictures would be scored or timed otherwise."""

Record = dict[str, Any]


class CandidateEvaluation:
    """What is known of a candidate on some pictures, and how the rest is found out.

    Parameters
    ----------
    candidate : Candidate
    few : RankingSample
    request : Request
        Its folder is that of these pictures.
    place : RankingDirectory
    words : mapping
        Of the recipe, beside those of the candidate.
    """

    def __init__(
        self,
        candidate: Candidate,
        few: RankingSample,
        request: TrainingRequest,
        place: RankingDirectory,
        words: Mapping[str, Any],
    ) -> None:
        self._candidate, self._few, self._request = candidate, few, request
        recipe = ExtractRecipe.load(words={**words, **candidate.words})
        self._recipe = lifecycle.resolved(request, recipe, keeps_model=True)
        self._place = place.candidates

    def is_known(self, by: By, max_ms: float | None) -> bool:
        """Return whether nothing is left to be found out."""
        if not self._candidate.is_here:
            return False
        record = self._read()[1]
        return _has_score(record, by) or _is_slow(record, max_ms)

    def rated(self, by: By, max_ms: float | None, said: str) -> CandidateScore:
        """Return what the candidate is worth and costs; what is new is written down."""
        path, record = self._read()
        progress = self._request.progress
        if not _has_score(record, by) and not _is_slow(record, max_ms):
            network = prepared(self._request, self._recipe)
            if "milliseconds" not in record:
                record |= {"milliseconds": self._timed(network), "runtime": network.words}
                write_json(path, record)
            if not _is_slow(record, max_ms):
                record |= self._scored(self._features(network), by)
                write_json(path, record)
        slow = _is_slow(record, max_ms)
        row = CandidateScore(
            self._candidate,
            milliseconds=record["milliseconds"],
            runtime=record["runtime"],
            log_loss=record.get("log_loss"),
            accuracy=record.get("accuracy"),
            mean_average_precision=record.get("mean_average_precision"),
            logme=record.get("logme"),
            right=np.array(record["right"], bool) if "right" in record else None,
            left_out=f"over {max_ms:g} ms" if slow else "",
        )
        progress.note(f"{said}: {_in_words(row)}")
        return row

    def _read(self) -> tuple[Path, Record]:
        """Return where this is written, and what is there of the same pictures, program and machine."""
        facts = self._facts()
        digest = digest_of_facts(facts)
        path = self._place / f"{self._candidate.backbone}-{self._candidate.weights}-{digest[:16]}.json"
        try:
            found = json.loads(path.read_text("utf-8"))
            if found["facts"] != facts:
                raise ValueError("it is about something else")
            _must_be_numbers(found)
        except FileNotFoundError:
            found = {"facts": facts}
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._request.progress.warn(f"{path} is not what it was ({error}): {self._candidate.name} is tried again")
            found = {"facts": facts}
        return path, found

    def _facts(self) -> dict[str, Any]:
        recipe, request = self._recipe, self._request
        source = network_sources.backbone_source(
            self._candidate.spec,
            recipe.backbone,
            recipe.image_size,
            seed=recipe.seed,
            offline=request.offline,
            progress=request.progress,
        )
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
            "sample": self._few.digest,
            "machine": [processor(), processors(), running.has_gpu()],
        }

    def _timed(self, network: CompiledNetwork) -> float:
        """Return how many milliseconds a picture takes, decoding apart."""
        recipe, folder = self._recipe, self._request.folder
        paths = [file.path for file in folder.files[: recipe.batch_size]]
        size = recipe.image_size
        read = decoding.batches(
            paths, size=size, resize=recipe.images.resize, batch_size=recipe.batch_size, root=folder.root
        )
        batch = next(read).images
        if len(batch) < len(paths):
            raise _changed()
        # On pictures the runtime may be compared with Keras. What is timed is as large as what an ensemble times.
        network(batch)
        return timed(partial(network, noise(BATCH, size)), BATCH)

    def _features(self, network: CompiledNetwork) -> NDArray[np.float32]:
        places, matrix = folder_features(self._request, self._recipe, network)
        if len(places) < len(self._few.digests):
            raise _changed()
        return matrix

    def _scored(self, matrix: NDArray[np.float32], by: By) -> Record:
        from transfer_cli.classifiers.logme import logme

        few = self._few
        # Features of random weights may be too small, and those of a network that learnt nothing too large.
        matrix = np.nan_to_num(matrix)
        begun = time.monotonic()
        found: Record = {"logme": logme(matrix, few.truth), "logme_seconds": time.monotonic() - begun}
        if by == LOGME:
            return found
        from transfer_cli.classifiers import fit

        begun = time.monotonic()
        with self._request.progress.track(f"cross-validating on {self._candidate.name}", None):
            fitted = fit.fit(
                classifiers.find("logistic"),
                matrix,
                few.truth,
                classes=few.classes,
                tune=True,
                # The score must not depend on what else the machine does.
                seconds=float("inf"),
                seed=self._recipe.seed,
                groups=few.assign_group_ids,
            )
        assert fitted.out_of_fold is not None
        known = ~np.isnan(fitted.out_of_fold[:, 0])
        truth, given = few.truth[known], fitted.out_of_fold[known]
        figures = of_epoch(truth, given)
        predicted = given.argmax(axis=1) if truth.ndim == 1 else given >= 0.5
        right = (predicted == truth).reshape(len(truth), -1).all(axis=1)
        return found | {
            "log_loss": figures["log_loss"],
            "accuracy": proportion(int(right.sum()), len(right)),
            "mean_average_precision": figures.get("mean_average_precision"),
            "right": right.astype(int).tolist(),
            "probe_seconds": time.monotonic() - begun,
        }


def _has_score(record: Record, by: By) -> bool:
    return ("logme" if by == LOGME else "log_loss") in record


def _is_slow(record: Record, max_ms: float | None) -> bool:
    return max_ms is not None and record.get("milliseconds", 0.0) > max_ms


def _must_be_numbers(record: Record) -> None:
    """Raise ValueError, TypeError or KeyError where what was read is not what is written."""
    known = [record["milliseconds"], *(record[word] for word in ("logme", "log_loss") if word in record)]
    if not all(np.isfinite(float(value)) for value in known) or not isinstance(record["runtime"], str):
        raise ValueError("it holds no numbers")
    if "log_loss" in record and abs(np.mean(record["right"]) - float(record["accuracy"]["value"])) > 1e-9:
        raise ValueError("its accuracy is not that of its pictures")


def _changed() -> ImageError:
    return ImageError(
        "Pictures of the folder changed while they were read.", hint="Give the same command again when nothing does."
    )


def _in_words(row: CandidateScore) -> str:
    said = [f"{row.milliseconds:.1f} ms a picture"]
    if row.left_out:
        said.append(row.left_out)
    if row.log_loss is not None:
        said.append(f"log loss {row.log_loss:.3f}")
    if row.mean_average_precision is not None:
        said.append(f"mean average precision {row.mean_average_precision:.3f}")
    elif row.accuracy is not None:
        said.append(f"accuracy {row.accuracy['value']:.3f}")
    if row.logme is not None:
        said.append(f"LogME {row.logme:.3f}")
    return ", ".join(said)
