// Which figures there are, and what each draws of a bin.
const ARM_HUES = ["hue-0", "hue-1", "hue-2", "hue-3", "hue-4", "hue-5"];
const NO_VERDICT = ["unread", "truncated", "refused", "failed"];
const VERDICT = (arm, outcome) => !NO_VERDICT.includes(outcome);

const part = (some, all) => (all > 0 ? some / all : undefined);

function figures(series, about, words_) {
  const sum = (bin, metric, fits) => series.sum(bin.v, metric, fits);
  const level = (bin, metric) => series.level(bin.v, metric);
  const hue = (arm) => ARM_HUES[Math.max(0, about.arms.indexOf(arm)) % ARM_HUES.length];
  const arms = (metric) => series.labels(metric).sort((a, b) => about.arms.indexOf(a) - about.arms.indexOf(b));
  const router = about.router;
  const found = [
    {
      id: "judgments", title: "Judgments", unit: `per ${words_}`, value: figure,
      bars: [
        { name: "bought, with a verdict", hue: "hue-lead", of: (bin) => sum(bin, "judgments", VERDICT) },
        { name: "bought, without", hue: "hue-none", of: (bin) => sum(bin, "judgments", (...l) => !VERDICT(...l)) },
        { name: "cached", hue: "hue-tie", of: (bin) => sum(bin, "judgments_cached") },
        { name: "chat completions", hue: "hue-second", of: (bin) => sum(bin, "completions") },
        { name: "not judged", hue: "hue-warm", of: (bin) => sum(bin, "unjudged") },
      ],
      caption: came(series),
    },
    {
      id: "spend", title: "Spend", unit: `US dollars per ${words_}, by arm`, value: dollars,
      bars: arms("cost_usd").map((arm) => ({ name: arm, hue: hue(arm), of: (bin) => sum(bin, "cost_usd", (a) => a === arm) })),
      caption: `${dollars(series.total("cost_usd"))} since the start. Caps are below, under Budgets.`,
      empty: () => "Nothing was spent in this time",
    },
  ];
  if (router) found.push(...routed(series, router, sum, level));
  if (router?.audit > 0 || series.total("feedback") > 0) found.push(agreement(router, sum));
  found.push(
    {
      id: "share", title: "Share of each arm", unit: "of the verdicts bought, audits left out", value: percent0, share: true,
      bars: arms("purchases").map((arm) => ({
        name: arm, hue: hue(arm),
        of: (bin) => part(sum(bin, "purchases", (a, _, by) => a === arm && by !== "audit"), sum(bin, "purchases", (a, _, by) => by !== "audit")),
      })),
    },
    {
      id: "latency", title: "Latency", unit: "of a judgment that is bought, to its end", value: seconds, log: true,
      threads: [[0.5, "median", "hue-lead"], [0.95, "95 %", "hue-second"], [0.99, "99 %", "hue-soft"]].map(([q, name, hue_]) => ({
        name, hue: hue_, dashed: q === 0.99, of: (bin) => quantile(buckets(series, bin.v), q),
      })),
      caption: "Read from the histogram that /metrics has: exact to its buckets, even within them.",
    },
    {
      id: "unread", title: "Without a verdict", unit: "share of the judgments bought", value: percent0,
      bars: NO_VERDICT.map((kind) => ({
        name: kind, hue: `hue-${kind}`, of: (bin) => part(sum(bin, "judgments", (_, outcome) => outcome === kind), sum(bin, "judgments")),
      })),
      caption: "Unread: no verdict could be parsed. Truncated: the token cap cut it. Neither counts as a verdict anywhere.",
      empty: (bins) => (bins.some((bin) => sum(bin, "judgments") > 0) ? "Every judgment of this time gave a verdict" : undefined),
    },
  );
  return found;
}

const percent0 = (share, tick) => percent(share, tick ? (share * 100) % 1 ? 1 : 0 : 1);

// The errors' codes with their numbers since the start, most first.
function came(series) {
  const codes = series.labels("unjudged").map((code) => [code, series.total("unjudged", (c) => c === code)]).filter(([, n]) => n > 0);
  if (!codes.length) return "Cached: known or shared, so nothing was bought. Not judged: asked for, and refused or lost.";
  return `Not judged since the start: ${codes.sort((a, b) => b[1] - a[1]).map(([code, n]) => `${code} ${count(n)}`).join(", ")}.`;
}

