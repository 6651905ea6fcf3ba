/* The page's own behaviour. Text from outside goes into text nodes only: no innerHTML anywhere. */
(() => {
"use strict";

const checks = JSON.parse(document.getElementById("data").textContent).checks;
const $ = (id) => document.getElementById(id);
const QUANTITIES = [["norm", "Gradient norm"], ["reach", "Reach"], ["signal", "Signal"]];
const DASHES = { solid: [], dash: [9, 5], dots: [2, 4], long: [16, 5] };
const LIMITS = { min_reach: "reach", min_norm: "norm", max_norm: "norm" };
const NAMED_TICKS = 26;   // layers up to which the axis shows names instead of numbers

/** An element with attributes and children; strings become text. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const finite = (value) => typeof value === "number" && Number.isFinite(value);
const positive = (value) => finite(value) && value > 0;

function show(value) {
  if (value === null || value === undefined) return "\u2013";
  if (typeof value === "string") return value === "nan" ? "NaN" : value.replace("inf", "\u221e");
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e4) return String(Number(value.toPrecision(3)));
  return value.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
}

function decade(value) {
  const power = Math.round(Math.log10(value)); // as in the table: superscripts are missing from some fonts
  return power === 0 ? "1" : power === 1 ? "10" : `1e${power}`;
}

/* ---- one check ------------------------------------------------------------------------------------------------ */

function culprits(check) {
  const found = new Map();   // layer position -> 0: the culprit, 1: another layer of a finding
  for (const finding of check.findings) {
    finding.layers.forEach((name, rank) => {
      const at = check.layers.indexOf(name);
      if (at >= 0) found.set(at, Math.min(found.get(at) ?? 1, rank ? 1 : 0));
    });
  }
  return found;
}

function detail(check, paper) {
  const sheet = el("article", { class: "sheet-of-one", "aria-label": check.test });
  sheet.style.display = "contents";
  sheet.append(head(check), ...verdict(check, paper), ...selftestCard(check), ...forecastCard(check, paper));
  if (check.layers.length) sheet.append(tiles(check), chartCard(check, paper), tableCard(check));
  sheet.append(...more(check));
  if (paper) sheet.style.display = "";
  return sheet;
}

function head(check) {
  const place = check.line ? `${check.file}:${check.line}` : check.file;
  return el("header", { class: "head" },
    el("a", { class: "back", href: "#" }, "\u2190 All checks"),
    el("p", { class: "where" }, place + (check.outcome ? ` \u00b7 test ${check.outcome}` : "")),
    el("h2", {}, check.short),
    el("div", { class: "facts" }, check.facts.map(([name, value]) => el("span", { class: "fact" }, el("span", {}, name), value))));
}

function verdict(check, paper) {
  if (check.forecast) {
    const { healthy, sentence, notes } = check.forecast;
    return [el("section", { class: `card ${healthy ? "fine" : "finding"}` }, el("p", {}, sentence),
      notes.map((note) => el("p", { class: "soft" }, note)))];
  }
  if (check.findings.length) return [...check.findings.map((finding) => findingCard(finding, paper)), ...triedCard(check)];
  const sentence = check.verdict === "well"
    ? [el("b", {}, "Healthy."), " The gradient reaches every layer within the limits."]
    : [el("b", {}, "Measured."), " No limits were applied."];
  return [el("section", { class: "card fine" }, el("p", {}, sentence))];
}

function triedCard(check) {
  if (!check.tried.length) return [];
  return [el("section", { class: "card tried" }, el("header", {}, el("h3", {}, "Tried on copies")),
    el("ul", {}, check.tried.map((told) => el("li", {}, told))))];
}

const OUTCOMES = { found: ["\u2713", "found"], survived: ["\u2715", "survived"], equivalent: ["=", "no fault after all"], "not run": ["?", "not run"] };

/** The outcome of a seeded fault: a sign, and its word for those who do not see it. */
function sign(outcome) {
  const [mark, words] = OUTCOMES[outcome] || ["", "not seeded here"];
  return el("span", { class: `sign ${outcome.replace(" ", "-")}`, title: words, role: "img", "aria-label": words }, mark);
}

function selftestCard(check) {
  const told = check.selftest;
  if (!told) return [];
  const heads = told.faults.map((fault) => el("th", { scope: "col", class: "fault" }, fault));
  const rows = told.rows.map(([layer, cells]) => el("tr", {}, el("th", { scope: "row", class: "name" }, breakable(layer)),
    cells.map((outcome) => el("td", {}, sign(outcome)))));
  const table = rows.length ? el("div", { class: "sheet", tabindex: "0", role: "region", "aria-label": "Seeded faults by layer" },
    el("table", { class: "seeded" }, el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "name" }, "Layer"), heads)), el("tbody", {}, rows))) : null;
  const legend = el("p", { class: "hint" }, Object.entries(OUTCOMES).map(([outcome, [, words]]) => [sign(outcome), ` ${words}  `]));
  const whole = told.whole.length ? el("p", { class: "whole" }, "Whole model: ", told.whole.map(([fault, outcome]) => el("span", { class: "fact" }, sign(outcome), ` ${fault}`))) : null;
  return [el("section", { class: "card seed" }, el("header", {}, el("h3", {}, "Self-test"), el("span", { class: "hint" }, told.verdict)),
    table, el("div", { class: "more" }, whole, legend, el("ul", {}, told.told.map((text) => el("li", {}, text)))))];
}

