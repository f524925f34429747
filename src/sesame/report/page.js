// Draws every chart from the specification that stands beside it.
for (const script of document.querySelectorAll("script[data-chart]")) {
  const place = document.getElementById(script.dataset.chart);
  vegaEmbed(place, JSON.parse(script.textContent), { actions: false, renderer: "svg", tooltip: { theme: "dark" } })
    .catch((error) => { place.textContent = `This chart could not be drawn: ${error.message}`; });
}
// On paper nothing can be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
