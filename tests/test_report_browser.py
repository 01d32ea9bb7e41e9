"""The page as a browser shows it: offline, harmless, filtered, at phone width, by keyboard, without script."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from adjudge.compare import compare
from adjudge.report.page import write_comparison_html, write_report
from adjudge.types import Outcome, Record
from tests.pages import ARMS, HIDING, HOSTILE, hostile_records, plain_records

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

LONG = tuple(f"Qwen3-235B-A22B-Instruct-2507-FP8+rubric_by_another_model_number_{i}" for i in range(6))
VERDICTS = (Outcome.A, Outcome.B, Outcome.TIE)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Tab:
    """A page opened offline, and everything that a page should not do: messages, requests, dialogs."""

    def __init__(self, browser, path: Path, width: int = 1280, **options) -> None:
        self.context = browser.new_context(offline=True, viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.url = path.as_uri()
        self.page.goto(self.url)

    def _dialog(self, dialog) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request) -> None:
        if request.url != self.url:
            self.trouble.append(f"request: {request.url}")

    def counted(self) -> int:
        """How many pairs the page says it shows, once a search is over."""
        playwright.expect(self.page.locator("#count")).to_have_text(re.compile(r"^[\d,]+ of [\d,]+ pairs$"))
        return int(self.page.inner_text("#count").split(" ")[0].replace(",", ""))

    def processor_s(self) -> float:
        """What opening the page has cost the browser's process for it, in seconds of processor time."""
        session = self.context.new_cdp_session(self.page)
        session.send("Performance.enable")
        return {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}["ProcessTime"]

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_text_contents()


def written(records: list[Record], path: Path, arms=ARMS, **options) -> Path:
    write_report(records, compare(records, list(arms), evaluator=records[0].evaluator, resamples=50), path, **options)
    return path


@pytest.fixture(scope="module")
def hostile_path(tmp_path_factory) -> Path:
    return written(hostile_records(), tmp_path_factory.mktemp("pages") / "hostile.html")


@pytest.fixture
def open_tab(browser) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def opener(path: Path, **options) -> Tab:
        tabs.append(Tab(browser, path, **options))
        return tabs[-1]

    yield opener
    for tab in tabs:
        tab.context.close()
        assert tab.trouble == []


@pytest.fixture
def tab(open_tab, hostile_path) -> Tab:
    """The hostile page; whoever uses it also claims that it does nothing it should not."""
    return open_tab(hostile_path)


# -- harmless


def test_injected_markup_stays_text_when_rows_are_opened(tab):
    rows = tab.page.locator("#rows > details")
    for i in range(len(HOSTILE)):
        rows.nth(i).locator(":scope > summary").click()
        playwright.expect(rows.nth(i).locator("pre").first).to_be_visible()
        for fold in rows.nth(i).locator("details > summary").all():
            fold.click()
    shown = "\n".join(tab.texts("#rows pre"))
    for attack in HOSTILE:
        assert attack in shown
    assert tab.page.locator("#rows :is(script, img, svg, iframe, textarea, a, b, i, u)").count() == 0
    assert tab.page.evaluate("typeof window.pwned") == "undefined"


def test_characters_that_hide_are_written_out_and_emoji_are_left_whole(tab):
    tab.page.locator("#rows > details > summary").first.click()
    text = tab.page.locator("#rows pre").first.text_content()
    odd = set(tab.texts("#rows pre .odd"))
    assert odd == {"U+202E", "U+2066", "U+2069", "U+200B", "U+0007", "U+001B", "U+E0041"}
    assert not set("\u202e\u2066\u200b\x07\x1b\U000e0041") & set(text)
    assert "👩‍👩‍👧" in text
    assert "👩‍👩‍👧" in HIDING


# -- filters: the count on the page against a count from the records


def outcomes(record: Record, arm: str = "") -> list:
    return [j for name, j in record.judgments.items() if arm in ("", name)]


def right(judgment, gold) -> bool:
    return gold is not None and judgment.outcome == gold


def wrong(judgment, gold) -> bool:
    return gold is not None and judgment.outcome in ("A", "B") and judgment.outcome != gold


def orders_disagree(judgment) -> bool:
    return judgment.ab in VERDICTS and judgment.ba in VERDICTS and judgment.ab != judgment.ba


