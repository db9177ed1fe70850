"""Every line of `skpuma.reweighting.SOLVERS`: optimality, limits, and one another."""

import numpy as np
import pytest

from skpuma import reweighting
from skpuma.reweighting import SOLVERS
from skpuma.reweighting import _cvxpy as cvxpy_module
from skpuma.reweighting._problem import build
from skpuma.utils._registry import load
from skpuma.utils.errors import SolverError

# Solvers that refuse a problem without a quadratic penalty.
NEEDS_L2 = {"dual"}
PENALTIES = [(0.0, 0.05), (0.1, 0.05), (0.5, 0.05), (0.1, 0.5), (0.5, 1e-3)]


def inputs(m, n=60, seed=0):
    """psi (n, m), weights (n,), t (m,) with both signs, delta (m,)."""
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal((n, m)) * 10.0 ** -np.arange(m)
    t = 15.0 * rng.standard_normal(m) * 10.0 ** -np.arange(m)
    t[0] = abs(t[0])
    return psi, rng.uniform(0.5, 2.0, n), t, np.full(m, 0.01)


def problem_of(m, l1_ratio, alpha, side="worse", max_weight=1.0, **more):
    return build(*inputs(m, **more), side, alpha, l1_ratio, max_weight)


def violation(problem, lam):
    """Largest violation of the KKT conditions, relative to the gradient at zero."""
    gradient = problem.gradient(lam)
    gain = problem.weight * problem.gain(problem.residual(0.0 * lam))
    scale = 2.0 * np.abs(gain).max()
    edge = 1e-7 * min(problem.upper, 1.0)
    at_zero, at_upper = lam <= edge, lam >= problem.upper - edge
    wrong = np.abs(gradient)
    wrong[at_zero] = np.maximum(-gradient[at_zero], 0.0)
    wrong[at_upper] = np.maximum(gradient[at_upper], 0.0)
    return wrong.max() / scale


def difference(function, lam, h=1e-6):
    unit = h * np.eye(len(lam))
    return np.array([(function(lam + e) - function(lam - e)) / (2 * h) for e in unit])


# -- the problem -----------------------------------------------------------------------


@pytest.mark.parametrize("side", ["both", "worse"])
def test_objective_is_the_formula_and_gradient_its_derivative(side):
    psi, _, t, _ = inputs(3)
    weight, delta = np.ones(len(psi)), np.array([0.02, 0.01, 0.05])
    problem = build(psi, weight, t, delta, side, 0.3, 0.25, 1.0)
    lam = np.random.default_rng(1).uniform(0.0, 0.2, len(psi))
    D = delta.min() / delta
    r, start = t - psi.T @ lam, t
    if side == "worse":
        r, start = np.maximum(r, 0.0), np.maximum(t, 0.0)
    alpha_max = 2.0 * (psi @ (D**2 * start)).max()
    omega = 0.25 * lam.sum() + 0.75 / 2.0 * (lam @ lam)
    expected = np.sum((D * r) ** 2) + 0.3 * alpha_max * omega
    # The problem is scaled to unit gradients, which moves no minimum.
    scaled = expected / np.sum((D * start) ** 2)
    assert problem.objective(lam) == pytest.approx(scaled, rel=1e-12)
    np.testing.assert_allclose(
        problem.gradient(lam), difference(problem.objective, lam), atol=1e-7
    )


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_row_of_weight_two_is_two_rows(name):
    psi, weight, t, delta = inputs(2)
    twice = np.append(np.arange(len(psi)), [0, 1])
    double = weight.copy()
    double[:2] *= 2.0
    one = reweighting.solve(psi, double, t, delta, alpha=0.2, solver=name)
    two = reweighting.solve(psi[twice], weight[twice], t, delta, alpha=0.2, solver=name)
    np.testing.assert_allclose(two, one[twice], atol=1e-6)
    assert one.any()


# -- optimality ------------------------------------------------------------------------


@pytest.mark.parametrize("max_weight", [1.0, 0.1, 30.0])
@pytest.mark.parametrize("side", ["both", "worse"])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize(("l1_ratio", "alpha"), [*PENALTIES, (1.0, 0.05), (1.0, 1e-3)])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_kkt(name, l1_ratio, alpha, m, side, max_weight):
    problem = problem_of(m, l1_ratio, alpha, side, max_weight)
    solve = load(SOLVERS[name])
    if name in NEEDS_L2 and problem.l2 == 0.0:
        with pytest.raises(SolverError, match="l1_ratio < 1"):
            solve(problem)
        return
    lam = solve(problem)
    assert lam.min() >= 0.0 and lam.max() <= max_weight
    assert problem.kkt_residual(lam) <= 1e-6
    assert violation(problem, lam) <= 1e-5
    assert problem.objective(lam) < problem.objective(0.0 * lam)


