"""``transfer-cli inspect`` as users run it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from transfer_cli.cli.main import main
from transfer_cli.rendering.png_provenance import INSPECT, made_by


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def test_inspect_run_prints_layer_table(trained: Path) -> None:
    result = invoke(trained)
    assert result.exit_code == 0, result.stderr
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["layer", "kind", "output", "activations", "parameters", "multiply-adds"]
    (conv,) = [line for line in lines if line.split()[0] == "conv1"]
    # 8 filters of 3 x 3 x 3 with stride 2 on an image of 32 pixels.
    assert conv.split() == ["conv1", "Conv2D", "16", "x", "16", "x", "8", "2,048", "216", "55,296"]
    assert any(line.startswith("prediction of one image: ") for line in result.stderr.splitlines())


def test_inspect_bundle_as_json_equals_table_of_backbones_show(trained: Path) -> None:
    result = CliRunner().invoke(main, ["--json", "inspect", str(trained / "model")])
    data = json.loads(result.stdout)
    assert list(data) == ["model", "backbone", "size", "memory", "layers"]
    shown = CliRunner().invoke(main, ["--json", "backbones", "show", data["backbone"]])
    expected = {row["name"]: row["parameters"] for row in json.loads(shown.stdout)["layers"]}
    rows = {row["name"]: row["parameters"] for row in data["layers"]}
    assert {name: rows[name] for name in ("conv1", "conv_pw_13")} == {
        name: expected[name] for name in ("conv1", "conv_pw_13")
    }
    assert sum(rows.values()) == data["memory"]["parameters"]


def test_inspect_filters_draws_first_layer(copy_of_trained: Path) -> None:
    result = invoke(copy_of_trained, "--filters")
    target = copy_of_trained / "plots/filters.png"
    assert (result.exit_code, result.stdout) == (0, f"{target}\n"), result.stderr
    assert "8 filters of the first convolutional layer" in result.stderr
    with Image.open(target) as image:
        sheet = np.asarray(image)
    # Three columns of filters of 3 x 3, 22 pixels each, below their numbers.
    assert sheet.shape == (3 * (66 + 4 + 14), 3 * 70 - 4, 3)
    import keras

    network = keras.saving.load_model(copy_of_trained / "model/backbone.keras", compile=False)
    kernel = np.asarray(network.get_layer("conv1").kernel)
    for number in range(8):
        top, left = number // 3 * 84 + 14, number % 3 * 70
        centres = sheet[top + 11 : top + 66 : 22, left + 11 : left + 66 : 22].astype(float) / 127.5 - 1
        np.testing.assert_allclose(centres, kernel[..., number] / np.abs(kernel[..., number]).max(), atol=0.005)
    assert invoke(copy_of_trained, "--filters").exit_code == 0


def test_inspect_activations_draws_maps(copy_of_trained: Path, colours: Path) -> None:
    result = invoke(copy_of_trained, colours / "red/red 01.png", "--activations", "conv_pw_2_relu")
    target = copy_of_trained / "plots/activations-conv_pw_2_relu-red 01.png"
    assert (result.exit_code, result.stdout) == (0, f"{target}\n"), result.stderr
    assert "32 activation maps of conv_pw_2_relu" in result.stderr
    with Image.open(target) as image:
        sheet = np.asarray(image.convert("L"))
    # Six columns of maps of 8 x 8, eight times as large.
    assert sheet.shape == (6 * 82, 6 * 68 - 4)
    brightest = [
        sheet[82 * (n // 6) + 14 : 82 * (n // 6) + 78, 68 * (n % 6) : 68 * (n % 6) + 64].max() for n in range(32)
    ]
    assert brightest[0] == 255
    assert brightest == sorted(brightest, reverse=True)


def test_inspect_two_layers_write_one_file_per_layer(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    names = ["conv1_relu", "conv_pw_2_relu"]
    arguments = [copy_of_trained, image, "--activations", ", ".join(names), "-o", tmp_path / "maps"]
    result = CliRunner().invoke(main, ["--json", "inspect", *map(str, arguments)])
    assert result.exit_code == 0, result.stderr
    files = [tmp_path / "maps" / f"activations-{name}-red 01.png" for name in names]
    assert json.loads(result.stdout) == {
        "activations": [
            {"layer": name, "output": str(file), "maps": maps}
            for name, file, maps in zip(names, files, (8, 32), strict=True)
        ]
    }
    assert sorted((tmp_path / "maps").iterdir()) == sorted(files)
    assert all(made_by(file) == INSPECT for file in files)
    # One layer alone gives the same drawing.
    alone = invoke(copy_of_trained, image, "--activations", names[1], "-o", tmp_path / "one.png")
    assert (alone.exit_code, alone.stdout) == (0, f"{tmp_path / 'one.png'}\n"), alone.stderr
    assert (tmp_path / "one.png").read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != files[1].read_bytes()


def test_inspect_imagenet_network_without_run(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(shared / "keras_home"))
    monkeypatch.chdir(tmp_path)
    table = CliRunner().invoke(main, ["--offline", "inspect", "imagenet:mobilenet@0.25"])
    assert table.exit_code == 0, table.stderr
    assert table.stdout.splitlines()[-1].split() == ["predictions", "Activation", "1000", "1,000", "0", "0"]
    assert not [*tmp_path.iterdir()]
    filters = CliRunner().invoke(main, ["--offline", "inspect", "imagenet:mobilenet@0.25", "--filters"])
    assert (filters.exit_code, filters.stdout) == (0, "plots/filters.png\n"), filters.stderr
    assert made_by(tmp_path / "plots/filters.png") == INSPECT


def test_inspect_other_image_is_not_overwritten(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    shutil.copy(image, tmp_path / "holiday.png")
    for arguments in (["--filters"], [str(image), "--activations", "conv_pw_1_relu"]):
        result = invoke(trained, *arguments, "-o", tmp_path / "holiday.png")
        assert result.exit_code == 3
        assert "would be lost" in result.stderr
        assert invoke(trained, *arguments, "-o", tmp_path / "why.txt").exit_code == 3
    assert (tmp_path / "holiday.png").read_bytes() == image.read_bytes()


def test_inspect_wrong_usage_is_error(trained: Path, colours: Path, tmp_path: Path) -> None:
    image = colours / "red/red 01.png"
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    layer = "conv_pw_1_relu"
    faults = [
        ([image], 2, "IMAGE is only used with --activations"),
        ([image, "--filters"], 2, "IMAGE is only used with --activations"),
        (["--activations", layer], 2, "--activations needs an IMAGE"),
        ([image, "--activations", ","], 2, "Expected at least one layer name"),
        (["--filters", "--activations", layer], 2, "Received: --filters and --activations."),
        ([], 2, "-o is only used with --filters, --activations, --maximise, --strongest, --templates"),
        (["--maximise", layer, "--templates"], 2, "Expected one of --filters, --activations, --maximise"),
        ([image, "--maximise", layer], 2, "IMAGE is only used with --activations"),
        (["--maximise", f"{layer}:16"], 2, "has 16 channels, 0 to 15. Received: '16'. The nearest is 15."),
        (["--strongest", "conv_pw_1_rel"], 2, "Did you mean conv_pw_1_relu?"),
        ([tmp_path / "broken.jpg", "--strongest", layer], 3, "No image could be read"),
        ([image, "--activations", f"{layer},conv1_relu"], 2, "Expected a folder after -o"),
        ([image, "--activations", "avg_features"], 2, "There is no layer with a feature map called 'avg_features'"),
        ([tmp_path / "broken.jpg", "--activations", layer], 3, "could not be read"),
    ]
    for number, (arguments, code, message) in enumerate(faults):
        output = tmp_path / f"{number}.png"
        result = invoke(trained, *arguments, "-o", output)
        assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
        assert not output.exists()
        assert not result.stdout


def test_inspect_one_wrong_layer_writes_nothing(trained: Path, colours: Path, tmp_path: Path) -> None:
    layers = "conv1_relu,conv_pw_1_rel"
    result = invoke(trained, colours / "red/red 01.png", "--activations", layers, "-o", tmp_path / "maps")
    assert result.exit_code == 2
    assert "Did you mean conv_pw_1_relu?" in result.stderr
    assert not [*tmp_path.rglob("*.png")]


def test_inspect_unknown_model_is_error(tmp_path: Path) -> None:
    missing = invoke(tmp_path / "missing")
    assert (missing.exit_code, "There is no run or bundle at" in missing.stderr) == (4, True), missing.stderr
    unknown = invoke("imagenet:vgg161")
    assert (unknown.exit_code, "Did you mean vgg16?" in unknown.stderr) == (2, True), unknown.stderr
    untrained = invoke("imagenet:lenet5")
    assert "lenet5 has no ImageNet weights" in untrained.stderr


def test_inspect_maximised_image_exceeds_all_training_images(copy_of_trained: Path, tmp_path: Path) -> None:
    layer = "conv_pw_2_relu:3,9"
    arguments = ["--json", "inspect", str(copy_of_trained)]
    found = CliRunner().invoke(main, [*arguments, "--maximise", layer])
    assert found.exit_code == 0, found.stderr
    data = json.loads(found.stdout)
    target = copy_of_trained / "plots/maximise-conv_pw_2_relu-3-9.png"
    assert (data["output"], data["layer"]) == (str(target), "conv_pw_2_relu")
    best = CliRunner().invoke(main, [*arguments, "--strongest", layer])
    assert best.exit_code == 0, best.stderr
    rows = json.loads(best.stdout)["channels"]
    for maximised, row in zip(data["channels"], rows, strict=True):
        assert maximised["channel"] == row["channel"]
        activations = [image["activation"] for image in row["images"]]
        assert activations == sorted(activations, reverse=True)
        assert len(activations) == 8
        assert maximised["activation"] > 1.2 * max(activations[0], maximised["noise"])
    drawn = target.read_bytes()
    assert made_by(target) == made_by(copy_of_trained / "plots/strongest-conv_pw_2_relu-3-9.png") == INSPECT
    again = invoke(copy_of_trained, "--maximise", layer)
    assert (again.exit_code, again.stdout) == (0, f"{target}\n")
    assert target.read_bytes() == drawn


def test_inspect_strongest_looks_at_a_named_folder(trained: Path, colours: Path, tmp_path: Path) -> None:
    shutil.copytree(colours / "red", tmp_path / "photos")
    (tmp_path / "photos/broken.jpg").write_bytes(b"nothing")
    arguments = [trained, tmp_path / "photos", "--strongest", "conv1_relu:2", "-o", tmp_path / "a.png"]
    result = CliRunner().invoke(main, ["--json", "inspect", *map(str, arguments)])
    assert result.exit_code == 5, result.stderr
    data = json.loads(result.stdout)
    assert [each["path"] for each in data["skipped"]] == [f"{tmp_path}/photos/broken.jpg"]
    (channel,) = data["channels"]
    import keras

    network = keras.saving.load_model(trained / "model/backbone.keras", compile=False)
    layer = keras.Model(network.inputs[0], network.get_layer("conv1_relu").output)
    paths = sorted((tmp_path / "photos").glob("*.png"))
    from transfer_cli.data.image_batches import batches

    (batch,) = batches(list(map(str, paths)), size=32, resize="squash", batch_size=32)
    means = np.asarray(layer(batch.images))[..., 2].mean(axis=(1, 2))
    order = np.argsort(-means, kind="stable")[:8]
    assert [image["path"] for image in channel["images"]] == [str(paths[number]) for number in order]
    np.testing.assert_allclose([image["activation"] for image in channel["images"]], means[order], rtol=1e-4)


def test_inspect_templates_are_class_means(copy_of_trained: Path, colours: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--json", "inspect", str(copy_of_trained), "--templates"])
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert ([*data["images_of_class"]], data["weights"]) == (["blue", "green", "red"], False)
    with Image.open(copy_of_trained / "plots/templates.png") as image:
        sheet = np.asarray(image)
    # Two columns of classes; the first is blue.
    assert sheet[40, 40].argmax() == 2
    assert sheet[40, 40 + 128 + 10].argmax() == 1
    shutil.copytree(copy_of_trained / "model", tmp_path / "alone")
    unknown = invoke(tmp_path / "alone", "--templates", "-o", tmp_path / "a.png")
    assert (unknown.exit_code, "Name a folder of images after it." in unknown.stderr) == (2, True)
    named = invoke(tmp_path / "alone", colours, "--templates", "-o", tmp_path / "a.png")
    assert (named.exit_code, named.stdout) == (0, f"{tmp_path}/a.png\n"), named.stderr