function findingCard(finding, paper) {
  const shown = finding.layers.slice(0, 8);
  const rest = finding.layers.length - shown.length;
  const chips = el("span", { class: "layers" },
    shown.map((name) => el("button", { class: "layer", type: "button", onclick: () => aim(name) }, name)),
    rest > 0 ? el("span", { class: "soft" }, `and ${rest} more`) : null);
  const items = [["Cause", finding.cause], ["Remedy", finding.remedy]].filter(([, text]) => text);
  return el("section", { class: "card finding" },
    el("h3", {}, finding.url ? el("a", { class: "kind", href: finding.url, rel: "noreferrer" }, finding.headline) : el("span", { class: "kind" }, finding.headline), el("span", {}, finding.message)),
    el("dl", {},
      items.map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
      shown.length ? [el("dt", {}, shown.length > 1 ? "Layers" : "Layer"), el("dd", {}, chips)] : []));
}

function tiles(check) {
  const at = (values, better) => {
    let best = -1;
    values.forEach((value, i) => { if (finite(value) && (best < 0 || better(value, values[best]))) best = i; });
    return best;
  };
  const tile = (label, values, better) => {
    const i = at(values, better);
    return el("div", { class: "card tile" }, el("span", {}, label), el("b", {}, i < 0 ? "\u2013" : show(values[i])),
      el("small", { title: i < 0 ? null : check.layers[i] }, i < 0 ? "" : check.layers[i]));
  };
  const total = check.parameters.reduce((sum, count) => sum + count, 0);
  return el("div", { class: "tiles" },
    el("div", { class: "card tile" }, el("span", {}, "Layers"), el("b", {}, String(check.layers.length)),
      el("small", {}, `${total.toLocaleString("en")} parameters`)),
    tile("Lowest reach", check.reach, (a, b) => a < b),
    tile("Weakest norm", check.norm, (a, b) => a < b),
    tile("Strongest norm", check.norm, (a, b) => a > b));
}

function more(check) {
  const parts = [];
  if (check.notes.length) {
    parts.push(el("section", { class: "card more" }, el("h3", {}, "Notes"), el("ul", {}, check.notes.map((note) => el("li", {}, note)))));
  }
  for (const [title, facts] of [["Limits", check.rules], ["Metadata", check.metadata]]) {
    if (!facts.length) continue;
    parts.push(el("details", { class: "card more" }, el("summary", {}, title),
      el("dl", {}, facts.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))));
  }
  return parts;
}

/* ---- the chart ------------------------------------------------------------------------------------------------ */

function curves(check) {
  const runs = [{ label: `${check.device}, ${check.precision}`, style: "solid", of: check }];
  for (const id of check.siblings) {
    const other = checks[id];
    runs.push({ label: `${other.device}, ${other.precision}`, style: "long", of: other });
  }
  for (const shadow of check.shadows) runs.push({ label: shadow.label, style: shadow.style, of: shadow });
  return runs;
}

/** Resolve the page's colours; canvas knows no CSS variables. */
function palette(paper) {
  const probe = el("span", { class: paper ? "paper" : "" });
  document.body.append(probe);
  const resolve = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const names = ["norm", "reach", "signal", "grid", "axis", "sick", "band", "fill", "ink", "soft", "card"];
  const colours = Object.fromEntries(names.map((name) => [name, resolve(name)]));
  probe.remove();
  return colours;
}

