// The values of all shown series at the cursor.

function tooltip(place, chart) {
  const box = document.createElement("div");
  box.className = "tooltip";
  box.hidden = true;
  place.append(box);
  return (plot) => {
    box.hidden = plot.cursor.idx === null || plot.cursor.idx === undefined;
    if (box.hidden) return;
    box.replaceChildren(...content(plot, chart));
    beside(box, plot);
  };
}

function content(plot, chart) {
  const x = plot.data[0][plot.cursor.idx];
  const rows = layout(chart).flatMap((place, i) => (plot.series[place.y].show ? row(plot, chart.series[i], place, x) : []));
  return [element("div", "at", `${chart.xLabel} ${written(x)}`), ...rows];
}

function row(plot, series, place, x) {
  const index = plot.cursor.idxs[place.y];
  const at = plot.data[0][index];
  const value = plot.data[place.y][index];
  const swatch = element("span", series.dashed ? "swatch dashed" : "swatch");
  swatch.style.setProperty("--color", ink(series.color));
  const cells = [swatch, element("span", "name", series.label), element("span", "value", written(value))];
  if (value == null) return cells;
  if (at !== x) return [...cells, element("span", "where", `at ${written(at)}`)];
  return place.low ? [...cells, element("span", "band", ends(plot, place, index))] : cells;
}

function ends(plot, { low, high }, index) {
  return [low, high].map((row) => written(plot.data[row][index])).join(" to ");
}

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  return made;
}

// On the side of the cursor where there is room.
function beside(box, plot) {
  const [left, top] = [plot.over.offsetLeft, plot.over.offsetTop];
  const x = left + plot.cursor.left;
  const fits = x + 16 + box.offsetWidth <= left + plot.over.offsetWidth;
  box.style.left = `${fits ? x + 16 : Math.max(0, x - 16 - box.offsetWidth)}px`;
  box.style.top = `${top + 8}px`;
}
