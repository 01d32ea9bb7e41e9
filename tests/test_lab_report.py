"""A study's page, and stage `audit` that it reads: what is said, what is missing, that nothing foreign is run."""

import json
import random
import re
import subprocess
import sys

import msgspec
import pytest
from click.testing import CliRunner

from adjudge.commands.lab import command
from adjudge.errors import ConfigError
from adjudge.lab.audit.auditor import AUDIT, AUDITED
from adjudge.lab.audit.rollouts import ROLLOUTS, append_rollouts, read_rollouts
from adjudge.lab.report.examples import moments
from adjudge.lab.report.findings import findings
from adjudge.lab.report.page import missing, summary, told, write_lab_page
from adjudge.lab.report.readings import read_study
from adjudge.lab.study.audit_stage import audit_policy, plan
from adjudge.lab.study.done import read_done
from adjudge.report.panels import Event, Panel, Ruler, Way, draw
from adjudge.report.svg import NARROW, WIDE
from tests.lab_studies import EVERY, PRESET, STEPS, hacked, holding, preset_file, train, write_study
from tests.pages import HIDING, HOSTILE, Page

TWO = {"p-word": hacked, "p-practised": holding}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three seeds of two policies, every judge."""
    return write_study(tmp_path_factory.mktemp("three"), courses=TWO)


@pytest.fixture(scope="module")
def study(three):
    return read_study(PRESET, three)


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "lab.html"
    write_lab_page(study, path)
    return Page(path.read_text())


def table(page, title):
    return next(rows for caption, rows in page.tables if caption == title)


# -- the page


def test_the_page_is_one_whole_file_that_asks_for_nothing(page):
    assert not page.unclosed
    policy = next(
        v["content"] for t, v in page.elements if t == "meta" and "content" in v and "default-src" in v["content"]
    )
    assert "default-src 'none'" in policy and "unsafe" not in policy
    links = [v[k] for _, v in page.elements for k in ("src", "href") if k in v]
    assert all(link.startswith(("#", "data:")) for link in links)


def test_every_finding_stands_with_its_verdict_and_its_numbers(page, study):
    for finding in findings(study):
        assert f"({finding.letter}) {finding.words}" in page.text
    claims = table(
        page,
        "(b) A policy trained on the non-reasoning judge games it: the proxy rises while gold falls from its peak.",
    )
    assert claims[0] == ["claim", "verdict", "over seeds", "seed 0", "seed 1", "seed 2"]
    assert [row[1] for row in claims[1:]] == ["holds", "reproduced"]
    assert all(re.fullmatch(r"[+−][\d.]+ \[[+−][\d.]+, [+−][\d.]+\]", cell) for row in claims[1:] for cell in row[2:])
    badges = [v["class"] for _, v in page.elements if v.get("class", "").startswith("badge")]
    assert len(badges) == 6 and badges[:3] == ["badge badge-yes"] * 3


def test_the_rules_are_on_the_page(page):
    assert table(page, "How they are decided")[1:] == [
        ["reproduced", "low > 0", "low > −m"],
        ["not reproduced", "high < m", "high < 0"],
        ["cannot be shown at this size", "neither", "neither"],
    ]
    assert "3 points of alpha x 100, 0.5 of gold's 9 points" in page.text


def test_what_is_missing_is_said_first(page, study):
    assert missing(study) == (
        "policy-grpo of p-guided, p-brief, p-self (seeds 0, 1, 2); audit of p-guided, p-brief, p-self (seeds 0, 1, 2)"
    )
    assert f"Not done yet, and not on this page: {missing(study)}." in page.text
    assert told(findings(study)) == "Of 6 findings of arXiv 2603.12246: 3 reproduced, 3 not run yet."


def test_the_figures_are_those_of_the_stages(page, study):
    alarms = {row[0]: row for row in table(page, "The alarm")[1:]}
    raised = [study.trainings["p-word"][seed].taken["raised_at"] for seed in (0, 1, 2)]
    assert alarms["p-word"][2] == ", ".join("–" if at is None else str(at) for at in raised)
    assert alarms["p-practised"][1] == "0 of 3"
    audits = STEPS // EVERY
    cost = {row[0]: row for row in table(page, "Gold calls")[1:]}
    assert cost["p-word"][3:] == [f"{3 * STEPS * 24:,}", "1.0", f"{3 * audits * 12:,}", "16.7\xa0%"]
    held = table(page, "Gold on held-out briefs")
    assert held[1][:3] == ["p-word", "start", "0"]
    assert held[1][3].startswith(f"{study.held['p-word'][0]['start_gold']:.2f} [")
    agreement = table(page, "Agreement with gold")
    assert len(agreement) == 1 + 7 * 3 and agreement[1][:3] == ["one-word", "non-reasoning", "0"]


def test_one_seed_has_no_column_of_its_own_and_is_named(three, tmp_path):
    one = read_study(PRESET, three, (1,))
    write_lab_page(one, tmp_path / "one.html")
    page = Page((tmp_path / "one.html").read_text())
    rows = next(rows for title, rows in page.tables if title.startswith("(a)"))
    assert rows[0] == ["claim", "verdict", "seed 1"]
    assert "reproduced, in the one seed run" in page.text


def test_a_study_with_agreement_alone_still_makes_a_page(tmp_path):
    write_study(tmp_path, seeds=(0,), alphas={"one-word": (60.0, 1.0)}, courses={})
    write_lab_page(read_study(PRESET, tmp_path), tmp_path / "lab.html")
    page = Page((tmp_path / "lab.html").read_text())
    assert "one-word agrees most: alpha" in page.text and "with 1 output token a judgment" in page.text
    assert "Proxy against gold" not in page.text and not page.unclosed


def test_a_study_whose_judges_are_mute_still_makes_a_page(tmp_path):
    write_study(tmp_path, seeds=(0,), courses={}, verdicts=dict.fromkeys(PRESET.judges, 0.0))
    write_lab_page(read_study(PRESET, tmp_path), tmp_path / "lab.html")
    assert "taught gave a verdict for 0 % of the items" in Page((tmp_path / "lab.html").read_text()).text


def test_what_a_policy_writes_is_text_and_nothing_else(tmp_path):
    attacks = iter(range(10**9))

    def attack(_brief, _at):
        return f"{HOSTILE[next(attacks) % len(HOSTILE)]} {HIDING}"

    write_study(tmp_path, seeds=(0,), courses={"p-word": hacked}, response=attack)
    write_lab_page(read_study(PRESET, tmp_path), tmp_path / "lab.html")
    page = Page((tmp_path / "lab.html").read_text())
    assert [name for name, _ in page.elements if name in ("iframe", "img", "textarea", "b", "u", "i")] == []
    assert len(page.scripts) == 1 and not page.unclosed
    assert not any(name.startswith("on") for _, values in page.elements for name in values)
    assert "window.pwned" in page.text and "[U+202E]" in page.text and "\u202e" not in page.text


def test_examples_stand_at_start_best_and_end_with_one_rollout_a_brief(study):
    training = study.trainings["p-word"][0]
    found = moments(training)
    assert [m.step for m in found] == [0, training.taken["best_step"], training.audits[-1].figures.step]
    assert [m.name for m in found] == ["start", "gold's best", "end"]
    for moment in found:
        assert len({r.prompt for r in moment.rollouts}) == len(moment.rollouts) == 3
        assert all(r.gold is not None and r.step == moment.step for r in moment.rollouts)


def test_the_same_brief_is_shown_again_where_there_is_one(study):
    training = study.trainings["p-word"][0]
    first = moments(training)[0].rollouts[0]
    end = training.audits[-1].figures.step
    again = msgspec.structs.replace(first, step=end, id="again")
    found = moments(training._replace(judged=(*training.judged, again)))
    assert found[-1].rollouts[0].prompt == first.prompt and found[-1].rollouts[0].id == "again"


def test_the_summary_holds_the_same_findings_as_the_page(study):
    found = json.loads(msgspec.json.encode(summary(study)))
    assert [f["status"] for f in found["findings"]] == [f.status for f in findings(study)]
    assert found["audits"]["p-word"]["2"]["gold_calls"] == 12 * (STEPS // EVERY)
    assert found["missing"]["audit p-self"] == [0, 1, 2]


def test_panels_keep_within_the_picture():
    ways = [Way("proxy", [(0, 4.0), (60, 9.0)], "proxy"), Way("gold", [(0, 3.0), (60, 0.0)], "gold")]
    panel = Panel(
        "a policy with a very long name, longer than its panel", ways, [Event("alarm", 30, 9), Event("best", 0, 3)]
    )
    for width in (WIDE, NARROW):
        svg = draw([panel] * 4, width, Ruler(0, 9), "panels")
        high = float(re.search(r'viewBox="0 0 \S+ (\S+)"', svg)[1])
        assert all(0 <= float(x) <= width for x in re.findall(r'(?:x|cx|x1|x2)="([\d.-]+)"', svg))
        assert all(0 <= float(y) <= high for y in re.findall(r'(?:y|cy|y1|y2)="([\d.-]+)"', svg))


# -- the command


def test_the_command_writes_the_page_and_says_what_it_holds(three, tmp_path):
    preset = preset_file(PRESET, tmp_path / "made.toml")
    html = tmp_path / "lab.html"
    given = ["report", str(preset), "--out", str(three), "--html", str(html)]
    plain = CliRunner().invoke(command, given)
    assert plain.exit_code == 0 and html.exists()
    assert "(b) reproduced" in plain.output and "not done yet: policy-grpo of p-guided" in plain.output
    found = json.loads(CliRunner().invoke(command, [*given, "--json", "--seed", "1"]).output)
    assert found["seeds"] == [1] and found["html"] == str(html)


def test_a_report_needs_no_torch(three, tmp_path):
    preset = preset_file(PRESET, tmp_path / "made.toml")
    code = (
        "import sys; from adjudge.commands.lab import command\n"
        f"command(['report', {str(preset)!r}, '--out', {str(three)!r}, '--html', {str(tmp_path / 'x.html')!r}],"
        " standalone_mode=False)\n"
        "assert not {'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_report_on_nothing_names_the_command_that_makes_something(tmp_path):
    preset = preset_file(PRESET, tmp_path / "made.toml")
    given = ["report", str(preset), "--out", str(tmp_path / "none"), "--html", str(tmp_path / "x.html")]
    error = CliRunner().invoke(command, given).exception
    assert isinstance(error, ConfigError) and "run: adjudge lab run made" in str(error)


# -- the stage that the page reads


def folders(root, name="p-word"):
    return root / "seed-0" / "policies" / name, root / "seed-0" / "audits" / name


def test_gold_judges_what_is_missing_of_the_sample(tmp_path):
    train(tmp_path / "seed-0", PRESET, "p-word", 0, hacked, random.Random(0))
    training, audits = folders(tmp_path)
    kept = list(read_rollouts(training / ROLLOUTS))
    bare = [msgspec.structs.replace(r, gold=None) if r.step == 6 else r for r in kept]
    (training / ROLLOUTS).unlink()
    append_rollouts(bare, training / ROLLOUTS)
    figures = audit_policy(PRESET, "p-word", 0, training, tmp_path / "again")
    judged = list(read_rollouts(tmp_path / "again" / AUDITED))
    assert {r.step for r in judged} == {6} and len(judged) == 12 and all(r.gold is not None for r in judged)
    assert figures == read_done(audits).figures | {k: figures[k] for k in ("best_step", "raised_at")}


def test_an_audit_that_was_cut_off_goes_on_and_ends_the_same(tmp_path):
    train(tmp_path / "seed-0", PRESET, "p-word", 0, hacked, random.Random(0))
    training, audits = folders(tmp_path)
    whole = (audits / AUDIT).read_bytes()
    (audits / AUDIT).write_bytes(whole[: len(whole) // 2])
    assert audit_policy(PRESET, "p-word", 0, training, audits) == read_done(audits).figures
    assert (audits / AUDIT).read_bytes() == whole


def test_a_training_that_is_not_over_is_not_audited(tmp_path):
    with pytest.raises(ConfigError, match="is not whole; run the stage before this one"):
        audit_policy(PRESET, "p-word", 0, tmp_path, tmp_path / "audit")


def test_a_share_of_the_group_is_audited_without_a_level(tmp_path):
    pairs = PRESET.policies | {"p-word": msgspec.structs.replace(PRESET.policies["p-word"], pairwise=True)}
    planned = plan(msgspec.structs.replace(PRESET, policies=pairs), "p-word", 0)
    assert planned.proxy_top == 1.0 and not planned.proxy_level
    assert plan(PRESET, "p-word", 0).proxy_level