function chartCard(check, paper) {
  const runs = curves(check);
  const series = [];
  for (const [run, { label, style, of }] of runs.entries()) {
    for (const [quantity, words] of QUANTITIES) {
      if (of[quantity].some((value) => value !== null)) series.push({ run, quantity, words, label, style, values: of[quantity] });
    }
  }
  const state = { quantities: new Set(QUANTITIES.map(([name]) => name)), runs: new Set(runs.keys()) };
  const visible = (item) => state.quantities.has(item.quantity) && state.runs.has(item.run);
  const plot = el("div", { class: "plot", tabindex: "0", role: "application", "aria-roledescription": "chart",
    "aria-label": `Gradient norm, reach and signal of ${check.layers.length} layers over depth. Use the left and right arrow keys.` });
  const tip = el("div", { class: "tip", hidden: true });
  const status = el("p", { class: "quiet", role: "status" });
  const card = el("section", { class: "card" }, el("header", {}, el("h3", {}, "Profile over depth"),
    toggles(runs, state, () => card.draw())), el("div", { class: "chart" }, plot, tip,
      el("p", { class: "hint" }, hintText(check))), status);
  let chart = null;
  card.draw = () => {
    const width = paper ? 860 : Math.max(plot.clientWidth, 240);
    if (chart) chart.destroy();
    chart = new uPlot(options(check, series, visible, width, palette(paper), (i) => {
      tooltip(tip, plot, chart, check, series.filter(visible), i);
      if (plot.matches(":focus")) status.textContent = i === null ? "" : spoken(check, series.filter(visible), i);
    }), [check.layers.map((_, i) => i), ...series.map((item) => item.values.map((v) => (positive(v) ? v : null)))], plot);
  };
  card.at = (i) => {
    const { left, top } = chart.over.getBoundingClientRect();
    if (left || top) chart.setCursor({ left: chart.valToPos(i, "x"), top: chart.over.clientHeight / 3 });
  };
  plot.addEventListener("keydown", (event) => arrows(event, card, chart, check.layers.length));
  plot.addEventListener("blur", () => { tip.hidden = true; });
  return card;
}

function hintText(check) {
  const zeros = check.norm.some((value) => value === 0 || value === null);
  return "Input on the left, loss on the right. Hover, or focus and use \u2190 \u2192, to read a layer."
    + (zeros ? " \u25bd marks a gradient that is zero or did not come." : "");
}

/* ---- a forecast ----------------------------------------------------------------------------------------------- */

function forecastCard(check, paper) {
  const told = check.forecast;
  if (!told || !told.curves.length) return [];
  const first = told.curves.findIndex((curve) => curve.breaks);
  let chosen = told.curves[Math.max(first, 0)];
  const plot = el("div", { class: "plot", role: "img" });
  const words = el("p", { class: "hint" });
  const buttons = told.curves.map((curve) => el("button", { class: "toggle pick", type: "button", "aria-pressed": String(curve === chosen),
    onclick: () => {
      chosen = curve;
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(told.curves[i] === chosen)));
      card.draw();
    } }, curve.breaks ? `\u2715 ${curve.name}` : curve.name));
  const card = el("section", { class: "card" }, el("header", {}, el("h3", {}, `Forecast for ${told.target}`),
    el("div", { class: "toggles", role: "group", "aria-label": "Number to show" }, buttons)), el("div", { class: "chart" }, plot, words));
  let chart = null;
  card.draw = () => {
    const width = paper ? 860 : Math.max(plot.clientWidth, 240), at = chosen.sizes.length - 1;
    if (chart) chart.destroy();
    chart = new uPlot(forecastOptions(told, chosen, width, palette(paper)),
      [chosen.sizes, chosen.high, chosen.middle, chosen.low].map((values, i) => (i ? values.map((v) => (positive(v) ? v : null)) : values)), plot);
    const limit = chosen.limit === null ? "" : `; ${chosen.limitName} ${show(chosen.limit)} ${chosen.breaks ? "is broken" : "holds"}`;
    words.textContent = `${chosen.name} follows ${chosen.law}: ${show(chosen.middle[at])} at ${told.target}, between ${show(chosen.low[at])} and ${show(chosen.high[at])}${limit}. Dots are measured; the band holds nine of ten.`;
    plot.setAttribute("aria-label", words.textContent);
  };
  return [card];
}

