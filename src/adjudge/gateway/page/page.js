// The page itself: who may look, the stream of what happens, the tiles, the budgets.
const root = document.documentElement;
const KEY = "adjudge-key";
const series = new Series();
const judgments = new Judgments(ask);
const charts = new Map();
let about = null;
let state = null;
let range = "";
let failures = 0;
let drawnAt = 0;

const headers = () => {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
};

async function ask(path) {
  const answer = await fetch(path, { headers: headers(), cache: "no-store" });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error?.message || `HTTP ${answer.status}`);
  return told;
}

// -- the stream

async function listen() {
  say("connecting", failures ? "connecting again" : "connecting");
  const answer = await lost(fetch("/v1/events", { headers: headers(), cache: "no-store" }));
  if (answer.status === 401 || answer.status === 403) throw new Refused((await answer.json()).error?.message);
  if (!answer.ok) throw new Lost(`HTTP ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await lost(reader.read());
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    if (events.map(take).some(Boolean) && !document.hidden) draw(charts.size === 0);
  }
}

// What the network does to us; any other error is ours, and is not to be hidden.
const lost = (doing) => doing.catch((error) => { throw new Lost(error.message); });

class Lost extends Error {}

class Refused extends Error {}

// Whether there is anything to draw for it.
function take(event) {
  const data = event.split("\n").find((line) => line.startsWith("data: "));
  if (!data) return false;
  const tick = JSON.parse(data.slice(6));
  if (tick.about) begin(tick.about, tick.now_s);
  const fresh = series.take(tick) || JSON.stringify(tick.state) !== JSON.stringify(state);
  state = tick.state;
  judgments.take(tick.latest, !tick.about);
  failures = 0;
  say("live", "live");
  const bin = Math.floor(series.now / RANGES[range].bin);
  return fresh || Boolean(tick.about) || bin !== drawnAt || waiting();
}

// A chart that was held while somebody looked at it has something to catch up with when it is let go.
const waiting = () => [...charts.values()].some((chart) => chart.figure.classList.contains("paused"));

function begin(told, now) {
  about = told;
  if (!range) look(now - told.started_s < 600 ? "5m" : "1h");
  const fresh = new Series();
  Object.assign(series, fresh);
  judgments.begin([...(about.router ? [about.router.name] : []), ...about.arms]);
  byId("ask").hidden = true;
  byId("told").hidden = byId("parts").hidden = false;
  byId("forget").hidden = !sessionStorage.getItem(KEY);
  byId("about").textContent = `adjudge ${about.version}, running since ${toDate(about.started_s)}. ` +
    "Counts are those of /metrics: they begin with the process.";
  byId("first").textContent = firstRequest();
}

function firstRequest() {
  const key = root.dataset.keyed === "yes" ? ` \\\n  -H "Authorization: Bearer $ADJUDGE_KEY"` : "";
  const body = JSON.stringify({ arm: about.router ? "auto" : about.arms[0], prompt: "What is 2 + 2?", response_a: "4", response_b: "5" });
  return `curl ${location.origin}/v1/judge${key} \\\n  -H "Content-Type: application/json" \\\n  -d '${body.replaceAll("'", "\\u0027")}'`;
}

async function run() {
  for (;;) {
    try {
      if (root.dataset.keyed === "yes" && !sessionStorage.getItem(KEY)) throw new Refused("");
      await listen();
    } catch (error) {
      if (error instanceof Refused) {
        await asked(error.message);
        continue;
      }
      if (!(error instanceof Lost)) throw error;
      failures += 1;
    }
    const wait = Math.min(2 ** failures, 10);
    if (failures) say("lost", `lost, again in ${wait} s`);
    await new Promise((resolve) => setTimeout(resolve, failures ? 1000 * wait : 100));
  }
}

function say(is, text) {
  const live = byId("live");
  if (live.dataset.is === is && live.textContent === text) return;
  live.dataset.is = is;
  live.textContent = text;
}

// -- the key

function asked(why) {
  sessionStorage.removeItem(KEY);
  say("locked", "locked");
  byId("told").hidden = byId("parts").hidden = byId("forget").hidden = true;
  byId("ask").hidden = false;
  byId("refused").hidden = !why;
  byId("refused").textContent = why;
  byId("key").value = "";
  byId("key").focus();
  return new Promise((resolve) => {
    byId("ask").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, byId("key").value.trim());
      byId("key").value = "";
      resolve();
    };
  });
}

byId("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});

// -- drawing

// What is scrolled out of sight is drawn when it comes into it.
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) [...charts.values()].find((chart) => chart.figure === target).seen = isIntersecting;
  if (state) draw();
});

