"use strict";
// Elements, and texts as they may be shown: what the report's script and the gateway's page begin with. Everything that
// comes from outside is put there by textContent, never as HTML.
const byId = (id) => document.getElementById(id);

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

// Characters that hide, reorder or control are written out; a joiner inside an emoji is left alone.
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
