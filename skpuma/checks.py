"""Contract checks for a user's own loss, model, criterion, curvature and solver.

Write an adapter, then call the check that fits it, on 20 to 80 rows: every identity
that the rest of skpuma relies on is measured, and the first one that does not hold
raises an AssertionError that says which it was, by how much it is off, and what it
means. The checks run skpuma's own parts through the same identities.
"""

import numbers

import numpy as np
from sklearn.pipeline import Pipeline

from skpuma import rows
from skpuma.criteria import CRITERIA
from skpuma.curvature import curvature_of
from skpuma.losses._binary_log import BinaryLogLoss
from skpuma.losses._multinomial_log import MultinomialLogLoss
from skpuma.losses._squared import SquaredLoss
from skpuma.models import adapt
from skpuma.objective import Objective
from skpuma.utils._registry import resolve
from skpuma.utils._validation import check_groups, check_weights

__all__ = [
    "check_criterion",
    "check_curvature",
    "check_loss",
    "check_model",
    "check_solver",
]

# Central differences at this step are good to about its square.
STEP = np.finfo(float).eps ** (1 / 3)
TINY = np.finfo(float).tiny
DIFFERENCE = 1e-6
EXACT = 1e-12
SUMMED = 1e-10
KINDS = ("sum", "mean", "count")


def check_loss(loss, z, y):
    """Check a pointwise loss against finite differences.

    Parameters
    ----------
    loss : BaseLoss
    z : array-like (n, k)
        Raw outputs, away from points where the loss has a kink.
    y : array-like
        Coded targets: class positions (n,) of a classification loss, floats (n, k) of
        a regression loss.

    Raises
    ------
    AssertionError
        If an identity between value, gradient, Hessian and prediction does not hold.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.checks import check_loss
    >>> from skpuma.losses._squared import SquaredLoss
    >>> rng = np.random.default_rng(0)
    >>> check_loss(SquaredLoss(), rng.normal(size=(20, 2)), rng.normal(size=(20, 2)))
    """
    z, y = np.array(z, dtype=float), np.array(y)
    n, k = z.shape
    rng = np.random.default_rng(0)
    unchanged = _Unchanged(loss, z=z, y=y)

    value = np.asarray(loss.value(z, y))
    gradient = np.asarray(loss.gradient(z, y))
    hessian = np.asarray(loss.hessian(z, y))
    _expect_shape("loss.value", value, (n,), "one loss for each row")
    _expect_shape("loss.gradient", gradient, (n, k), "one derivative for each output")
    _expect_shape("loss.hessian", hessian, (n, k, k), "one matrix for each row")

    half = np.arange(n) < (n + 1) // 2
    _expect_equal(
        "loss.value of some rows == those rows of loss.value",
        loss.value(z[half], y[half]),
        value[half],
        EXACT,
        "The loss of a row must not depend on the other rows.",
    )
    for a in range(k):
        unit = np.zeros_like(z)
        unit[:, a] = 1.0
        _expect_equal(
            f"loss.gradient[:, {a}] == d loss.value / dz[:, {a}]",
            gradient[:, a],
            _difference(lambda at: loss.value(at, y), z, unit),
            DIFFERENCE,
            "The residual would push theta in a direction that is not downhill.",
            floor=1e-4 * np.abs(value).max(),
        )
        _expect_equal(
            f"loss.hessian[:, :, {a}] == d loss.gradient / dz[:, {a}]",
            hessian[:, :, a],
            _difference(lambda at: loss.gradient(at, y), z, unit),
            DIFFERENCE,
            "Curvature, leverage and Newton steps would be off by the same factor.",
            floor=1e-4 * np.abs(gradient).max(),
        )
    _expect_equal(
        "loss.hessian is symmetric",
        hessian,
        hessian.transpose(0, 2, 1),
        EXACT,
        "It is a second derivative.",
    )
    smallest = float(np.linalg.eigvalsh(hessian).min())
    _expect(
        smallest >= -SUMMED * np.abs(hessian).max(),
        "loss.hessian is positive semi-definite",
        f"its smallest eigenvalue is {smallest:.2e}",
        "Gauss-Newton and the trust region need a loss that is convex in z.",
    )
    root = np.asarray(loss.hessian_root(z, y))
    _expect_equal(
        "loss.hessian_root @ its transpose == loss.hessian",
        root @ root.transpose(0, 2, 1),
        hessian,
        SUMMED,
        "Leverage and the woodbury solver use the root in place of the Hessian.",
    )
    if loss.constant_hessian:
        _expect_equal(
            "loss.hessian is the identity, as constant_hessian=True says",
            hessian,
            np.broadcast_to(np.eye(k), hessian.shape),
            EXACT,
            "Set constant_hessian=False.",
        )
    _check_prediction(loss, z, y, rng)
    dispersion = float(loss.dispersion(z, y, np.ones(n)))
    _expect(
        np.isfinite(dispersion) and dispersion > 0,
        "loss.dispersion is positive",
        f"it is {dispersion:.2e}",
        "The trust region of a patch is measured in units of it.",
    )
    unchanged.check()


