"use strict";
// ---------------------------------------------------------------- tables: click a heading to sort
function cellValue(row, place) {
  const cell = row.cells[place];
  const text = (cell.querySelector(".value") ?? cell).textContent.trim();
  const number = parseFloat(text);
  return { text, number, missing: text === "–" || text === "-" || text === "" };
}

function sortTable(heading, place) {
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, ...cellValue(row, place) }));
  const numeric = rows.every((r) => r.missing || !Number.isNaN(r.number));
  const before = heading.getAttribute("aria-sort");
  const down = before ? before === "ascending" : numeric;
  heading.closest("tr").querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  rows.sort((a, b) => {
    if (a.missing || b.missing) return a.missing - b.missing;
    const order = numeric ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true });
    return down ? -order : order;
  });
  body.append(...rows.map((r) => r.row));
}

for (const line of document.querySelectorAll("thead tr:last-child")) {
  [...line.cells].forEach((th, place) => {
    th.classList.add("sortable");
    th.tabIndex = 0;
    th.title = "sort";
    th.addEventListener("click", () => sortTable(th, place));
    th.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        sortTable(th, place);
      }
    });
  });
}

// ---------------------------------------------------------------- charts: values under the pointer
const tip = document.getElementById("tip");

function readLines(svg) {
  return [...svg.querySelectorAll(".line")].map((group) => {
    const path = group.querySelector("path").getAttribute("d");
    const numbers = (path.match(/-?[\d.]+/g) ?? []).map(Number);
    const points = [];
    for (let i = 0; i + 1 < numbers.length; i += 2) points.push([numbers[i], numbers[i + 1]]);
    return { name: group.dataset.name, style: group.classList[1], points };
  });
}

function back(range, place) {
  const [low, high, start, end] = range.split(" ").map(Number);
  return low + ((place - start) / (end - start)) * (high - low);
}

function written(value) {
  return Math.abs(value) >= 1000 ? Math.round(value).toString() : Number(value.toPrecision(3)).toString();
}