// The chart's place, in the order in which figures first had something to say.
function placed(made) {
  const chart = new Chart(made.title);
  charts.set(made.id, chart);
  byId("charts").append(chart.figure);
  chart.seen = true;
  sight.observe(chart.figure);
  return chart;
}

function draw(all = false) {
  const empty = !["judgments", "judgments_cached", "completions", "unjudged"].some((metric) => series.total(metric) > 0);
  byId("empty").hidden = !empty;
  for (const id of ["facts", "figures", "judgments"]) byId(id).hidden = empty;
  alarms();
  if (!empty) {
    tiles();
    const bins = series.bins(range);
    drawnAt = Math.floor(series.now / RANGES[range].bin);
    const due = figures(series, about, RANGES[range].words).map((made) => [made, charts.get(made.id) || placed(made)]);
    const shown = due.filter(([, chart]) => all || chart.seen);
    for (const [, chart] of shown) chart.measure();
    for (const [made, chart] of shown) chart.draw(made, together(bins, made.together), range === "5m");
  }
  accounts();
}

function alarms() {
  const found = [];
  const { drift, down, closing, store } = state;
  if (drift?.since_s) {
    found.push(["Drift", `traffic has left what the router was fitted on: at least ${figure(drift.least_nats)} nats since ${clock(drift.since_s)}, ` +
      `radius ${figure(about.router.radius_nats)}. Fit the router again on records of this traffic.`]);
  }
  for (const [server, why] of Object.entries(down)) found.push([`Server ${plain(server)}`, plain(why)]);
  for (const account of state.accounts) {
    for (const [window_, spending] of windows(account)) {
      if (spending.cap_usd !== null && spending.usd + spending.reserved_usd >= 0.9 * spending.cap_usd) {
        found.push(["Cap", `${nameOf(account)} has ${dollars(Math.max(0, spending.cap_usd - spending.usd - spending.reserved_usd))} left of ${dollars(spending.cap_usd)} ${window_}`]);
      }
    }
  }
  if (store) found.push(["Store", `${plain(store)}. Nothing can be bought until it is back, and budgets are as they were`]);
  if (closing) found.push(["Going down", "nothing new is let in"]);
  const box = byId("alarms");
  const said = found.map(([what, text]) => `${what}: ${text}`).join("\n");
  if (box.dataset.said === said) return; // a screen reader should hear each once
  box.dataset.said = said;
  box.replaceChildren(...found.map(([what, text]) => element("p", "", element("strong", "", `${what}: `), text)));
}

function tiles() {
  const all = series.total("judgments");
  const cached = series.total("judgments_cached");
  const without = all - series.total("judgments", VERDICT);
  const completions = series.total("completions");
  const { quality, drift } = state;
  const latency = buckets(series, series.totals);
  const found = [
    ["judgments", "Judgments", all, count(all), completions ? `and ${count(completions)} chat completions` : "bought since the start"],
    ["cached", "Cached", cached, percent(part(cached, cached + all)), `${count(cached)} that cost nothing`],
    ["spent", "Spent", series.total("cost_usd"), dollars(series.total("cost_usd")), "since the start"],
    ["without", "Without a verdict", without, percent(part(without, all)), `${count(without)} of ${count(all)}`],
    ["latency", "Median latency", quantile(latency, 0.5), seconds(quantile(latency, 0.5)), `95 %: ${seconds(quantile(latency, 0.95))}`],
  ];
  if (about.router) {
    const mean = series.level(series.totals, "mean_cost_rel");
    const over = mean > about.router.budget * 1.01;
    found.splice(3, 0, ["mean", "Mean cost, routed", mean, ratio(mean || undefined), `budget ${ratio(about.router.budget)}`, over]);
    if (drift) found.push(["drift", "Drift", drift.least_nats, `${figure(drift.least_nats)} nats`, `radius ${figure(about.router.radius_nats)}`, Boolean(drift.since_s)]);
    if (quality.agreement) {
      const { value, low, high, n } = quality.agreement;
      found.push(["agreement", `Agrees with ${plain(about.router.dear)}`, value, percent(value), `${percent(low, 0)} to ${percent(high, 0)}, ${count(n)} audits`]);
      found.push(["regret", "Lost against it", quality.regret_most.value, `≤ ${percent(quality.regret_most.value)}`,
        quality.regret_labelled ? `${percent(quality.regret_labelled.value)} by ${count(quality.regret_labelled.n)} labels` : `saves ${percent(quality.saved, 0)} of its cost`]);
    }
  }
  for (const [arm, { n, value, low, high }] of Object.entries(quality.accuracy)) {
    found.push([`accuracy-${arm}`, `Accuracy of ${plain(arm)}`, value, percent(value), `${percent(low, 0)} to ${percent(high, 0)}, ${count(n)} labels since the start`]);
  }
  const same = series.total("both_orders", (arm, agree) => agree === "yes");
  const both = series.total("both_orders");
  if (both) found.push(["consistency", "Same in both orders", same, percent(same / both), `${count(both)} asked both ways`]);
  byId("facts").replaceChildren(...found.map(([id, title, raw, text, small, bad]) => {
    const made = element("div", bad ? "bad" : "", element("dt", "", title), element("dd", "", text, element("small", "", small)));
    made.dataset.fact = id;
    made.dataset.value = known(raw) ? String(raw) : "";
    return made;
  }));
}