FILTERS: list[tuple[dict[str, str], Callable[[Record], bool]]] = [
    ({}, lambda r: True),
    ({"domain": "math"}, lambda r: r.pair.domain == "math"),
    ({"domain": "<b>one only</b>"}, lambda r: r.pair.domain == "<b>one only</b>"),
    ({"arm": "instruct"}, lambda r: "instruct" in r.judgments),
    ({"outcome": "right"}, lambda r: any(right(j, r.pair.gold) for j in outcomes(r))),
    ({"outcome": "wrong", "arm": "reasoning"}, lambda r: any(wrong(j, r.pair.gold) for j in outcomes(r, "reasoning"))),
    ({"outcome": "tie"}, lambda r: any(j.outcome == "tie" for j in outcomes(r))),
    ({"outcome": "B", "arm": "instruct"}, lambda r: any(j.outcome == "B" for j in outcomes(r, "instruct"))),
    ({"outcome": "no verdict"}, lambda r: any(j.outcome not in VERDICTS for j in outcomes(r))),
    ({"outcome": "truncated"}, lambda r: any(j.outcome == "truncated" for j in outcomes(r))),
    (
        {"outcome": "failed", "domain": "chat"},
        lambda r: r.pair.domain == "chat" and any(j.outcome == "failed" for j in outcomes(r)),
    ),
    ({"between": "arms disagree"}, lambda r: len({j.outcome for j in outcomes(r)}) > 1),
    ({"between": "arms agree"}, lambda r: len(r.judgments) > 1 and len({j.outcome for j in outcomes(r)}) == 1),
    ({"between": "none right"}, lambda r: bool(r.pair.gold) and not any(right(j, r.pair.gold) for j in outcomes(r))),
    ({"between": "all right"}, lambda r: all(right(j, r.pair.gold) for j in outcomes(r))),
    (
        {"between": "only reasoning right"},
        lambda r: (
            len(r.judgments) == 2
            and right(r.judgments["reasoning"], r.pair.gold)
            and r.pair.gold is not None
            and not right(r.judgments["instruct"], r.pair.gold)
        ),
    ),
    ({"orders": "yes"}, lambda r: any(orders_disagree(j) for j in outcomes(r))),
    ({"orders": "yes", "arm": "instruct"}, lambda r: any(orders_disagree(j) for j in outcomes(r, "instruct"))),
    ({"text": "NEEDLE"}, lambda r: any(j.completion_ba == "needle" for j in outcomes(r))),
    ({"text": "thinking about 77"}, lambda r: bool(r.judgments) and r.pair.id == "<i>77</i>"),
    ({"text": "question 4", "domain": "math"}, lambda r: "question 4" in r.pair.prompt and r.pair.domain == "math"),
    ({"text": "no such words anywhere"}, lambda r: False),
]


def test_every_filter_counts_as_a_count_over_the_records_does(tab):
    records = [r for r in hostile_records() if r.judgments]
    for chosen, wanted in FILTERS:
        tab.page.click("#filters button[type=reset]")
        for name, value in chosen.items():
            if name == "orders":
                tab.page.check("#f-orders")
            elif name == "text":
                tab.page.fill("#f-text", value)
                tab.page.press("#f-text", "Enter")
            else:
                tab.page.select_option(f"#f-{name}", value)
        expected = sum(wanted(r) for r in records)
        playwright.expect(tab.page.locator("#count")).to_have_text(f"{expected} of {len(records)} pairs")
        assert tab.page.locator("#rows > details").count() == min(50, expected), chosen
    assert len({sum(wanted(r) for r in records) for _, wanted in FILTERS}) > 10


def test_pages_turn_and_hold_fifty_rows(tab):
    total = tab.counted()
    assert total > 100
    first = tab.texts("#rows .id")
    tab.page.click("#next")
    second = tab.texts("#rows .id")
    assert len(first) == len(second) == 50
    assert not set(first) & set(second)
    tab.page.click("#next")
    assert len(tab.texts("#rows .id")) == total - 100
    assert tab.page.is_disabled("#next")
    tab.page.click("#previous")
    assert tab.texts("#rows .id") == second


# -- one judgment


def test_a_judgment_opens_with_its_texts_and_figures_and_its_reasoning_on_demand(tab):
    record = next(r for r in hostile_records() if len(r.judgments) == 2 and r.pair.gold and r.judgments["reasoning"].ba)
    tab.page.fill("#f-text", f"thinking about {record.pair.id[3:-4]} ")
    tab.page.press("#f-text", "Enter")
    playwright.expect(tab.page.locator("#count")).to_have_text(re.compile("^1 of "))
    row = tab.page.locator("#rows > details")
    row.locator(":scope > summary").click()
    headings = row.locator("h4").all_text_contents()
    assert headings[:3] == [
        "Prompt",
        f"Response A{' (gold)' if record.pair.gold == 'A' else ''}",
        f"Response B{' (gold)' if record.pair.gold == 'B' else ''}",
    ]
    cells = row.locator("table tr").nth(2).locator("th, td").all_text_contents()
    judgment = record.judgments["reasoning"]
    assert cells[:4] == ["reasoning", judgment.ab, judgment.ba, judgment.outcome]
    assert cells[5:7] == ["0.25", "7, 8.5 | 5"]
    assert float(cells[7]) == pytest.approx(judgment.output_tokens, abs=0.051)
    assert cells[8] == "321"
    assert cells[10] == "$0.00125"
    said = row.locator("details.said").nth(1)
    said.locator(":scope > summary").click()
    thought = said.locator("details.thought")
    assert not thought.locator("pre").is_visible()
    thought.locator("summary").click()
    playwright.expect(thought.locator("pre")).to_be_visible()
    assert thought.locator("pre").text_content() == judgment.reasoning_ab
    assert judgment.completion_ab in said.locator("pre").all_text_contents()