function forecastOptions(told, curve, width, colours) {
  const limit = curve.limit === null ? [] : [curve.limit];
  const values = [...curve.measured, ...curve.low, ...curve.high, ...limit].filter(positive);
  const low = 10 ** Math.floor(Math.log10(Math.min(...values)) - 0.05), high = 10 ** Math.ceil(Math.log10(Math.max(...values)) + 0.05);
  const every = Math.max(1, Math.ceil(Math.log10(high / low) / 9));
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: colours.axis, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.grid, width: 1, size: 5 }, font };
  const left = curve.sizes[0], right = curve.sizes[curve.sizes.length - 1];
  const splits = [...new Set([...curve.measuredAt, right])].sort((a, b) => a - b);
  const line = { scale: "y", stroke: colours.norm, points: { show: false } };
  return {
    width, height: width < 560 ? 280 : 340, padding: [14, 18, 0, 8], legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, distr: 3, range: [left / 1.15, right * 1.15] }, y: { distr: 3, range: [low, high] } },
    axes: [
      { ...axis, splits: () => apart(splits, left, right, width), filter: (u, at) => at, values: (u, at) => at.map(String), label: told.axis, labelFont: font, labelSize: 20, size: 30 },
      { ...axis, size: 52, splits: () => decadesBetween(low, high, every), filter: (u, at) => at, values: (u, at) => at.map(decade) },
    ],
    series: [{}, { ...line, width: 0 }, { ...line, width: 2.25 }, { ...line, width: 0 }],
    bands: [{ series: [1, 3], fill: colours.fill }],
    hooks: { draw: [(u) => { limitLine(u, curve, colours, font); measured(u, curve, colours, low); }] },
  };
}

/** Sizes whose labels do not touch on a logarithmic axis; both ends are kept. */
function apart(sizes, left, right, width) {
  const place = (size) => (Math.log(size / left) / Math.log(right / left)) * (width - 90);
  const kept = [right];
  for (const size of [...sizes].reverse()) if (place(kept[0]) - place(size) > 34) kept.unshift(size);
  return kept;
}

function limitLine(u, curve, colours, font) {
  if (!positive(curve.limit)) return;
  const { ctx, bbox } = u, ratio = devicePixelRatio, y = Math.round(u.valToPos(curve.limit, "y", true)) + 0.5;
  ctx.save();
  ctx.font = font.replace("12px", `${11 * ratio}px`);
  ctx.strokeStyle = ctx.fillStyle = curve.breaks ? colours.sick : colours.axis;
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.textBaseline = "bottom";
  ctx.textAlign = "left";
  const label = [`${curve.limitName} ${show(curve.limit)}`, bbox.left + 6 * ratio, y - 2 * ratio];
  ctx.strokeStyle = colours.card;
  ctx.lineWidth = 4 * ratio;
  ctx.strokeText(...label);
  ctx.fillText(...label);
  ctx.restore();
}

/** What was measured, and a ring at the forecast itself. */
function measured(u, curve, colours, low) {
  const { ctx } = u, ratio = devicePixelRatio, last = curve.sizes.length - 1;
  const dot = (size, value, radius, fill) => {
    ctx.beginPath();
    ctx.arc(u.valToPos(size, "x", true), u.valToPos(positive(value) ? value : low, "y", true), radius * ratio, 0, 2 * Math.PI);
    ctx.fillStyle = fill;
    ctx.fill();
    ctx.stroke();
  };
  ctx.save();
  ctx.lineWidth = 1.75 * ratio;
  ctx.strokeStyle = colours.norm;
  curve.measuredAt.forEach((size, i) => dot(size, curve.measured[i], 3, colours.norm));
  ctx.strokeStyle = curve.breaks ? colours.sick : colours.norm;
  dot(curve.sizes[last], curve.middle[last], 5, colours.card);
  ctx.restore();
}

function toggles(runs, state, redraw) {
  const make = (set, key, label, colour, style) => el("button", { class: "toggle", type: "button", "aria-pressed": "true",
    style: colour ? `--key: var(--${colour})` : null,
    onclick: (event) => {
      const on = !set.has(key);
      if (on) set.add(key); else set.delete(key);
      event.currentTarget.setAttribute("aria-pressed", String(on));
      redraw();
    } }, el("i", { class: { long: "dash", dash: "dash", dots: "dots" }[style] || "" }), label);
  const box = el("div", { class: "toggles" }, QUANTITIES.map(([name, words]) => make(state.quantities, name, words, name)));
  if (runs.length > 1) box.append(el("span", { class: "divider" }), ...runs.map((run, i) => make(state.runs, i, run.label, null, run.style)));
  return box;
}

