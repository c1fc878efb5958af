// Where ticks stand, and how numbers are written.

function written(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential().replace("e+", "e") : String(value);
  return text.replaceAll("-", "−");
}

function tickTexts(_, ticks) {
  return ticks.map((tick) => written(Number(tick.toPrecision(6))));
}

// Round numbers in every power of ten, fewer where those are too many.
function decades(low, high, count) {
  const powers = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.log10(high); k++) powers.push(k);
  for (const digits of [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const ticks = within(powers.flatMap((k) => digits.map((digit) => Number(`${digit}e${k}`))), low, high);
    if (ticks.length <= count) return ticks;
  }
  return everyNth(within(powers.map((k) => Number(`1e${k}`)), low, high), count);
}

function powersOfTwo(low, high, count) {
  const ticks = [];
  for (let k = Math.ceil(Math.log2(low)); k <= Math.log2(high); k++) ticks.push(2 ** k);
  return everyNth(ticks, count);
}

// Even steps, for a logarithmic axis too short for the others.
function evenly(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function logTicks(base) {
  return (plot, axis, low, high) => {
    const pixels = (plot.axes[axis].side % 2 ? plot.bbox.height : plot.bbox.width) / devicePixelRatio;
    const count = Math.max(3, Math.floor(pixels / (plot.axes[axis].side % 2 ? 32 : 52)));
    const ticks = (base === 2 ? powersOfTwo : decades)(low, high, count);
    return ticks.length >= 3 ? ticks : evenly(low, high, Math.min(count, 5));
  };
}

function within(ticks, low, high) {
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function everyNth(ticks, count) {
  const step = Math.ceil(ticks.length / count);
  return ticks.filter((_, i) => i % step === 0);
}