def check_model(model, X, y, *, sample_weight=None, stationary=None, random_state=0):
    """Check a model adapter against finite differences and against its estimator.

    Derivatives are taken at parameters near the fitted ones, since many identities
    hold by chance where a gradient vanishes.

    Parameters
    ----------
    model : BaseModel or estimator
        The adapter of a fitted estimator, or a fitted estimator that has one.
    X : array-like (n, d)
        Rows as the estimator takes them.
    y : array-like
        Targets as the estimator takes them.
    sample_weight : array-like (n,), optional
        Weights of the fit.
    stationary : float, optional
        Check also that the gradient of the objective vanishes at the fitted
        parameters, relative to the sum of the norms of the rows' gradients. Then X, y
        and `sample_weight` must be those of the fit, and the fit a tight one (a `tol`
        of 1e-10 or so). This is the check of `ridge`, `class_weights` and the scale of
        `loss`, for which 1e-6 is a good value.
    random_state : int, default 0
        Seed of the directions; another one moves the check away from a kink.

    Raises
    ------
    AssertionError
        If the raw outputs are not those of the estimator, or an identity between the
        model's passes does not hold.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skpuma.checks import check_model
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    >>> check_model(Ridge().fit(X, y), X, y, stationary=1e-6)
    """
    model = adapt(model)
    rng = np.random.default_rng(random_state)
    prepared, coded = model.inputs(X), model.targets(y)
    n = rows.count(prepared)
    weight = check_weights(sample_weight, n)
    _check_attributes(model)
    _check_outputs(model, X, prepared)
    _check_round_trip(model, X, prepared, rng)

    objective = Objective.at_fit(model, prepared, coded, weight)
    if stationary is not None:
        _check_stationary(objective, stationary)
    moved = objective.at(_nearby(model.theta, rng))
    unchanged = _Unchanged(model, X=prepared, y=coded, weight=weight)
    _check_first_order(moved.model, prepared, rng)
    _check_inputs(moved.model, prepared, rng)
    _check_grams(moved, rng)
    _check_objective(moved, rng)
    unchanged.check()


def check_criterion(criterion, z, y, sample_weight=None, groups=None, *, loss=None):
    """Check a criterion: its gradient, and what weights mean to it.

    Parameters
    ----------
    criterion : criterion or str
        Any object with `value` and `grad_raw`, or a name of the table.
    z : array-like (n, k)
        Raw outputs; without ties, at which the largest of several has no gradient.
    y : array-like
        Coded targets: class positions (n,), or floats (n, k).
    sample_weight : array-like (n,), optional
    groups : array-like (n,), optional
        Sensitive feature of every row.
    loss : BaseLoss, optional
        How z becomes a prediction, for criteria with `for_loss`. By default the
        log-loss for class positions and the squared loss for floats.

    Raises
    ------
    AssertionError
        If the value is not a finite number, `grad_raw` is not its derivative, the order
        of the rows matters, a row of weight 0 counts, or a row of weight 2 is not the
        row twice.

    Examples
    --------
    >>> import numpy as np
    >>> from skpuma.checks import check_criterion
    >>> rng = np.random.default_rng(0)
    >>> check_criterion("brier_score", rng.normal(size=(20, 3)), np.arange(20) % 3)
    """
    criterion = resolve(CRITERIA, criterion, "criterion")
    z, y = np.array(z, dtype=float), np.array(y)
    n = len(z)
    weight = check_weights(sample_weight, n)
    groups = check_groups(groups, n, "groups")
    for method in ("value", "grad_raw"):
        _expect(
            callable(getattr(criterion, method, None)),
            f"the criterion has a method {method}",
            "it has none",
            "A criterion needs value and grad_raw of (z, y, *, sample_weight, groups).",
        )
    if hasattr(criterion, "for_loss"):
        criterion = criterion.for_loss(_default_loss(z, y) if loss is None else loss)
    unchanged = _Unchanged(criterion, z=z, y=y, sample_weight=weight)

    def value(at, index=slice(None), weight=weight):
        part = None if groups is None else groups[index]
        return criterion.value(at, y[index], sample_weight=weight[index], groups=part)

    base = value(z)
    _expect(
        isinstance(base, numbers.Real) and np.isfinite(base),
        "criterion.value is a finite number",
        f"it is {base!r}",
        "Delta is a bound on it.",
    )
    gradient = np.asarray(criterion.grad_raw(z, y, sample_weight=weight, groups=groups))
    _expect_shape("criterion.grad_raw", gradient, z.shape, "one derivative for each z")
    expected = np.empty_like(z)
    for position in np.ndindex(*z.shape):
        unit = np.zeros_like(z)
        unit[position] = 1.0
        expected[position] = _difference(value, z, unit)
    _expect_equal(
        "criterion.grad_raw == d criterion.value / dz",
        gradient,
        expected,
        DIFFERENCE,
        "psi would rank rows for another criterion than the one that delta guards.",
        floor=1e-4 * abs(base) / n,
    )
    _check_row_weights(value, z, y, weight, groups, base)
    unchanged.check()