function arrows(event, card, chart, count) {
  const now = chart.cursor.idx;
  const moves = { ArrowLeft: (now ?? count) - 1, ArrowRight: (now ?? -1) + 1, Home: 0, End: count - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  card.at(Math.min(Math.max(moves[event.key], 0), count - 1));
}

function spoken(check, series, i) {
  return `${check.layers[i]}: ` + series.map((item) => `${item.words} ${item.run ? item.label : ""} ${show(item.values[i])}`).join(", ");
}

function tooltip(tip, plot, chart, check, series, i) {
  tip.hidden = i === null || i === undefined;
  if (tip.hidden) return;
  const runs = [...new Set(series.map((item) => item.run))];
  const label = (run) => series.find((item) => item.run === run).label;
  const value = (run, quantity) => series.find((item) => item.run === run && item.quantity === quantity)?.values[i];
  const rows = QUANTITIES.filter(([name]) => series.some((item) => item.quantity === name)).map(([name, words]) =>
    el("tr", {}, el("th", { scope: "row" }, words), runs.map((run) => el("td", {}, show(value(run, name))))));
  const flags = check.flags[i].map((flag) => el("p", {}, flag));
  const found = check.findings.filter((finding) => finding.layers[0] === check.layers[i]);
  tip.replaceChildren(el("b", {}, check.layers[i]), el("p", {}, [check.kinds[i], check.shapes[i]].filter(Boolean).join(" \u00b7 ")),
    ...found.map((finding) => el("p", { class: "sick" }, finding.headline)),
    el("table", {}, runs.length > 1 ? el("thead", {}, el("tr", {}, el("th", {}), runs.map((run) => el("th", {}, label(run))))) : null,
      el("tbody", {}, rows)), ...flags);
  const over = chart.over, left = over.offsetLeft + chart.cursor.left, room = plot.clientWidth;
  const x = left + 18 + tip.offsetWidth > room ? Math.max(left - tip.offsetWidth - 12, 2) : left + 18;
  tip.style.left = `${Math.min(x, Math.max(room - tip.offsetWidth, 2))}px`;
  tip.style.top = `${over.offsetTop + 10}px`;
}

function range(check, series, visible) {
  let low = Infinity, high = -Infinity;
  const take = (value) => { if (positive(value)) { low = Math.min(low, value); high = Math.max(high, value); } };
  const drawn = series.filter(visible);
  drawn.forEach((item) => item.values.forEach(take));
  for (const [name, quantity] of Object.entries(LIMITS)) {
    if (drawn.some((item) => item.quantity === quantity)) take(check.limits[name]);
  }
  if (low > high) return [0.1, 10];
  low = 10 ** Math.floor(Math.log10(low) - 0.15);
  high = 10 ** Math.ceil(Math.log10(high) + 0.15);
  return [Math.max(low, 1e-300), Math.min(high, 1e300)];
}

function options(check, series, visible, width, colours, onCursor) {
  const count = check.layers.length, names = count <= NAMED_TICKS && width > 560;
  const longest = Math.max(...check.layers.map((name) => Math.min(name.length, 22)));
  const [low, high] = range(check, series, visible);
  const decades = Math.log10(high / low);
  const every = Math.max(1, Math.ceil(decades / 9));
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const axis = { stroke: colours.axis, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.grid, width: 1, size: 5 }, font };
  const pad = (count > 1 ? 0.02 * (count - 1) : 0) + 0.4;
  return {
    width, height: (width < 560 ? 300 : 360) + (names ? Math.min(longest * 4, 70) : 0),
    padding: [14, 14, names ? 0 : 4, names ? 8 : 0],
    legend: { show: false },
    cursor: { x: true, y: false, drag: { x: false, y: false, setScale: false },
      points: { size: 8, fill: (u, i) => u.series[i].stroke(u, i), stroke: () => colours.card, width: 2 } },
    scales: { x: { time: false, range: [-pad, count - 1 + pad] }, y: { distr: 3, range: [low, high] } },
    axes: [
      { ...axis, splits: () => ticks(count, names ? NAMED_TICKS : Math.max(Math.floor(width / 70), 2)),
        values: (u, at) => at.map((i) => (names ? clip(check.layers[i] ?? "", 22) : String(i + 1))),
        rotate: names ? 38 : 0, size: names ? 18 + Math.min(longest * 4.4, 92) : 30, gap: names ? 6 : 5 },
      { ...axis, size: 52, splits: () => decadesBetween(low, high, every), filter: (u, at) => at,
        values: (u, at) => at.map(decade) },
    ],
    series: [{}, ...series.map((item) => ({
      label: item.words, scale: "y", show: visible(item), stroke: colours[item.quantity], spanGaps: false,
      width: item.run ? 1.5 : 2.25, alpha: item.run ? 0.75 : 1, dash: DASHES[item.style],
      points: { show: count <= 80 && !item.run, size: 6, fill: colours.card, width: 1.75 },
    }))],
    hooks: {
      drawClear: [(u) => bands(u, check, colours)],
      draw: [(u) => { limits(u, check, series.filter(visible), colours, font); marks(u, series.filter(visible), colours); }],
      setCursor: [(u) => onCursor(u.cursor.idx ?? null)],
    },
  };
}