def test_only_what_is_opened_is_unpacked_and_five_thousand_judgments_open_fast(open_tab, tmp_path):
    records = []
    for i in range(21):
        for r in hostile_records(120, seed=i):
            pair = msgspec.structs.replace(r.pair, id=f"{i}-{r.pair.id}", prompt=r.pair.prompt + "text " * 200)
            records.append(msgspec.structs.replace(r, pair=pair))
    path = written(records, tmp_path / "large.html")
    tab = open_tab(path)
    tab.page.locator("#rows > details").nth(49).wait_for()
    took = tab.processor_s()
    assert tab.counted() > 2400
    assert tab.page.locator("#rows > details").count() == 50
    assert tab.page.locator("#rows pre").count() == 0
    assert took < 2


# -- keyboard, phone, dark, no script, print


def test_a_chart_can_be_walked_by_keyboard_and_says_what_it_shows(tab):
    page = tab.page
    page.locator("figure svg.wide .mark[tabindex='0']").first.focus()
    first = page.inner_text("#tip")
    page.keyboard.press("ArrowDown")
    second = page.inner_text("#tip")
    assert first.split("\n")[0] in ARMS
    assert second.split("\n")[0] in ARMS
    assert first != second
    assert "output tokens per verdict" in second
    page.keyboard.press("Home")
    assert page.inner_text("#tip") == first
    page.keyboard.press("Escape")
    assert not page.is_visible("#tip")


def test_pointing_anywhere_at_a_row_of_a_chart_shows_its_figures(tab):
    row = tab.page.locator("svg.wide[aria-label^='Gain of'] .mark").last
    row.hover(position={"x": 300, "y": 15})
    tip = tab.page.inner_text("#tip").split("\n")
    assert tip[0] == "all together"
    assert [line.split(":")[0] for line in tip[1:]] == ["gain [interval]", "n", "McNemar p"]
    tab.page.mouse.move(5, 5)
    assert not tab.page.is_visible("#tip")


def test_everything_is_reached_by_tab_and_opened_by_enter(tab):
    page = tab.page
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        if page.evaluate("document.activeElement.matches('#rows > details > summary')"):
            break
    assert {"theme", "f-domain", "f-arm", "f-outcome", "f-between", "f-orders", "f-text", "SUMMARY"} <= reached
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#rows pre").first).to_be_visible()


def test_the_theme_button_goes_round(tab):
    def colour() -> str:
        return tab.page.evaluate("getComputedStyle(document.body).backgroundColor")

    auto = colour()
    tab.page.click("#theme")
    assert colour() == auto
    tab.page.click("#theme")
    assert tab.page.inner_text("#theme") == "Theme: dark"
    assert colour() != auto
    tab.page.click("#theme")
    assert colour() == auto


def test_the_system_theme_is_followed(open_tab, hostile_path):
    light, dark = (open_tab(hostile_path, color_scheme=scheme) for scheme in ("light", "dark"))
    colours = [t.page.evaluate("getComputedStyle(document.body).backgroundColor") for t in (light, dark)]
    assert colours[0] != colours[1]


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways_and_no_chart_is_cut_off(open_tab, tmp_path, width):
    many = hostile_records(60, LONG)
    pages = [written(many, tmp_path / "many.html", LONG), written(plain_records(), tmp_path / "plain.html")]
    pages.append(tmp_path / "alone.html")
    write_comparison_html(compare(many, list(LONG), evaluator=many[0].evaluator, resamples=50), pages[-1])
    for path in pages:
        tab = open_tab(path, width=width)
        for row in tab.page.locator("#rows > details > summary").all()[:1]:
            row.click()
        tab.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        tab.page.wait_for_timeout(300)
        assert tab.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert tab.page.evaluate(_CUT_OFF) == []


# Texts of a visible chart that reach past its figure, or cover another text of the same chart.
_CUT_OFF = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("figure svg")) {
    if (!svg.getClientRects().length) continue;
    const frame = svg.closest("figure").getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")].map((t) => [t.textContent, t.getBoundingClientRect()]);
    for (const [i, [words, a]] of boxes.entries()) {
      if (a.left < frame.left || a.right > frame.right) found.push(["cut", words]);
      for (const [other, b] of boxes.slice(i + 1)) {
        const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (wide > 1 && high > 3) found.push(["covered", words, other]);
      }
    }
  }
  return found;
}"""


def test_charts_and_tables_are_read_without_script(open_tab, hostile_path):
    page = open_tab(hostile_path, java_script_enabled=False).page
    assert page.locator("figure svg.wide").first.is_visible()
    assert page.locator("figure svg.wide .mark > title").count() > 0
    page.locator("summary", has_text="Data as a table").first.click()
    assert page.locator("figure table").first.is_visible()
    assert page.locator("noscript .note").is_visible()
    assert not page.locator("#filters").is_visible()


def test_the_printed_page_has_the_charts_and_leaves_the_controls_out(tab):
    tab.page.emulate_media(media="print")
    assert tab.page.locator("figure svg.wide").first.is_visible()
    assert not tab.page.locator("#judgments").is_visible()
    assert not tab.page.locator("#theme").is_visible()


def test_motion_is_reduced_on_request(open_tab, hostile_path):
    page = open_tab(hostile_path, reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
