// Elements and figures. Everything that comes from outside is put on the page by textContent, never as HTML.
const byId = (id) => document.getElementById(id);

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// Characters that hide, reorder or control are written out; a joiner inside an emoji is left alone. As in the report.
const ODD = /(?:(?<![\p{Extended_Pictographic}\p{Emoji_Modifier}\uFE0F])\u200D|(?!\u200D)[\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\u{E0100}-\u{E01EF}\u115F\u1160\u3164\uFFA0]|(?![\n\t\r])\p{Cc})/gu;

function visible(text) {
  const parts = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(ODD)) {
    const code = `U+${match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    parts.append(text.slice(from, match.index), element("span", "odd", code));
    from = match.index + match[0].length;
  }
  parts.append(text.slice(from));
  return parts;
}

function words(name, className, text) {
  const made = element(name, className, visible(text));
  made.dir = "auto";
  return made;
}

const plain = (text) => visible(text).textContent;

// Made once: to make a formatter takes a thousand times as long as to use it.
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
