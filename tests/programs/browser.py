"""Pages in headless Chromium: what a reader would grumble about, found by a script."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")

_FAULTS = r"""
function rgb(text) { return text.match(/[\d.]+/g).slice(0, 3).map(Number); }
function luminance(colour) {
  const [r, g, b] = colour.map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(one, other) {  // WCAG 2.2, 1.4.3
  const [low, high] = [luminance(rgb(one)), luminance(rgb(other))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
function ground(element, view) {
  for (; element; element = element.parentElement) {
    const colour = view.getComputedStyle(element).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)') return colour;
  }
  return 'rgb(255, 255, 255)';
}
function box(element) { return element.getBoundingClientRect(); }
function inside(inner, outer) {
  return inner.left >= outer.left - 1 && inner.right <= outer.right + 1
      && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
}
function overlap(a, b) {
  return Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;  // lines of text have some room above and below
}
function faults(view) {
  const found = [], page = view.document, wide = page.documentElement;
  if (wide.scrollWidth > wide.clientWidth) found.push(`page is ${wide.scrollWidth} wide`);
  for (const each of page.querySelectorAll('h1, h2, p, dt, dd, th, td, figcaption')) {
    const style = view.getComputedStyle(each), shown = each.textContent.slice(0, 40);
    if (each.scrollWidth > each.clientWidth + 1) found.push(`text runs over: ${shown}`);
    if (contrast(style.color, ground(each, view)) < 4.5) found.push(`hard to read: ${shown}`);
  }
  for (const each of page.querySelectorAll('.scroll')) {
    const columns = each.querySelectorAll('thead th').length;
    if (columns < 6 && each.scrollWidth > each.clientWidth + 1)
      found.push(`table is cut off: ${each.textContent.slice(0, 40)}`);
  }
  for (const figure of page.querySelectorAll('figure')) {
    const drawn = [...figure.querySelectorAll('svg')].filter(svg => view.getComputedStyle(svg).display !== 'none');
    const name = figure.querySelector('figcaption').textContent;
    if (drawn.length !== 1) { found.push(`${name}: ${drawn.length} drawings`); continue; }
    const texts = [...drawn[0].querySelectorAll('text')].filter(each => each.textContent.trim());
    if (texts.length < 3) found.push(`${name}: no labels`);
    const scale = box(drawn[0]).width / drawn[0].viewBox.baseVal.width;
    texts.forEach((text, index) => {
      const style = view.getComputedStyle(text);
      if (!inside(box(text), box(drawn[0]))) found.push(`${name}: cut off: ${text.textContent}`);
      if (parseFloat(style.fontSize) * scale < 9) found.push(`${name}: too small: ${text.textContent}`);
      if (contrast(style.fill, ground(figure, view)) < 4.5) found.push(`${name}: hard to read: ${text.textContent}`);
      if (/rotate\(-?45/.test(text.getAttribute('transform'))) return;  // its box says little of where it is
      for (const other of texts.slice(index + 1))
        if (!/rotate\(-?45/.test(other.getAttribute('transform')) && overlap(box(text), box(other)))
          found.push(`${name}: one over another: ${text.textContent} and ${other.textContent}`);
    });
    for (const line of drawn[0].querySelectorAll('g[id^="line2d"] path')) {
      const style = view.getComputedStyle(line);
      if (style.stroke.startsWith('rgb(') && style.stroke !== view.GRID
          && contrast(style.stroke, ground(figure, view)) < 3) found.push(`${name}: pale line ${style.stroke}`);
    }
  }
  return found;
}
function look() {
  const result = {};
  for (const frame of document.querySelectorAll('iframe')) {
    const view = frame.contentWindow, probe = view.document.createElement('i');
    probe.style.color = 'var(--grid)';
    view.document.body.append(probe);
    view.GRID = view.getComputedStyle(probe).color;
    probe.remove();
    result[frame.id] = {faults: faults(view), ground: view.getComputedStyle(view.document.body).backgroundColor};
  }
  document.title = JSON.stringify(result);
}
"""


def chromium() -> str:
    """The program; skips the test where there is none."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("there is no Chromium to render the page with")


def look_at(pages: Mapping[str, str], folder: Path, *, dark: bool) -> dict[str, dict[str, object]]:
    """Render each page at 400 and at 1600 pixels. Returns, by "name-width", `faults` (overflow, text that is cut
    off, too small, over another or of too little contrast, a page that scrolls sideways), and the `ground`'s colour.
    """
    frames = "".join(
        f'<iframe id="{name}-{width}" style="width:{width}px;height:2000px;border:0" srcdoc="{html.escape(page)}">'
        "</iframe>"
        for name, page in pages.items()
        for width in (400, 1600)
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f'<!doctype html><meta charset="utf-8"><script>{_FAULTS}</script><body onload="look()">{frames}')
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--window-size=1800,2000"]
    if dark:
        flags += ["--force-dark-mode", "--disable-features=WebContentsForceDark"]
    command = [chromium(), *flags, "--dump-dom", wrapper.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    title = html.unescape(shown.partition("<title>")[2].partition("</title>")[0])
    found: dict[str, dict[str, object]] = json.loads(title)
    return found
