"""One Newton step on the optimality conditions of a routing problem, which racer.py writes out line by line.

Everything here is in the solver's own unit: costs are divided by the budget. Axes: N instances, K choices, S = 4
scalars (level, tau_reward, price, tau_cost; `price` is lambda). The conditions are those of a convex program with
entropies, and the step is that of a primal-dual interior point method with predictor and corrector (Mehrotra 1992, "On
the implementation of a primal-dual interior point method"; with entropies, Andersen and Ye 1999, "On a homogeneous
algorithm for the monotone complementarity problem"). It costs O(N K): policies are eliminated instance by instance,
then a 2 x 2 system per instance in the weights, then the scalars.
"""

from typing import NamedTuple

import numpy as np

from adjudge.routing.ambiguity import Ambiguity, Array, Radius, Temperature
from adjudge.routing.problem import mean_choice

LEVEL, TAU_REWARD, PRICE, TAU_COST = range(4)
TO_BOUNDARY = 0.995  # share of the way to the nearest bound that a step goes at most
LAG = 0.03  # products fall at most to this share in a step while the conditions are worse met than they
FLOOR = 1e-15  # products are not driven lower; rounding rules there


class Program(NamedTuple):
    """A routing problem in the solver's unit."""

    reward_NK: Array
    cost_NK: Array  # in budgets
    beta: float  # above 0
    reward_set: Ambiguity
    cost_set: Ambiguity | None  # a temperature in budgets; None leaves the budget out
    square: float  # coefficient of price^2 / 2, 0 without the paper's price term

    @property
    def robust_reward(self) -> bool:
        return not self.reward_set.is_plain

    @property
    def robust_cost(self) -> bool:
        return self.cost_set is not None and not self.cost_set.is_plain

    @property
    def rho_reward(self) -> float:
        return self.reward_set.rho if isinstance(self.reward_set, Radius) else 0.0

    @property
    def rho_cost(self) -> float:
        return self.cost_set.rho if isinstance(self.cost_set, Radius) else 0.0

    @property
    def scalars(self) -> list[int]:
        """Which of the four scalars are unknown."""
        chosen = []
        if self.robust_reward:
            chosen += [LEVEL, TAU_REWARD] if isinstance(self.reward_set, Radius) else [LEVEL]
        if self.cost_set is not None:
            chosen += [PRICE, TAU_COST] if self.robust_cost and isinstance(self.cost_set, Radius) else [PRICE]
        return chosen

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names of the unknowns that stay positive, each with the one that its product with tends to 0."""
        return [
            ("p_NK", "p_floor_NK"),
            *([("y_N", "y_floor_N")] if self.robust_reward else []),
            *([("z_N", "z_floor_N")] if self.robust_cost else []),
            *([("tau_reward", "slack_reward")] if TAU_REWARD in self.scalars else []),
            *([("tau_cost", "slack_cost")] if TAU_COST in self.scalars else []),
        ]


class State(NamedTuple):
    """All unknowns; what a program has no use for stays as `init` made it."""

    p_NK: Array  # policy
    p_floor_NK: Array  # multiplier of p >= 0; likewise the other floors
    total_N: Array  # multiplier of sum_a p = 1
    y_N: Array  # N times the worst-case weight of the reward
    y_floor_N: Array
    z_N: Array  # price times N times the worst-case weight of the cost
    z_floor_N: Array
    level: float  # multiplier of mean y = 1
    tau_reward: float  # temperature of the reward's weights; in the radius form the multiplier of the radius
    slack_reward: float  # nats by which the weights stay within the radius
    price: float  # lambda, in reward per budget
    tau_cost: float
    slack_cost: float


class Lines(NamedTuple):
    """What is left over in each condition, under the name of the unknown that it is the line of."""

    p_NK: Array
    total_N: Array
    y_N: Array
    z_N: Array
    scalar_S: Array
    log_y_N: Array
    log_w_N: Array  # log(z / price), the log of N times the weight of the cost


def init(program: Program, p_NK: Array | None = None) -> State:
    """A start well inside all bounds: a uniform policy, or the one given (all of it positive), and uniform weights."""
    n, k = program.reward_NK.shape
    mu = 0.1
    p_NK = np.full((n, k), 1 / k) if p_NK is None else p_NK
    tau_reward, tau_cost = (
        ambiguity.tau if isinstance(ambiguity, Temperature) else mu
        for ambiguity in (program.reward_set, program.cost_set)
    )
    return State(
        p_NK=p_NK,
        p_floor_NK=mu / p_NK,
        total_N=np.zeros(n),
        y_N=np.ones(n),
        y_floor_N=np.full(n, mu if program.robust_reward else 0.0),
        z_N=np.full(n, 1.0 if program.cost_set is not None else 0.0),
        z_floor_N=np.full(n, mu if program.robust_cost else 0.0),
        level=float(mean_choice(p_NK, program.reward_NK).mean()),
        tau_reward=tau_reward,
        slack_reward=mu / tau_reward,
        price=1.0 if program.cost_set is not None else 0.0,
        tau_cost=tau_cost,
        slack_cost=mu / tau_cost,
    )


def step(program: Program, state: State) -> State:
    """One step: a predictor aims at the solution itself, and a corrector lowers the products as far as that one got."""
    lines = conditions(program, state)
    elimination = _eliminate(program, state, lines)
    mu = float(products(program, state).mean())
    predictor = _solve(program, state, lines, elimination, 0.0, None)
    share = min(1.0, 0.9999 * _longest(program, state, predictor))
    after = float(products(program, _move(state, predictor, share)).mean())
    is_fair = share > 0.1  # else the predictor is too far off to correct by
    centre = min(1.0, max((after / mu) ** 3, 1e-6 if is_fair else 0.3))
    # were the products to vanish ahead of the conditions, the bounds would hold the state where it is
    unmet = max(float(np.mean(np.abs(getattr(state, name) * getattr(lines, name)))) for name in ("p_NK", "y_N", "z_N"))
    target = max(centre * mu, LAG * min(mu, unmet), FLOOR)
    change = _solve(program, state, lines, elimination, target, predictor if is_fair else None)
    return _move(state, change, min(1.0, TO_BOUNDARY * _longest(program, state, change)))


def conditions(program: Program, state: State) -> Lines:
    """Evaluate every line of racer.py's list but the products."""
    beta, s = program.beta, state
    reward_N, cost_N = mean_choice(s.p_NK, program.reward_NK), mean_choice(s.p_NK, program.cost_NK)
    worth_NK = s.y_N[:, None] * program.reward_NK - s.z_N[:, None] * program.cost_NK
    scalar_S = np.zeros(4)
    y_line_N = z_line_N = log_y_N = log_w_N = np.zeros(len(s.y_N))
    if program.robust_reward:
        log_y_N = np.log(s.y_N)
        y_line_N = reward_N - s.level + s.tau_reward * log_y_N - s.y_floor_N
        scalar_S[LEVEL] = s.y_N.mean() - 1
        scalar_S[TAU_REWARD] = (s.y_N * log_y_N).mean() - program.rho_reward + s.slack_reward
    if program.robust_cost:
        log_w_N = np.log(s.z_N / s.price)
        z_line_N = 1 - cost_N + s.tau_cost * (log_w_N - program.rho_cost) - s.z_floor_N + program.square * s.price
        scalar_S[PRICE] = s.z_N.mean() - s.price
        scalar_S[TAU_COST] = (s.z_N * log_w_N).mean() - s.price * program.rho_cost + s.slack_cost
    elif program.cost_set is not None:
        scalar_S[PRICE] = 1 - cost_N.mean() + program.square * s.price
    return Lines(
        p_NK=worth_NK - beta * (np.log(s.p_NK) + 1) - s.total_N[:, None] + s.p_floor_NK,
        total_N=s.p_NK.sum(axis=1) - 1,
        y_N=y_line_N,
        z_N=z_line_N,
        scalar_S=scalar_S,
        log_y_N=log_y_N,
        log_w_N=log_w_N,
    )


