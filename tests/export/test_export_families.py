"""Networks with every kind of layer in every float32 format; `benchmarks/exports.py` does this for all backbones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exported_files import F32
from tests.live_networks import alive, answers_to_its_input, bundle_of, outputs, sample_images
from transfer_cli.catalog import backbones, export_formats
from transfer_cli.export.export import export

SIDE = 64
# Together they have all kinds of layers of the catalog.
NETWORKS = (
    "alexnet",
    "convnext_tiny",
    "efficientnet_v2_b0",
    "inception_resnet_v2",
    "lenet5",
    "mobilenet_v3_small",
    "nasnet_mobile",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_export_backbone_passes_the_parity_check_in_every_format(shared: Path, tmp_path: Path, name: str) -> None:
    spec, photographs = backbones.find(name), shared / "data" / "clothing" / "test"
    images = sample_images(photographs, max(SIDE, spec.min_size))
    model = alive(spec, images)
    assert answers_to_its_input(outputs(model, images))
    bundle_of(model, spec, tmp_path / "bundle")
    formats = [export_formats.find(format) for format in F32]
    results = export(str(tmp_path / "bundle"), formats, tmp_path / "export", images=photographs / "hat")
    assert {result.spec.name: result.failure for result in results} == dict.fromkeys(F32)
