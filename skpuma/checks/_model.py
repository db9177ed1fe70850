"""Contract of a model adapter."""

import numpy as np

from skpuma import rows
from skpuma.checks._expect import (
    DIFFERENCE,
    EXACT,
    SINGLE,
    SUMMED,
    TINY,
    Unchanged,
    difference,
    expect,
    expect_equal,
    expect_shape,
)
from skpuma.curvature import curvature_of
from skpuma.models import adapt, innermost
from skpuma.objective import Objective
from skpuma.utils._validation import check_weights

KINDS = ("sum", "mean", "count")


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
    unchanged = Unchanged(model, X=prepared, y=coded, weight=weight)
    _check_first_order(moved.model, prepared, rng)
    _check_inputs(moved.model, prepared, rng)
    _check_grams(moved, rng)
    _check_objective(moved, rng)
    unchanged.check()


def _check_attributes(model):
    theta = np.asarray(model.theta)
    expect(
        theta.ndim == 1 and theta.dtype == np.float64 and np.isfinite(theta).all(),
        "model.theta is a finite float64 vector",
        f"its shape is {theta.shape}, its dtype {theta.dtype}",
        "Parameters are kept in one flat vector.",
    )
    expect(
        model.kind in KINDS,
        f"model.kind is one of {KINDS}",
        f"it is {model.kind!r}",
        "It says how the penalty follows the weights of the rows.",
    )
    ridge = np.asarray(model.ridge(10.0, 10))
    expect_shape("model.ridge", ridge, theta.shape, "the diagonal of the penalty")
    expect(
        np.isfinite(ridge).all() and (ridge >= 0).all(),
        "model.ridge is finite and not negative",
        f"its smallest entry is {ridge.min():.2e}",
        "It is the diagonal of a penalty's second derivative.",
    )
    has_classes = model.classes is not None
    expect(
        has_classes == bool(model.loss.classification),
        "model.classes is set for classifiers, and for them only",
        f"it is {model.classes!r} with {model.loss!r}",
        "Targets are coded as positions in it.",
    )


def _check_outputs(model, X, prepared):
    z = np.asarray(model.raw(prepared))
    n, k = rows.count(prepared), model.n_outputs
    expect_shape("model.raw", z, (n, k), "n_outputs columns")
    same = model.with_theta(model.theta)
    if model.loss.task != "regression":
        expect_equal(
            "loss.decide(model.raw(X)) == the estimator's own classes",
            model.loss.decide(z),
            _decisions(same, X, model),
            0.0,
            "The adapter computes another function than the estimator does.",
        )
    expected = _predictions(same, X, model)
    if expected is None:
        return
    expect_equal(
        "loss.predict(model.raw(X)) == the estimator's own predictions",
        np.reshape(model.loss.predict(z), expected.shape),
        expected,
        1e-8 if _precise(model) else 1e-4,
        "The adapter computes another function than the estimator does.",
    )