def check_curvature(curvature):
    """Check a curvature operator: symmetric, and one matrix in all its forms.

    Parameters
    ----------
    curvature : Curvature
        Of an objective with non-negative weights; small enough to be formed.

    Raises
    ------
    AssertionError
        If it is not symmetric, `dense` is not the matrix of its products, `root` does
        not give it back, the damping is not a multiple of the identity, it claims to
        be positive semi-definite and is not, or it sees its null space.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skpuma.checks import check_curvature
    >>> from skpuma.curvature import curvature_of
    >>> from skpuma.models import adapt
    >>> from skpuma.objective import Objective
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    >>> model = adapt(Ridge().fit(X, y))
    >>> objective = Objective.at_fit(model, X, model.targets(y), np.ones(20))
    >>> check_curvature(curvature_of(objective, "gauss_newton"))
    """
    p = curvature.shape[0]
    _expect_shape("the curvature", np.empty(curvature.shape), (p, p), "it is square")
    products = np.asarray(curvature @ np.eye(p))
    _expect_equal(
        "the curvature is symmetric",
        products,
        products.T,
        SUMMED,
        "Every solver takes it to be; a second derivative is.",
    )
    _expect_equal(
        "curvature.dense() == curvature @ identity",
        curvature.dense(),
        products,
        SUMMED,
        "Direct solvers and cg would invert two different matrices.",
    )
    v = np.random.default_rng(0).standard_normal((p, 2))
    _expect_equal(
        "curvature @ v == a column of curvature @ V",
        curvature @ v[:, 0],
        (curvature @ v)[:, 0],
        SUMMED,
        "One and several right-hand sides would be solved differently.",
    )
    size = np.abs(products).max()
    more = 0.5 * size + 1.0
    _expect_equal(
        "with_damping(a) @ v - with_damping(0) @ v == a v",
        curvature.with_damping(more) @ v - curvature.with_damping(0.0) @ v,
        more * v,
        SUMMED,
        "Damping is added to the diagonal, once.",
    )
    eigenvalues = np.linalg.eigvalsh(0.5 * (products + products.T))
    _expect(
        not curvature.psd or eigenvalues[0] >= -SUMMED * size,
        "the curvature is positive semi-definite, as psd=True says",
        f"its smallest eigenvalue is {eigenvalues[0]:.2e}, its largest "
        f"{eigenvalues[-1]:.2e}",
        "Cholesky and cg would fail or solve for a saddle; set psd=False.",
    )
    if curvature.factored:
        objective = curvature.objective
        jacobian = objective.model.jacobian(objective.X)
        A = np.einsum("nkr,nkp->nrp", curvature.root, jacobian).reshape(-1, p)
        _expect_equal(
            "A.T A + diag(diagonal_part) == the curvature, A = root.T J",
            A.T @ A + np.diag(curvature.diagonal_part),
            products,
            SUMMED,
            "The woodbury solver uses this form; set factored=False if there is none.",
        )
    basis = curvature.null_space
    if basis is not None:
        _expect_equal(
            "the columns of null_space are orthonormal",
            basis.T @ basis,
            np.eye(basis.shape[1]),
            SUMMED,
            "Solvers project with basis @ basis.T.",
        )
        _expect_equal(
            "curvature @ null_space == 0",
            products @ basis,
            np.zeros_like(basis),
            SUMMED,
            "Solutions would lose a direction that the objective does see.",
            floor=size,
        )


