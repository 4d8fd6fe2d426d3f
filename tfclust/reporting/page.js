"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 40;  // clusters added at a time

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);  // strings become text, never markup
  return element;
}

function draw(tag, attributes) {
  const svg = "http://www.w3.org/2000/svg";
  const element = document.createElementNS(svg, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  return element;
}

function colour(number) {
  return `hsl(${(number * 137.508) % 360} 60% ${number % 2 ? 45 : 60}%)`;
}

function picture(index) {
  const image = data.images[index];
  if (!image.picture) {
    return make("span", {class: "file small"}, image.name);
  }
  return make("img", {
    class: "picture", src: image.picture, alt: image.name, title: image.name,
    loading: "lazy",
  });
}

function group(words, indices) {
  if (!indices.length) { return ""; }
  const pictures = make("div", {}, ...indices.map(picture));
  return make("div", {class: "group"}, make("span", {}, words), pictures);
}

function heading(cluster) {
  let words = `Cluster ${cluster.number} · ${cluster.size.toLocaleString("en")} images`;
  if (cluster.label !== null) {
    words += ` · ${Math.round(100 * cluster.purity)}% labelled ${cluster.label}`;
  }
  return make("h3", {}, words);
}

function card(cluster, hits) {
  return make(
    "article", {class: "card", "data-cluster": cluster.number},
    heading(cluster),
    make(
      "div", {class: "pictures"},
      group("found", hits.slice(0, 12)),
      group("surest", cluster.nearest),
      group("random", cluster.random),
      group("least sure", cluster.farthest),
    ),
  );
}

const ORDERS = {
  size: (a, b) => b.size - a.size,
  small: (a, b) => a.size - b.size,
  number: (a, b) => a.number - b.number,
  pure: (a, b) => (b.purity ?? -1) - (a.purity ?? -1),
  mixed: (a, b) => (a.purity ?? 2) - (b.purity ?? 2),
};

function gallery() {
  const place = document.getElementById("gallery");
  if (!place) { return; }
  const order = document.getElementById("order");
  const find = document.getElementById("find");
  const more = document.getElementById("more");
  let listed = [], shown = 0;

  function add() {
    const next = listed.slice(shown, shown + PAGE);
    place.append(...next.map(([cluster, hits]) => card(cluster, hits)));
    shown += next.length;
    more.hidden = shown >= listed.length;
  }

  function update() {
    const words = find.value.trim().toLowerCase();
    const hits = new Map();
    if (words) {
      data.images.forEach((image, index) => {
        if (image.name.toLowerCase().includes(words)) {
          if (!hits.has(image.cluster)) { hits.set(image.cluster, []); }
          hits.get(image.cluster).push(index);
        }
      });
    }
    listed = data.clusters
      .filter((c) => !words || hits.has(c.number)
        || String(c.number) === words
        || (c.label ?? "").toLowerCase().includes(words))
      .sort((a, b) => ORDERS[order.value](a, b) || a.number - b.number)
      .map((c) => [c, hits.get(c.number) ?? []]);
    document.getElementById("found").textContent =
      words ? `${listed.length} of ${data.clusters.length} clusters` : "";
    place.replaceChildren();
    shown = 0;
    add();
  }

  order.addEventListener("change", update);
  find.addEventListener("input", update);
  more.addEventListener("click", add);
  update();
}

function sizes() {
  const place = document.getElementById("sizes");
  if (!place) { return; }
  const all = data.clusters.map((c) => c.size).sort((a, b) => b - a);
  const fair = all.reduce((a, b) => a + b, 0) / data.num_clusters;
  const height = 120, width = 1000, most = Math.max(...all, fair);
  const step = width / Math.max(data.num_clusters, 1);
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height + 20}`, role: "img",
    "aria-label": `Sizes of ${data.num_clusters} clusters: the largest has `
      + `${all[0]} images, an equal share would be ${fair.toFixed(1)}, `
      + `${data.num_clusters - all.length} are empty.`,
  });
  all.forEach((size, position) => svg.append(draw("rect", {
    x: position * step, y: height * (1 - size / most),
    width: Math.max(step * 0.85, 0.3), height: height * size / most,
  })));
  const level = height * (1 - fair / most);
  svg.append(draw("line", {
    class: "level", x1: 0, x2: width, y1: level, y2: level,
  }));
  const note = draw("text", {
    x: width, y: Math.max(level - 4, 12), "text-anchor": "end",
  });
  note.textContent = `equal shares: ${fair.toFixed(1)} images`;
  svg.append(note);
  place.append(svg);
}

function plot() {
  const place = document.getElementById("plot");
  if (!place) { return; }
  const side = 600, edge = 12, aside = document.getElementById("shown");
  const svg = draw("svg", {
    viewBox: `0 0 ${side} ${side}`, tabindex: 0, role: "application",
    "aria-label": `Map of ${data.points.length} images; arrow keys step through`,
  });
  const dots = data.points.map(([index, x, y]) => {
    const dot = draw("circle", {
      cx: edge + x * (side - 2 * edge), cy: edge + y * (side - 2 * edge),
      r: 4, fill: colour(data.images[index].cluster), "data-image": index,
    });
    svg.append(dot);
    return dot;
  });
  let now = -1;

  function show(position) {
    if (now >= 0) { dots[now].classList.remove("on"); }
    now = position;
    dots[now].classList.add("on");
    const image = data.images[data.points[now][0]];
    aside.replaceChildren(
      picture(data.points[now][0]),
      make("p", {}, image.name),
      make("p", {class: "small"}, `cluster ${image.cluster}`
        + (image.label === undefined ? "" : ` · ${image.label}`)),
    );
  }

  svg.addEventListener("pointerover", (event) => {
    const position = dots.indexOf(event.target);
    if (position >= 0) { show(position); }
  });
  svg.addEventListener("keydown", (event) => {
    const steps = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
    if (event.key in steps) {
      event.preventDefault();
      show((now + steps[event.key] + dots.length) % dots.length);
    }
  });
  place.append(svg);
}

function theme() {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
}

theme();
sizes();
gallery();
plot();