const clip = (text, length) => (text.length <= length ? text : "\u2026" + text.slice(1 - length));

function ticks(count, most) {
  const steps = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000];
  const step = steps.find((size) => count / size <= most) || Math.ceil(count / most);
  const at = [];
  for (let i = 0; i < count; i += 1) if (step === 1 || i === 0 || (i + 1) % step === 0) at.push(i);
  return at;
}

function decadesBetween(low, high, every) {
  const at = [];
  const last = Math.round(Math.log10(high));
  for (let power = Math.round(Math.log10(low)); power <= last; power += 1) if (power % every === 0) at.push(10 ** power);
  return at;
}

/** A band behind each culprit, fainter for the other layers of a finding. */
function bands(u, check, colours) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.fillStyle = colours.band;
  for (const [i, rank] of culprits(check)) {
    const from = u.valToPos(i - 0.5, "x", true), to = u.valToPos(i + 0.5, "x", true);
    const x = Math.max(from, bbox.left), wide = Math.max(Math.min(to, bbox.left + bbox.width) - x, 2);
    ctx.globalAlpha = rank ? 0.45 : 1;
    ctx.fillRect(x, bbox.top, wide, bbox.height);
    if (rank) continue;
    ctx.fillStyle = colours.sick;
    ctx.fillRect(x, bbox.top, wide, 3 * devicePixelRatio);
    ctx.fillStyle = colours.band;
  }
  ctx.restore();
}

function limits(u, check, series, colours, font) {
  const { ctx, bbox } = u, ratio = devicePixelRatio;
  ctx.save();
  ctx.font = font.replace("12px", `${11 * ratio}px`);
  ctx.textBaseline = "bottom";
  for (const [name, quantity] of Object.entries(LIMITS)) {
    const value = check.limits[name];
    if (!positive(value) || !series.some((item) => item.quantity === quantity)) continue;
    const y = Math.round(u.valToPos(value, "y", true)) + 0.5;   // between pixels, where a thin line is sharp
    ctx.strokeStyle = ctx.fillStyle = colours[quantity];
    ctx.lineWidth = ratio;
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.textAlign = "right";
    const label = [`${name} ${show(value)}`, bbox.left + bbox.width - 6 * ratio, y - 2 * ratio];
    ctx.setLineDash([]);
    ctx.strokeStyle = colours.card;
    ctx.lineWidth = 4 * ratio;   // a halo, so that a curve behind the words does not hide them
    ctx.strokeText(...label);
    ctx.fillText(...label);
  }
  ctx.restore();
}

