"""A study's page as a browser shows it: offline, harmless, at phone width, its panels telling what they show."""

import pytest

from adjudge.lab.report.page import write_lab_page
from adjudge.lab.report.readings import read_study
from tests.lab_studies import PRESET, hacked, holding, write_study
from tests.pages import HIDING, HOSTILE
from tests.test_report_browser import Tab, browser, pytestmark  # noqa: F401  # the fixture and its skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    turns = iter(range(10**9))
    folder = tmp_path_factory.mktemp("study")
    courses = {"p-word": hacked, "p-practised": holding}
    write_study(
        folder, courses=courses, response=lambda *_: f"{HOSTILE[next(turns) % len(HOSTILE)]} {HIDING} " + "w" * 300
    )
    write_lab_page(read_study(PRESET, folder), folder / "lab.html")
    return folder / "lab.html"


@pytest.fixture
def open_tab(path, browser):  # noqa: F811  # the study first: nothing of asyncio runs beside an open browser
    tabs = []

    def opened(**options):
        tabs.append(Tab(browser, path, **options))
        tabs[-1].page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_and_as_wide_as_its_window(open_tab, width, scheme):
    tab = open_tab(width=width, color_scheme=scheme)
    assert tab.trouble == []
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    assert tab.page.evaluate("window.pwned") is None


def test_a_step_that_is_pointed_at_tells_its_values(open_tab):
    tab = open_tab()
    chart = tab.page.locator("figure", has_text="Proxy against gold").locator(".chart.wide .mark").first
    chart.hover()
    said = tab.page.inner_text("#tip").splitlines()
    assert said[0] == "p-word, step 0"
    assert said[1].startswith("proxy ") and said[2].startswith("gold ") and "seed 2:" in said[2]


def test_names_at_the_ends_of_lines_do_not_cover_each_other(open_tab):
    tab = open_tab()
    names = tab.page.locator(".chart.wide .end-name").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect()).map((b) => [b.left, b.top, b.right, b.bottom])"
    )
    boxes = [box for box in names if box[2] > box[0]]
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            over = one[0] < other[2] and other[0] < one[2] and one[1] + 3 < other[3] and other[1] + 3 < one[3]
            assert not over, (one, other)
