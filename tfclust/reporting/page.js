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

function sizes() {
  const place = document.getElementById("sizes");
  if (!place) { return; }
  const all = data.clusters.map((c) => c.size).sort((a, b) => b - a);
  const fair = all.reduce((a, b) => a + b, 0) / data.num_clusters;
  const height = 120, width = 1000, most = Math.max(...all, fair);
  const step = width / Math.max(data.num_clusters, 1);
  const svg = draw("svg", {
    viewBox: `0 -20 ${width} ${height + 20}`, role: "img",
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
    x: width, y: level - 4, "text-anchor": "end",
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
      r: 4, fill: colour(data.images[index].cluster ?? 0), "data-image": index,
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
      make("p", {class: "small"}, [
        image.cluster === null ? "" : `cluster ${image.cluster}`,
        image.label ?? "",
      ].filter(Boolean).join(" · ")),
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

sizes();
plot();