def check_solver(solver_class, curvature):
    """Check a solver against the explicit inverse of a curvature.

    Parameters
    ----------
    solver_class : callable
        Curvature -> solver, usually a subclass of `BaseSolver`.
    curvature : Curvature
        Not singular outside its null space, and of a kind that the solver accepts;
        small enough to be formed.

    Raises
    ------
    AssertionError
        If a solution is further from the explicit one than its residual allows, its
        residual is not the measured one, one and several right-hand sides differ, or
        the solution is not orthogonal to the null space.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skpuma.checks import check_solver
    >>> from skpuma.curvature import curvature_of
    >>> from skpuma.models import adapt
    >>> from skpuma.objective import Objective
    >>> from skpuma.solvers._cholesky import Cholesky
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(20, 2)), rng.normal(size=20)
    >>> model = adapt(Ridge().fit(X, y))
    >>> objective = Objective.at_fit(model, X, model.targets(y), np.ones(20))
    >>> check_solver(Cholesky, curvature_of(objective, "hessian"))
    """
    solver = solver_class(curvature)
    _check_solver_attributes(solver, curvature)
    p = curvature.shape[0]
    matrix = np.asarray(curvature @ np.eye(p))
    basis = curvature.null_space
    # More right-hand sides than parameters, one of them zero.
    B = np.random.default_rng(0).standard_normal((p, p + 3))
    B[:, -1] = 0.0
    kept = B.copy()
    solution = solver.solve(B)
    _expect_equal(
        "solver.solve leaves the right-hand sides as they were",
        B,
        kept,
        0.0,
        "The same gradients are used again after the solve.",
    )
    X, residual = np.asarray(solution.value), np.asarray(solution.residual)
    _expect_shape("solution.value", X, B.shape, "one solution for each column")
    _expect_shape("solution.residual", residual, (p + 3,), "one for each column")
    if basis is not None:
        B = B - basis @ (basis.T @ B)
        _expect_equal(
            "the solution is orthogonal to the null space",
            basis.T @ X,
            np.zeros((basis.shape[1], p + 3)),
            SUMMED,
            "A shift that the objective does not see would be applied to the model.",
            floor=np.abs(X).max(),
        )
        size = np.trace(matrix) / p
        matrix = matrix + (size if size > 0 else 1.0) * (basis @ basis.T)
    _expect_equal(
        "the solution of 0 is 0",
        X[:, -1],
        np.zeros(p),
        0.0,
        "A criterion without a gradient must have no psi.",
    )
    norm = np.maximum(np.linalg.norm(B, axis=0), TINY)
    measured = np.linalg.norm(matrix @ X - B, axis=0) / norm
    largest = np.linalg.norm(matrix, 2)
    rounding = 10.0 * p * np.finfo(float).eps
    noise = rounding * largest * np.linalg.norm(X, axis=0) / norm
    worst = int(np.argmax(measured - 2.0 * residual - noise))
    _expect(
        measured[worst] <= 2.0 * residual[worst] + noise[worst],
        "solution.residual == ||H x - b|| / ||b||",
        f"it says {residual[worst]:.1e} where {measured[worst]:.1e} is measured",
        "Residuals are reported to the user: measure them, do not assume them.",
    )
    expected = np.linalg.solve(matrix, B)
    condition = np.linalg.cond(matrix)
    allowed = condition * (residual.max() + rounding)
    error = _relative_error(X, expected)
    _expect(
        error <= allowed,
        "solver.solve(B).value == inverse(H) @ B",
        f"off by {error:.1e} (relative); the residuals and the condition of H "
        f"({condition:.1e}) allow {allowed:.1e}",
        "The solver does not invert this matrix.",
    )
    one = np.asarray(solver.solve(B[:, 0]).value)
    _expect_shape("solution.value of one b (p,)", one, (p,), "the shape of b")
    error = _relative_error(one[:, None], X[:, :1])
    _expect(
        error <= 2.0 * allowed,
        "solve(b) == that column of solve(B)",
        f"off by {error:.1e} (relative), allowed are {2.0 * allowed:.1e}",
        "One and several criteria would be solved differently.",
    )


# -- parts of check_loss ---------------------------------------------------------------


def _check_prediction(loss, z, y, rng):
    n, k = z.shape
    predicted = np.asarray(loss.predict(z))
    if loss.classification:
        columns = 2 if k == 1 else k
        _expect_shape("loss.predict", predicted, (n, columns), "class probabilities")
        _expect_equal(
            "the probabilities of loss.predict sum to 1",
            predicted.sum(axis=1),
            np.ones(n),
            SUMMED,
            "Criteria read them as probabilities.",
        )
    else:
        _expect_shape("loss.predict", predicted, (n, k), "one prediction per output")
    u = rng.standard_normal(predicted.shape)
    pulled = np.asarray(loss.predict_vjp(z, u))
    _expect_shape("loss.predict_vjp", pulled, (n, k), "a gradient in z")
    for a in range(k):
        unit = np.zeros_like(z)
        unit[:, a] = 1.0
        forward = _difference(loss.predict, z, unit)
        _expect_equal(
            f"loss.predict_vjp(z, u)[:, {a}] == u . d loss.predict / dz[:, {a}]",
            pulled[:, a],
            (u * forward).sum(axis=1),
            DIFFERENCE,
            "Criteria of the predictions would have a wrong gradient.",
            floor=1e-4 * np.abs(u * predicted).max(),
        )


