// All charts of the page, and what readers do to them.

const hidden = new Set();
const charts = JSON.parse(document.getElementById("charts").textContent);
const figures = [...document.querySelectorAll("figure")];

function setUp(figure, chart) {
  const place = figure.querySelector(".plot");
  const follow = tooltip(place, chart);
  figure.redraw = () => {
    figure.plot?.destroy();
    figure.plot = draw(place, chart, hidden, follow);
    listen(figure.plot);
  };
  pills(figure, chart);
  for (const button of figure.querySelectorAll(".scale")) scaleButton(figure, chart, button);
  figure.redraw();
  place.addEventListener("keydown", (event) => step(figure.plot, event));
  new ResizeObserver(() => resize(figure.plot, place)).observe(place);
}

function resize(plot, place) {
  if (place.clientWidth !== plot.width) plot.setSize(size(place));
}

function pills(figure, chart) {
  figure.querySelectorAll(".pill").forEach((pill, i) => {
    pill.addEventListener("click", () => toggle(chart.series[i].label));
  });
}

function paint(figure, chart) {
  figure.querySelectorAll(".pill").forEach((pill, i) => {
    pill.style.setProperty("--color", ink(chart.series[i].color));
    pill.setAttribute("aria-pressed", String(!hidden.has(chart.series[i].label)));
  });
}

// A label stands for one thing on the whole page.
function toggle(label) {
  if (!hidden.delete(label)) hidden.add(label);
  figures.forEach((figure, k) => {
    paint(figure, charts[k]);
    layout(charts[k]).forEach((place, i) => {
      if (charts[k].series[i].label === label) show(figure.plot, Object.values(place), !hidden.has(label));
    });
  });
}

function show(plot, rows, isShown) {
  plot.batch(() => rows.forEach((row) => plot.setSeries(row, { show: isShown })));
}

function scaleButton(figure, chart, button) {
  const key = button.dataset.axis === "x" ? "logX" : "logY";
  const values = key === "logX" ? chart.x : chart.series.map((series) => series.y);
  button.disabled = !values.flat().some((value) => value > 0);
  chart[key] &&= !button.disabled;
  button.setAttribute("aria-pressed", String(chart[key]));
  button.addEventListener("click", () => {
    chart[key] = !chart[key];
    button.setAttribute("aria-pressed", String(chart[key]));
    figure.redraw();
  });
}

// uPlot follows the mouse by itself; a finger that moves sideways reads values, one that moves up or down scrolls.
function listen(plot) {
  const follow = (event) => {
    if (event.pointerType === "mouse") return;
    const box = plot.over.getBoundingClientRect();
    plot.setCursor({ left: event.clientX - box.left, top: event.clientY - box.top });
  };
  plot.over.addEventListener("pointerdown", follow);
  plot.over.addEventListener("pointermove", follow);
}

const AWAY = { left: -10, top: -10 };

function step(plot, event) {
  const last = plot.data[0].length - 1;
  const stride = Math.max(1, Math.round(last / 100));
  const index = plot.cursor.idx ?? 0;
  const next = { ArrowLeft: index - stride, ArrowRight: index + stride, Home: 0, End: last, Escape: null }[event.key];
  if (next === undefined || last < 0) return;
  event.preventDefault();
  const left = next === null ? null : plot.valToPos(plot.data[0][Math.min(Math.max(next, 0), last)], "x");
  plot.setCursor(left === null ? AWAY : { left, top: 0 });
}

function paintAll() {
  figures.forEach((figure, k) => {
    paint(figure, charts[k]);
    figure.redraw();
  });
}

figures.forEach((figure, k) => setUp(figure, charts[k]));
figures.forEach((figure, k) => paint(figure, charts[k]));
DARK.addEventListener("change", paintAll);
document.addEventListener("pointerdown", (event) => {
  for (const { plot } of figures) if (!plot.root.contains(event.target)) plot.setCursor(AWAY);
});
