"""Names of the layers of the backbones; ``python -m tests.catalog.layer_names`` writes them to the catalog."""

from __future__ import annotations

from transfer_cli.catalog import backbones, layers


def built_layers(backbone: str) -> list[str]:
    """Build a backbone without values of its weights and return the names of its layers below the head."""
    import keras

    from transfer_cli.models.backbone import build
    from transfer_cli.models.freezing import backbone_layers

    # Keras numbers layers without a name of their own from the start of the session.
    keras.backend.clear_session()
    with keras.StatelessScope(initialize_variables=False):
        return [layer.name for layer in backbone_layers(build(backbones.find(backbone), weights="none"))]


if __name__ == "__main__":
    lines = [f"{name} {' '.join(built_layers(name))}\n" for name in backbones.BACKBONES]
    layers.FILE.write_text("".join(lines), "utf-8")