# -- parts of check_model --------------------------------------------------------------


def _check_attributes(model):
    theta = np.asarray(model.theta)
    _expect(
        theta.ndim == 1 and theta.dtype == np.float64 and np.isfinite(theta).all(),
        "model.theta is a finite float64 vector",
        f"its shape is {theta.shape}, its dtype {theta.dtype}",
        "Parameters are kept in one flat vector.",
    )
    _expect(
        model.kind in KINDS,
        f"model.kind is one of {KINDS}",
        f"it is {model.kind!r}",
        "It says how the penalty follows the weights of the rows.",
    )
    ridge = np.asarray(model.ridge(10.0, 10))
    _expect_shape("model.ridge", ridge, theta.shape, "the diagonal of the penalty")
    _expect(
        np.isfinite(ridge).all() and (ridge >= 0).all(),
        "model.ridge is finite and not negative",
        f"its smallest entry is {ridge.min():.2e}",
        "It is the diagonal of a penalty's second derivative.",
    )
    has_classes = model.classes is not None
    _expect(
        has_classes == bool(model.loss.classification),
        "model.classes is set for classifiers, and for them only",
        f"it is {model.classes!r} with {model.loss!r}",
        "Targets are coded as positions in it.",
    )


def _check_outputs(model, X, prepared):
    z = np.asarray(model.raw(prepared))
    n, k = rows.count(prepared), model.n_outputs
    _expect_shape("model.raw", z, (n, k), "n_outputs columns")
    expected = _predictions(model.with_theta(model.theta), X, model)
    if expected is None:
        return
    _expect_equal(
        "loss.predict(model.raw(X)) == the estimator's own predictions",
        np.reshape(model.loss.predict(z), expected.shape),
        expected,
        1e-8 if _precise(model) else 1e-4,
        "The adapter computes another function than the estimator does.",
    )


def _check_round_trip(model, X, prepared, rng):
    before = model.theta.copy()
    same = model.with_theta(model.theta)
    last = _last_step(same)
    _expect(
        type(last) is type(model.estimator),
        "with_theta returns the estimator's class",
        f"it returns {type(last).__name__}",
        "A patched model stays a model of the same class.",
    )
    tolerance = SUMMED if _precise(model) else 1e-6
    _expect_equal(
        "with_theta(theta) reads back as theta",
        type(model)(last).theta,
        before,
        tolerance,
        "A patch of nothing would change the model.",
    )
    theta = _nearby(model.theta, rng)
    other = model.with_theta(theta)
    _expect_equal(
        "with_theta(other) reads back as other",
        type(model)(_last_step(other)).theta,
        theta,
        tolerance,
        "`_write` and `_read` disagree about the layout of theta.",
        floor=np.abs(theta).max(),
    )
    predicted = _predictions(other, X, model)
    if predicted is not None:
        ours = model.loss.predict(model.at(theta).raw(prepared))
        _expect_equal(
            "predictions of with_theta(other) == those of at(other)",
            np.reshape(ours, predicted.shape),
            predicted,
            1e-8 if _precise(model) else 1e-4,
            "The patched estimator is not the model that was patched.",
        )
    _expect_equal(
        "with_theta leaves the user's estimator as it was",
        type(model)(model.estimator).theta,
        before,
        0.0,
        "`_write` must replace the arrays of the copy, never write into shared ones.",
    )


def _check_stationary(objective, tolerance):
    gradient = np.abs(objective.gradient()).max()
    per_row = objective.row_gradients(np.arange(rows.count(objective.X)))
    size = np.linalg.norm(per_row, axis=1).sum()
    _expect(
        gradient <= tolerance * max(size, TINY),
        "the gradient of the objective vanishes at the fit",
        f"max |grad J| is {gradient:.1e}, {gradient / max(size, 1e-300):.1e} of the "
        f"rows' gradients (allowed {tolerance:.1e})",
        "Either ridge(), class_weights() or the scale of the loss is not what the "
        "estimator minimises, or these are not the rows and weights of its fit, or its "
        "tolerance is loose.",
    )


