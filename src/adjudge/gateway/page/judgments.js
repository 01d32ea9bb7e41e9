// The latest judgments: one row each, opened with its texts as the store has them.
const KEPT_ROWS = 200;
const SHOWN_ROWS = 25;

class Judgments {
  constructor(ask) {
    this.ask = ask; // path -> the answer's JSON
    this.rows = byId("rows");
    this.only = byId("only");
    this.all = [];
    this.shown = SHOWN_ROWS;
    byId("more").addEventListener("click", () => {
      this.shown = KEPT_ROWS;
      this.show();
      this.focus(this.heads()[Math.min(SHOWN_ROWS, this.heads().length - 1)]);
    });
    this.rows.addEventListener("keydown", (event) => this.moved(event));
    this.only.addEventListener("change", () => this.show());
  }

  begin(arms) {
    const names = [["", "all"], ["none", "without a verdict"], ["audit", "audits"], ...arms.map((arm) => [`arm:${arm}`, plain(arm)])];
    const chosen = this.only.value;
    this.only.replaceChildren(...names.map(([value, said]) => new Option(said, value)));
    this.only.value = names.some(([value]) => value === chosen) ? chosen : "";
    this.all = [];
    this.rows.replaceChildren();
  }

  take(latest, fresh) {
    for (const one of latest) {
      this.all.push(one);
      if (this.wanted(one)) this.rows.prepend(this.row(one, fresh));
    }
    this.all.splice(0, this.all.length - KEPT_ROWS);
    this.trim();
    if (latest.length) this.settle();
  }

  wanted(one) {
    const only = this.only.value;
    if (only === "none") return NO_VERDICT.includes(one.outcome);
    if (only === "audit") return one.audit;
    return !only || `arm:${one.arm}` === only || one.bought.some(([arm]) => `arm:${arm}` === only);
  }

  show() {
    this.rows.replaceChildren(...this.all.filter((one) => this.wanted(one)).reverse().slice(0, this.shown).map((one) => this.row(one)));
    this.settle();
  }

  // The oldest go, but for those that are being read.
  trim() {
    const closed = [...this.rows.children].filter((row) => !row.open && !row.contains(document.activeElement));
    const over = Math.max(0, this.rows.childElementCount - this.shown);
    for (const row of closed.reverse().slice(0, over)) row.remove();
  }

  // One tab stop for the list, and how many there are.
  settle() {
    const heads = this.heads();
    if (!heads.some((head) => head.tabIndex === 0)) heads[0]?.setAttribute("tabindex", 0);
    const wanted = this.all.filter((one) => this.wanted(one)).length;
    byId("count").textContent = wanted === this.all.length ? `the last ${wanted}` : `${wanted} of the last ${this.all.length}`;
    byId("more").hidden = wanted <= this.shown;
    byId("more").textContent = `Show all ${wanted}`;
  }

  heads() {
    return [...this.rows.querySelectorAll(":scope > details > summary")];
  }

  moved(event) {
    const head = event.target.closest("summary");
    const row = event.target.closest(".row");
    if (event.key === "Escape" && row?.open) {
      row.open = false;
      this.focus(row.firstElementChild);
      return;
    }
    if (!head || head.parentElement !== row) return;
    const heads = this.heads();
    const at = heads.indexOf(head);
    const target = { ArrowDown: heads[at + 1], ArrowUp: heads[at - 1], Home: heads[0], End: heads.at(-1) }[event.key];
    if (!target) return;
    event.preventDefault();
    this.focus(target);
  }

  focus(head) {
    for (const one of this.heads()) one.tabIndex = -1;
    head.tabIndex = 0;
    head.focus();
  }

  row(one, fresh) {
    const when = element("time", "when", clock(one.at_s, true));
    when.dateTime = new Date(1000 * one.at_s).toISOString();
    const numbers = element("span", "figures", `${dollars(one.cost_usd)} · ${seconds(one.seconds)}`);
    const head = element("summary", "", when, this.chips(one), numbers);
    head.tabIndex = -1;
    const made = element("details", `row${fresh ? " new" : ""}`, head);
    made.setAttribute("role", "listitem");
    made.dataset.id = one.id;
    made.addEventListener("toggle", () => { if (made.open && made.childElementCount === 1) this.open(made, one); });
    head.addEventListener("click", () => this.focus(head));
    return made;
  }

