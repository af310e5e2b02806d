"""A network that a recipe describes: what is accepted, what does not fit, and the words of each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer_cli.cli._setting_values import setting_names, setting_values
from transfer_cli.errors import RecipeError, UnknownNameError
from transfer_cli.recipe.recipes import ExtractRecipe, FinetuneRecipe, Recipe

TWO_BLOCKS = """method = "finetune"
[network]
dense = [8]
[[network.block]]
filters = 4
pool = "max"
[[network.block]]
filters = 6
[[stage]]
unfreeze = "from:block2"
epochs = 1
learning_rate = 1e-3
"""


@pytest.fixture
def two_blocks(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(TWO_BLOCKS)
    return str(path)


def fault(source: str | None, *overrides: str, kind: type[Recipe] = FinetuneRecipe) -> str:
    with pytest.raises(RecipeError) as caught:
        kind.load(source, overrides)
    (line,) = str(caught.value).splitlines()[1:]
    return line.strip()


def test_a_described_network_has_defaults_of_its_own(two_blocks: str, tmp_path: Path) -> None:
    recipe = FinetuneRecipe.load(two_blocks).resolved()
    assert (recipe.backbone.name, recipe.backbone.weights, recipe.backbone.pooling) == ("network", "none", "flatten")
    assert (recipe.image_size, recipe.head.start, recipe.final.classifier) == (32, "random", "head")
    again = tmp_path / "again.toml"
    again.write_text(recipe.to_toml())
    assert FinetuneRecipe.load(str(again)) == recipe
    assert FinetuneRecipe.load(two_blocks, ["network.dense=[]"]).resolved().backbone.pooling == "avg"
    assert FinetuneRecipe.load().network is None
    assert "network" not in FinetuneRecipe.load().resolved().to_toml()


def test_layers_and_shapes_are_known_before_keras(two_blocks: str) -> None:
    spec = FinetuneRecipe.load(two_blocks, ["network.block.2.residual=true"]).spec
    assert [(layer.name, layer.shape) for layer in spec.layers] == [
        ("block1", (32, 32, 4)),
        ("block1_activation1", (32, 32, 4)),
        ("block1_pool", (16, 16, 4)),
        ("block2", (16, 16, 6)),
        ("block2_shortcut1", (16, 16, 6)),
        ("block2_add1", (16, 16, 6)),
        ("block2_activation1", (16, 16, 6)),
        ("flatten_features", (1536,)),
        ("dense1", (8,)),
    ]
    assert spec.layers[5].inputs == ("block2", "block2_shortcut1")
    assert (spec.width, spec.size, spec.parameters_below_top) == (8, 32, 112 + 222 + 30 + 12_296)


def test_set_reaches_each_block_and_whole_lists(two_blocks: str) -> None:
    words = ["network.block.2.kernel=5", "network.dense=[3, 2]", "network.activation=tanh"]
    network = FinetuneRecipe.load(two_blocks, words).network
    assert network is not None
    assert (network.block[1].kernel, network.dense, network.activation) == (5, (3, 2), "tanh")
    network = FinetuneRecipe.load(None, ["network.block=[{filters=3}, {filters=4}]"]).network
    assert network is not None
    assert [block.filters for block in network.block] == [3, 4]
    with pytest.raises(RecipeError, match=r"no network.block 3. The recipe has 2 network.blocks, numbered from 1\."):
        FinetuneRecipe.load(two_blocks, ["network.block.3.filters=3"])


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            ["network.block.2.kernel=17", "network.block.2.padding=valid"],
            "block 2: kernel 17 does not fit on a map of 16 x 16 pixels with 4 channels. Expected a kernel of at most "
            "16, padding = same, or less stride and pooling before it.",
        ),
        (
            ["network.block.1.stride=8", "network.block.2.pool=avg", "network.block.2.pool_size=3", "images.size=28"],
            "block 2: average pooling of 3 x 3 does not fit on a map of 2 x 2 pixels with 6 channels. Expected less "
            "stride and pooling, or larger images.",
        ),
        (
            ["network.dense=[60000, 60000]"],
            "dense2 has 3,600,060,000 parameters: 60000 numbers reach it. Expected at most 1,000,000,000 in the "
            "network. Use smaller images, fewer units, or more pooling.",
        ),
        (
            ["backbone.name=vgg16"],
            "[network] describes the backbone, and backbone.name names another one: vgg16. Expected one of both.",
        ),
        (
            ["backbone.weights=imagenet"],
            "there are no imagenet weights of the network that [network] describes. Expected backbone.weights = none "
            "(random), a weights file, or an earlier run of the same network.",
        ),
    ],
)
def test_what_does_not_fit_names_the_block_and_its_input(two_blocks: str, overrides: list[str], text: str) -> None:
    assert fault(two_blocks, *overrides) == f"{two_blocks}: {text}"


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("network.kernel=5", "network.kernel: unknown setting. Did you mean network.block.1.kernel?"),
        ("network.block.2.filter=5", "network.block.2.filter: unknown setting. Did you mean filters?"),
        ("network.block=5", "network.block: expected a list. Received: 5."),
        (
            "network.block={filters = 5}",
            "network.block: expected a list. Received: {'filters': 5}. Write [[network.block]] with two brackets.",
        ),
        ("network.block=[{kernel = 5}]", "network.block.1.filters: this setting is required."),
        ("network.dense=[5, 0]", "network.dense.2: Input should be greater than or equal to 1. Received: 0."),
        ("network=5", "network: expected a section. Received: 5. Did you mean network.activation?"),
        (
            "network=resnet50",
            "network: expected a section that describes a network. Received: 'resnet50'. A network is named by "
            "backbone.name.",
        ),
        (
            "network={dropout = 0.5}",
            "network: network.dropout follows dense layers, and there are none. Did you mean block.N.dropout?",
        ),
        (
            "network.block=[{filters = 3, residual = true, padding = 'valid'}]",
            "network.block.1: residual adds the input to the output, which needs padding = same. Received: valid.",
        ),
        (
            "network.block=[{filters = 3, pool_size = 3}]",
            "network.block.1: pool_size = 3 needs pool = max or avg.",
        ),
        (
            "network.activation=rely",
            "network.activation: expected relu, leaky_relu, elu, gelu, silu, tanh, sigmoid, linear. Received: 'rely'. "
            "Did you mean relu?",
        ),
    ],
)
def test_wrong_settings_are_explained(two_blocks: str, override: str, text: str) -> None:
    assert fault(two_blocks, override) == text


def test_faults_of_a_file_name_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TWO_BLOCKS.replace("filters = 6", "filters = 0"))
    line = f"{path}:8: network.block.2.filters: Input should be greater than or equal to 1. Received: 0."
    assert fault(str(path)) == line


def test_the_name_stands_for_a_section_only() -> None:
    text = (
        "backbone.name = network stands for what a section [network] of a recipe for finetune describes, and there is "
        "none. Expected a name (transfer-cli backbones list), or that section."
    )
    for kind in (ExtractRecipe, FinetuneRecipe):
        assert fault(None, "backbone.name=network", kind=kind).endswith(text)


def test_stage_unfreezes_from_a_block_or_names_the_nearest(two_blocks: str) -> None:
    with pytest.raises(UnknownNameError, match=r"called 'block3'\. Did you mean block2"):
        FinetuneRecipe.load(two_blocks, ["stage.1.unfreeze=from:block3"])


def test_completion_knows_the_settings_and_their_values() -> None:
    names = setting_names("finetune", None)
    assert {"network.dense", "network.activation", "network.block.1.pool"} <= {*names}
    assert setting_values("finetune", None, "network.activation", ())[:2] == ["relu", "leaky_relu"]
    assert setting_values("finetune", None, "network.block.1.pool", ()) == ["max", "avg"]
