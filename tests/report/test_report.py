from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser import chromium, faults, show
from tests.conftest import COLOURS
from tests.finetuning import WORDS
from tests.untrained_runs import planted
from transfer_cli import ExtractRecipe, ImageFolder, RunDirectory, TrainingRequest
from transfer_cli.errors import RunError
from transfer_cli.rendering.thumbnails import ThumbnailStore
from transfer_cli.report.report import report
from transfer_cli.report.sections import mistakes
from transfer_cli.runs.completed_run import FinishedRun
from transfer_cli.training.extract import extract


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = planted(tmp_path_factory.mktemp("planted"))
    return report(FinishedRun.read(run.path)).path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="session")
def pairs_run(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a multi-label run: each image has two halves, and the colours of both as labels."""
    folder = tmp_path_factory.mktemp("labels")
    random = np.random.default_rng(0)
    lines = ["path,labels,split"]
    for number in range(60):
        names = random.choice(list(COLOURS), 2)
        image = np.repeat(np.array([COLOURS[name] for name in names], np.uint8), 16, axis=0)[None].repeat(32, axis=0)
        Image.fromarray(image).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{';'.join(sorted(set(names)))},{('train', 'val', 'test')[number % 3]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    run = RunDirectory(tmp_path_factory.mktemp("multi-label") / "run")
    extract(
        TrainingRequest(ImageFolder.scan(folder), run),
        ExtractRecipe.load(settings={**WORDS, "backbone.weights": str(weights)}),
    )
    return run.path


def data_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S)
    data: dict[str, Any] = json.loads(text)
    return data


def test_report_page_has_no_fault(page: Path, browser: webdriver.Chrome) -> None:
    assert faults(browser, page) == []


FAULTS = {
    "a script that fails": ("</main>", "<script>nothing.at.all()</script></main>", "Content Security Policy"),
    "a script that was changed": ('"use strict";', '"use strict"; nothing();', "Content Security Policy"),
    "no panel": ('id="panel"', 'id="elsewhere"', "#panel does not exist"),
    "no title of the panel": ('id="panel-title"', "", "Cannot set properties of null"),
    "an image from outside": ("</main>", '<img src="http://127.0.0.1:9/a.png" alt="a"></main>', "127.0.0.1:9"),
    "an image without alternative text": (
        'alt="true label green',
        'title="true label green',
        "without alternative text",
    ),
    "a wide row": ("</main>", '<p style="width:2000px">wide</p></main>', "the body is"),
    "low contrast": ("</main>", '<p style="color:#888;background:#999">pale</p></main>', "has a contrast of"),
    "a duplicate id": ("</main>", '<p id="leakage">again</p></main>', "#leakage is used twice"),
    "a link without target": ('id="leakage"', "", "#leakage does not exist"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_planted_fault_is_found(name: str, page: Path, browser: webdriver.Chrome, tmp_path: Path) -> None:
    before, after, message = FAULTS[name]
    text = page.read_text("utf-8")
    assert before in text
    twin = tmp_path / "twin.html"
    twin.write_text(text.replace(before, after), "utf-8")
    assert any(message in fault for fault in faults(browser, twin))


def shown(browser: webdriver.Chrome) -> tuple[str, list[str]]:
    title = browser.find_element(By.ID, "panel-title").text
    return title, [path.text for path in browser.find_elements(By.CSS_SELECTOR, "#panel-images .path")]


def test_confusion_matrix_cell_shows_its_images_by_mouse_and_keyboard(page: Path, browser: webdriver.Chrome) -> None:
    show(browser, page)
    # The panel starts with the most frequent mistake.
    assert shown(browser)[0].startswith("green predicted as blue: 2 of 6")
    cell = browser.find_element(By.CSS_SELECTOR, '[aria-label="blue predicted as green: 1 of 6"]')
    cell.click()
    assert shown(browser) == ("blue predicted as green: 1 of 6 (17 %)", ["test/blue/blue 5.png"])
    assert cell.get_attribute("aria-pressed") == "true"
    image = browser.find_element(By.CSS_SELECTOR, "#panel-images img")
    assert image.get_attribute("alt") == "true label blue, predicted green: test/blue/blue 5.png"
    # The arrow keys skip empty cells.
    ActionChains(browser).send_keys(Keys.ARROW_DOWN).send_keys(Keys.ENTER).perform()
    assert shown(browser)[0].startswith("green predicted correctly: 4 of 6")
    ActionChains(browser).send_keys(Keys.ARROW_LEFT).send_keys(Keys.SPACE).perform()
    title, paths = shown(browser)
    assert title.startswith("green predicted as blue")
    assert sorted(paths) == ["test/green/green 0.png", "test/green/green 1.png"]


def test_confusion_matrix_every_cell_is_reached_by_tab(page: Path, browser: webdriver.Chrome) -> None:
    show(browser, page)
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.text == "Skip to the content"
    wanted = {cell.get_attribute("data-cell") for cell in browser.find_elements(By.CSS_SELECTOR, "[data-cell]")}
    visible = {name for name in wanted if name and name.startswith("test:")}
    assert len(visible) == 5
    reached = set()
    for _ in range(40):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        reached.add(browser.switch_to.active_element.get_attribute("data-cell"))
    assert visible <= reached


def test_report_switches_between_splits(page: Path, browser: webdriver.Chrome) -> None:
    show(browser, page, 390)
    browser.find_element(By.CSS_SELECTOR, '[data-show-part="val"]').click()
    assert shown(browser)[0].startswith("blue predicted correctly: 4 of 4")
    assert not browser.find_elements(By.CSS_SELECTOR, '[data-part="test"]')[0].is_displayed()
    assert all(view.is_displayed() for view in browser.find_elements(By.CSS_SELECTOR, '[data-part="val"]'))


def test_map_shows_the_image_selected_by_mouse_or_keyboard(page: Path, browser: webdriver.Chrome) -> None:
    show(browser, page)
    panel = browser.find_element(By.ID, "map-panel")
    assert not panel.find_elements(By.TAG_NAME, "img")
    points = browser.find_elements(By.CSS_SELECTOR, "#map-board .point")
    assert len(points) == 24 + 12 + 18
    assert len(browser.find_elements(By.CSS_SELECTOR, "#map-board .point.wrong")) == 3
    browser.execute_script("document.getElementById('map-board').focus()")
    data = data_of(page)
    seen = set()
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_UP) * 3:
        ActionChains(browser).send_keys(key).perform()
        seen.add(panel.find_element(By.TAG_NAME, "img").get_attribute("alt"))
    assert len(seen) > 3
    wrong = browser.find_element(By.CSS_SELECTOR, "#map-board .point.wrong")
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))", wrong)
    image = data["images"][data["points"][int(wrong.get_attribute("data-point") or "")]]
    assert image["path"] in panel.text
    assert image["true_label"] != image["top"][0][0]
    browser.find_element(By.CSS_SELECTOR, '[data-chip="1"]').click()
    shown_points = browser.find_elements(By.CSS_SELECTOR, "#map-board.some .point.of")
    assert len(shown_points) == 8 + 4 + 6


def test_confident_mistakes_show_similar_training_images(page: Path, browser: webdriver.Chrome) -> None:
    show(browser, page)
    cards = browser.find_elements(By.CSS_SELECTOR, '#confident-mistakes [data-part="test"] .card')
    assert len(cards) == 3
    for card in cards:
        truth = card.find_element(By.CSS_SELECTOR, ".verdict b").text
        similar = [item.text for item in card.find_elements(By.CSS_SELECTOR, ".similar li")]
        assert similar == [truth] * 3  # images of a colour have similar features, whatever the prediction


def test_report_numbers_are_those_of_the_run(page: Path) -> None:
    text = page.read_text("utf-8")
    assert "15 of 18 test images classified correctly (83 %)" in text
    cells = data_of(page)["cells"]["test"]
    assert {key: cell["count"] for key, cell in cells.items()} == {"0-0": 5, "0-1": 1, "1-0": 2, "1-1": 4, "2-2": 6}
    assert "Small test set" in text


def test_report_missing_images_are_placeholders(tmp_path: Path, browser: webdriver.Chrome) -> None:
    run = planted(tmp_path, missing=["test/blue/blue 5.png"])
    made = report(FinishedRun.read(run.path), tmp_path / "page.html")
    assert made.missing_images == 1
    assert "missing images" in [finding.name for finding in made.findings]
    assert faults(browser, made.path) == []
    browser.find_element(By.CSS_SELECTOR, '[aria-label="blue predicted as green: 1 of 6"]').click()
    (placeholder,) = browser.find_elements(By.CSS_SELECTOR, "#panel-images .gone")
    assert "blue 5.png" in (placeholder.get_attribute("aria-label") or "")


def test_report_stops_at_the_maximum_size_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = FinishedRun.read(planted(tmp_path).path)
    whole = report(run)
    monkeypatch.setattr(ThumbnailStore.__init__, "__defaults__", (0, 128))
    empty = report(run)
    assert empty.images == 0 < whole.images
    assert empty.size < whole.size
    assert empty.missing_images == 0


def test_mistakes_of_many_classes_are_a_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: webdriver.Chrome
) -> None:
    monkeypatch.setattr(mistakes, "MAX_MATRIX_CLASSES", 2)
    made = report(FinishedRun.read(planted(tmp_path).path))
    assert faults(browser, made.path) == []
    (first, second) = browser.find_elements(By.CSS_SELECTOR, '[data-part="test"] .pairs button')
    assert first.text == "green predicted as blue: 2 of 6"
    second.click()
    assert shown(browser) == ("blue predicted as green: 1 of 6 (17 %)", ["test/blue/blue 5.png"])


def test_report_run_without_predictions_is_error(tmp_path: Path) -> None:
    run = planted(tmp_path)
    run.predictions("val").unlink()
    run.predictions("test").unlink()
    with pytest.raises(RunError, match="no predictions"):
        report(FinishedRun.read(run.path))


def test_report_multi_label_shows_a_table_of_labels(pairs_run: Path, browser: webdriver.Chrome) -> None:
    made = report(FinishedRun.read(pairs_run))
    assert faults(browser, made.path) == []
    text = made.path.read_text("utf-8")
    assert "Mean average precision" in text
    cells = data_of(made.path)["cells"]["test"]
    assert {key.split("-")[1] for key in cells} >= {"found"}
    table = browser.find_elements(By.CSS_SELECTOR, '[data-part="test"] .labels tbody tr')
    assert [row.find_element(By.TAG_NAME, "th").text for row in table] == ["blue", "green", "red"]
    key, cell = next(iter(cells.items()))
    browser.find_element(By.CSS_SELECTOR, f'[data-cell="test:{key}"]').click()
    title, paths = shown(browser)
    assert title.startswith(f"{cell['title']}: {cell['count']} of {cell['total']}")
    assert len(paths) == len(cell["images"])


def test_report_options_do_not_break_at_hyphens(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Each word of a command is on one line, on a phone, too; in the twin page the browser breaks them."""
    lines = (
        "return [...document.querySelectorAll('.findings code span')].map(word => {"
        "const range = document.createRange(); range.selectNodeContents(word);"
        "return [word.textContent, new Set([...range.getClientRects()].map(line => line.top)).size]})"
    )
    run = planted(tmp_path)
    run.predictions("test").unlink()
    page, twin = report(FinishedRun.read(run.path)).path, tmp_path / "twin.html"
    longer = "<span>--group-by</span> <span>near-duplicates</span> <span>--min-accuracy</span>"
    page.write_text(page.read_text("utf-8").replace("<span>--set</span>", longer), "utf-8")
    twin.write_text(page.read_text("utf-8").replace("code span { display: inline-block;", "code span {"), "utf-8")
    found = {}
    for each in (page, twin):
        broken = []
        for width in range(330, 400, 5):
            show(browser, each, width)
            words = browser.execute_script(lines)
            assert "--group-by" in [word for word, _ in words]
            broken += [word for word, count in words if word in longer and "-" in word and count > 1]
        found[each] = broken
    assert not found[page]
    assert found[twin]