def products(program: Program, state: State) -> Array:
    """All products that tend to 0, in one array."""
    return np.concatenate([np.ravel(getattr(state, a) * getattr(state, b)) for a, b in program.pairs])


def error(program: Program, state: State) -> float:
    """Largest amount by which any condition fails, products included: 0 at the solution.

    What is in rewards counts relative to the weights and the price at play.
    """
    lines = conditions(program, state)
    price = 1 + abs(state.price)
    unit_S = np.array([1, 1, price if program.robust_cost else 1, price])
    failures = [
        np.abs(lines.p_NK).max(axis=1) / (1 + state.y_N + np.abs(state.z_N)),
        np.abs(lines.total_N),
        np.abs(lines.y_N),
        np.abs(lines.z_N),
        (np.abs(lines.scalar_S) / unit_S)[program.scalars],
        products(program, state),
    ]
    return max(float(failure.max(initial=0.0)) for failure in failures)


class _Elimination(NamedTuple):
    """The policies, and each instance's (y, z), solved for in terms of the scalars."""

    slope_NK: Array  # d p / d worth, before the rows are made to sum to one
    mass_N: Array  # its sum over choices
    mean_reward_N: Array  # under the slopes
    mean_cost_N: Array
    reward_NK: Array  # centred by these means
    cost_NK: Array
    yy_N: Array  # inverse of the 2 x 2 system
    yz_N: Array
    zz_N: Array
    by_NS: Array  # change of y per change of each scalar
    bz_NS: Array
    row_y_NS: Array  # the scalars' own lines, as weights on the changes of y and z
    row_z_NS: Array
    matrix_SS: Array  # the scalars' system once all else is eliminated