def _check_round_trip(model, X, prepared, rng):
    before = model.theta.copy()
    same = model.with_theta(model.theta)
    last = innermost(same)
    expect(
        type(last) is type(model.estimator),
        "with_theta returns the estimator's class",
        f"it returns {type(last).__name__}",
        "A patched model stays a model of the same class.",
    )
    tolerance = SUMMED if _precise(model) else 1e-6
    expect_equal(
        "with_theta(theta) reads back as theta",
        type(model)(last).theta,
        before,
        tolerance,
        "A patch of nothing would change the model.",
    )
    theta = _nearby(model.theta, rng)
    other = model.with_theta(theta)
    expect_equal(
        "with_theta(other) reads back as other",
        type(model)(innermost(other)).theta,
        theta,
        tolerance,
        "`_write` and `_read` disagree about the layout of theta.",
        floor=np.abs(theta).max(),
    )
    predicted = _predictions(other, X, model)
    if predicted is not None:
        ours = model.loss.predict(model.at(theta).raw(prepared))
        expect_equal(
            "predictions of with_theta(other) == those of at(other)",
            np.reshape(ours, predicted.shape),
            predicted,
            1e-8 if _precise(model) else 1e-4,
            "The patched estimator is not the model that was patched.",
        )
    expect_equal(
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
    expect(
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
    expect_shape("model.jvp(X, V)", forward, (n, k, 3), "one tangent per column of V")
    for m in range(3):
        single = np.asarray(model.jvp(X, V[:, m]))
        expect_shape("model.jvp(X, v)", single, (n, k), "V may be one vector (p,)")
        expect_equal(
            "model.jvp(X, v) == that column of model.jvp(X, V)",
            single,
            forward[:, :, m],
            EXACT,
            "One and several tangents must mean the same.",
        )
        expect_equal(
            "model.jvp(X, v) == d model.raw / d theta along v",
            single,
            difference(lambda at: model.at(at).raw(X), model.theta, V[:, m]),
            DIFFERENCE,
            "The tangent pass is wrong, or a kink of the model (relu) lies within the "
            "step: try another random_state.",
            floor=1e-4 * np.abs(model.raw(X)).max(),
        )
    back = np.asarray(model.vjp(X, u))
    expect_shape("model.vjp(X, u)", back, (p,), "a vector in theta")
    for m in range(3):
        expect_equal(
            "<u, J v> == <J.T u, v>",
            np.atleast_1d((u * forward[:, :, m]).sum()),
            np.atleast_1d(back @ V[:, m]),
            EXACT,
            "vjp is not the adjoint of jvp: gradients and psi would not fit together.",
            floor=np.abs(u * forward[:, :, m]).sum() + np.abs(back * V[:, m]).sum(),
        )
    gradients = np.asarray(model.gradients(X, u))
    expect_shape("model.gradients(X, u)", gradients, (n, p), "one gradient per row")
    expect_equal(
        "model.gradients(X, u) summed over rows == model.vjp(X, u)",
        gradients.sum(axis=0),
        back,
        SUMMED,
        "Gradients of single rows do not add up to the gradient.",
        floor=np.abs(gradients).max(),
    )
    expect_equal(
        "model.gradients(X, u) @ v == u . J v, row by row",
        gradients @ V[:, 0],
        (u * forward[:, :, 0]).sum(axis=1),
        SUMMED,
        "The gradient of a row is credited to another row.",
    )
    expect_equal(
        "model.jacobian(X) @ V == model.jvp(X, V)",
        model.jacobian(X) @ V,
        forward,
        SUMMED,
        "Leverage and the Gauss-Newton matrix are built from the Jacobian.",
    )
    expect_equal(
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
    expect_shape("model.input_vjp", pulled, dense.shape, "a gradient in X")
    direction = rng.standard_normal(dense.shape)
    expect_equal(
        "model.input_vjp(X, u) . D == u . d model.raw(X) along D, row by row",
        (pulled * direction).sum(axis=1),
        (u * difference(model.raw, dense, direction)).sum(axis=1),
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
    expect_equal(
        "model.gram(X, B) == sum_i J_i.T B_i B_i.T J_i",
        model.gram(X, root),
        expected,
        SUMMED,
        meaning,
        floor=size,
    )
    V = rng.standard_normal((p, 2))
    expect_equal(
        "model.gram_product(X, L, V) == sum_i J_i.T L_i J_i V",
        model.gram_product(X, hessian, V),
        expected @ V,
        SUMMED,
        meaning,
        floor=size,
    )
    if model.single:
        rough = model.at(model.theta.astype(np.float32))
        inputs, tangents = X.astype(np.float32), V.astype(np.float32)
        operator, unit = model.loss.hessian_operator(
            objective.raw, objective.y, np.ones(len(objective.y))
        ).in_single()
        expect_equal(
            "model.gram_product of X, L, V and theta in single precision",
            unit * rough.gram_product(inputs, operator, tangents),
            expected @ V,
            SINGLE,
            "Products of cg are taken in it, where the model says `single`.",
            floor=size * np.abs(V).max(),
        )
    scale = 1.0 / (1.0 + objective.l2)
    A = np.einsum("nkr,nkp->nrp", root, jacobian).reshape(-1, p)
    expect_equal(
        "model.tangent_gram(X, B, s) == A diag(s) A.T, A = B.T J",
        model.tangent_gram(X, root, scale),
        (A * scale) @ A.T,
        SUMMED,
        "The woodbury solver and the preconditioner of cg are built from it.",
    )
    if not model.convex:
        return
    expect_equal(
        "model.hessian_gram(X, L) == sum_i J_i.T L_i J_i",
        model.hessian_gram(X, hessian),
        expected,
        SUMMED,
        meaning,
        floor=size,
    )
    expect_equal(
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
        expect_equal(
            "grad J . v == d J / d theta along v",
            np.atleast_1d(gradient @ v),
            np.atleast_1d(difference(lambda at: objective.at(at).value(), theta, v)),
            DIFFERENCE,
            "Loss, weights and penalty do not fit the model's derivatives.",
            floor=max(floor, 1e-2 * np.linalg.norm(gradient)),
        )
    expect_equal(
        "weighted_gradient(the weights) + the fixed penalty's gradient == grad J",
        objective.weighted_gradient(objective.weight) + _penalty(objective),
        gradient,
        SUMMED,
        "Removing all rows would not remove the whole gradient.",
        floor=np.abs(gradient).max(initial=0.0),
    )
    expect_equal(
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
        expect_equal(
            "Hessian @ v == d grad J / d theta along v",
            products[:, m],
            difference(lambda at: objective.at(at).gradient(), theta, V[:, m]),
            DIFFERENCE,
            "Either `second_order` is missing or wrong (a model that is not linear in "
            "theta must define it), or a kink of the model (relu) lies within the "
            "step: try another random_state.",
            floor=1e-4 * np.abs(gradient).max(initial=0.0),
        )
    basis = model.null_space(objective.l2)
    if basis is not None:
        expect_equal(
            "grad J is orthogonal to model.null_space",
            basis.T @ gradient,
            np.zeros(basis.shape[1]),
            SUMMED,
            "The objective does see a direction that the model calls invisible.",
            floor=np.abs(gradient).max() + np.abs(theta).max(),
        )


def _penalty(objective):
    """The part of grad J that no row has a share of."""
    kind, record = objective.model.kind, objective.record
    if kind == "mean":
        return 0.0
    # Rows that never had a weight are counted, but have nothing to give back.
    fixed = 1.0 if kind == "sum" else 1.0 - record.n_used / record.n_rows
    return fixed * objective.penalty_share


def _predictions(estimator, X, model):
    """Probabilities or predictions of an estimator; None if it offers neither."""
    if model.loss.task == "regression":
        return np.asarray(estimator.predict(X), dtype=float)
    if not hasattr(estimator, "predict_proba"):
        return None
    return np.asarray(estimator.predict_proba(X), dtype=float)


def _decisions(estimator, X, model):
    """Predicted class positions (n,), or zeros and ones (n, k) for several labels."""
    predicted = np.asarray(estimator.predict(X))
    if model.classes is None:
        return predicted
    return np.searchsorted(model.classes, predicted)


def _precise(model):
    """Whether the estimator keeps its parameters in double precision."""
    return all(np.asarray(part).dtype != np.float32 for part in model._read())


def _nearby(theta, rng):
    """Parameters at a moderate distance, where nothing is stationary."""
    size = max(float(np.sqrt(np.mean(theta**2))), 0.1)
    return theta + 0.1 * size * rng.standard_normal(theta.shape)


# -- parts of check_criterion ----------------------------------------------------------