def _check_first_order(model, X, rng):
    n, k, p = rows.count(X), model.n_outputs, model.n_parameters
    V, u = rng.standard_normal((p, 3)), rng.standard_normal((n, k))
    forward = np.asarray(model.jvp(X, V))
    _expect_shape("model.jvp(X, V)", forward, (n, k, 3), "one tangent per column of V")
    for m in range(3):
        single = np.asarray(model.jvp(X, V[:, m]))
        _expect_shape("model.jvp(X, v)", single, (n, k), "V may be one vector (p,)")
        _expect_equal(
            "model.jvp(X, v) == that column of model.jvp(X, V)",
            single,
            forward[:, :, m],
            EXACT,
            "One and several tangents must mean the same.",
        )
        _expect_equal(
            "model.jvp(X, v) == d model.raw / d theta along v",
            single,
            _difference(lambda at: model.at(at).raw(X), model.theta, V[:, m]),
            DIFFERENCE,
            "The tangent pass is wrong, or a kink of the model (relu) lies within the "
            "step: try another random_state.",
            floor=1e-4 * np.abs(model.raw(X)).max(),
        )
    back = np.asarray(model.vjp(X, u))
    _expect_shape("model.vjp(X, u)", back, (p,), "a vector in theta")
    for m in range(3):
        _expect_equal(
            "<u, J v> == <J.T u, v>",
            np.atleast_1d((u * forward[:, :, m]).sum()),
            np.atleast_1d(back @ V[:, m]),
            EXACT,
            "vjp is not the adjoint of jvp: gradients and psi would not fit together.",
            floor=np.abs(u * forward[:, :, m]).sum() + np.abs(back * V[:, m]).sum(),
        )
    gradients = np.asarray(model.gradients(X, u))
    _expect_shape("model.gradients(X, u)", gradients, (n, p), "one gradient per row")
    _expect_equal(
        "model.gradients(X, u) summed over rows == model.vjp(X, u)",
        gradients.sum(axis=0),
        back,
        SUMMED,
        "Gradients of single rows do not add up to the gradient.",
        floor=np.abs(gradients).max(),
    )
    _expect_equal(
        "model.gradients(X, u) @ v == u . J v, row by row",
        gradients @ V[:, 0],
        (u * forward[:, :, 0]).sum(axis=1),
        SUMMED,
        "The gradient of a row is credited to another row.",
    )
    _expect_equal(
        "model.jacobian(X) @ V == model.jvp(X, V)",
        model.jacobian(X) @ V,
        forward,
        SUMMED,
        "Leverage and the Gauss-Newton matrix are built from the Jacobian.",
    )
    _expect_equal(
        "model.psi(X, u, v) == u . J v, row by row",
        model.psi(X, u, V[:, 0]),
        (u * forward[:, :, 0]).sum(axis=1),
        SUMMED,
        "psi is the product of residual and tangent.",
    )


def _check_inputs(model, X, rng):
    dense = np.array(rows.to_dense(X), dtype=float)
    u = rng.standard_normal((len(dense), model.n_outputs))
    pulled = np.asarray(rows.to_dense(model.input_vjp(X, u)))
    _expect_shape("model.input_vjp", pulled, dense.shape, "a gradient in X")
    direction = rng.standard_normal(dense.shape)
    _expect_equal(
        "model.input_vjp(X, u) . D == u . d model.raw(X) along D, row by row",
        (pulled * direction).sum(axis=1),
        (u * _difference(model.raw, dense, direction)).sum(axis=1),
        DIFFERENCE,
        "Adversarial inputs would not be adversarial.",
        floor=1e-4 * np.abs(model.raw(dense)).max(),
    )


def _check_grams(objective, rng):
    model, X = objective.model, objective.X
    jacobian = model.jacobian(X)
    p = model.n_parameters
    hessian = model.loss.hessian(objective.raw, objective.y)
    root = model.loss.hessian_root(objective.raw, objective.y)
    expected = np.einsum("nkp,nkl,nlq->pq", jacobian, hessian, jacobian, optimize=True)
    size = np.abs(expected).max(initial=0.0)
    meaning = "Curvature and leverage are built from it."
    _expect_equal(
        "model.gram(X, B) == sum_i J_i.T B_i B_i.T J_i",
        model.gram(X, root),
        expected,
        SUMMED,
        meaning,
        floor=size,
    )
    V = rng.standard_normal((p, 2))
    _expect_equal(
        "model.gram_product(X, L, V) == sum_i J_i.T L_i J_i V",
        model.gram_product(X, hessian, V),
        expected @ V,
        SUMMED,
        meaning,
        floor=size,
    )
    scale = 1.0 / (1.0 + objective.l2)
    A = np.einsum("nkr,nkp->nrp", root, jacobian).reshape(-1, p)
    _expect_equal(
        "model.tangent_gram(X, B, s) == A diag(s) A.T, A = B.T J",
        model.tangent_gram(X, root, scale),
        (A * scale) @ A.T,
        SUMMED,
        "The woodbury solver and the preconditioner of cg are built from it.",
    )
    if not model.convex:
        return
    _expect_equal(
        "model.hessian_gram(X, L) == sum_i J_i.T L_i J_i",
        model.hessian_gram(X, hessian),
        expected,
        SUMMED,
        meaning,
        floor=size,
    )
    _expect_equal(
        "model.diagonal(X, L) == the diagonal of hessian_gram",
        model.diagonal(X, hessian),
        np.diagonal(expected),
        SUMMED,
        "It is the preconditioner of cg.",
        floor=size,
    )


