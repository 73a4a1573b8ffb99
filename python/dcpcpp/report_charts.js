"use strict";
// What the page of `dcpcpp report` is made of. Names come from a checkpoint that may be hostile:
// they only ever become text nodes.

const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const SVG = "http://www.w3.org/2000/svg";
// Of pictures, in the page's pixels: scaled ones could not be read on a narrow screen.
const WIDTH = Math.min(960, Math.max(240, page.clientWidth));

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function size(nbytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  let value = nbytes;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return unit === 0 ? `${nbytes} B` : `${value.toPrecision(3)} ${units[unit]}`;
}

const count = (number) => number.toLocaleString("en-US");
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
const number = (value) => (value === null ? "-" : String(Number(value.toPrecision(6))));
const seconds = (value) => `${value.toFixed(3)} s`;
const shape = (sizes) => `[${sizes.join(", ")}]`;

function section(title, ...children) {
  page.append(el("h2", {}, title), ...children);
}

// `right` says of each column whether it is aligned to the right.
function table(head, rows, right) {
  const row = (tag, cells) =>
    el("tr", {}, ...cells.map((cell, i) => el(tag, right[i] ? { class: "right" } : {}, cell)));
  return el("div", { class: "wide" }, el("table", {}, row("th", head), ...rows.map((cells) => row("td", cells))));
}

function bar(share) {
  const inner = el("div", { class: "bar" });
  inner.style.width = `${100 * share}%`;
  return el("div", { class: "barcell" }, inner);
}

function more(shown, all) {
  return all > shown ? el("p", {}, `${count(all - shown)} more are not shown.`) : null;
}

// Sizes.

// Rectangles for `items`, the largest first, that are as square as can be (Bruls, Huizing and van
// Wijk 2000).
function squarify(items, x, y, width, height) {
  const total = items.reduce((sum, item) => sum + item.nbytes, 0);
  const scale = total > 0 ? (width * height) / total : 0;
  const areas = items.map((item) => item.nbytes * scale);
  const boxes = [];
  const worst = (row, sum, side) =>
    Math.max((side * side * row[0]) / (sum * sum), (sum * sum) / (side * side * row[row.length - 1]));
  for (let first = 0; first < items.length; ) {
    const side = Math.min(width, height);
    let sum = areas[first];
    let row = [sum];
    for (let next = first + 1; next < items.length; next += 1) {
      const longer = [...row, areas[next]];
      if (worst(longer, sum + areas[next], side) > worst(row, sum, side)) break;
      row = longer;
      sum += areas[next];
    }
    const depth = side > 0 ? sum / side : 0;
    let at = 0;
    for (const [i, area] of row.entries()) {
      const length = depth > 0 ? area / depth : 0;
      const item = items[first + i];
      if (width >= height) boxes.push({ item, x, y: y + at, width: depth, height: length });
      else boxes.push({ item, x: x + at, y, width: length, height: depth });
      at += length;
    }
    if (width >= height) {
      x += depth;
      width -= depth;
    } else {
      y += depth;
      height -= depth;
    }
    first += row.length;
  }
  return boxes;
}

function label(box, dx, dy) {
  const letters = [...box.item.name];
  const room = Math.floor((box.width - 2 * dx) / 7);
  if (room < 3 || box.height < dy + 6) return null;
  const text = letters.length > room ? `${letters.slice(0, room - 1).join("")}…` : box.item.name;
  return svg("text", { x: box.x + dx, y: box.y + dy }, text);
}

function drawBox(picture, box, color, onClick) {
  const item = box.item;
  const rect = svg(
    "rect",
    {
      class: item.children.length > 0 ? "box open" : "box",
      x: box.x, y: box.y, width: Math.max(box.width, 0), height: Math.max(box.height, 0),
      fill: color,
    },
    svg("title", {}, `${item.name}: ${size(item.nbytes)}, ${count(item.tensors)} tensors`),
  );
  if (item.children.length > 0) rect.addEventListener("click", onClick);
  picture.append(rect);
}

const withBytes = (node) => node.children.filter((child) => child.nbytes > 0);

