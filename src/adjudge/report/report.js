// Follows text.js, whose functions it uses. Nothing here asks the network.
(() => {
  // -- theme: as the system says, until the button is pressed

  const themes = ["auto", "light", "dark"];
  const themeButton = byId("theme");
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % themes.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    themeButton.textContent = `Theme: ${next}`;
  });

  // -- charts: what a mark says is shown when it is pointed at or focused; one tab stop a chart, arrows move within it

  const tip = byId("tip");

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

  const markOf = (event) => event.target.closest?.(".mark");

  for (const title of document.querySelectorAll(".mark > title")) title.remove(); // the tip says the same, and at once
  for (const first of document.querySelectorAll("svg .mark:first-of-type")) first.setAttribute("tabindex", 0);

  function moveWithin(event) {
    const mark = markOf(event);
    if (!mark) return;
    const marks = [...mark.ownerSVGElement.querySelectorAll(".mark")];
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const target = event.key === "Home" ? marks[0] : event.key === "End" ? marks.at(-1) : step && marks[marks.indexOf(mark) + step];
    if (!target) return;
    event.preventDefault();
    mark.setAttribute("tabindex", -1);
    target.setAttribute("tabindex", 0);
    target.focus();
  }

  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => { const mark = markOf(event); if (mark) showTip(mark); });
  }
  for (const kind of ["pointerout", "focusout"]) document.addEventListener(kind, (event) => { if (markOf(event)) hideTip(); });
  document.addEventListener("keydown", moveWithin);
  addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", hideTip, { passive: true });

  // -- judgments

  if (!byId("index")) return;
  const { evaluators, domains, rows: packedRows } = JSON.parse(byId("index").textContent);
  const PAGE = 50;
  const WORDS = { A: "A", B: "B", t: "tie", u: "unread", c: "truncated", r: "refused", f: "failed" };
  const rows = packedRows.map(([evaluator, domain, chunk, place, id, gold, excerpt, codes]) => ({
    evaluator, domain, chunk, place, id, gold, excerpt,
    judged: codes.flatMap((code, i) => (code ? [judgment(evaluators[evaluator].arms[i], i, code, gold)] : [])),
  }));

  // `code` is the outcome with a first, with b first, and over both; "-" stands for an order that was not run.
  function judgment(arm, i, [ab, ba, outcome], gold) {
    const verdict = outcome === "A" || outcome === "B";
    return {
      arm, i, ab, ba, outcome,
      right: verdict && gold ? outcome === gold : null,
      inconsistent: "ABt".includes(ab) && "ABt".includes(ba) && ab !== ba,
    };
  }

  // -- texts, unpacked when they are needed

  const chunkElements = document.querySelectorAll("script.chunk");
  const chunks = [];

  function chunk(number) {
    chunks[number] ??= (async () => {
      const bytes = Uint8Array.from(atob(chunkElements[number].textContent), (c) => c.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      return new Response(stream).json();
    })();
    return chunks[number];
  }

  // A text is a string, or [its start, its whole length] where the page carries no more of it.
  const startOf = (text) => (Array.isArray(text) ? text[0] : text);

  function textsOf(record) {
    const said = record.arms.filter(Boolean).flatMap((a) => [a.completion_ab, a.completion_ba, a.reasoning_ab, a.reasoning_ba]);
    return [record.prompt, record.a, record.b, record.rubric, ...(record.responses || []), ...said].filter(Boolean).map(startOf);
  }

  // -- filters

  const filters = byId("filters");
  const [fEvaluator, fDomain, fArm, fOutcome, fBetween, fOrders, fText] =
    ["evaluator", "domain", "arm", "outcome", "between", "orders", "text"].map((name) => byId(`f-${name}`));

  const OUTCOMES = {
    right: (j) => j.right === true,
    wrong: (j) => j.right === false,
    tie: (j) => j.outcome === "t",
    A: (j) => j.outcome === "A",
    B: (j) => j.outcome === "B",
    "no verdict": (j) => "ucrf".includes(j.outcome),
    unread: (j) => j.outcome === "u",
    truncated: (j) => j.outcome === "c",
    refused: (j) => j.outcome === "r",
    failed: (j) => j.outcome === "f",
  };
  const BETWEEN = {
    "arms disagree": (row) => new Set(row.judged.map((j) => j.outcome)).size > 1,
    "arms agree": (row) => row.judged.length > 1 && new Set(row.judged.map((j) => j.outcome)).size === 1,
    "some right, some not": (row) => row.gold && row.judged.some((j) => j.right) && row.judged.some((j) => !j.right),
    "all right": (row) => row.judged.every((j) => j.right),
    "none right": (row) => row.gold && !row.judged.some((j) => j.right),
  };
  const armNames = [...new Set(evaluators.flatMap((e) => e.arms))];
  if (armNames.length === 2) {
    for (const [only, other] of [armNames, [...armNames].reverse()]) {
      BETWEEN[`only ${only} right`] = (row) =>
        row.gold && row.judged.some((j) => j.arm === only && j.right) && row.judged.some((j) => j.arm === other && !j.right);
    }
  }

  function fill(select, first, names) {
    select.append(new Option(first, ""), ...names.map((name) => new Option("", name)));
    names.forEach((name, i) => select.options[i + 1].append(plain(name)));
  }

  fill(fEvaluator, "all", evaluators.map((e) => e.name));
  fill(fDomain, "all", domains);
  fill(fArm, "any arm", armNames);
  fill(fOutcome, "any", Object.keys(OUTCOMES));
  fill(fBetween, "all pairs", Object.keys(BETWEEN));
  fEvaluator.parentElement.hidden = evaluators.length < 2;
  fBetween.parentElement.hidden = armNames.length < 2;
  filters.hidden = false;

  function wanted(row) {
    if (fEvaluator.value && evaluators[row.evaluator].name !== fEvaluator.value) return false;
    if (fDomain.value && domains[row.domain] !== fDomain.value) return false;
    const judged = fArm.value ? row.judged.filter((j) => j.arm === fArm.value) : row.judged;
    if (!judged.length) return false;
    if (fOutcome.value && !judged.some(OUTCOMES[fOutcome.value])) return false;
    if (fOrders.checked && !judged.some((j) => j.inconsistent)) return false;
    return !fBetween.value || Boolean(BETWEEN[fBetween.value](row));
  }

  let found = rows;
  let page = 0;
  let search = 0; // the number of the latest search; an older one that still runs gives up

  async function apply() {
    const mine = ++search;
    const needle = fText.value.trim().toLowerCase();
    let hits = rows.filter(wanted);
    if (needle) {
      const candidates = hits;
      hits = [];
      for (const [i, row] of candidates.entries()) {
        if (i % 200 === 0) {
          byId("count").textContent = `Searching… ${Math.round((100 * i) / candidates.length)} %`;
          await new Promise((resolve) => setTimeout(resolve));
        }
        const record = (await chunk(row.chunk))[row.place];
        if (mine !== search) return;
        if ([row.id, ...textsOf(record)].some((text) => text.toLowerCase().includes(needle))) hits.push(row);
      }
    }
    if (mine !== search) return;
    found = hits;
    show(0);
  }

  function show(number) {
    page = number;
    const pages = Math.ceil(found.length / PAGE);
    byId("count").textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} pairs`;
    byId("rows").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(rowElement));
    byId("pager").hidden = pages < 2;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
    byId("page").textContent = `${page * PAGE + 1}–${Math.min((page + 1) * PAGE, found.length)} of ${found.length.toLocaleString("en")}`;
  }

  function turn(step) {
    show(page + step);
    byId("count").scrollIntoView({ block: "start" });
  }

  let typing;
  fText.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(apply, 200); });
  filters.addEventListener("change", (event) => { if (event.target !== fText) apply(); });
  filters.addEventListener("reset", () => setTimeout(apply));
  filters.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));

  // -- one row, and what is inside it

  function rowElement(row) {
    const about = element("div", "about", words("span", "id", row.id), words("span", "", domains[row.domain]));
    if (evaluators.length > 1) about.append(words("span", "", evaluators[row.evaluator].name));
    about.append(row.gold ? `gold ${row.gold}` : "no gold label");
    const summary = element("summary", "", about);
    if (row.excerpt) summary.append(words("div", "excerpt", row.excerpt));
    summary.append(element("div", "chips", ...row.judged.map(chip)));
    const made = element("details", "row", summary);
    made.addEventListener("toggle", () => { if (made.open && made.children.length === 1) open(made, row); });
    return made;
  }

  function chip(j) {
    const [kind, sign] = "ucrf".includes(j.outcome) ? ["none", ""] : j.outcome === "t" ? ["tied", "="] :
      j.right === null ? ["said", ""] : j.right ? ["right", "✓"] : ["wrong", "✗"];
    const orders = j.inconsistent ? ` (${WORDS[j.ab]} then ${WORDS[j.ba]})` : "";
    return element("span", `chip ${kind}`, words("bdi", "", j.arm), ` ${sign} ${WORDS[j.outcome]}${orders}`);
  }

  async function open(made, row) {
    const inner = element("div", "inner", element("p", "quietly", "Unpacking…"));
    made.append(inner);
    try {
      const record = (await chunk(row.chunk))[row.place];
      inner.replaceChildren(...texts(record, row), verdicts(record, row), ...row.judged.map((j) => said(record.arms[j.i], j)));
    } catch (error) {
      inner.replaceChildren(element("p", "note", `The texts could not be unpacked: ${error.message}`));
    }
  }

  function block(title, text, className) {
    const made = element("div", "", words("h4", className || "", title), words("pre", "", startOf(text)));
    if (Array.isArray(text)) {
      made.append(element("p", "quietly", `Cut here: ${text[0].length.toLocaleString("en")} of ${text[1].toLocaleString("en")} characters.`));
    }
    return made;
  }

  function texts(record, row) {
    const made = [];
    if (record.prompt !== undefined) made.push(block("Prompt", record.prompt));
    const sides = element("div", "sides");
    for (const [side, text] of [["A", record.a], ["B", record.b]]) {
      const gold = row.gold === side;
      if (text !== undefined) sides.append(block(`Response ${side}${gold ? " (gold)" : ""}`, text, gold ? "gold" : ""));
    }
    (record.responses || []).forEach((text, i) => {
      const gold = record.gold_index === i;
      sides.append(block(`Response ${i + 1}${gold ? " (gold)" : ""}`, text, gold ? "gold" : ""));
    });
    if (sides.children.length) made.push(sides);
    if (record.rubric !== undefined) made.push(block("Rubric", record.rubric));
    return made.length ? made : [element("p", "quietly", "The source published these judgments without the texts.")];
  }

  const figure = (value, digits = 1) =>
    value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });

  function verdicts(record, row) {
    const headings = ["arm", "A first", "B first", "together", "against gold", "p(A)", "ratings", "output tokens", "prompt tokens", "reasoning tokens", "cost"];
    const head = element("tr", "", ...headings.map((h) => element("th", "", h)));
    const body = row.judged.map((j) => {
      const a = record.arms[j.i];
      const cells = [
        WORDS[j.ab] || "not run", WORDS[j.ba] || "not run", WORDS[j.outcome], j.right === null ? "–" : j.right ? "right" : "wrong",
        figure(a.p_a, 3), a.scores ? a.scores.map((s) => s.map((x) => figure(x, 2)).join(", ")).join(" | ") : "–",
        figure(a.output_tokens), figure(a.prompt_tokens), figure(a.reasoning_tokens), a.cost_usd === undefined ? "–" : `$${figure(a.cost_usd, 6)}`,
      ];
      return element("tr", "", words("th", "", j.arm), ...cells.map((cell) => element("td", "", cell)));
    });
    const box = element("div", "scroll", element("table", "", element("thead", "", head), element("tbody", "", ...body)));
    box.tabIndex = 0;
    return box;
  }

  function said(a, j) {
    const inner = element("div", "");
    if (a.error !== undefined) inner.append(block("Error", a.error));
    for (const [order, title] of [["ab", "A shown first"], ["ba", "B shown first"]]) {
      if (j[order] === "-") continue;
      const reasoning = a[`reasoning_${order}`];
      const completion = a[`completion_${order}`];
      if (reasoning !== undefined) {
        const length = (Array.isArray(reasoning) ? reasoning[1] : reasoning.length).toLocaleString("en");
        inner.append(element("details", "thought", element("summary", "", `Reasoning, ${title} (${length} characters)`), block("", reasoning)));
      }
      inner.append(completion === undefined
        ? element("p", "quietly", `The text of the judgment was not recorded (${title}).`)
        : block(`Judgment, ${title}: ${WORDS[j[order]]}`, completion));
    }
    return element("details", "said", element("summary", "", "What ", words("bdi", "", j.arm), " wrote"), inner);
  }

  show(0);
})();
