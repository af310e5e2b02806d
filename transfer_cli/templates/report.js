"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const panel = document.getElementById("panel");
  const title = document.getElementById("panel-title");
  const note = document.getElementById("panel-note");
  const list = document.getElementById("panel-pictures");

  const element = (name, facts = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(facts)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const percent = (share) => `${Math.round(100 * share)} %`;

  const level = ([name, probability, isTruth]) => {
    const bar = element("span", { class: isTruth ? "level true" : "level" });
    bar.style.setProperty("--v", probability);
    return element("li", {}, bar, element("span", {}, name), element("span", { class: "number" }, percent(probability)));
  };

  const figure = (picture) => {
    const saying = picture.top.length ? `, said to be ${picture.top[0][0]}` : "";
    const words = `is ${picture.truth}${saying}: ${picture.path}`;
    const seen = picture.uri
      ? element("img", { src: picture.uri, alt: words, decoding: "async" })
      : element("span", { class: "gone", role: "img", "aria-label": words }, "not here");
    const own = picture.own.map(([name, probability]) => [name, probability, true]);
    const said = element("ul", { class: "said" }, ...[...picture.top, ...own].map(level));
    const caption = element("figcaption", {}, said, element("span", { class: "path" }, picture.path));
    return element("li", {}, element("figure", {}, seen, caption));
  };

  const show = (button) => {
    const [part, key] = button.dataset.cell.split(":");
    const cell = data.cells[part][key];
    for (const other of document.querySelectorAll('[data-cell][aria-pressed="true"]')) other.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", "true");
    title.textContent = `${cell.words}: ${cell.count} of ${cell.of} (${percent(cell.count / cell.of)})`;
    const some = cell.pictures.length < cell.count ? `${cell.pictures.length} of ${cell.count} are shown. ` : "";
    note.textContent = `${some}${part} pictures; green is the probability of what is true.`;
    list.replaceChildren(...cell.pictures.map((place) => figure(data.pictures[place])));
    panel.dataset.cell = button.dataset.cell;
  };

  // The panel is empty at first only where nothing went wrong: else it begins with the most frequent mistake.
  const begin = (part) => {
    const cells = Object.entries(data.cells[part]);
    const weight = ([key, cell]) => cell.count - (cell.right ? 1e9 : 0);
    const first = cells.sort((one, other) => weight(other) - weight(one))[0];
    const button = first && document.querySelector(`[data-cell="${part}:${first[0]}"]`);
    if (button) show(button);
  };

  const showPart = (part) => {
    for (const view of document.querySelectorAll("[data-part]")) view.hidden = view.dataset.part !== part;
    for (const button of document.querySelectorAll("[data-show-part]"))
      button.setAttribute("aria-pressed", String(button.dataset.showPart === part));
    begin(part);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.cell) {
      show(button);
      panel.scrollIntoView({ block: "nearest" });
    } else if (button.dataset.showPart) showPart(button.dataset.showPart);
  });

  // Arrow keys go over the table of mistakes as over a board, past empty places.
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

  // The map: a class at a time, and any picture by pointing at it or by going there.
  const map = document.getElementById("map-board");
  if (map) {
    const points = [...map.querySelectorAll(".point")];
    const places = points.map((point) => {
      const box = point.getBBox();
      return [box.x + box.width / 2, box.y + box.height / 2];
    });
    const here = document.getElementById("here");
    const beside = document.getElementById("map-panel");
    let at = -1;

    const go = (place) => {
      at = place;
      const picture = data.pictures[data.points[place]];
      here.setAttribute("cx", places[place][0]);
      here.setAttribute("cy", places[place][1]);
      here.removeAttribute("hidden");
      const made = figure(picture).firstChild;
      made.querySelector("figcaption").prepend(element("b", {}, picture.truth), ` (${picture.part})`);
      beside.replaceChildren(made);
    };

    map.addEventListener("pointerover", (event) => {
      if (event.target.dataset.point) go(Number(event.target.dataset.point));
    });
    // A finger is not that exact: the nearest picture is meant.
    map.addEventListener("click", (event) => {
      const mouse = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
      const far = places.map(([x, y]) => (x - mouse.x) ** 2 + (y - mouse.y) ** 2);
      go(far.indexOf(Math.min(...far)));
    });
    map.addEventListener("focus", () => {
      if (at < 0) go(0);
    });
    map.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const [x, y] = places[at];
      let best = -1;
      let least = Infinity;
      places.forEach(([px, py], place) => {
        const along = (px - x) * step[1] + (py - y) * step[0];
        const across = Math.abs((px - x) * step[0]) + Math.abs((py - y) * step[1]);
        if (along > 0 && across <= along && along + across < least) [best, least] = [place, along + across];
      });
      if (best >= 0) go(best);
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

  begin(Object.keys(data.cells)[0]);
})();
