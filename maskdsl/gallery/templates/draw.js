// Drawing masks, scores, tiles and curves from packed data onto a canvas.
"use strict";

// Anchors of a colour ramp from dark blue over green to yellow, even in lightness.
const RAMP = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), c => c.charCodeAt(0));
}

// One number a pair: 0 or 1 for a mask, 0 (not visible) to 255 for scores.
function cellsOf(layer, kind) {
  const bytes = bytesOf(layer[kind]);
  return kind === "score" ? i => bytes[i] : i => bytes[i >> 3] >> (7 - (i & 7)) & 1;
}

function ramp(level) {
  const at = (level - 1) / 254 * (RAMP.length - 1), below = Math.min(Math.floor(at), RAMP.length - 2), part = at - below;
  return "rgb(" + RAMP[below].map((c, i) => Math.round(c + (RAMP[below + 1][i] - c) * part)).join(",") + ")";
}

// Fits a canvas to its width on the page, `rows` by `columns` cells; returns what drawing needs.
function fit(canvas, rows, columns, most) {
  const ratio = Math.max(1, window.devicePixelRatio || 1), wide = Math.min(canvas.parentElement.clientWidth || 72, most);
  const unit = Math.min(wide / columns, wide / rows);
  canvas.style.width = unit * columns + "px";
  canvas.style.height = unit * rows + "px";
  canvas.width = Math.max(1, Math.round(unit * columns * ratio));
  canvas.height = Math.max(1, Math.round(unit * rows * ratio));
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  return { context, side: unit * ratio, ratio };
}

// Whole pixels, so that neighbours neither overlap nor leave hairs between them.
function box(side, row, column, high, wide) {
  const top = Math.round(row * side), left = Math.round(column * side);
  return [left, top, Math.round((column + wide) * side) - left, Math.round((row + high) * side) - top];
}

function drawCells(canvas, picture, layer, kind, most) {
  const at = fit(canvas, picture.q, picture.k, most), cells = cellsOf(layer, kind);
  const gap = at.side > 7 * at.ratio ? Math.round(at.ratio) : 0, on = colour("cell"), off = colour("void");
  for (let row = 0; row < picture.q; row++)
    for (let column = 0; column < picture.k; column++) {
      const value = cells(row * picture.k + column), [x, y, w, h] = box(at.side, row, column, 1, 1);
      at.context.fillStyle = !value ? off : kind === "score" ? ramp(value) : on;
      at.context.fillRect(x, y, w - gap, h - gap);
    }
  return at;
}

function drawTiles(at, picture, digits) {
  const block = picture.block, columns = Math.ceil(picture.k / block), edges = ["", colour("partial"), colour("full"), colour("open")];
  for (let i = 0; i < digits.length; i++) {
    if (digits[i] === "0") continue;
    const row = Math.floor(i / columns) * block, column = i % columns * block;
    const [x, y, w, h] = box(at.side, row, column, Math.min(block, picture.q - row), Math.min(block, picture.k - column));
    const line = 1.5 * at.ratio;
    at.context.strokeStyle = edges[+digits[i]];
    at.context.lineWidth = line;
    at.context.setLineDash(digits[i] === "3" ? [3 * at.ratio, 2 * at.ratio] : []);
    at.context.strokeRect(x + line / 2, y + line / 2, w - line - at.ratio, h - line - at.ratio);
  }
}

function drawCurve(canvas, curve, most) {
  const at = fit(canvas, 1, 1, most), edge = canvas.width, pad = most > 100 ? 26 * at.ratio : 5 * at.ratio;
  const known = curve.after.filter(y => y !== null), low = Math.min(...known), high = Math.max(...known);
  const first = curve.before[0], last = curve.before[curve.before.length - 1], context = at.context;
  const x = v => pad + (v - first) / (last - first) * (edge - 2 * pad);
  const y = v => edge - pad - (v - low) / (high - low || 1) * (edge - 2 * pad);
  context.fillStyle = colour("void");
  context.fillRect(0, 0, edge, edge);
  context.strokeStyle = colour("line");
  context.lineWidth = at.ratio;
  context.beginPath();
  if (low <= 0 && high >= 0) { context.moveTo(pad, y(0)); context.lineTo(edge - pad, y(0)); }
  if (first <= 0 && last >= 0) { context.moveTo(x(0), pad); context.lineTo(x(0), edge - pad); }
  context.stroke();
  context.strokeStyle = colour("cell");
  context.lineWidth = 2 * at.ratio;
  context.beginPath();
  let drawing = false;
  curve.before.forEach((before, i) => {
    const after = curve.after[i];
    if (after !== null) context[drawing ? "lineTo" : "moveTo"](x(before), y(after));
    drawing = after !== null;
  });
  context.stroke();
  if (most <= 100) return;
  context.fillStyle = colour("soft");
  context.font = 12 * at.ratio + "px ui-monospace, monospace";
  context.fillText(String(first), pad, edge - 8 * at.ratio);
  context.textAlign = "right";
  context.fillText("score before " + last, edge - pad, edge - 8 * at.ratio);
  context.textAlign = "left";
  context.fillText("after: " + low + " to " + high, pad, 17 * at.ratio);
}

// Calls `redraw` when what a picture depends on changes: the scheme, the width, the paper.
function onChange(redraw) {
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", redraw);
  addEventListener("resize", redraw);
}
