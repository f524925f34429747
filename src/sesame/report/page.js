"use strict";
const OPTIONS = { actions: false, renderer: "svg", tooltip: { theme: "dark" } };
const views = new Map(); // by the name of the figure

const json = (script) => JSON.parse(script.textContent);

// Draws every chart from the specification that stands beside it, one after the other so that the page can be read.
async function drawAll() {
  for (const script of document.querySelectorAll("script[data-chart]")) {
    const place = document.getElementById(script.dataset.chart);
    try {
      const spec = json(script);
      const { view } = await vegaEmbed(place, spec, OPTIONS);
      views.set(place.id, view);
      if (spec.vconcat) fit(place, view);
      const form = document.querySelector(`[data-examples="${place.id}"]`);
      if (form) follow(form, view);
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
    }
  }
}

// Vega-Lite gives a single chart the width of its place; charts one above the other are given theirs here.
function fit(place, view) {
  let last = 0;
  new ResizeObserver(async () => {
    const drawn = place.querySelector("svg");
    if (!drawn || place.clientWidth === last) return;
    last = place.clientWidth;
    const around = Number(drawn.getAttribute("width")) - view.width();
    await view.width(Math.max(last - around, 60)).runAsync();
  }).observe(place);
}

// ---------------------------------------------------------------------------- the examples behind a point
function follow(form, view) {
  const data = json(document.querySelector(`[data-behind="${form.dataset.examples}"]`));
  form.hidden = false;
  form.addEventListener("change", () => show(form, data, view));
  view.addEventListener("click", (_, item) => {
    if (item?.mark?.marktype !== "symbol" || !data.steps.includes(item.datum?.step)) return;
    form.elements.series.value = item.datum.series;
    form.elements.step.value = item.datum.step;
    show(form, data, view);
    form.scrollIntoView({ block: "nearest" });
  });
  if (form.elements.series.value) show(form, data, view);
}

function show(form, data, view) {
  const series = form.elements.series.value, step = form.elements.step.selectedIndex;
  const run = Number(form.elements.run?.value ?? 0), last = data.steps.length - 1;
  const at = (things, place) => things.of.find(([r, s]) => r === run && s === place);
  const cards = (data.series[series] ?? []).filter((thing) => at(thing, step)).map((thing) => {
    const looks = step === last ? [step] : [step, last];
    const rows = looks.filter((place) => at(thing, place)).map((place) => {
      const when = place === last ? "at the end" : `step ${data.steps[place].toLocaleString("en")}`;
      return guessesAt(when, at(thing, place), thing.word);
    });
    const [before, word = "", after = ""] = thing.text.split(/[⟦⟧]/);
    return element("article", { className: "card" }, [
      element("p", { className: "gap" }, [before, element("mark", {}, [word]), after]),
      element("table", { className: "guesses" }, [element("tbody", {}, rows)]),
    ]);
  });
  const none = series ? "No example was kept of this point." : "";
  form.querySelector(".cards").replaceChildren(...(cards.length ? cards : [none]));
  view.signal("picked", series).run();
}

function guessesAt(when, [, , right, guesses], word) {
  const cells = [];
  for (let i = 0; i < guesses.length; i += 2) {
    const hit = guesses[i].trim() === word;
    const token = hit ? element("strong", {}, [`${guesses[i]} ✓`]) : guesses[i];
    const chance = guesses[i + 1] === null ? [] : [" ", element("small", {}, [`${guesses[i + 1]}%`])];
    cells.push(element("span", { className: "guess" }, [token, ...chance]), " ");
  }
  return element("tr", {}, [
    element("th", { scope: "row" }, [when]),
    element("td", { className: "verdict" }, [right ? "right" : "wrong"]),
    element("td", {}, cells),
  ]);
}

function element(name, properties, children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// -------------------------------------------------------------- a page that follows a run (sesame report --live)
const POLL = 3000; // milliseconds

async function poll() {
  const status = () => document.getElementById("live");
  try {
    const said = await (await fetch("stamp")).json();
    if (said.stamp !== document.body.dataset.live) await refresh();
    status().textContent = said.state;
  } catch {
    status().textContent = "The server has ended; these are its last numbers.";
  }
  setTimeout(poll, POLL);
}

// Puts the new page in the place of this one, with what was chosen, opened and scrolled to.
async function refresh() {
  const fresh = new DOMParser().parseFromString(await (await fetch(".")).text(), "text/html");
  const kept = new Map(controls(document).map((control) => [nameOf(control), stateOf(control)]));
  const heights = [...document.querySelectorAll(".chart")].map((place) => [place.id, place.offsetHeight]);
  const scroll = [scrollX, scrollY];
  views.forEach((view) => view.finalize());
  views.clear();
  for (const part of ["header", "main"]) document.querySelector(part).replaceWith(fresh.querySelector(part));
  document.body.dataset.live = fresh.body.dataset.live;
  for (const [id, height] of heights) document.getElementById(id)?.style.setProperty("min-height", `${height}px`);
  for (const control of controls(document)) {
    if (kept.has(nameOf(control))) restore(control, kept.get(nameOf(control)));
  }
  scrollTo(...scroll);
  await drawAll();
}

const controls = (page) => [...page.querySelectorAll("input, select, details")];
const nameOf = (control) => [
  control.form?.dataset.examples, control.name, control.type === "radio" && control.value,
  control.querySelector("summary")?.textContent,
].join("/");

function stateOf(control) {
  if (control instanceof HTMLDetailsElement) return { open: control.open };
  const last = control.selectedIndex === control.length - 1;
  if (control.name === "step") return { step: Number(control.value), last };
  return control.type === "radio" ? { checked: control.checked } : { value: control.value };
}

// The last step stays the last one, also where it is another by now; of others the nearest one stays.
function restore(control, state) {
  if (control.name !== "step") return Object.assign(control, state);
  const far = [...control.options].map((option) => Math.abs(option.value - state.step));
  control.selectedIndex = state.last ? far.length - 1 : far.indexOf(Math.min(...far));
}

// On paper nothing can be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
drawAll();
if (document.body.dataset.live) setTimeout(poll, POLL);
