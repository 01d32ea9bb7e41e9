"""The picture of convergence: lines where the gaps are, names that stand apart, a file that needs no other."""

import re
from xml.etree import ElementTree

import numpy as np

from adjudge.report.convergence import Way, draw

FALLING = Way("falls & ends", (10.0 ** -np.arange(0, 20, 2.0)).tolist(), "exact robust")
LEVEL = Way("stays", [1e-2] * 30, "cycles")


def lines(drawn: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]*)"', drawn)
    return [[tuple(map(float, point.split(","))) for point in one.split()] for one in found]


def test_a_tenfold_gap_is_as_high_everywhere_and_a_line_ends_where_rounding_rules():
    falling, level = lines(draw([FALLING, LEVEL], "gap"))
    heights = np.array([y for _, y in falling])
    assert len(falling) == 8  # 1 to 1e-12, and the first below, drawn at the edge
    np.testing.assert_allclose(np.diff(heights[:7]), np.diff(heights[:7])[0], atol=0.11)
    assert len(level) == 30 and len({y for _, y in level}) == 1


def test_the_file_is_xml_that_asks_for_nothing_and_escapes_names():
    drawn = str(draw([FALLING, LEVEL], "a < b"))
    root = ElementTree.fromstring(drawn)
    assert root.tag.endswith("svg") and root.get("aria-label") == "a < b"
    assert "falls &amp; ends" in drawn and "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_names_of_lines_that_end_level_stand_apart():
    drawn = draw([Way(str(k), [1.0, 0.1 ** (k + 1), 1e-13], "exact") for k in range(4)], "gap")
    names = [float(y) for y in re.findall(r'<text x="700" y="([0-9.]+)"', drawn)]
    assert len(names) == 4 and np.diff(sorted(names)).min() >= 15.9