function treemap(holder, path) {
  const node = path[path.length - 1];
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} 460`, role: "img" });
  const children = node.children.length > 0 ? withBytes(node) : [node];
  squarify(children, 0, 0, WIDTH, 460).forEach((box, i) => {
    const open = () => treemap(holder, [...path, box.item]);
    const hue = (i * 47 + 210) % 360;
    drawBox(picture, box, `hsl(${hue} 45% 42%)`, open);
    if (box.width > 60 && box.height > 60) {
      squarify(withBytes(box.item), box.x + 4, box.y + 20, box.width - 8, box.height - 24).forEach(
        (inner, j) => {
          drawBox(picture, inner, `hsl(${hue} 45% ${46 + 6 * (j % 3)}%)`, open);
          const text = label(inner, 3, 13);
          if (text !== null) picture.append(text);
        },
      );
    }
    const text = label(box, 5, 14);
    if (text !== null) picture.append(text);
  });
  const steps = path.map((step, i) => {
    const button = el("button", { type: "button" }, step.name);
    button.addEventListener("click", () => treemap(holder, path.slice(0, i + 1)));
    return el("span", {}, i > 0 ? " . " : "", button);
  });
  const about = ` ${size(node.nbytes)}, ${count(node.tensors)} tensors`;
  holder.replaceChildren(el("p", {}, ...steps, about), picture);
}

// Columns of bytes, with their mean.
function columns(holders, nameOf) {
  const width = WIDTH;
  const height = 160;
  const shown = holders.slice(0, 256);
  const largest = Math.max(1, ...shown.map((holder) => holder.nbytes));
  const mean = shown.reduce((sum, holder) => sum + holder.nbytes, 0) / Math.max(1, shown.length);
  const step = Math.min(80, width / Math.max(1, shown.length));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height + 4}`, role: "img" });
  shown.forEach((holder, i) => {
    const tall = (holder.nbytes / largest) * height;
    picture.append(
      svg(
        "rect",
        { x: i * step, y: height - tall, width: Math.max(step - 1, 0.5), height: tall, fill: "#3b7dd8" },
        svg("title", {}, `${nameOf(holder)}: ${size(holder.nbytes)}`),
      ),
    );
  });
  const y = height - (mean / largest) * height;
  picture.append(svg("line", { x1: 0, x2: step * shown.length, y1: y, y2: y, stroke: "#d03030" }));
  return picture;
}

const color = (number) => `hsl(${(number * 47 + 210) % 360} 50% 50%)`;

// A row for each thread of a rank, from 0 to `until` seconds; names by the spans' numbers.
function timelineOf(rank, names, until) {
  const width = WIDTH;
  const tall = 12;
  const bottom = (tall + 2) * rank.threads.length;
  const scale = until > 0 ? width / until : 0;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${bottom + 18}`, role: "img" });
  rank.threads.forEach((spans, row) => {
    for (const [name, begin, end, nbytes] of spans) {
      const bytes = nbytes > 0 ? `, ${size(nbytes)}` : "";
      const text = `${names[name]}: ${seconds(begin)} to ${seconds(end)}${bytes}`;
      picture.append(
        svg(
          "rect",
          {
            x: begin * scale, y: row * (tall + 2), width: Math.max((end - begin) * scale, 0.5), height: tall,
            fill: color(name),
          },
          svg("title", {}, text),
        ),
      );
    }
  });
  const end = { x: width, y: bottom + 14, class: "axis", "text-anchor": "end" };
  picture.append(svg("text", { x: 0, y: bottom + 14, class: "axis" }, seconds(0)));
  picture.append(svg("text", end, seconds(until)));
  return picture;
}

const swatch = (number) =>
  svg("svg", { class: "swatch", viewBox: "0 0 10 10" }, svg("rect", { width: 10, height: 10, fill: color(number) }));

function histogram(tensor) {
  const width = WIDTH;
  const height = 140;
  const largest = Math.max(1, ...tensor.counts);
  const step = width / tensor.counts.length;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height + 18}`, role: "img" });
  tensor.counts.forEach((bin, i) => {
    const tall = (bin / largest) * height;
    picture.append(
      svg(
        "rect",
        { x: i * step, y: height - tall, width: step - 1, height: tall, fill: "#3b7dd8" },
        svg("title", {}, `${count(bin)} elements`),
      ),
    );
  });
  const end = { x: width, y: height + 14, class: "axis", "text-anchor": "end" };
  picture.append(svg("text", { x: 0, y: height + 14, class: "axis" }, number(tensor.min)));
  picture.append(svg("text", end, number(tensor.max)));
  return picture;
}

