"""What tests ask a browser about a page."""

import json

import numpy as np

RECORD_CANVAS_TEXT = """
window.drawn = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  window.drawn.push([text, parseFloat(this.font.match(/([0-9.]+)px/)[1]) / devicePixelRatio]);
  return fillText.call(this, text, ...rest);
};
"""

VISIBLE_TEXT_SIZES = """() => [...document.body.querySelectorAll('*')]
  .filter((e) => !['SCRIPT', 'NOSCRIPT'].includes(e.tagName) && e.getClientRects().length)
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
  .map((e) => parseFloat(getComputedStyle(e).fontSize))"""

READ_PIXELS = """
window.pixels = (canvas, counts) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) count += counts(...data.slice(i, i + 4));
  return count;
};
"""

SOLID = """([r, g, b]) => [...document.querySelectorAll('figure canvas')].map((canvas) =>
  window.pixels(canvas, (...c) => c[3] > 250 && Math.abs(c[0] - r) + Math.abs(c[1] - g) + Math.abs(c[2] - b) < 12))"""

# Colours of fainter pixels, at the edges of letters, are rounded too much to tell.
COLOURED = """() => window.pixels(document.querySelector('figure canvas'), (r, g, b, a) =>
  a > 30 && Math.max(r, g, b) - Math.min(r, g, b) > 60)"""


def settle(tab):
    """Waits until what was asked for is drawn."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def place(tab, chart, x):
    """Where on the screen the middle of a chart's plot is, at a value of x."""
    script = """([k, x]) => {
      const figure = document.querySelectorAll('figure')[k];
      figure.scrollIntoView({ block: 'center' });
      const box = figure.plot.over.getBoundingClientRect();
      return [box.left + figure.plot.valToPos(x, 'x'), box.top + box.height / 2];
    }"""
    return tab.evaluate(script, [chart, x])


def readings(tab, chart=0):
    """The lines of a chart's tooltip: what x is, then name, value and the rest."""
    box = tab.locator("figure").nth(chart).locator(".tooltip")
    if not box.is_visible():
        return None
    at = box.locator(".at").inner_text()
    names, values = (box.locator(kind).all_inner_texts() for kind in (".name", ".value"))
    return at, dict(zip(names, values, strict=True))


def position(tab, axis, value):
    return tab.evaluate("([a, v]) => document.querySelector('figure').plot.valToPos(v, a)", [axis, value])


def swatches(tab):
    colors = tab.locator(".pill .swatch").evaluate_all("(all) => all.map((e) => getComputedStyle(e).borderTopColor)")
    return {channels(color) for color in colors}


def channels(color):
    return tuple(json.loads(f"[{color[color.index('(') + 1 : -1]}]")[:3])


def contrast(color, background):
    """WCAG 2's contrast ratio of two sRGB colours."""

    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.divide(color, 255)]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    low, high = sorted((luminance(color), luminance(background)))
    return (high + 0.05) / (low + 0.05)
