const PAGE = 40;  // clusters added at a time
const NAMED = new Map(data.clusters?.map((c) => [c.number, c.name]));

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
  const number = cluster.size.toLocaleString("en");
  let words = `Cluster ${cluster.number}`;
  if (cluster.name && !data.naming) { words += `: ${cluster.name}`; }
  words += ` · ${number} images`;
  if (cluster.outliers !== null) {
    const share = (100 * cluster.size / data.num_images).toFixed(1);
    words += ` · ${share}% of all · ${cluster.outliers} outliers`;
  }
  if (cluster.label !== null) {
    words += ` · ${Math.round(100 * cluster.purity)}% labelled ${cluster.label}`;
  }
  return make("h3", {}, words);
}

// What is typed outlives another order or search, which make new cards.
function naming(cluster) {
  const input = make("input", {
    class: "name", value: cluster.name, maxlength: 200,
    placeholder: "name", "aria-label": `Name of cluster ${cluster.number}`,
  });
  input.addEventListener("input", () => { cluster.name = input.value; });
  return input;
}

// A name that was taken away is saved as an empty one, which removes it.
function save() {
  const names = {};
  for (const cluster of data.clusters) {
    const name = cluster.name.trim();
    if (name || NAMED.get(cluster.number)) { names[cluster.number] = name; }
  }
  const text = JSON.stringify(names, null, 1);
  const link = make("a", {
    href: URL.createObjectURL(new Blob([text], {type: "application/json"})),
    download: "names.json",
  });
  link.click();
  URL.revokeObjectURL(link.href);
}

function card(cluster, hits) {
  return make(
    "article", {class: "card", "data-cluster": cluster.number},
    data.naming
      ? make("header", {}, heading(cluster), naming(cluster))
      : heading(cluster),
    make(
      "div", {class: "pictures"},
      group("found", hits.slice(0, 12)),
      group(data.ends[0], cluster.nearest),
      group("random", cluster.random),
      group(data.ends[1], cluster.farthest),
    ),
  );
}

const ORDERS = {
  size: (a, b) => b.size - a.size,
  small: (a, b) => a.size - b.size,
  number: (a, b) => a.number - b.number,
  outliers: (a, b) => b.outliers - a.outliers,
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
        || c.name.toLowerCase().includes(words)
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

gallery();
document.getElementById("save")?.addEventListener("click", save);
