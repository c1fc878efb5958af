// From a chart's data to a drawing.

const TEXT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif';
const DARK = matchMedia("(prefers-color-scheme: dark)");

// The colour as on white; on dark pages mixed with white until it can be seen.
function ink(color, opacity = 1) {
  let channels = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  while (DARK.matches && luminance(channels) < 0.24) channels = channels.map((c) => c + (255 - c) * 0.1);
  return `rgb(${channels.map(Math.round).join(" ")} / ${opacity})`;
}

function luminance(channels) {
  const [r, g, b] = channels.map((c) => (c / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// One row of values per uPlot series: x, then y of every series, then both ends of the bands.
function aligned(chart) {
  const tables = chart.series.map((series) => {
    const x = chart.x[series.x];
    const kept = x.map((_, i) => i).filter((i) => !chart.logX || x[i] > 0);
    const rows = [series.y, series.low, series.high].filter((row) => row);
    return [kept.map((i) => x[i]), ...rows.map((row) => kept.map((i) => row[i]))];
  });
  const [x, ...rows] = tables.length ? uPlot.join(tables) : [[]];
  return chart.logY ? [x, ...positive(chart, rows)] : [x, ...rows];
}

// On a logarithmic axis what is not positive is a gap; a band reaches down to the least value that is there.
function positive(chart, rows) {
  const least = rows.flat().reduce((least, y) => (y > 0 && y < least ? y : least), Infinity);
  return rows.map((row, i) => {
    const isLow = layout(chart).some((place) => place.low === i + 1);
    return row.map((y) => (y === undefined || y > 0 ? y : isLow && y !== null ? least : null));
  });
}

// At which rows of `aligned` each series and its band are.
function layout(chart) {
  let next = 1;
  return chart.series.map((series) => {
    const place = { y: next++ };
    return series.low ? { ...place, low: next++, high: next++ } : place;
  });
}

function range(isLog, pad, limit = null) {
  return (_, low, high) => {
    if (low === null || low === undefined) return isLog ? [0.1, 1] : [0, 1];
    if (limit !== null && limit > low) high = Math.min(high, limit);
    if (isLog) {
      const factor = high > low ? (high / low) ** pad : 2;
      return [low / factor, high * factor];
    }
    const margin = high > low ? (high - low) * pad : Math.abs(high) / 10 || 1;
    return [low - margin, high + margin];
  };
}

function scales(chart) {
  const base = chart.x.flat().every((x) => x > 0 && Number.isInteger(Math.log2(x))) ? 2 : 10;
  return {
    x: { time: false, distr: chart.logX ? 3 : 1, log: base, range: range(chart.logX, 0.015) },
    y: { distr: chart.logY ? 3 : 1, range: range(chart.logY, 0.06, chart.yMax) },
  };
}

function axis(isLog, base, look, rest) {
  const log = isLog ? { splits: logTicks(base) } : {};
  const lines = { stroke: look("--soft"), grid: { stroke: look("--line"), width: 1 }, ticks: { show: false } };
  return { ...lines, font: TEXT, gap: 8, values: tickTexts, filter: (_, ticks) => ticks, ...log, ...rest };
}

function axes(chart, scales) {
  const style = getComputedStyle(document.documentElement);
  const look = (name) => style.getPropertyValue(name).trim();
  const width = (_, texts) => 14 + 7 * Math.max(2, ...(texts ?? []).map((text) => text.length));
  return [
    axis(chart.logX, scales.x.log, look, { size: 32, space: 56 }),
    axis(chart.logY, 10, look, { size: width, space: 36 }),
  ];
}

function curves(chart, hidden) {
  const options = [{}];
  for (const series of chart.series) {
    const show = !hidden.has(series.label);
    const color = ink(series.color);
    const points = { size: 7, width: 0, fill: color };
    options.push({ label: series.label, stroke: color, width: 2, dash: series.dashed ? [7, 5] : [], show, points });
    if (series.low) options.push(...[0, 1].map(() => ({ width: 0, show, points: { show: false } })));
  }
  return options;
}

function bands(chart) {
  return layout(chart).flatMap(({ low, high }, i) => {
    return low ? [{ series: [high, low], fill: ink(chart.series[i].color, 0.16) }] : [];
  });
}

// The nearest point of a series itself, where series have different x; none before its first or after its last.
function nearest(plot, series, index) {
  const row = plot.data[series];
  let before = index, after = index;
  while (before >= 0 && row[before] === undefined) before--;
  while (after < row.length && row[after] === undefined) after++;
  if (before < 0 || after === row.length) return index;
  const x = plot.data[0];
  return x[index] - x[before] <= x[after] - x[index] ? before : after;
}

function draw(place, chart, hidden, setCursor) {
  const scale = scales(chart);
  const cursor = { y: false, dataIdx: nearest, points: { size: 8 } };
  const options = { ...size(place), padding: [10, 14, 0, 0], scales: scale, axes: axes(chart, scale), series: curves(chart, hidden), bands: bands(chart) };
  return new uPlot({ ...options, cursor, legend: { show: false }, hooks: { setCursor: [setCursor] } }, aligned(chart), place);
}

function size(place) {
  const width = place.clientWidth;
  return { width, height: Math.round(Math.min(420, Math.max(250, width * 0.56))) };
}