def _check_objective(objective, rng):
    model = objective.model
    theta, p = model.theta, model.n_parameters
    gradient = objective.gradient()
    floor = 1e-4 * abs(objective.value())
    for _ in range(2):
        v = rng.standard_normal(p)
        _expect_equal(
            "grad J . v == d J / d theta along v",
            np.atleast_1d(gradient @ v),
            np.atleast_1d(_difference(lambda at: objective.at(at).value(), theta, v)),
            DIFFERENCE,
            "Loss, weights and penalty do not fit the model's derivatives.",
            floor=max(floor, 1e-2 * np.linalg.norm(gradient)),
        )
    _expect_equal(
        "weighted_gradient(the weights) + the fixed penalty's gradient == grad J",
        objective.weighted_gradient(objective.weight) + _penalty(objective),
        gradient,
        SUMMED,
        "Removing all rows would not remove the whole gradient.",
        floor=np.abs(gradient).max(initial=0.0),
    )
    _expect_equal(
        "row_gradients summed over rows == weighted_gradient(the weights)",
        objective.row_gradients(np.arange(rows.count(objective.X))).sum(axis=0),
        objective.weighted_gradient(objective.weight),
        SUMMED,
        "The shares of the rows in grad J, and in its penalty, do not add up.",
        floor=np.abs(gradient).max(initial=0.0),
    )
    V = rng.standard_normal((p, 2))
    products = curvature_of(objective, "hessian") @ V
    for m in range(2):
        _expect_equal(
            "Hessian @ v == d grad J / d theta along v",
            products[:, m],
            _difference(lambda at: objective.at(at).gradient(), theta, V[:, m]),
            DIFFERENCE,
            "Either `second_order` is missing or wrong (a model that is not linear in "
            "theta must define it), or a kink of the model (relu) lies within the "
            "step: try another random_state.",
            floor=1e-4 * np.abs(gradient).max(initial=0.0),
        )
    basis = model.null_space(objective.l2)
    if basis is not None:
        _expect_equal(
            "grad J is orthogonal to model.null_space",
            basis.T @ gradient,
            np.zeros(basis.shape[1]),
            SUMMED,
            "The objective does see a direction that the model calls invisible.",
            floor=np.abs(gradient).max() + np.abs(theta).max(),
        )


def _penalty(objective):
    """The part of grad J that no row has a share of."""
    if objective.model.kind == "sum":
        return objective.l2 * objective.model.theta
    return 0.0


def _predictions(estimator, X, model):
    """Probabilities or predictions of an estimator; None if it offers neither."""
    if not model.loss.classification:
        return np.asarray(estimator.predict(X), dtype=float)
    if not hasattr(estimator, "predict_proba"):
        return None
    return np.asarray(estimator.predict_proba(X), dtype=float)


def _precise(model):
    """Whether the estimator keeps its parameters in double precision."""
    return all(np.asarray(part).dtype != np.float32 for part in model._read())


def _last_step(estimator):
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _nearby(theta, rng):
    """Parameters at a moderate distance, where nothing is stationary."""
    size = max(float(np.sqrt(np.mean(theta**2))), 0.1)
    return theta + 0.1 * size * rng.standard_normal(theta.shape)


# -- parts of check_criterion ----------------------------------------------------------


def _default_loss(z, y):
    if y.dtype.kind not in "iub":
        return SquaredLoss()
    return BinaryLogLoss() if z.shape[1] == 1 else MultinomialLogLoss()