function pointAt(svg, event) {
  svg.lines ??= readLines(svg);
  const box = svg.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
  const near = svg.lines
    .filter((line) => line.points.length)
    .map((line) => {
      const point = line.points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
      return { ...line, point };
    });
  tip.hidden = !near.length;
  if (!near.length) return;
  const first = near.reduce((a, b) => (Math.abs(b.point[0] - x) < Math.abs(a.point[0] - x) ? b : a));
  tip.textContent = `${svg.dataset.label} ${written(back(svg.dataset.x, first.point[0]))}`;
  for (const line of near) {
    const item = document.createElement("div");
    const swatch = document.createElement("span");
    swatch.className = `swatch ${line.style}`;
    item.append(swatch, `${line.name}: ${written(back(svg.dataset.y, line.point[1]))}`);
    tip.append(item);
  }
  const left = event.clientX + 14;
  tip.style.left = `${left + tip.offsetWidth > innerWidth ? event.clientX - tip.offsetWidth - 14 : left}px`;
  tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 4)}px`;
}

for (const svg of document.querySelectorAll(".chart svg")) {
  svg.addEventListener("pointermove", (event) => pointAt(svg, event));
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}

// ---------------------------------------------------------------- gallery
// An entry is [name, run, split, subset, prompt, headline score, scores, [[caption, image]]], with
// numbers for names. Cards are made as they come into view; images are read in chunks when needed.
const PAGE = 40;
const source = document.getElementById("data");
if (source) startGallery(JSON.parse(source.textContent));

function startGallery(data) {
  const chunks = [...document.querySelectorAll("script.chunk")];
  const read = new Map();
  const form = document.getElementById("controls");
  const list = document.getElementById("entries");
  const more = document.getElementById("more");
  const zoom = document.getElementById("zoom");
  let found = [];
  let shown = 0;
  let open = 0;

  function address(number) {
    const place = Math.floor(number / data.chunk);
    if (!read.has(place)) read.set(place, JSON.parse(chunks[place].textContent));
    return `data:image/webp;base64,${read.get(place)[number % data.chunk]}`;
  }

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function figure(caption, number, alt) {
    const made = element("figure");
    if (number < 0) {
      made.append(element("div", "missing", number === -1 ? "missing" : "left out"));
    } else {
      const image = element("img");
      image.alt = alt;
      image.decoding = "async";
      image.src = address(number);
      made.append(image);
    }
    made.append(element("figcaption", "", caption));
    return made;
  }

  function scoreText(place, value, prompt) {
    if (value === null) return "–";
    return data.fraction[place] && !data.promptLabel[prompt] ? value.toFixed(3) : (100 * value).toFixed(1);
  }

  function card(entry) {
    const [name, run, split, subset, prompt, headline, scores, images] = entry;
    const made = element("article", "entry");
    const what = element("div", "what");
    const chosen = form.sort.value === "" || form.sort.value === "name" ? headline : Number(form.sort.value);
    if (chosen >= 0) {
      const score = element("div", "score", `${scoreText(chosen, scores[chosen], prompt)} `);
      score.append(element("small", "", data.scores[chosen]));
      what.append(score);
    }
    what.append(element("div", "name", name));
    const owner = element("div");
    owner.append(element("span", `swatch s${data.style[run]}`), data.run[run]);
    what.append(owner);
    const tags = [data.split[split], data.subset[subset], data.promptLabel[prompt]].filter(Boolean);
    what.append(element("div", "rest", tags.join(" · ")));
    const rest = data.scores.map((score, i) => [score, i]).filter(([, i]) => i !== chosen && scores[i] !== null);
    what.append(element("div", "rest", rest.map(([score, i]) => `${score} ${scoreText(i, scores[i], prompt)}`).join(", ")));
    const row = element("div", "images");
    row.style.setProperty("--n", Math.max(4, images.length));
    for (const [caption, number] of images) {
      row.append(figure(data.captions[caption], number, `${data.captions[caption]} of ${name}`));
    }
    made.append(what, row);
    return made;
  }

  function showMore() {
    const next = found.slice(shown, shown + PAGE);
    list.append(...next.map((entry, i) => {
      const made = card(entry);
      made.dataset.place = shown + i;
      return made;
    }));
    shown += next.length;
    more.hidden = shown >= found.length;
  }

  function sorter() {
    const by = form.sort.value;
    const best = form.order.value === "best";
    if (by === "name") {
      return (a, b) => (best ? -1 : 1) * a[0].localeCompare(b[0], "en", { numeric: true });
    }
    const value = (entry) => {
      const place = by === "" ? entry[5] : Number(by);
      const score = place < 0 ? null : entry[6][place];
      return score === null ? null : data.lower[place] ? -score : score;
    };
    return (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return best ? y - x : x - y;
    };
  }

  function update() {
    const part = form.elements.name.value.trim().toLowerCase();
    const keys = ["run", "split", "subset", "prompt"];
    const wanted = keys.map((key) => form[key].value);
    found = data.entries.filter(
      (entry) => wanted.every((value, i) => value === "" || entry[i + 1] === Number(value)) &&
        (!part || entry[0].toLowerCase().includes(part)),
    );
    found.sort(sorter());
    const all = data.entries.length;
    const unit = data.prompt.some(Boolean) ? "results" : "images"; // an image has one per prompt
    const shownPart = found.length === all ? "" : `${found.length.toLocaleString("en")} of `;
    document.getElementById("count").textContent = `${shownPart}${all.toLocaleString("en")} ${unit}`;
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  function fill(select, options) {
    select.append(...options.map(([value, text]) => new Option(text, value)));
  }

  function zoomTo(place) {
    open = Math.min(Math.max(place, 0), found.length - 1);
    zoom.querySelector(".zoomed").replaceChildren(card(found[open]));
    if (!zoom.open) zoom.showModal();
  }

  const several = new Set(data.entries.map((entry) => entry[5])).size > 1;
  fill(form.sort, several ? [["", "main score"]] : []);
  fill(form.sort, data.scores.map((score, i) => [String(i), score]));
  fill(form.sort, [["name", "name"]]);
  if (!several && data.entries.length) form.sort.value = String(data.entries[0][5]);
  for (const key of ["run", "split", "subset", "prompt"]) {
    const names = key === "prompt" ? data.promptLabel : data[key];
    fill(form[key], [["", "all"], ...names.map((name, i) => [String(i), name || "none"])]);
    form[key].parentElement.hidden = names.length < 2;
  }
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.querySelector("button").addEventListener("click", showMore);
  list.addEventListener("click", (event) => {
    if (event.target.tagName === "IMG") zoomTo(Number(event.target.closest(".entry").dataset.place));
  });
  zoom.addEventListener("click", (event) => {
    if (event.target === zoom) zoom.close();
    if (event.target.dataset.step) zoomTo(open + Number(event.target.dataset.step));
  });
  zoom.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") zoomTo(open + 1);
    if (event.key === "ArrowLeft") zoomTo(open - 1);
  });
  new IntersectionObserver((seen) => {
    if (seen.some((one) => one.isIntersecting) && shown < found.length) showMore();
  }, { rootMargin: "800px" }).observe(more);
  update();
}
