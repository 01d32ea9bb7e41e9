// A chart of bins over time: stacked bars, threads (lines), beads with intervals, and rules across. Each bin is a mark
// that says what it holds; one tab stop a chart, arrows move within it.
//
// figure: {id, title, unit, value(x) -> words, bars: [{name, hue, of(bin)}], threads: [{name, hue, of(bin), dashed,
// steps}], beads: [{name, hue, of(bin) -> [value, low, high, n]}], rules: [{name, kind, at}], share (0 to 1), log,
// also(bin) -> more words, together: bins at most, caption, empty(bins) -> what to say where there is nothing}
const HEIGHT = 190;
const MARGIN = { left: 52, right: 12, top: 8, bottom: 22 };

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, typeof value === "number" ? Number(value.toFixed(2)) : value);
  }
  made.append(...children);
  return made;
}

function roundStep(step) {
  const size = 10 ** Math.floor(Math.log10(step));
  return [1, 2, 5, 10].map((m) => m * size).find((s) => s >= step * 0.999);
}

// A scale of values to pixels, its ticks at round values.
function scale(low, high, start, end, log) {
  if (log) {
    const ends = [Math.floor(Math.log10(low) + 1e-9), Math.ceil(Math.log10(high) - 1e-9)];
    if (ends[0] === ends[1]) ends[1] += 1;
    const at = (value) => start + ((Math.log10(Math.max(value, 1e-12)) - ends[0]) / (ends[1] - ends[0])) * (end - start);
    const ticks = Array.from({ length: ends[1] - ends[0] + 1 }, (_, i) => 10 ** (ends[0] + i));
    return { at, ticks: ticks.length > 5 ? ticks.filter((_, i) => i % 2 === 0) : ticks };
  }
  const step = roundStep((high - low) / 4);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  const at = (value) => start + ((value - first * step) / ((last - first) * step)) * (end - start);
  return { at, ticks: Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step) };
}

function extent(made, bins) {
  const values = (made.rules || []).map((rule) => rule.at);
  for (const bin of bins) {
    if (made.bars) values.push(made.bars.reduce((sum, bar) => sum + (bar.of(bin) || 0), 0));
    for (const thread of made.threads || []) values.push(thread.of(bin));
    for (const bead of made.beads || []) values.push(...(bead.of(bin) || []).slice(0, 3));
  }
  return values.filter(known);
}

const holds = (made, bins) => bins.some((bin) =>
  (made.bars || []).some((bar) => bar.of(bin) > 0) ||
  [...(made.threads || []), ...(made.beads || [])].some((one) => known([one.of(bin)].flat()[0])));

function tipOf(made, bin, withSeconds) {
  const lines = [clock(bin.t, withSeconds)];
  for (const bar of made.bars || []) if (bar.of(bin) > 0) lines.push(`${bar.name}: ${made.value(bar.of(bin))}`);
  for (const thread of made.threads || []) if (known(thread.of(bin))) lines.push(`${thread.name}: ${made.value(thread.of(bin))}`);
  for (const bead of made.beads || []) {
    const said = bead.of(bin);
    if (said) lines.push(`${bead.name}: ${made.value(said[0])} [${made.value(said[1])}, ${made.value(said[2])}] of ${said[3]}`);
  }
  if (made.also) lines.push(...made.also(bin));
  return lines.length > 1 ? lines.join("\n") : `${lines[0]}\nnothing`;
}

