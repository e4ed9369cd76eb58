// The index: thumbnails, and the search by name, model, paper and tag.
"use strict";

const thumbnails = JSON.parse(document.getElementById("thumbnails").textContent);
const entries = JSON.parse(document.getElementById("entries").textContent);
const cards = [...document.querySelectorAll(".cards li")], input = document.getElementById("search");
const sections = [...document.querySelectorAll("main section")], main = document.getElementById("main");

function drawThumbnails() {
  cards.forEach((card, i) => {
    const data = thumbnails[i], canvas = card.querySelector("canvas");
    if (!data) return;
    if (data.curve) drawCurve(canvas, data.curve, 72);
    else drawCells(canvas, data, data, data.score ? "score" : "mask", 72);
  });
}

const plain = text => text.toLowerCase().replaceAll("-", " ").replaceAll("_", " ");
const haystacks = entries.map(e => ({
  name: plain(e.name + " " + e.path), model: plain(e.models.join(" ")), paper: plain(e.doc + " " + e.papers.join(" ")),
  tag: e.tags, family: [e.family], kind: [e.kind],
  any: plain([e.name, e.path, e.doc, e.kind, ...e.models, ...e.papers, ...e.tags, ...e.parameters].join(" ")),
}));

// A word, or `field:word`: tags, families and kinds are matched whole, the rest anywhere.
function matches(entry, word) {
  const [, field, text] = /^(?:(name|model|paper|tag|family|kind):)?(.*)$/.exec(word);
  const where = entry[field || "any"];
  return Array.isArray(where) ? where.some(t => t.toLowerCase() === text) : where.includes(plain(text));
}

// How well a name answers: 0 where it is what was asked for, 1 where it begins so, 2 where it has it, 3 else.
function distance(name, asked) {
  if (!asked) return 0;
  const [own, wanted] = [name, asked].map(text => plain(text).replaceAll(" ", "")), at = own.indexOf(wanted);
  return own === wanted ? 0 : at === 0 ? 1 : at > 0 ? 2 : 3;
}

function search() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean), asked = plain(words.join(" ").replace(/^\w+:/, ""));
  let found = 0;
  const near = cards.map((card, i) => {
    card.hidden = !words.every(word => matches(haystacks[i], word));
    found += !card.hidden;
    return card.hidden ? 4 : distance(entries[i].name, asked);
  });
  const nearest = new Map(sections.map(section => {
    const own = cards.map((card, i) => i).filter(i => section.contains(cards[i])), shown = own.filter(i => !cards[i].hidden);
    section.hidden = !shown.length;
    section.querySelector(".count").textContent = words.length ? shown.length + " of " + own.length : own.length;
    section.querySelector(".cards").append(...own.sort((i, j) => near[i] - near[j] || i - j).map(i => cards[i]));
    return [section, Math.min(...own.map(i => near[i]))];
  }));
  main.append(...[...sections].sort((a, b) => nearest.get(a) - nearest.get(b) || sections.indexOf(a) - sections.indexOf(b)));
  document.getElementById("jump").hidden = words.length > 0;
  document.getElementById("found").textContent = words.length ? found + " of " + cards.length + " definitions" : "";
}

function fromAddress() {
  const asked = /^#q=(.*)$/.exec(location.hash);
  try {
    if (asked) input.value = decodeURIComponent(asked[1]);
  } catch {
    input.value = asked[1];
  }
  search();
}

input.addEventListener("input", () => {
  history.replaceState(null, "", input.value ? "#q=" + encodeURIComponent(input.value) : "#");
  search();
});
addEventListener("hashchange", fromAddress);
addEventListener("keydown", event => {
  if (event.key === "/" && document.activeElement !== input) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "Escape" && document.activeElement === input) {
    input.value = "";
    input.dispatchEvent(new Event("input"));
  }
});
document.getElementById("searching").hidden = false;
onChange(drawThumbnails);
drawThumbnails();
fromAddress();