def _check_row_weights(value, z, y, weight, groups, base):
    """Order, weight 0 and weight 2, at a row whose absence no group notices."""
    n = len(z)
    order = np.random.default_rng(0).permutation(n)
    floor = max(abs(base), 1e-3)
    _expect_equal(
        "criterion.value does not depend on the order of the rows",
        np.atleast_1d(value(z[order], order)),
        np.atleast_1d(base),
        SUMMED,
        "Folds and blocks change the order.",
        floor=floor,
    )
    row = _replaceable(y, weight, groups)
    without = np.delete(np.arange(n), row)
    zeroed = weight.copy()
    zeroed[row] = 0.0
    _expect_equal(
        "criterion.value with a row of weight 0 == its value without the row",
        np.atleast_1d(value(z, weight=zeroed)),
        np.atleast_1d(value(z[without], without)),
        SUMMED,
        "Use sample_weight in every sum and mean.",
        floor=floor,
    )
    twice = np.append(np.arange(n), row)
    doubled = weight.copy()
    doubled[row] *= 2.0
    _expect_equal(
        "criterion.value with a row of weight 2 w == its value with the row twice",
        np.atleast_1d(value(z, weight=doubled)),
        np.atleast_1d(value(z[twice], twice)),
        SUMMED,
        "Use sample_weight in every sum and mean.",
        floor=floor,
    )


def _replaceable(y, weight, groups):
    """A row of positive weight from the largest cell of label and group."""
    label = y if y.ndim == 1 else np.zeros(len(y))
    keys = [label if label.dtype.kind in "iub" else np.zeros(len(y))]
    if groups is not None:
        keys.append(np.unique(groups, return_inverse=True)[1])
    cells = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(cells, weight > 0)
    return int(np.flatnonzero((cells == counts.argmax()) & (weight > 0))[0])


# -- parts of check_solver -------------------------------------------------------------


def _check_solver_attributes(solver, curvature):
    for name in ("solve", "detached"):
        _expect(
            callable(getattr(solver, name, None)),
            f"the solver has a method {name}",
            "it has none",
            "Extend skpuma.solvers.BaseSolver, which has it.",
        )
    for name in ("damping", "explicit", "info", "max_residual"):
        _expect(
            hasattr(solver, name),
            f"the solver has an attribute {name}",
            "it has none",
            "Extend skpuma.solvers.BaseSolver and call its __init__.",
        )
    _expect(
        solver.damping == curvature.damping,
        "solver.damping == curvature.damping",
        f"it is {solver.damping!r}, the curvature has {curvature.damping!r}",
        "The damping that was used is reported to the user.",
    )
    detached = solver.detached()
    _expect(
        detached is None or getattr(detached, "curvature", None) is None,
        "solver.detached() holds no curvature, and with it no training rows",
        "it still does",
        "It is stored on a fitted estimator.",
    )


def _relative_error(X, expected):
    """Largest relative error of a column."""
    norm = np.linalg.norm(expected, axis=0)
    error = np.linalg.norm(X - expected, axis=0)
    return float((error / np.maximum(norm, TINY)).max())


# -- comparisons -----------------------------------------------------------------------


def _difference(function, at, direction):
    """Derivative of `function` at `at` along `direction`, by central differences."""
    size = max(1.0, np.abs(at).max(initial=0.0))
    step = STEP * size / max(np.abs(direction).max(initial=0.0), TINY)
    plus = np.asarray(function(at + step * direction), dtype=float)
    minus = np.asarray(function(at - step * direction), dtype=float)
    return (plus - minus) / (2.0 * step)


def _expect(holds, identity, found, meaning):
    if not holds:
        raise AssertionError(f"Not true: {identity}; {found}. {meaning}")


def _expect_shape(name, array, shape, meaning):
    found = np.shape(array)
    _expect(
        found == tuple(shape), f"{name} has shape {shape}", f"it has {found}", meaning
    )


def _expect_equal(identity, ours, expected, tolerance, meaning, floor=0.0):
    """Equal up to `tolerance` times the largest expected entry, or times `floor`."""
    ours, expected = np.asarray(ours, dtype=float), np.asarray(expected, dtype=float)
    _expect_shape(f"the left side of '{identity}'", ours, expected.shape, meaning)
    scale = max(float(np.abs(expected).max(initial=0.0)), float(floor))
    error = float(np.abs(ours - expected).max(initial=0.0))
    if error <= tolerance * scale:
        return
    relative = error / scale if scale > 0 else np.inf
    raise AssertionError(
        f"Not true: {identity}; off by {relative:.1e} (relative; absolute "
        f"{error:.1e}), allowed are {tolerance:.0e}. {meaning}"
    )


class _Unchanged:
    """Remembers arrays, to see whether somebody wrote into them."""

    def __init__(self, owner, **arrays):
        self.owner = type(owner).__name__
        self.arrays = {
            name: (array, np.array(rows.to_dense(array)))
            for name, array in arrays.items()
        }

    def check(self):
        for name, (array, kept) in self.arrays.items():
            _expect(
                np.array_equal(rows.to_dense(array), kept),
                f"{self.owner} leaves {name} as it was",
                "it was written into",
                "Work on a copy: the same array is used again.",
            )