function picture(made, bins, width, withSeconds) {
  const values = extent(made, bins);
  const positive = values.filter((value) => value > 0);
  const low = made.log ? Math.min(...positive) : Math.min(0, ...values);
  const high = made.share ? 1 : Math.max(made.log ? low * 10 : 0, ...values) || 1;
  const bottom = HEIGHT - MARGIN.bottom;
  const y = scale(low, high, bottom, MARGIN.top, made.log);
  const wide = (width - MARGIN.left - MARGIN.right) / bins.length;
  const x = (i) => MARGIN.left + i * wide;
  const parts = y.ticks.map((tick) => svg("g", {},
    svg("line", { class: tick === 0 ? "axis" : "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y.at(tick), y2: y.at(tick) }),
    svg("text", { class: "tick", x: MARGIN.left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, made.value(tick, true))));
  parts.push(...timeTicks(bins, x, wide, width, withSeconds));
  bins.forEach((bin, i) => parts.push(...bars(made, bin, x(i), wide, y)));
  for (const thread of made.threads || []) parts.push(drawn(thread, bins, x, wide, y));
  (made.beads || []).forEach((bead, k, all) => {
    const aside = (k - (all.length - 1) / 2) * 9; // side by side, so that none covers another
    bins.forEach((bin, i) => parts.push(...beads(bead, bin, x(i) + wide / 2 + aside, y)));
  });
  for (const rule of made.rules || []) {
    parts.push(svg("line", { class: `rule ${rule.kind}`, x1: MARGIN.left, x2: width - MARGIN.right, y1: y.at(rule.at), y2: y.at(rule.at) }));
    const above = y.at(rule.at) - 5 > MARGIN.top + 8;
    parts.push(svg("text", { class: "rule-name", x: width - MARGIN.right - 2, y: y.at(rule.at) + (above ? -5 : 14), "text-anchor": "end" }, rule.name));
  }
  bins.forEach((bin, i) => parts.push(svg("g", { class: "mark", role: "img", "aria-label": tipOf(made, bin, withSeconds), tabindex: i === bins.length - 1 ? 0 : -1 },
    svg("rect", { class: "column", x: x(i), y: MARGIN.top, width: wide, height: bottom - MARGIN.top }))));
  return svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "group", "aria-label": `${made.title}, ${made.unit}` }, ...parts);
}

function timeTicks(bins, x, wide, width, withSeconds) {
  const room = withSeconds ? 78 : 60;
  const each = Math.ceil(room / wide);
  const steps = [1, 2, 5, 6, 10, 12, 15, 20, 24, 30, 48].find((n) => n >= each) || each;
  const found = [];
  const half = withSeconds ? 27 : 18; // of a label's width
  for (let i = bins.length - 1; i >= 0; i -= found.length ? steps : 1) {
    const at = x(i) + wide / 2;
    if (at > width - half) continue;
    if (at < MARGIN.left + half - 10) break;
    found.push(svg("text", { class: "tick", x: at, y: HEIGHT - 5, "text-anchor": "middle" }, clock(bins[i].t, withSeconds)));
  }
  return found;
}

function bars(made, bin, at, wide, y) {
  let sum = 0;
  const gap = Math.min(wide * 0.2, 3);
  const found = [];
  for (const bar of made.bars || []) {
    const value = bar.of(bin) || 0;
    if (value <= 0) continue;
    const [from, to] = [y.at(sum), y.at(sum + value)];
    found.push(svg("rect", { class: `piece ${bar.hue}`, x: at + gap / 2, y: to, width: wide - gap, height: Math.max(from - to, 0.5) }));
    sum += value;
  }
  return found;
}

// A thread goes over bins that have nothing; one or two points alone would be no line to see, so they are beads.
function drawn(thread, bins, x, wide, y) {
  const points = bins.map((bin, i) => [x(i) + wide / 2, thread.of(bin)]).filter(([, value]) => known(value));
  const group = svg("g", { class: thread.hue });
  let path = "";
  points.forEach(([at, value], i) => {
    const level = y.at(value).toFixed(1);
    path += i === 0 ? `M${at.toFixed(1)} ${level}` : thread.steps ? `H${at.toFixed(1)}V${level}` : `L${at.toFixed(1)} ${level}`;
  });
  if (points.length > 1) group.append(svg("path", { class: thread.dashed ? "thread dashed" : "thread", d: path }));
  if (points.length <= 2) {
    for (const [at, value] of points) group.append(svg("circle", { class: "bead", cx: at, cy: y.at(value), r: 3 }));
  }
  return group;
}

function beads(bead, bin, at, y) {
  const said = bead.of(bin);
  if (!said) return [];
  const group = svg("g", { class: bead.hue },
    svg("line", { class: "stem-line", x1: at, x2: at, y1: y.at(said[1]), y2: y.at(said[2]) }),
    svg("circle", { class: "bead", cx: at, cy: y.at(said[0]), r: 3.5 }));
  return [group];
}

function legend(made) {
  const entries = [...(made.bars || []), ...(made.threads || []), ...(made.beads || [])];
  const items = entries.map((one) => {
    const swatch = element("span", `swatch ${one.hue}${made.threads?.includes(one) ? " thin" : ""}`);
    return element("li", "", swatch, words("bdi", "", one.name));
  });
  return element("ul", "legend", ...items);
}

function table(made, bins, withSeconds) {
  const columns = [...(made.bars || []), ...(made.threads || []), ...(made.beads || [])];
  const head = element("tr", "", element("th", "", "from"), ...columns.map((one) => words("th", "", one.name)));
  const rows = bins.filter((bin) => columns.some((one) => known([one.of(bin)].flat()[0]))).map((bin) =>
    element("tr", "", element("th", "", clock(bin.t, withSeconds)), ...columns.map((one) => {
      const said = [one.of(bin)].flat();
      return element("td", "", said.length > 1 ? `${made.value(said[0])} [${made.value(said[1])}, ${made.value(said[2])}]` : known(said[0]) ? made.value(said[0]) : NONE);
    })));
  const box = element("div", "scroll", element("table", "", element("thead", "", head), element("tbody", "", ...rows.reverse())));
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", `${made.title}, as a table`);
  return box;
}

// One figure's place on the page. While somebody points at it or has the focus in it, it holds still.
class Chart {
  constructor(title) {
    this.body = element("div", "body");
    this.unit = element("p", "unit");
    this.legend = element("div");
    this.caption = element("figcaption");
    this.data = element("details", "data", element("summary", "", "Numbers"));
    this.figure = element("figure", "", element("h3", "", title), this.unit, this.body, this.legend, this.caption, this.data);
    this.data.addEventListener("toggle", () => this.numbers());
  }

  // What has to be asked of the page before anything is changed on it: for all charts at once, so that it is laid out once.
  measure() {
    this.held = this.body.matches(":hover") || this.body.contains(document.activeElement);
    this.width = Math.max(this.body.clientWidth, 240);
  }

  draw(made, bins, withSeconds) {
    const [held, had] = [this.held, this.figure.classList.contains("paused")];
    this.figure.classList.toggle("paused", held && this.body.childElementCount > 0);
    if (held && had) return;
    this.made = made;
    this.bins = bins;
    this.withSeconds = withSeconds;
    this.figure.id = `figure-${made.id}`;
    this.unit.textContent = made.unit;
    this.caption.replaceChildren(made.caption || "");
    const some = holds(made, bins);
    this.data.hidden = !some;
    this.legend.replaceChildren(...(some ? [legend(made)] : []));
    const focused = this.body.contains(document.activeElement);
    if (!some) this.body.replaceChildren(element("p", "nothing", made.empty?.(bins) || "Nothing in this time"));
    else this.body.replaceChildren(picture(made, bins, this.width, withSeconds));
    if (focused) this.body.querySelector(".mark[tabindex='0']")?.focus();
    this.numbers();
  }

  numbers() {
    const before = this.data.querySelector(".scroll");
    if (!this.data.open || before?.contains(document.activeElement)) return;
    const scrolled = before?.scrollTop || 0;
    const fresh = table(this.made, this.bins, this.withSeconds);
    this.data.replaceChildren(this.data.firstChild, fresh);
    fresh.scrollTop = scrolled;
  }
}