function routed(series, router, sum, level) {
  const mean = (bin) => part(sum(bin, "routed_cost_rel"), sum(bin, "routed_judgments"));
  const rungs = (bin) => {
    const n = sum(bin, "rungs");
    const places = series.labels("rungs").reduce((all, rung) => all + Number(rung) * sum(bin, "rungs", (r) => r === rung), 0);
    return n ? [`rung: ${figure(places / n)} on average`] : [];
  };
  const found = [
    {
      id: "budget", title: "Cost against budget", unit: `mean cost of a routed judgment, in mean costs of ${plain(router.reference)}`, value: ratio,
      threads: [
        { name: "in this bin", hue: "hue-second", of: mean },
        { name: "of all so far", hue: "hue-lead", of: (bin) => level(bin, "mean_cost_rel") || undefined },
      ],
      rules: [{ name: `budget ${ratio(router.budget)}`, kind: "budget", at: router.budget }],
    },
    {
      id: "multiplier", title: "Multiplier", unit: "reward that one more unit of cost must buy", value: figure, also: rungs,
      threads: [{ name: "multiplier", hue: "hue-lead", steps: true, of: (bin) => level(bin, "multiplier") }],
      caption: "It rises when judgments cost more than the budget allows, and less is bought.",
    },
  ];
  if (router.radius_nats !== null) {
    found.push({
      id: "drift", title: "Drift", unit: "nats of KL between the router's fitting data and its traffic", value: figure,
      threads: [
        { name: "at least, chance taken off", hue: "hue-lead", of: (bin) => level(bin, "drift_least_nats") },
        { name: "measured", hue: "hue-second", dashed: true, of: (bin) => level(bin, "drift_nats") },
      ],
      rules: [{ name: `${router.radius_fitted ? "fitted" : "default"} radius ${figure(router.radius_nats)}`, kind: "radius", at: router.radius_nats }],
      caption: router.radius_fitted ? "An alarm is raised where the least passes the radius that the router was fitted for." :
        "The router was fitted for no radius, so an alarm is raised at the default one.",
    });
  }
  return found;
}

// Shares with their intervals: few a bin, so bins are put together to twelve.
function agreement(router, sum) {
  const share = (some, all) => (all > 0 ? [some / all, ...wilson(some / all, all), all] : undefined);
  const audits = {
    name: `same verdict as ${router?.dear}`, hue: "hue-lead",
    of: (bin) => share(sum(bin, "audits", (r) => r === "same"), sum(bin, "audits", (r) => ["same", "tie", "other"].includes(r))),
  };
  const labels = {
    name: "right by feedback", hue: "hue-warm",
    of: (bin) => share(sum(bin, "feedback", (a, r) => r === "right") + 0.5 * sum(bin, "feedback", (a, r) => r === "tie"), sum(bin, "feedback")),
  };
  const audited = router?.audit > 0;
  return {
    id: "agreement", title: "Agreement and accuracy", unit: "share, with 95 % intervals", value: percent0, share: true, together: 12,
    beads: audited ? [audits, labels] : [labels],
    caption: audited ? `${percent(router.audit)} of the routed judgments are audited by ${plain(router.dear)}.` : "No share of the judgments is audited.",
    empty: () => "No audit and no label in this time",
  };
}

function buckets(series, values) {
  const found = new Map();
  for (const place of series.places.get("judgment_seconds") || []) {
    const [, , end] = series.names[place];
    const upper = end === "+Inf" ? Infinity : Number(end);
    found.set(upper, (found.get(upper) || 0) + (values[place] || 0));
  }
  return [...found].sort((a, b) => a[0] - b[0]);
}

// Neighbouring bins put together, so that there are at most so many.
function together(bins, most) {
  if (!most || bins.length <= most) return bins;
  const each = Math.ceil(bins.length / most);
  const found = [];
  for (let i = bins.length % each ? (bins.length % each) - each : 0; i < bins.length; i += each) {
    const some = bins.slice(Math.max(i, 0), i + each);
    const v = {};
    for (const bin of some) for (const [place, value] of Object.entries(bin.v)) v[place] = (v[place] || 0) + (value || 0);
    found.push({ t: some[0].t, v });
  }
  return found;
}