def _eliminate(program: Program, state: State, lines: Lines) -> _Elimination:
    s, n = state, len(state.y_N)
    slope_NK = s.p_NK / (program.beta + s.p_floor_NK)
    mass_N = slope_NK.sum(axis=1)
    mean_reward_N = mean_choice(slope_NK, program.reward_NK) / mass_N
    mean_cost_N = mean_choice(slope_NK, program.cost_NK) / mass_N
    reward_NK, cost_NK = program.reward_NK - mean_reward_N[:, None], program.cost_NK - mean_cost_N[:, None]
    rr_N = mean_choice(slope_NK, reward_NK**2)
    rc_N = mean_choice(slope_NK, reward_NK * cost_NK)
    cc_N = mean_choice(slope_NK, cost_NK**2)
    # rr cc - rc^2 without its cancellation: rr times what of the cost the reward does not explain
    along_N = np.divide(rc_N, rr_N, out=np.zeros(n), where=rr_N > 0)
    gram_N = rr_N * mean_choice(slope_NK, (cost_NK - along_N[:, None] * reward_NK) ** 2)
    ky_N = s.y_N / (s.tau_reward + s.y_floor_N) if program.robust_reward else np.zeros(n)
    kz_N = s.z_N / (s.tau_cost + s.z_floor_N) if program.robust_cost else np.zeros(n)
    det_N = 1 + ky_N * rr_N + kz_N * cc_N + ky_N * kz_N * gram_N
    yy_N, zz_N = ky_N * (1 + kz_N * cc_N) / det_N, kz_N * (1 + ky_N * rr_N) / det_N
    yz_N = ky_N * kz_N * rc_N / det_N

    to_y_NS, to_z_NS, row_y_NS, row_z_NS, matrix_SS = _borders(program, state, lines, rc_N, cc_N)
    by_NS = yy_N[:, None] * to_y_NS + yz_N[:, None] * to_z_NS
    bz_NS = yz_N[:, None] * to_y_NS + zz_N[:, None] * to_z_NS
    if not program.robust_cost:
        bz_NS[:, PRICE] = 1  # a plain side's z is the price itself
    matrix_SS += (row_y_NS.T @ by_NS + row_z_NS.T @ bz_NS) / n
    policy = (slope_NK, mass_N, mean_reward_N, mean_cost_N, reward_NK, cost_NK)
    return _Elimination(*policy, yy_N, yz_N, zz_N, by_NS, bz_NS, row_y_NS, row_z_NS, matrix_SS)


def _borders(program: Program, state: State, lines: Lines, rc_N: Array, cc_N: Array) -> tuple[Array, ...]:
    """How the scalars enter the lines of y and z, how y and z enter the scalars' lines, and these among themselves."""
    s, n = state, len(state.y_N)
    to_y_NS, to_z_NS, row_y_NS, row_z_NS = (np.zeros((n, 4)) for _ in range(4))
    own_SS = np.zeros((4, 4))
    if program.robust_reward:
        to_y_NS[:, LEVEL], to_y_NS[:, TAU_REWARD] = 1, -lines.log_y_N
        row_y_NS[:, LEVEL], row_y_NS[:, TAU_REWARD] = 1, lines.log_y_N + 1
        own_SS[TAU_REWARD, TAU_REWARD] = -s.slack_reward / s.tau_reward
    if program.robust_cost:
        to_z_NS[:, PRICE], to_z_NS[:, TAU_COST] = (
            s.tau_cost / s.price - program.square,
            program.rho_cost - lines.log_w_N,
        )
        row_z_NS[:, PRICE], row_z_NS[:, TAU_COST] = 1, lines.log_w_N + 1
        own_SS[PRICE, PRICE] = -1
        own_SS[TAU_COST, PRICE] = -s.z_N.mean() / s.price - program.rho_cost
        own_SS[TAU_COST, TAU_COST] = -s.slack_cost / s.tau_cost
    elif program.cost_set is not None:
        to_y_NS[:, PRICE] = rc_N
        row_y_NS[:, PRICE], row_z_NS[:, PRICE] = -rc_N, cc_N
        own_SS[PRICE, PRICE] = program.square
    return to_y_NS, to_z_NS, row_y_NS, row_z_NS, own_SS


