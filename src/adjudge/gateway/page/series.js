// What the gateway told, as it told it: names of metrics, steps of what they grew by, totals. Then bins of a range.
const RANGES = {
  "5m": { seconds: 300, bin: 5, from: "seconds", words: "5 s" },
  "1h": { seconds: 3600, bin: 60, from: "minutes", words: "minute" },
  "24h": { seconds: 86400, bin: 900, from: "minutes", words: "15 minutes" },
};

class Series {
  constructor() {
    this.names = [];
    this.places = new Map(); // metric -> places of its names
    this.totals = {};
    this.steps = { seconds: [], minutes: [] };
    this.now = 0;
  }

  // Whether anything is new in it.
  take(tick) {
    const steps = JSON.stringify([tick.seconds, tick.minutes, tick.names]);
    const fresh = steps !== this.before;
    this.before = steps;
    for (const name of tick.names) {
      const [metric] = name;
      if (!this.places.has(metric)) this.places.set(metric, []);
      this.places.get(metric).push(this.names.push(name) - 1);
    }
    this.totals = tick.totals;
    this.now = tick.now_s;
    for (const [kind, kept] of [["seconds", 300], ["minutes", 86400]]) {
      const steps = this.steps[kind];
      for (const step of tick[kind]) {
        if (steps.length && steps.at(-1).t === step.t) steps.pop();
        steps.push(step);
      }
      while (steps.length && steps[0].t <= this.now - kept - 60) steps.shift();
    }
    return fresh;
  }

  // The sum over a metric's names that `fits` says yes to; `fits` is given the labels.
  total(metric, fits = () => true) {
    return this.sum(this.totals, metric, fits);
  }

  sum(values, metric, fits = () => true) {
    let found = 0;
    for (const place of this.places.get(metric) || []) {
      if (fits(...this.names[place].slice(1))) found += values[place] || 0;
    }
    return found;
  }

  level(values, metric) {
    const [place] = this.places.get(metric) || [];
    return place === undefined ? undefined : values[place];
  }

  // The values of one label, in the order in which they first came.
  labels(metric, place = 0) {
    return [...new Set((this.places.get(metric) || []).map((at) => this.names[at][place + 1]))];
  }

  // Bins of equal length up to now: {t, v}, v as in a step; levels go on until they change.
  bins(range) {
    const { seconds: long, bin, from } = RANGES[range];
    const last = Math.floor(this.now / bin) * bin;
    const first = last - long + bin;
    const found = Array.from({ length: long / bin }, (_, i) => ({ t: first + i * bin, v: {} }));
    const levels = new Set(LEVELS.flatMap((metric) => this.places.get(metric) || []));
    const before = {};
    for (const step of this.steps[from]) {
      const at = found[Math.floor((step.t - first) / bin)];
      for (const [place, value] of Object.entries(step.v)) {
        if (levels.has(Number(place))) {
          if (at) at.v[place] = value;
          else if (step.t < first) before[place] = value;
        } else if (at) at.v[place] = (at.v[place] || 0) + value;
      }
    }
    for (const place of levels) {
      let value = before[place];
      for (const bin of found) {
        if (bin.v[place] === undefined) bin.v[place] = value;
        else value = bin.v[place];
      }
    }
    return found;
  }
}

// Metrics that are what they are, and do not add up.
const LEVELS = ["multiplier", "mean_cost_rel", "budget_rel", "drift_nats", "drift_least_nats", "drift_radius_nats", "agreement"];

// The q-quantile of a histogram's buckets [(upper end, count)], as Prometheus reads it: even within a bucket.
function quantile(buckets, q) {
  const all = buckets.reduce((sum, [, n]) => sum + n, 0);
  if (!all) return undefined;
  let below = 0;
  let low = 0;
  for (const [end, n] of buckets) {
    if (n > 0 && below + n >= q * all) return end === Infinity ? low : low + ((end - low) * (q * all - below)) / n;
    below += n;
    low = end;
  }
  return low;
}

// 95 % interval of a share of n (Wilson's score interval).
function wilson(share, n) {
  const z2 = 1.959964 ** 2;
  const centre = (share + z2 / (2 * n)) / (1 + z2 / n);
  const half = Math.sqrt(z2 * ((share * (1 - share)) / n + z2 / (4 * n * n))) / (1 + z2 / n);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}
