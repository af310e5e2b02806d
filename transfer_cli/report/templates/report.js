"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const panel = document.getElementById("panel");
  const panelTitle = document.getElementById("panel-title");
  const panelNote = document.getElementById("panel-note");
  const panelImages = document.getElementById("panel-images");
  const splitNames = { train: "Training", val: "Validation", test: "Test" };

  const element = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  const percent = (share) => `${Math.round(100 * share)} %`;

  const probabilityRow = ([name, probability, isTrue]) => {
    const bar = element("span", { class: isTrue ? "level true" : "level" });
    bar.style.setProperty("--v", probability);
    return element("li", {}, bar, element("span", {}, name), element("span", { class: "number" }, percent(probability)));
  };

  const imageFigure = (image) => {
    const predicted = image.top.length ? `, predicted ${image.top[0][0]}` : "";
    const alt = `true label ${image.true_label}${predicted}: ${image.path}`;
    const shown = image.uri
      ? element("img", { src: image.uri, alt, decoding: "async" })
      : element("span", { class: "gone", role: "img", "aria-label": alt }, "no image");
    const rest = image.rest.map(([name, probability]) => [name, probability, true]);
    const rows = [...image.top, ...rest].map(probabilityRow);
    const prediction = element("ul", { class: "prediction" }, ...rows);
    const caption = element("figcaption", {}, prediction, element("span", { class: "path" }, image.path));
    return element("figure", {}, shown, caption);
  };

  const showCell = (button) => {
    const [split, key] = button.dataset.cell.split(":");
    const cell = data.cells[split][key];
    for (const other of document.querySelectorAll('[data-cell][aria-pressed="true"]')) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", "true");
    panelTitle.textContent = `${cell.title}: ${cell.count} of ${cell.total} (${percent(cell.count / cell.total)})`;
    const shown = cell.images.length < cell.count ? `${cell.images.length} of ${cell.count} are shown. ` : "";
    panelNote.textContent = `${splitNames[split]} set. ${shown}Bars are predicted probabilities; green marks the true label.`;
    panelImages.replaceChildren(...cell.images.map((number) => element("li", {}, imageFigure(data.images[number]))));
    panel.dataset.cell = button.dataset.cell;
  };

  // The panel starts with the most frequent mistake, or with the largest cell if there are no mistakes.
  const showFirstCell = (split) => {
    const cells = Object.entries(data.cells[split]);
    const weight = ([, cell]) => cell.count - (cell.correct ? 1e9 : 0);
    const first = cells.sort((one, other) => weight(other) - weight(one))[0];
    const button = first && document.querySelector(`[data-cell="${split}:${first[0]}"]`);
    if (button) showCell(button);
  };

  const showPart = (split) => {
    for (const view of document.querySelectorAll("[data-part]")) view.hidden = view.dataset.part !== split;
    for (const button of document.querySelectorAll("[data-show-part]"))
      button.setAttribute("aria-pressed", String(button.dataset.showPart === split));
    showFirstCell(split);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.cell) {
      showCell(button);
      panel.scrollIntoView({ block: "nearest" });
    } else if (button.dataset.showPart) showPart(button.dataset.showPart);
  });

  // In the confusion matrix the arrow keys move from cell to cell and skip empty ones.
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  document.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    const from = event.target.closest && event.target.closest(".matrix td");
    if (!step || !from) return;
    const rows = [...from.closest("tbody").rows];
    let row = rows.indexOf(from.parentElement) + step[0];
    let column = from.cellIndex + step[1];
    while (rows[row] && rows[row].cells[column]) {
      const button = rows[row].cells[column].querySelector("button");
      if (button) {
        button.focus();
        event.preventDefault();
        return;
      }
      row += step[0];
      column += step[1];
    }
  });

  const map = document.getElementById("map-board");
  if (map) {
    const points = [...map.querySelectorAll(".point")];
    const positions = points.map((point) => {
      const box = point.getBBox();
      return [box.x + box.width / 2, box.y + box.height / 2];
    });
    const marker = document.getElementById("here");
    const mapPanel = document.getElementById("map-panel");
    let current = -1;

    const select = (index) => {
      current = index;
      const image = data.images[data.points[index]];
      marker.setAttribute("cx", positions[index][0]);
      marker.setAttribute("cy", positions[index][1]);
      marker.removeAttribute("hidden");
      const figure = imageFigure(image);
      figure.querySelector("figcaption").prepend(element("b", {}, image.true_label), ` (${image.split})`);
      mapPanel.replaceChildren(figure);
    };

    map.addEventListener("pointerover", (event) => {
      if (event.target.dataset.point) select(Number(event.target.dataset.point));
    });
    // A touch is less exact than a mouse: it selects the nearest image.
    map.addEventListener("click", (event) => {
      const mouse = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
      const distances = positions.map(([x, y]) => (x - mouse.x) ** 2 + (y - mouse.y) ** 2);
      select(distances.indexOf(Math.min(...distances)));
    });
    map.addEventListener("focus", () => {
      if (current < 0) select(0);
    });
    map.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const [x, y] = positions[current];
      let best = -1;
      let least = Infinity;
      positions.forEach(([px, py], index) => {
        const along = (px - x) * step[1] + (py - y) * step[0];
        const across = Math.abs((px - x) * step[0]) + Math.abs((py - y) * step[1]);
        if (along > 0 && across <= along && along + across < least) [best, least] = [index, along + across];
      });
      if (best >= 0) select(best);
    });
    for (const chip of document.querySelectorAll("[data-chip]"))
      chip.addEventListener("click", () => {
        const on = chip.getAttribute("aria-pressed") !== "true";
        for (const other of document.querySelectorAll("[data-chip]")) other.setAttribute("aria-pressed", "false");
        chip.setAttribute("aria-pressed", String(on));
        map.classList.toggle("some", on);
        for (const point of points) point.classList.toggle("of", on && point.dataset.class === chip.dataset.chip);
      });
  }

  showFirstCell(Object.keys(data.cells)[0]);
})();