def _solve(
    program: Program, state: State, lines: Lines, e: _Elimination, target: float, predictor: State | None
) -> State:
    """Change of every unknown that meets all lines, linearised, with each product at `target`."""
    s, zero_N = state, np.zeros(len(state.y_N))
    pushed = {}  # by floor or slack: what its product, solved for it, adds to the line that it stands in
    for name, floor in program.pairs:
        bend = 0.0 if predictor is None else getattr(predictor, name) * getattr(predictor, floor)
        pushed[floor] = (target - bend) / getattr(s, name) - getattr(s, floor)

    worth_NK = lines.p_NK + pushed["p_floor_NK"]
    mean_worth_N = mean_choice(e.slope_NK, worth_NK) / e.mass_N
    reward_N = mean_choice(e.slope_NK * e.reward_NK, worth_NK) - e.mean_reward_N * lines.total_N
    cost_N = mean_choice(e.slope_NK * e.cost_NK, worth_NK) - e.mean_cost_N * lines.total_N
    to_y_N = pushed.get("y_floor_N", zero_N) - lines.y_N - reward_N
    to_z_N = pushed.get("z_floor_N", zero_N) - lines.z_N + cost_N
    y_N, z_N = e.yy_N * to_y_N + e.yz_N * to_z_N, e.yz_N * to_y_N + e.zz_N * to_z_N

    rest_S = -lines.scalar_S - (e.row_y_NS.T @ y_N + e.row_z_NS.T @ z_N) / len(y_N)
    rest_S[TAU_REWARD] -= pushed.get("slack_reward", 0.0)
    rest_S[TAU_COST] -= pushed.get("slack_cost", 0.0)
    if not program.robust_cost:
        rest_S[PRICE] += cost_N.mean()
    scalar_S, chosen = np.zeros(4), program.scalars
    if chosen:
        scalar_S[chosen] = np.linalg.solve(e.matrix_SS[np.ix_(chosen, chosen)], rest_S[chosen])
    y_N, z_N = y_N + e.by_NS @ scalar_S, z_N + e.bz_NS @ scalar_S

    gain_NK = e.reward_NK * y_N[:, None] - e.cost_NK * z_N[:, None] + worth_NK - mean_worth_N[:, None]
    change = State(
        p_NK=e.slope_NK * (gain_NK - (lines.total_N / e.mass_N)[:, None]),
        p_floor_NK=np.zeros_like(s.p_NK),
        total_N=e.mean_reward_N * y_N - e.mean_cost_N * z_N + mean_worth_N + lines.total_N / e.mass_N,
        y_N=y_N,
        y_floor_N=zero_N,
        z_N=z_N,
        z_floor_N=zero_N,
        level=scalar_S[LEVEL],
        tau_reward=scalar_S[TAU_REWARD],
        slack_reward=0.0,
        price=scalar_S[PRICE],
        tau_cost=scalar_S[TAU_COST],
        slack_cost=0.0,
    )
    floors = {
        floor: pushed[floor] - getattr(s, floor) / getattr(s, name) * getattr(change, name)
        for name, floor in program.pairs
    }
    return change._replace(**floors)


def _move(state: State, change: State, share: float) -> State:
    return State._make(getattr(state, name) + share * getattr(change, name) for name in State._fields)


def _longest(program: Program, state: State, change: State) -> float:
    """Largest share of the change, at most 1, that keeps everything positive."""
    names = [name for pair in program.pairs for name in pair]  # a robust price is the mean of z; a plain one is free
    shrink = max(float(np.max(-getattr(change, name) / getattr(state, name))) for name in names)
    return 1.0 if shrink <= 1 else 1 / shrink