@pytest.mark.parametrize("side", ["both", "worse"])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize(("l1_ratio", "alpha"), PENALTIES)
def test_solvers_agree(l1_ratio, alpha, m, side):
    problem = problem_of(m, l1_ratio, alpha, side)
    solutions = {name: load(target)(problem) for name, target in SOLVERS.items()}
    values = [problem.objective(lam) for lam in solutions.values()]
    assert max(values) - min(values) <= 1e-7 * min(values)
    reference = solutions["cvxpy"]
    for lam in solutions.values():
        np.testing.assert_allclose(lam, reference, atol=1e-4)


@pytest.mark.parametrize("side", ["both", "worse"])
def test_boxed_lasso_has_few_fractional_rows(side):
    # At most one per criterion: the rest is at the ends of the box.
    problem = problem_of(3, 1.0, 1e-3, side, n=80)
    lam = load(SOLVERS["cvxpy"])(problem)
    fractional = (lam > 1e-5) & (lam < 1.0 - 1e-5)
    assert np.count_nonzero(fractional) <= 3
    assert np.count_nonzero(lam > 0.5) >= 1


@pytest.mark.parametrize("raises", [True, False])
def test_a_failure_of_cvxpy_is_an_error_of_skpuma(monkeypatch, raises):
    import cvxpy

    def solve(self, **settings):
        if raises:
            raise cvxpy.error.SolverError("Solver 'CLARABEL' failed.")

    problem = problem_of(2, 0.1, 0.05)
    monkeypatch.setattr(cvxpy.Problem, "solve", solve)
    with pytest.raises(SolverError, match="larger alpha"):
        load(SOLVERS["cvxpy"])(problem)


def test_kkt_residual_sees_a_wrong_solution():
    problem = problem_of(2, 0.1, 0.05)
    lam = load(SOLVERS["cvxpy"])(problem)
    assert problem.kkt_residual(np.zeros_like(lam)) > 1e-2
    assert problem.kkt_residual(np.clip(lam + 0.05, 0.0, 1.0)) > 1e-4


@pytest.mark.parametrize("l1_ratio", [0.1, 1.0])
@pytest.mark.parametrize("side", ["both", "worse"])
def test_working_set_equals_the_whole(monkeypatch, side, l1_ratio):
    problem = problem_of(3, l1_ratio, 0.02, side, max_weight=0.3)
    whole = load(SOLVERS["cvxpy"])(problem)
    sizes = []
    solve_whole = cvxpy_module._solve_whole

    def counted(part):
        sizes.append(len(part.weight))
        return solve_whole(part)

    monkeypatch.setattr(cvxpy_module, "WORKING_SET", 2)
    monkeypatch.setattr(cvxpy_module, "_solve_whole", counted)
    parts = load(SOLVERS["cvxpy"])(problem)
    # Of a lasso, the rows to start with may be the right ones.
    assert sizes[0] == 2 and (len(sizes) > 1 or l1_ratio == 1.0)
    value = problem.objective(whole)
    assert problem.objective(parts) == pytest.approx(value, rel=1e-7)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


def test_many_rows_of_a_lasso_take_one_small_program(monkeypatch):
    psi, weight, t, delta = inputs(4, n=20_000)
    problem = build(psi, weight, 500.0 * t, delta, "worse", 0.1, 1.0, 1.0)
    sizes = []
    solve_whole = cvxpy_module._solve_whole

    def counted(part):
        sizes.append(len(part.weight))
        return solve_whole(part)

    monkeypatch.setattr(cvxpy_module, "_solve_whole", counted)
    lam = load(SOLVERS["cvxpy"])(problem)
    assert problem.kkt_residual(lam) <= 1e-6
    assert np.count_nonzero(lam == 1.0) > 100
    assert sizes == [2000]


@pytest.mark.parametrize("l1_ratio", [0.1, 0.5])
def test_the_dual_reaches_rounding(l1_ratio):
    psi, weight, t, delta = inputs(6, n=50_000)
    problem = build(psi, weight, 1000.0 * t, delta, "worse", 0.3, l1_ratio, 1.0)
    lam = load(SOLVERS["dual"])(problem)
    assert problem.kkt_residual(lam) <= 1e-12