/** What a log axis cannot show: zero or nothing at the bottom, infinite or not a number at the top. */
function marks(u, series, colours) {
  const { ctx, bbox } = u, size = 5 * devicePixelRatio;
  ctx.save();
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash([]);
  series.filter((item) => item.run === 0).forEach((item, row) => {
    item.values.forEach((value, i) => {
      if (positive(value)) return;
      const bad = typeof value === "string", x = u.valToPos(i, "x", true);
      const y = bad ? bbox.top + size * (1 + row * 2) : bbox.top + bbox.height - size * (1 + row * 2);
      ctx.strokeStyle = bad ? colours.sick : colours[item.quantity];
      ctx.beginPath();
      if (bad) { ctx.moveTo(x - size, y - size); ctx.lineTo(x + size, y + size); ctx.moveTo(x + size, y - size); ctx.lineTo(x - size, y + size); }
      else { ctx.moveTo(x - size, y - size * 0.7); ctx.lineTo(x + size, y - size * 0.7); ctx.lineTo(x, y + size * 0.7); ctx.closePath(); }
      ctx.stroke();
    });
  });
  ctx.restore();
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

const rankOf = (value) => (typeof value === "number" ? value : value === null || value === undefined ? -Infinity : Infinity);

/** The numbers first: a phone shows little more than them. */
function columns(check) {
  const list = [
    { title: "#", values: check.layers.map((_, i) => i + 1), text: String },
    { title: "Layer", values: check.layers, cls: "name", text: String },
    { title: "Gradient norm", values: check.norm, bar: true },
    { title: "Reach", values: check.reach },
    { title: "Signal", values: check.signal },
    { title: "Gain", values: check.gain },
  ];
  const share = (value) => (value === null ? "\u2013" : `${Math.round(value * 100)} %`);
  if (check.dead.some((value) => value)) list.push({ title: "Dead", values: check.dead, text: share });
  if (check.flags.some((flags) => flags.length)) {
    list.push({ title: "Notes", values: check.flags.map((flags) => flags.join("; ")), cls: "text note", text: String });
  }
  for (const { title, cells } of check.extra) list.push({ title, values: cells, cls: "text", text: String });
  return [...list,
    { title: "Kind", values: check.kinds, cls: "text", text: String },
    { title: "Shape", values: check.shapes, cls: "text", text: String },
    { title: "Parameters", values: check.parameters, text: (value) => value.toLocaleString("en") },
    { title: "Weight norm", values: check.weight },
  ];
}

function tableCard(check) {
  const list = columns(check), sick = culprits(check);
  const strongest = Math.max(...check.norm.filter(positive), 1e-300);
  const body = el("tbody");
  const rows = check.layers.map((name, i) => {
    const row = el("tr", { class: sick.get(i) === 0 ? "sick" : null, "data-layer": name });
    for (const { values, cls, text = show, bar } of list) {
      const words = [cls, bar && "bar", typeof values[i] === "string" && !cls && "bad"].filter(Boolean).join(" ");
      const cell = el("td", { class: words || null }, cls === "name" ? breakable(values[i]) : text(values[i]));
      // Eight decades below the strongest layer are the bar's whole length.
      if (bar && positive(values[i])) cell.style.setProperty("--w", `${Math.max(0, 100 + 12.5 * Math.log10(values[i] / strongest))}%`);
      row.append(cell);
    }
    return row;
  });
  body.append(...rows);
  const heads = list.map((column, at) => el("th", { scope: "col", class: column.cls, "aria-sort": at ? null : "ascending" },
    el("button", { type: "button", onclick: () => sortBy(at) }, column.title)));
  let sorted = 0, down = false;
  function sortBy(at) {
    down = sorted === at ? !down : false;
    sorted = at;
    const { values } = list[at];
    const order = rows.map((_, i) => i).sort((a, b) => {
      const x = values[a], y = values[b];
      const compared = list[at].cls ? String(x).localeCompare(String(y), "en", { numeric: true }) : rankOf(x) - rankOf(y);
      return (Number.isNaN(compared) ? 0 : compared) * (down ? -1 : 1) || a - b;
    });
    body.append(...order.map((i) => rows[i]));
    heads.forEach((head, i) => (i === at ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
  }
  const card = el("section", { class: "card long" }, el("header", {}, el("h3", {}, "Layers"), el("span", { class: "hint" }, "in forward order; click a heading to sort")),
    el("div", { class: "sheet", tabindex: "0", role: "region", "aria-label": "Table of layers" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), body)));
  card.style.setProperty("--name", `${Math.min(Math.max(...check.layers.map((name) => name.length)), 42)}ch`);
  return card;
}

/** A path that wraps after its dots. */
function breakable(path) {
  return path.split(/(?<=[./])/).flatMap((part, i) => (i ? [el("wbr"), part] : [part]));
}

/** Show a layer that a finding names: its row, and its place in the chart. */
function aim(name) {
  const rows = [...$("main").querySelectorAll("tr[data-layer]")];
  const row = rows.find((item) => item.dataset.layer === name);
  if (!row) return;
  rows.forEach((item) => item.classList.toggle("aim", item === row));
  row.scrollIntoView({ block: "center" });
  current.card?.at(checks[current.id].layers.indexOf(name));
}

/* ---- the list ------------------------------------------------------------------------------------------------- */

const current = { id: -1, card: null };

/** Draw the charts of a sheet; only there it is known how wide they are. */
function drawAll(sheet) {
  const cards = [...sheet.querySelectorAll(".card")].filter((card) => card.draw);
  cards.forEach((card) => card.draw());
  return cards.find((card) => card.at) || null;
}
const rows = [...document.querySelectorAll(".row")];
let words = null;   // made on the first search: 300 checks of 200 layers are a long text

function haystack(check) {
  const findings = check.findings.flatMap((finding) => [finding.headline, finding.message, finding.cause]);
  return [check.test, check.name, check.model, check.device, check.precision, check.outcome, ...findings, ...check.layers].join("\n").toLowerCase();
}

function filter() {
  const kind = document.querySelector(".chip[aria-pressed='true']").dataset.filter;
  const wanted = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length && !words) words = checks.map(haystack);
  let shown = 0;
  for (const row of rows) {
    const id = Number(row.dataset.id);
    const fits = (kind === "all" || row.classList.contains(kind)) && wanted.every((word) => words[id].includes(word));
    row.hidden = !fits;
    shown += fits;
  }
  for (const section of $("list").querySelectorAll("section")) section.hidden = !section.querySelector(".row:not([hidden])");
  $("none").hidden = shown > 0;
  $("found").textContent = `${shown} of ${checks.length} checks`;
}

function open(id, focus) {
  const check = checks[id];
  rows.forEach((row) => (Number(row.dataset.id) === id ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current")));
  current.id = id;
  const sheet = detail(check, false);
  $("main").replaceChildren(sheet);
  current.card = drawAll($("main"));
  if (focus) { window.scrollTo(0, 0); $("main").focus({ preventScroll: true }); }
}

function route(focus) {
  const id = Number((/^#check-(\d+)$/.exec(location.hash) || [])[1] ?? -1);
  const known = id in checks;
  $("frame").classList.toggle("open", known);
  if (known) open(id, focus);
  else if (checks.length) open(Number(rows[0].dataset.id), false);
}

function keys(event) {
  const typing = event.target.matches("input");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("search").focus(); return; }
  if (event.key === "Escape" && event.target === $("search")) { $("search").value = ""; filter(); return; }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  if (!event.target.closest(".list, .find input")) return;
  const shown = rows.filter((row) => !row.hidden);
  const at = shown.indexOf(event.target.closest(".row"));
  const next = shown[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

/* ---- theme, size, paper --------------------------------------------------------------------------------------- */

const THEMES = ["auto", "light", "dark"];

function setTheme(name) {
  if (name === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", name);
  $("theme").textContent = `Theme: ${name}`;
  $("theme").dataset.name = name;
  // From disk a browser may refuse storage; the choice then lasts as long as the page.
  try { localStorage.setItem("gradhealth-theme", name); } catch { /* not kept */ }
  drawAll($("main"));
}

function storedTheme() {
  try { return THEMES.find((name) => name === localStorage.getItem("gradhealth-theme")) || "auto"; } catch { return "auto"; }
}

function toPaper() {
  const ids = rows.filter((row) => !row.hidden && row.classList.contains("sick")).map((row) => Number(row.dataset.id)).slice(0, 20);
  if (current.id >= 0 && !ids.includes(current.id)) ids.push(current.id);
  const sheets = ids.map((id) => detail(checks[id], true));
  $("print").replaceChildren(...sheets);
  $("print").classList.add("paper");
  for (const sheet of sheets) {
    sheet.querySelectorAll("details").forEach((item) => { item.open = true; });
    drawAll(sheet);
  }
}

$("find").hidden = $("theme").hidden = false;
$("search").addEventListener("input", filter);
document.querySelectorAll(".chip").forEach((chip) => chip.addEventListener("click", () => {
  document.querySelectorAll(".chip").forEach((other) => other.setAttribute("aria-pressed", String(other === chip)));
  filter();
}));
document.addEventListener("keydown", keys);
$("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf($("theme").dataset.name) + 1) % 3]));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll($("main")));
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawAll($("main")); } });
addEventListener("beforeprint", toPaper);
addEventListener("afterprint", () => $("print").replaceChildren());
addEventListener("hashchange", () => route(true));
setTheme(storedTheme());
route(false);
})();