// -- budgets

const windows = (account) => [["this hour", account.hour], ["today", account.day], ["in all", account.all]];
const nameOf = (account) => ({ all: "Everything", audit: "Audits" }[account.kind] || plain(account.name || account.id));

function accounts() {
  const head = element("tr", "", ...["account", "this hour", "today", "in all", "judgments"].map((text) => element("th", "", text)));
  const rows = state.accounts.map((account) => {
    const name = element("th", "", nameOf(account));
    if (account.kind === "key" && account.name) name.append(" ", element("span", "quietly id", account.id));
    return element("tr", "", name, ...windows(account).map(([, spending]) => spent(spending)), element("td", "", count(account.judgments)));
  });
  byId("accounts").replaceChildren(element("thead", "", head), element("tbody", "", ...rows));
}

function spent({ usd, reserved_usd: held, cap_usd: cap }) {
  const made = element("td", "", cap === null ? dollars(usd) : `${dollars(usd)} of ${dollars(cap)}`);
  if (cap === null) return made;
  const [share, reserved] = [Math.min(1, part(usd, cap) ?? 1), Math.min(1, part(held, cap) ?? 0)];
  const meter = element("div", `meter${share + reserved >= 0.9 ? " full" : ""}`, element("i"), element("i", "held"));
  meter.setAttribute("role", "meter");
  meter.setAttribute("aria-valuenow", Math.round(100 * share));
  meter.setAttribute("aria-valuemin", 0);
  meter.setAttribute("aria-valuemax", 100);
  meter.setAttribute("aria-label", `${percent(share, 0)} of the cap, ${percent(reserved, 0)} more reserved`);
  meter.firstChild.style.width = `${100 * share}%`;
  meter.lastChild.style.left = `${100 * share}%`;
  meter.lastChild.style.width = `${100 * Math.min(reserved, 1 - share)}%`;
  made.append(meter);
  return made;
}

// -- theme, ranges, tips

const THEMES = ["auto", "light", "dark"];
function theme(name) {
  if (name === "auto") delete root.dataset.theme;
  else root.dataset.theme = name;
  byId("theme").textContent = `Theme: ${name}`;
  localStorage.setItem("adjudge-theme", name);
}
byId("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(root.dataset.theme || "auto") + 1) % THEMES.length]));
if (THEMES.includes(localStorage.getItem("adjudge-theme"))) theme(localStorage.getItem("adjudge-theme"));

const buttons = [...document.querySelectorAll("[data-range]")];
function look(back) {
  range = back;
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.range === back);
}
for (const button of buttons) {
  button.addEventListener("click", () => {
    look(button.dataset.range);
    draw(true);
  });
}

const tip = byId("tip");
const markOf = (event) => event.target.closest?.(".mark");

function showTip(mark) {
  tip.textContent = mark.getAttribute("aria-label");
  tip.hidden = false;
  const at = mark.getBoundingClientRect();
  const left = Math.min(Math.max(8, at.left + at.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
  const above = at.top - tip.offsetHeight - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
}

const hideTip = () => { tip.hidden = true; };

for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, (event) => { if (markOf(event)) showTip(markOf(event)); });
for (const kind of ["pointerout", "focusout"]) document.addEventListener(kind, (event) => { if (markOf(event)) hideTip(); });
document.addEventListener("keydown", (event) => {
  const mark = markOf(event);
  if (!mark) return;
  const marks = [...mark.ownerSVGElement.querySelectorAll(".mark")];
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const target = event.key === "Home" ? marks[0] : event.key === "End" ? marks.at(-1) : step && marks[marks.indexOf(mark) + step];
  if (!target) return;
  event.preventDefault();
  mark.setAttribute("tabindex", -1);
  target.setAttribute("tabindex", 0);
  target.focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  hideTip();
  if (markOf(event)) document.activeElement.blur();
});
addEventListener("scroll", hideTip, { passive: true });
addEventListener("resize", () => { if (state) draw(true); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && state) draw(true); });

run();