# -- limits ----------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["both", "worse"])
@pytest.mark.parametrize("m", [1, 5])
def test_lasso_is_empty_at_alpha_one_and_not_below(m, side):
    arguments = inputs(m)
    empty = reweighting.solve(*arguments, side=side, alpha=1.0, l1_ratio=1.0)
    np.testing.assert_allclose(empty, 0.0, atol=1e-7)
    some = reweighting.solve(*arguments, side=side, alpha=0.9, l1_ratio=1.0)
    assert some.max() > 1e-3


@pytest.mark.parametrize("side", ["both", "worse"])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_penalty_shrinks_and_more_of_it_shrinks_more(name, side):
    arguments = inputs(2)
    sums = [
        reweighting.solve(*arguments, side=side, alpha=alpha, solver=name).sum()
        for alpha in (1e-3, 1e-2, 0.1, 1.0)
    ]
    assert np.all(np.diff(sums) < 0.0)


def test_one_side_compensates_only_what_gets_worse():
    psi = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-1.0, 0.0]])
    weight, delta = np.ones(4), np.ones(2)
    t = np.array([1.5, -0.5])  # the second criterion gets better
    one = reweighting.solve(psi, weight, t, delta, side="worse", alpha=1e-4)
    both = reweighting.solve(psi, weight, t, delta, side="both", alpha=1e-4)
    np.testing.assert_allclose(one, [1.0, 0.0, 0.0, 0.0], atol=1e-2)
    np.testing.assert_allclose(both, [1.0, 0.0, 0.5, 0.0], atol=1e-2)
    better = reweighting.solve(psi, weight, -abs(t), delta, side="worse")
    assert (better == 0.0).all()


def test_only_ratios_of_delta_matter_and_infinite_ones_drop_out():
    psi, weight, t, _ = inputs(3)
    delta = np.array([0.01, 0.03, 0.02])

    def solve(psi, t, delta):
        return reweighting.solve(psi, weight, t, delta, side="both", alpha=0.05)

    lam = solve(psi, t, delta)
    np.testing.assert_allclose(solve(psi, t, 100.0 * delta), lam, atol=1e-6)
    dropped = solve(psi, t, np.array([0.01, np.inf, 0.02]))
    np.testing.assert_allclose(
        dropped, solve(psi[:, [0, 2]], t[[0, 2]], delta[[0, 2]]), atol=1e-6
    )
    zero = solve(psi, t, np.array([0.0, 0.03, 0.02]))
    np.testing.assert_allclose(zero, solve(psi, t, np.array([2, 3, 2])), atol=1e-6)
    assert (solve(psi, t, np.full(3, np.inf)) == 0.0).all()
    equal = solve(psi, t, np.zeros(3))
    np.testing.assert_allclose(equal, solve(psi, t, np.ones(3)), atol=1e-6)


def test_units_of_psi_and_t_do_not_matter():
    psi, weight, t, delta = inputs(2)
    lam = reweighting.solve(psi, weight, t, delta)
    again = reweighting.solve(1e6 * psi, weight, 1e6 * t, delta)
    np.testing.assert_allclose(again, lam, atol=1e-6)


def test_nothing_to_compensate():
    psi, weight, t, delta = inputs(2)
    assert reweighting.solve(psi[:0], weight[:0], t, delta).shape == (0,)
    assert (reweighting.solve(psi, weight, 0.0 * t, delta) == 0.0).all()
    # No candidate helps where it hurts.
    assert (reweighting.solve(-abs(psi), weight, abs(t), delta) == 0.0).all()


def test_automatic_choice_by_size(monkeypatch):
    arguments = inputs(2)
    expected = reweighting.solve(*arguments)

    def refuse(part):
        raise SolverError("cvxpy was asked")

    monkeypatch.setattr("skpuma.reweighting._problem.CVXPY_LIMIT", 10)
    monkeypatch.setattr(cvxpy_module, "_solve_whole", refuse)
    np.testing.assert_allclose(reweighting.solve(*arguments), expected, atol=1e-5)
    with pytest.raises(SolverError, match="cvxpy was asked"):
        reweighting.solve(*arguments, l1_ratio=1.0)  # a lasso has no dual here
    monkeypatch.undo()
    monkeypatch.setattr(cvxpy_module, "_solve_whole", refuse)
    with pytest.raises(SolverError, match="cvxpy was asked"):
        load(SOLVERS["cvxpy"])(problem_of(2, 0.5, 0.1, "both", 1.0))
    # A single criterion never needs a conic solver, however few rows there are.
    single = inputs(1)
    expected = reweighting.solve(*single, solver="dual")
    np.testing.assert_array_equal(reweighting.solve(*single), expected)