  chips(one) {
    const whole = element("span", `chip ${kindOf(one.rated ? "said" : one.outcome)}`, words("bdi", "", one.arm), ` ${one.rated ? "rated" : one.outcome}`);
    const parts = one.bought.map(([arm, order, outcome]) =>
      element("span", `chip ${kindOf(outcome)}`, words("bdi", "", arm), ` ${ORDERS[order] || order}: ${outcome}`));
    const made = element("span", "chips", whole, ...parts);
    if (one.rung !== null && one.rung >= 0) made.append(element("span", "quietly", `rung ${one.rung}`));
    if (one.audit) made.append(element("span", "badge badge-open", "audit"));
    return made;
  }

  async open(made, one) {
    const inner = element("div", "inner", element("p", "quietly", "Reading…"));
    made.append(inner);
    try {
      if (!one.id) throw new Error("nothing of it was kept: no call was made");
      inner.replaceChildren(...detail(await this.ask(`/v1/judgments/${one.id}`)));
    } catch (error) {
      inner.replaceChildren(element("p", "note", `It cannot be shown: ${plain(error.message)}`));
    }
  }
}

const ORDERS = { ab: "A first", ba: "B first" };
const kindOf = (outcome) => (NO_VERDICT.includes(outcome) ? "none" : outcome === "tie" ? "tied" : "said");

const block = (title, text, className) => element("div", "", words("h4", className || "", title), words("pre", "", text));

// What there is to see of a judgment, all of it as text.
function detail(kept) {
  const made = [];
  if (kept.prompt !== null) made.push(block("Prompt", kept.prompt));
  const sides = element("div", "sides");
  for (const [side, text] of [["A", kept.response_a], ["B", kept.response_b]]) {
    const gold = kept.gold === side;
    if (text !== null) sides.append(block(`Response ${side}${gold ? " (gold)" : ""}`, text, gold ? "gold" : ""));
  }
  (kept.responses || []).forEach((text, i) => sides.append(block(`Response ${i + 1}${kept.scores ? `: ${(kept.scores[i] || []).join(", ") || "no rating"}` : ""}`, text)));
  if (sides.childElementCount) made.push(sides);
  if (kept.rubric !== null) made.push(block("Rubric", kept.rubric));
  made.push(calls(kept), ...kept.calls.map(said));
  const facts = [kept.id, kept.domain && `domain ${kept.domain}`, kept.source && `source ${kept.source}`, kept.p_a !== null && `p(A) ${figure(kept.p_a)}`];
  made.push(words("p", "quietly", facts.filter(Boolean).join(" · ")));
  return made;
}

function calls(kept) {
  const headings = ["call", "says", "prompt tokens", "output tokens", "reasoning tokens", "cost", "latency", "attempts", "model"];
  const body = kept.calls.map((call) => {
    const usage = call.usage || {};
    const told = [
      call.value !== null ? figure(call.value) : call.outcome || NONE, count(usage.prompt_tokens), count(usage.output_tokens),
      count(usage.reasoning_tokens), dollars(call.cost_usd), seconds(call.latency_s), count(call.attempts), plain(call.model || NONE),
    ];
    return element("tr", "", words("th", "", `${call.arm}${place(call)}`), ...told.map((text) => element("td", "", text)));
  });
  const head = element("tr", "", ...headings.map((text) => element("th", "", text)));
  const sum = element("tr", "total", element("th", "", "together"), ...headings.slice(1).map((name) => element("td", "", name === "cost" ? dollars(kept.cost_usd) : "")));
  const box = element("div", "scroll", element("table", "", element("thead", "", head), element("tbody", "", ...body, ...(body.length > 1 ? [sum] : []))));
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "Its calls");
  return box;
}

const place = (call) => [call.order && `, ${ORDERS[call.order]}`, call.response_index !== null && `, response ${call.response_index + 1}`,
  call.sample > 0 && `, sample ${call.sample + 1}`].filter(Boolean).join("");

function said(call) {
  const made = element("div", "");
  if (call.reasoning) {
    const head = element("summary", "", "Reasoning of ", words("bdi", "", call.arm), ` (${count(call.reasoning.length)} characters)`);
    made.append(element("details", "thought", head, words("pre", "", call.reasoning)));
  }
  made.append(call.text ? block(`${call.arm}${place(call)} wrote`, call.text) : element("p", "quietly", call.error ? "No answer." : "An empty answer."));
  if (call.error) made.append(block("Error", call.error));
  return made;
}
