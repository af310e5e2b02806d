// Return the faults of a page: overflow, missing texts and ids, low contrast (WCAG 2.2, 1.4.3).
const found = [];

const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) found.push(`the body is ${root.scrollWidth} wide, the window ${root.clientWidth}`);
if (!root.lang) found.push("the page has no lang");
if (document.querySelectorAll("h1").length !== 1) found.push("expected exactly one h1");
for (const image of document.querySelectorAll("img")) {
  if (!image.alt.trim()) found.push("an image without alternative text");
  if (image.complete && !image.naturalWidth) found.push(`the image ${image.alt} is not shown`);
}
for (const name of ["aria-controls", "aria-labelledby"])
  for (const node of document.querySelectorAll(`[${name}]`))
    if (!document.getElementById(node.getAttribute(name))) found.push(`#${node.getAttribute(name)} does not exist`);
const names = [...document.querySelectorAll("[id]")].map((node) => node.id);
for (const name of names) if (names.indexOf(name) !== names.lastIndexOf(name)) found.push(`#${name} is used twice`);
for (const link of document.querySelectorAll('a[href^="#"]'))
  if (!document.querySelector(link.getAttribute("href"))) found.push(`${link.getAttribute("href")} does not exist`);
for (const button of document.querySelectorAll("button"))
  if (!(button.getAttribute("aria-label") || button.textContent).trim()) found.push("a button without a name");

const brush = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const colour = (text) => {
  brush.clearRect(0, 0, 1, 1);
  brush.fillStyle = text;
  brush.fillRect(0, 0, 1, 1);
  return [...brush.getImageData(0, 0, 1, 1).data];
};
const over = ([r, g, b, a], back) => [r, g, b].map((value, i) => (value * a + back[i] * (255 - a)) / 255);
const behind = (node) => {
  if (!node) return [255, 255, 255];
  const own = colour(getComputedStyle(node).backgroundColor);
  return own[3] === 255 ? own.slice(0, 3) : over(own, behind(node.parentElement));
};
const light = (rgb) => {
  const line = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb.map(line);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
for (const node of document.body.querySelectorAll("*")) {
  const says = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!says || node.closest("svg, script, .skip, .hidden, noscript") || !node.checkVisibility()) continue;
  const back = behind(node);
  const [low, high] = [light(over(colour(getComputedStyle(node).color), back)), light(back)].sort((a, b) => a - b);
  const contrast = (high + 0.05) / (low + 0.05);
  if (contrast < 4.5)
    found.push(`${node.tagName} "${node.textContent.trim().slice(0, 30)}" has a contrast of ${contrast.toFixed(1)}`);
}
return found;
