// A definition's page: the sliders, the picture, and what stands under the pointer.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent), pictures = data.pictures;
const part = id => document.getElementById(id), WIDEST = 620;
let cursor = null;

function current() {
  const picture = pictures[+part("size").value], layers = picture.layers;
  return { picture, layer: layers[Math.min(+part("head").value, layers.length - 1)] };
}

function drawPictures() {
  if (data.curve) drawCurve(part("curve"), data.curve, WIDEST);
  if (!pictures.length) return;
  const { picture, layer } = current();
  if (layer.mask) {
    const at = drawCells(part("mask"), picture, layer, "mask", WIDEST);
    if (layer.tiles && part("tiles").checked) drawTiles(at, picture, layer.tiles);
    if (cursor) outline(at);
  }
  if (layer.score) {
    const at = drawCells(part("score"), picture, layer, "score", WIDEST);
    if (cursor) outline(at);
    drawRamp();
  }
}

function outline(at) {
  const [x, y, w, h] = box(at.side, cursor.q, cursor.k, 1, 1);
  at.context.setLineDash([]);
  at.context.strokeStyle = colour("text");
  at.context.lineWidth = 2 * at.ratio;
  at.context.strokeRect(x, y, w, h);
}

function drawRamp() {
  const canvas = part("ramp"), context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = ramp(1 + 254 * x / (canvas.width - 1));
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function describe() {
  const { picture, layer } = current(), heads = picture.layers.length;
  part("size-out").value = picture.q + " × " + picture.k;
  part("size-row").hidden = pictures.length < 2;
  part("head-row").hidden = heads < 2;
  part("head").max = heads - 1;
  part("head-out").value = "h = " + Math.min(+part("head").value, heads - 1);
  part("call").textContent = picture.call;
  part("told").textContent = [picture.told, ...picture.tables.map(t => t[0] + " = " + t[1])].filter(Boolean).join("; ");
  part("pairs").textContent = layer.mask ? visible(picture, layer) : "";
  part("tiles-row").hidden = !layer.tiles;
  if (layer.mask) {
    part("tile-legend").hidden = !(layer.tiles && part("tiles").checked);
    for (const item of part("tile-legend").children) item.hidden = !(layer.tiles || "").includes(item.dataset.tile);
  }
  part("block").textContent = picture.block + " × " + picture.block;
  if (layer.score) {
    part("low").textContent = layer.low;
    part("high").textContent = layer.high;
    part("incoming").textContent = picture.incoming;
  }
  if (layer.mask) part("mask").setAttribute("aria-label", "The mask as a picture, a row a query and a column a key: " + part("pairs").textContent);
}

function visible(picture, layer) {
  const cells = cellsOf(layer, "mask"), all = picture.q * picture.k;
  let seen = 0;
  for (let i = 0; i < all; i++) seen += cells(i);
  let told = seen + " of " + all + " pairs visible (" + (100 * seen / all).toFixed(1) + " %)";
  if (layer.tiles) {
    const count = d => layer.tiles.split(d).length - 1;
    told += "; tiles of " + picture.block + ": " + count("2") + " full, " + (count("1") + count("3")) + " partial, " + count("0") + " empty";
  }
  return told;
}

// What the formula says of one pair, in words.
function readOut() {
  if (!cursor) return void (part("readout").textContent = "point at a pair, or use the arrow keys");
  const { picture, layer } = current(), i = cursor.q * picture.k + cursor.k, said = [];
  if (layer.mask) said.push(cellsOf(layer, "mask")(i) ? "visible" : "hidden");
  if (layer.score) {
    const level = cellsOf(layer, "score")(i);
    if (level) said.push("score ≈ " + Number((layer.low + (level - 1) / 254 * (layer.high - layer.low)).toPrecision(3)));
    else if (!layer.mask) said.push("not finite");
  }
  if (layer.tiles) {
    const tile = Math.floor(cursor.q / picture.block) * Math.ceil(picture.k / picture.block) + Math.floor(cursor.k / picture.block);
    said.push(["empty", "partial", "full", "undecided"][+layer.tiles[tile]] + " tile");
  }
  part("readout").textContent = "q = " + cursor.q + ", k = " + cursor.k + ": " + said.join(", ");
}

// The picture stays in sight while the text goes by, if the window is high enough for it.
function stay() {
  const figure = document.querySelector("figure");
  figure.parentElement.classList.toggle("stays", figure.offsetHeight + 32 <= innerHeight);
}

function show() {
  if (pictures.length) {
    describe();
    const { picture } = current();
    if (cursor && (cursor.q >= picture.q || cursor.k >= picture.k)) cursor = null;
    readOut();
  }
  drawPictures();
  stay();
}

function point(event) {
  const { picture } = current(), place = event.currentTarget.getBoundingClientRect();
  const q = Math.floor((event.clientY - place.top) / place.height * picture.q);
  const k = Math.floor((event.clientX - place.left) / place.width * picture.k);
  cursor = { q: Math.max(0, Math.min(q, picture.q - 1)), k: Math.max(0, Math.min(k, picture.k - 1)) };
  show();
}

function step(event) {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!move) return;
  event.preventDefault();
  const { picture } = current(), from = cursor || { q: 0, k: 0 };
  if (cursor) cursor = {
    q: Math.max(0, Math.min(from.q + move[0], picture.q - 1)), k: Math.max(0, Math.min(from.k + move[1], picture.k - 1)),
  };
  else cursor = from;
  show();
}

function forget() {
  cursor = null;
  show();
}

if (pictures.length) {
  part("controls").hidden = false;
  part("size").max = pictures.length - 1;
  part("size").value = data.shown;
  for (const id of ["size", "head", "tiles"]) part(id).addEventListener("input", show);
  for (const id of ["mask", "score"]) {
    const canvas = part(id);
    if (!canvas) continue;
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerleave", forget);
    canvas.addEventListener("blur", forget);
    canvas.addEventListener("keydown", step);
  }
}
if (part("text")) {
  part("text").open = false;
  part("text").addEventListener("toggle", stay);
}
onChange(show);
show();
