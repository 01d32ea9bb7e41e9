// Figures in words. Formatters are made once: to make one takes a thousand times as long as to use it.
const number = (options) => { const made = new Intl.NumberFormat("en", options); return (value) => made.format(value); };
const whole = number({ maximumFractionDigits: 0 });
const short = number({ maximumSignificantDigits: 3 });
const cents = number({ minimumFractionDigits: 2, maximumFractionDigits: 2 });
const time = (options) => { const made = new Intl.DateTimeFormat("en-GB", options); return (t) => made.format(new Date(1000 * t)); };
const toMinutes = time({ hour: "2-digit", minute: "2-digit" });
const toSeconds = time({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const toDate = time({ dateStyle: "medium", timeStyle: "short" });

const NONE = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const count = (value) => (known(value) ? whole(value) : NONE);
const percent = (share, digits = 1) => (known(share) ? `${(100 * share).toFixed(digits)} %` : NONE);
const ratio = (value) => (known(value) ? `${short(value)} ×` : NONE);
const figure = (value) => (known(value) ? short(value) : NONE);
const clock = (t, withSeconds) => (withSeconds ? toSeconds(t) : toMinutes(t));

function dollars(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "$0";
  return `$${Math.abs(value) >= 1 ? cents(value) : small(value)}`;
}

const small = number({ maximumSignificantDigits: 3, maximumFractionDigits: 9, roundingPriority: "lessPrecision" });

function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 1) return `${short(1000 * value)} ms`;
  return `${value < 100 ? short(value) : whole(value)} s`;
}
