"""Recorded judgments replayed: what comes out of a run is what was recorded."""

import asyncio
from pathlib import Path

import pytest

from adjudge import records
from adjudge.config import Settings, from_dict
from adjudge.errors import ConfigError, DataError, Rejected
from adjudge.judging.backends.base import open_backend
from adjudge.types import Ask, Judgment, Order, Outcome, Pair, Record, Reply, Usage
from tests.runs import judged, kept

DATA = Path(__file__).parents[2] / "shared" / "data"


def replaying(path: Path, evaluator: str = "judge", **arms: dict[str, object]) -> Settings:
    named = {name: {"server": "tape", **fields} for name, fields in (arms or {"plain": {}}).items()}
    return from_dict(
        {"evaluator": evaluator, "servers": {"tape": {"kind": "replay", "path": str(path)}}, "arms": named}
    )


def written(path: Path, *recorded: Record) -> Path:
    records.write(path, recorded)
    return path


def ask(pair_id: str, order: Order = "ab", arm: str = "plain", kind: str = "verdict") -> Ask:
    return Ask(pair_id=pair_id, arm=arm, kind=kind, messages=(), body={}, order=order)


def answered(settings: Settings, *asks: Ask) -> list[Reply]:
    async def go() -> list[Reply]:
        backend = open_backend("tape", settings, {})
        try:
            return [await backend.send(a) for a in asks]
        finally:
            await backend.close()

    return asyncio.run(go())


BOTH = Record(
    pair=Pair(id="p1", prompt="?", response_a="a", response_b="b", gold="A"),
    evaluator="judge",
    judgments={
        "plain": Judgment(
            arm="plain",
            ab=Outcome.A,
            ba=Outcome.TRUNCATED,
            prompt_tokens=100.5,
            output_tokens=7.5,
            completion_ab="[[A]]",
            completion_ba="Let me think",
            reasoning_ba="hm",
        ),
        "half": Judgment(arm="half", ab=Outcome.B, output_tokens=3, completion_ab="B"),
        "broken": Judgment(arm="broken", ab=Outcome.FAILED, error="HTTP 500"),
    },
)


def test_each_order_is_answered_with_what_was_recorded_for_it(tmp_path: Path) -> None:
    settings = replaying(written(tmp_path / "r.jsonl", BOTH))
    ab, ba = answered(settings, ask("p1"), ask("p1", "ba"))
    assert (ab.text, ab.recorded, ab.finish_reason) == ("[[A]]", Outcome.A, "stop")
    assert (ba.text, ba.reasoning, ba.recorded, ba.finish_reason) == ("Let me think", "hm", Outcome.TRUNCATED, "length")
    assert ab.usage is not None
    assert ba.usage is not None
    assert ab.usage + ba.usage == Usage(201, 15)


def test_tokens_that_were_not_recorded_are_unknown_and_a_failure_stays_one(tmp_path: Path) -> None:
    settings = replaying(written(tmp_path / "r.jsonl", BOTH), half={}, broken={})
    half, broken = answered(settings, ask("p1", arm="half"), ask("p1", arm="broken"))
    assert half.usage is None
    assert half.unmetered_calls == 0
    assert (broken.recorded, broken.error) == (Outcome.FAILED, "HTTP 500")


def test_an_arm_may_replay_a_recorded_arm_of_another_name(tmp_path: Path) -> None:
    settings = replaying(written(tmp_path / "r.jsonl", BOTH), mine={"model": "plain"})
    assert answered(settings, ask("p1", arm="mine"))[0].recorded is Outcome.A


@pytest.mark.parametrize(
    "missing", [ask("p2"), ask("p1", arm="other"), ask("p1", "ba", arm="half"), ask("p1", kind="rubric")]
)
def test_what_was_not_recorded_is_rejected_and_named(tmp_path: Path, missing: Ask) -> None:
    settings = replaying(written(tmp_path / "r.jsonl", BOTH), plain={}, other={}, half={})
    with pytest.raises(Rejected, match=f"no judgment of pair '{missing.pair_id}' by arm '{missing.arm}'"):
        answered(settings, missing)


def test_of_several_evaluators_the_one_that_is_named_is_replayed(tmp_path: Path) -> None:
    other = Record(pair=BOTH.pair, evaluator="second", judgments={"plain": Judgment(arm="plain", ab=Outcome.B)})
    path = written(tmp_path / "r.jsonl", BOTH, other)
    assert answered(replaying(path, "second"), ask("p1"))[0].recorded is Outcome.B
    with pytest.raises(ConfigError, match="judge, second"):
        answered(replaying(path, "third"), ask("p1"))


def test_a_single_evaluator_needs_no_name_and_a_missing_file_is_named(tmp_path: Path) -> None:
    assert answered(replaying(written(tmp_path / "r.jsonl", BOTH), "whoever"), ask("p1"))[0].text == "[[A]]"
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        answered(replaying(tmp_path / "gone.jsonl"), ask("p1"))


def test_replays_of_different_recordings_have_different_keys(tmp_path: Path) -> None:
    one, other = (replaying(tmp_path / name, plain={}, half={}) for name in ("r.jsonl", "s.jsonl"))
    keys = {one.arm_key("plain"), one.arm_key("half"), other.arm_key("plain")}
    assert len(keys) == 3
    renamed = replaying(tmp_path / "r.jsonl", mine={"model": "plain"})
    assert renamed.arm_key("mine") != one.arm_key("half")


@pytest.mark.skipif(not DATA.exists(), reason="the recorded judgments are not beside the checkout")
def test_a_replayed_run_gives_back_the_recorded_judgments(tmp_path: Path) -> None:
    source = DATA / "records_llmbar.jsonl.gz"
    recorded = [r for r in records.read(source) if r.evaluator == "GPT-4" and {"CoT", "Vanilla"} <= r.judgments.keys()]
    settings = replaying(source, "GPT-4", CoT={"orders": "both"}, Vanilla={"orders": "both"})
    summary = asyncio.run(judged(settings, tmp_path / "j.db", [r.pair for r in recorded]))
    assert summary.bought == 2 * len(recorded) == 200
    again = kept(tmp_path / "j.db")
    for record in recorded:
        for name in ("CoT", "Vanilla"):
            old, new = record.judgments[name], again[record.pair.id, name]
            assert (new.ab, new.ba, new.completion_ab, new.completion_ba) == (
                old.ab,
                old.ba,
                old.completion_ab,
                old.completion_ba,
            )
            assert new.output_tokens == pytest.approx(old.output_tokens, abs=0.51)
