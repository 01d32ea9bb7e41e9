"""The paper's network router: gradients against finite differences and PyTorch, the schedule, and what it learns."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

from adjudge.errors import ConfigError, DataError
from adjudge.routing import mlp, network
from adjudge.routing.network import PUBLISHED, SMALL, Settings, Trained, train
from adjudge.routing.router import State, bundle_table, expected
from tests.tables_drawn import signed


def drawn(seed: int = 0, rows: int = 12, arms: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 5)), rng.random((rows, arms)), rng.lognormal(0, 1, (rows, arms))


@pytest.mark.parametrize("multiplier", [0.0, 0.7])
def test_gradients_of_every_layer_are_those_of_finite_differences(multiplier):
    """Weights of the worst case are held fixed, as in training."""
    z, reward, cost = drawn()
    layers = mlp.first_layers(5, 3, np.random.default_rng(1))
    p = mlp.softmax(mlp.forward(layers, z)[-1])
    q_r, q_c = network.batch_weights(p, reward, cost, 0.3, 2.0)

    def loss() -> float:
        now = mlp.softmax(mlp.forward(layers, z)[-1])
        return network.loss(now, reward, cost, q_r, q_c, multiplier, 0.05)

    outputs = mlp.forward(layers, z)
    slopes = mlp.backward(layers, outputs, network.policy_slope(p, reward, cost, q_r, q_c, multiplier, 0.05))
    rng = np.random.default_rng(2)
    for layer, slope in zip(layers, slopes, strict=True):
        for array, gradient in zip(layer, slope, strict=True):
            for _ in range(12):
                at = tuple(rng.integers(0, size) for size in array.shape)
                kept, step = array[at], 1e-6
                array[at] = kept + step
                above = loss()
                array[at] = kept - step
                below = loss()
                array[at] = kept
                assert gradient[at] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-9)


def test_gradients_and_steps_are_those_of_pytorch():
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed (extra lab)")
    import torch

    z, reward, cost = drawn()
    layers = mlp.first_layers(5, 3, np.random.default_rng(1))
    theirs = [torch.tensor(a.copy(), requires_grad=True) for layer in layers for a in layer]
    optimiser = torch.optim.AdamW(theirs, lr=1e-3)
    ours = mlp.AdamW(layers, 1e-3)
    for _ in range(5):
        outputs = mlp.forward(layers, z)
        p = mlp.softmax(outputs[-1])
        q_r, q_c = network.batch_weights(p, reward, cost, 0.3, 2.0)
        ours.step(layers, mlp.backward(layers, outputs, network.policy_slope(p, reward, cost, q_r, q_c, 0.7, 0.05)))
        hidden = torch.tensor(z)
        for k in range(0, len(theirs), 2):
            hidden = hidden @ theirs[k] + theirs[k + 1]
            hidden = torch.relu(hidden) if k < len(theirs) - 2 else hidden
        share = torch.softmax(hidden, dim=1)
        r_i, c_i = (share * torch.tensor(reward)).sum(1), (share * torch.tensor(cost)).sum(1)
        w_r, w_c = torch.softmax(-r_i.detach() / 0.3, 0), torch.softmax(c_i.detach() / 2.0, 0)
        entropy = -(share * torch.log(share)).sum(1).mean()
        optimiser.zero_grad()
        (-(w_r @ r_i) + 0.7 * (w_c @ c_i) - 0.05 * entropy).backward()
        optimiser.step()
    for mine, other in zip((a for layer in layers for a in layer), theirs, strict=True):
        assert mine == pytest.approx(other.detach().numpy(), abs=1e-9)


def test_the_first_step_of_adamw_moves_by_the_rate_and_decays():
    layers = [(np.array([[2.0]]), np.array([0.0]))]
    mlp.AdamW(layers, 0.1).step(layers, [(np.array([[5.0]]), np.array([-3.0]))])
    assert layers[0][0][0, 0] == pytest.approx(2.0 * (1 - 0.1 * 0.01) - 0.1)
    assert layers[0][1][0] == pytest.approx(0.1)


def test_the_published_schedule_is_the_paper_s():
    assert PUBLISHED._asdict() == {
        "rate": 1e-3,
        "dual_rate": 1e-2,
        "batch": 128,
        "epochs": 20,
        "steps": 0,
        "beta": 0.005,
        "validation": 0.2,
        "cost_in_budgets": False,
        "dual_each_step": False,
    }
    assert [w.shape for w, _ in mlp.first_layers(7, 2, np.random.default_rng(0))] == [
        (7, 256),
        (256, 128),
        (128, 64),
        (64, 2),
    ]
    assert Settings().temperatures() == (1.0, 50.0)
    assert Settings(variant="acer").temperatures() == (np.inf, np.inf)


@pytest.mark.parametrize(("schedule", "steps"), [(PUBLISHED, 20 * 2), (SMALL, 800)])
def test_training_takes_as_many_steps_as_its_schedule_says(schedule, steps, monkeypatch):
    taken = []
    monkeypatch.setattr(mlp.AdamW, "step", lambda self, layers, slopes: taken.append(len(slopes)))
    z, reward, cost = drawn(rows=200)
    train(z, reward, cost, 2.0, np.arange(40), schedule, (1.0, 50.0), 0)
    assert len(taken) == steps


def test_the_multiplier_rises_while_the_cost_is_over_budget_and_never_below_zero():
    """With a rate of 0 the policy stays, so the published multiplier after one epoch can be counted by hand."""
    z, reward, cost = drawn(rows=100)
    still = PUBLISHED._replace(rate=0.0, epochs=1, batch=1000)
    layers = mlp.first_layers(5, 3, np.random.default_rng([0, 1]))
    spent = (mlp.softmax(mlp.forward(layers, z[20:])[-1]) * cost[20:]).sum(axis=1).mean()
    over = train(z, reward, cost, spent - 0.5, np.arange(20), still, (1.0, 50.0), 0)
    assert over.multiplier == pytest.approx(0.5 * 1e-2)
    assert train(z, reward, cost, spent + 0.5, np.arange(20), still, (1.0, 50.0), 0).multiplier == 0


def test_the_best_epoch_within_budget_counts_and_else_the_cheapest():
    def epoch(reward: float, cost: float, within: bool) -> Trained:
        return Trained([], 0.0, reward, cost, within)

    assert network._better(epoch(0.5, 2, True), epoch(0.9, 3, False))
    assert not network._better(epoch(0.9, 3, False), epoch(0.5, 2, True))
    assert network._better(epoch(0.6, 2, True), epoch(0.5, 1, True))
    assert network._better(epoch(0.4, 3, False), epoch(0.9, 4, False))


def test_it_learns_which_rows_need_the_dear_arm_within_its_budget():
    arms = ("cheap", "dear")
    fitted, fresh = signed(800, arms), signed(2000, arms, seed=1)
    reward_NK, cost_NK = bundle_table(fresh, fresh.bundles, np.ones(4))
    budget, unit = float(cost_NK.mean()), float(fitted.cost_NU[:, 0].mean())
    router = network.fit(fitted, Settings(budgets=(budget / unit,)))
    ours = expected(router, fresh, budget, np.random.default_rng(5).random(len(fresh)))
    assert ours.cost_N.mean() <= budget * 1.06
    assert ours.reward_N.mean() > reward_NK.mean() + 0.01  # what half of each would earn
    assert np.corrcoef(ours.bought_NU[:, 2], fresh.x_ND[:, 0])[0, 1] > 0.25


@pytest.fixture(scope="module")
def fitted():
    return network.fit(signed(), Settings(schedule="published", budgets=(2.0, 0.5)))


def test_a_budget_that_no_epoch_meets_is_flagged_and_the_cheapest_arm_is_always_there(fitted):
    assert fitted.within.count(False) == 1  # half of what the cheapest arm costs
    probabilities = [fitted.probabilities(signed().x_ND, k) for k in range(len(fitted.rungs))]
    assert sum(bool((p.max(axis=1) == 1).all()) for p in probabilities) == 1
    assert [rung.cost for rung in fitted.rungs] == sorted(rung.cost for rung in fitted.rungs)


def test_probabilities_sum_to_one_and_choices_follow_the_draws(fitted):
    table = signed()
    nothing = table.seen(np.zeros(table.cost_NU.shape, bool))
    for rung in range(len(fitted.rungs)):
        p_NK = fitted.probabilities(table.x_ND, rung)
        assert p_NK.sum(axis=1) == pytest.approx(np.ones(len(table)), abs=1e-6)
        first = fitted.decide(nothing, rung, np.zeros(len(table)))
        assert (p_NK[np.arange(len(table)), [fitted.bundles.index((u,)) for u in first]] > 0).all()
        draws = [fitted.decide(nothing, rung, np.full(len(table), d)) for d in (np.arange(200) + 0.5) / 200]
        share = np.mean([d == fitted.bundles[0][0] for d in draws], axis=0)
        assert share == pytest.approx(p_NK[:, 0], abs=0.01)


def test_the_same_seed_gives_the_same_network_and_another_seed_another(fitted):
    settings = Settings(schedule="published", budgets=(2.0, 0.5))
    again, other = network.fit(signed(), settings), network.fit(signed(), settings, 1)
    x_ND = signed().x_ND
    assert (again.probabilities(x_ND, 1) == fitted.probabilities(x_ND, 1)).all()
    assert (other.probabilities(x_ND, 2) != fitted.probabilities(x_ND, 2)).any()


def test_a_restored_network_gives_the_same_probabilities(fitted):
    card, arrays = fitted.state()
    again = network.restore(State(json.loads(json.dumps(card)), arrays))
    for rung in range(len(fitted.rungs)):
        assert (again.probabilities(signed().x_ND, rung) == fitted.probabilities(signed().x_ND, rung)).all()
    assert again.rungs == fitted.rungs


def test_features_that_are_not_finite_are_named(fitted):
    x_ND = signed().x_ND.copy()
    x_ND[0, 1] = np.nan
    with pytest.raises(DataError, match="length"):
        fitted.probabilities(x_ND, 0)
    with pytest.raises(DataError, match="length"):
        network.fit(replace(signed(), x_ND=x_ND))


def test_a_variant_that_there_is_none_of_is_refused():
    with pytest.raises(ConfigError, match="racer-x"):
        network.fit(signed(), Settings(variant="racer-x"))
