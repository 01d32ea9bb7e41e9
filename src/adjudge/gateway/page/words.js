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

const NONE = "–";
const known = (value) => value !== null && value !== undefined && Number.isFinite(value);
const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : NONE);
const percent = (share, digits = 1) => (known(share) ? `${(100 * share).toFixed(digits)} %` : NONE);
const ratio = (value) => (known(value) ? `${value.toLocaleString("en", { maximumSignificantDigits: 3 })} ×` : NONE);
const figure = (value) => (known(value) ? value.toLocaleString("en", { maximumSignificantDigits: 3 }) : NONE);

function dollars(value) {
  if (!known(value)) return NONE;
  if (value === 0) return "$0";
  if (Math.abs(value) >= 1) return `$${value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  return `$${value.toLocaleString("en", { maximumSignificantDigits: 3, maximumFractionDigits: 9 })}`;
}

function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 1) return `${figure(1000 * value)} ms`;
  return value < 100 ? `${figure(value)} s` : `${Math.round(value).toLocaleString("en")} s`;
}

const clock = (t, withSeconds) =>
  new Date(1000 * t).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" } : {}) });
