"""A router's folder: the same decisions when it is read again, and no folder read that does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest

from adjudge.errors import AdjudgeError, ConfigError, DataError
from adjudge.routing import registry, saved
from adjudge.routing.registry import Options
from adjudge.routing.router import expected
from adjudge.routing.saved import CARD, WEIGHTS, data_digest, load, save
from tests.tables import drawn_table

TABLE = drawn_table(150, arms=("cheap", "middling", "dear"))
TABLE = TABLE.with_features(np.random.default_rng(0).normal(size=(150, 3)), ("length", "digits", "code"))


@pytest.fixture(scope="module")
def fitted():
    return registry.fit("threshold", TABLE, Options(), 0)


@pytest.fixture
def folder(tmp_path, fitted) -> Path:
    path = tmp_path / "router"
    save(path, "threshold", fitted, TABLE, budget=2.0, reference_cost=1.5, validation={"accuracy": 0.8})
    return path


@pytest.mark.parametrize("kind", ["threshold", "static", "while-tied", "random", "always:middling", "knn"])
def test_a_router_read_again_decides_the_same(tmp_path, kind):
    router = registry.fit(kind, TABLE, Options(), 0)
    save(tmp_path / "r", kind, router, TABLE, budget=2.0, reference_cost=1.5)
    again = load(tmp_path / "r", arms=TABLE.arms, features=TABLE.features)
    assert again.card.kind == kind and again.router.rungs == router.rungs
    draw_N = np.random.default_rng(1).random(len(TABLE))
    for budget in (1.01 * router.rungs[0].cost, 1.5 * router.rungs[0].cost, 99.0):
        one, two = (expected(r, TABLE, budget, draw_N) for r in (router, again.router))
        assert (one.bought_NU == two.bought_NU).all() and (one.reward_N == two.reward_N).all()


def test_the_card_can_be_read_and_says_what_it_was_made_of(folder):
    card = json.loads((folder / CARD).read_text())
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    assert card["arms"] == ["cheap", "middling", "dear"] and card["features"] == ["length", "digits", "code"]
    assert card["data"] == data_digest(TABLE) and card["validation"] == {"accuracy": 0.8}
    assert card["highest_costs"] == pytest.approx(TABLE.cost_NU.max(axis=0))
    assert card["format"] == saved.FORMAT and card["adjudge"]


def test_the_digest_of_the_data_follows_all_that_a_fit_reads():
    whole = np.arange(len(TABLE))
    same = data_digest(TABLE.at(whole))
    assert same == data_digest(TABLE)
    changed = TABLE.at(whole)
    changed.cost_NU[3, 1] += 1
    assert len({same, data_digest(changed), data_digest(TABLE.at(whole[:-1])), data_digest(TABLE.at(whole[::-1]))}) == 4


def test_nothing_else_is_overwritten_and_an_older_router_is_replaced_whole(folder, fitted, tmp_path):
    other = drawn_table(60)
    save(folder, "static", registry.fit("static", other, Options(), 0), other, budget=3.0, reference_cost=1.0)
    assert load(folder).card.kind == "static"
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is no router, so it is left alone; choose another --out"):
        save(folder, "threshold", fitted, TABLE, budget=2.0, reference_cost=1.5)
    assert load(folder).card.kind == "static" and (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="is no router"):
        save(tmp_path / "file", "threshold", fitted, TABLE, budget=2.0, reference_cost=1.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "router"]


def test_a_save_that_fails_leaves_the_older_router(folder, fitted, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved.os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        save(folder, "static", fitted, TABLE, budget=9.0, reference_cost=1.5)
    assert load(folder).card.budget == 2.0
    assert [path.name for path in folder.parent.iterdir()] == ["router"]


def card_with(folder: Path, **changed) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | changed))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 99}, "is of format 99, written by adjudge .*; use that version, or fit it again"),
        ({"kind": "thresold"}, "no kind of router 'thresold'; nearest: threshold"),
        ({"weights": "0" * 32}, "does not belong to router.json: it is damaged"),
        ({"surprise": 1}, "no router's card.*surprise"),
        ({"budget": "much"}, "no router's card.*budget"),
        ({"router": {}}, "does not describe a router of kind 'threshold'"),
        ({"kind": "while-tied"}, "does not describe a router of kind 'while-tied'"),
        ({"purchases": [["cheap", 0, None]]}, "names other purchases than its router"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_the_remedy(folder, change, says):
    card_with(folder, **change)
    with pytest.raises(AdjudgeError, match=says):
        load(folder)


@pytest.mark.parametrize("name", [CARD, WEIGHTS])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "one bit"])
def test_a_damaged_file_is_refused_by_name(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    middle = len(content) // 2
    broken = {
        "empty": b"",
        "cut": content[:middle],
        "noise": b"\x80\x05" + content[2:],
        "one bit": content[:middle] + bytes([content[middle] ^ 0x80]) + content[middle + 1 :],
    }
    path.unlink() if damage == "missing" else path.write_bytes(broken[damage])
    with pytest.raises(DataError, match=name):
        load(folder)


def test_weights_with_a_matching_digest_that_are_no_tensors_are_refused(folder):
    (folder / WEIGHTS).write_bytes(b"\x80\x05 pickled")
    card_with(folder, weights=saved._digest(b"\x80\x05 pickled"))
    with pytest.raises(DataError, match="is not readable"):
        load(folder)


def test_arms_that_are_gone_are_named(folder):
    with pytest.raises(ConfigError, match=r"the router buys dear, not among the arms there are \(cheap, middling\)"):
        load(folder, arms=["cheap", "middling"])
    assert load(folder, arms=["dear", "other", "middling", "cheap"]).card.arms == TABLE.arms


@pytest.mark.parametrize(
    ("features", "says"),
    [
        (["length", "digits"], "reads 3 features, and what it is given lacks 'code'"),
        (["length", "digits", "code", "more"], "has 'more' beyond them"),
        (["digits", "length", "code"], "has them in another order"),
    ],
)
def test_features_that_changed_are_named(folder, features, says):
    with pytest.raises(ConfigError, match=says):
        load(folder, features=features)


def test_no_folder_is_no_router(tmp_path):
    with pytest.raises(DataError, match="no such folder; give a router that `adjudge route fit` wrote"):
        load(tmp_path / "nowhere")
