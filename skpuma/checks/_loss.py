"""Contract of a pointwise loss."""

import numpy as np

from skpuma.checks._expect import (
    DIFFERENCE,
    EXACT,
    SUMMED,
    Unchanged,
    difference,
    expect,
    expect_equal,
    expect_shape,
)


def check_loss(loss, z, y):
    """Check a pointwise loss against finite differences.

    Parameters
    ----------
    loss : BaseLoss
    z : array-like (n, k)
        Raw outputs, away from points where the loss has a kink.
    y : array-like
        Coded targets: class positions (n,) of a classification loss, floats (n, k) of
        a regression loss, zeros and ones (n, k) of a multilabel loss.

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
    unchanged = Unchanged(loss, z=z, y=y)

    value = np.asarray(loss.value(z, y))
    gradient = np.asarray(loss.gradient(z, y))
    hessian = np.asarray(loss.hessian(z, y))
    expect_shape("loss.value", value, (n,), "one loss for each row")
    expect_shape("loss.gradient", gradient, (n, k), "one derivative for each output")
    expect_shape("loss.hessian", hessian, (n, k, k), "one matrix for each row")

    half = np.arange(n) < (n + 1) // 2
    expect_equal(
        "loss.value of some rows == those rows of loss.value",
        loss.value(z[half], y[half]),
        value[half],
        EXACT,
        "The loss of a row must not depend on the other rows.",
    )
    for a in range(k):
        unit = np.zeros_like(z)
        unit[:, a] = 1.0
        expect_equal(
            f"loss.gradient[:, {a}] == d loss.value / dz[:, {a}]",
            gradient[:, a],
            difference(lambda at: loss.value(at, y), z, unit),
            DIFFERENCE,
            "The residual would push theta in a direction that is not downhill.",
            floor=1e-4 * np.abs(value).max(),
        )
        expect_equal(
            f"loss.hessian[:, :, {a}] == d loss.gradient / dz[:, {a}]",
            hessian[:, :, a],
            difference(lambda at: loss.gradient(at, y), z, unit),
            DIFFERENCE,
            "Curvature, leverage and Newton steps would be off by the same factor.",
            floor=1e-4 * np.abs(gradient).max(),
        )
    expect_equal(
        "loss.hessian is symmetric",
        hessian,
        hessian.transpose(0, 2, 1),
        EXACT,
        "It is a second derivative.",
    )
    smallest = float(np.linalg.eigvalsh(hessian).min())
    expect(
        smallest >= -SUMMED * np.abs(hessian).max(),
        "loss.hessian is positive semi-definite",
        f"its smallest eigenvalue is {smallest:.2e}",
        "Gauss-Newton and the trust region need a loss that is convex in z.",
    )
    root = np.asarray(loss.hessian_root(z, y))
    expect_equal(
        "loss.hessian_root @ its transpose == loss.hessian",
        root @ root.transpose(0, 2, 1),
        hessian,
        SUMMED,
        "Leverage and the woodbury solver use the root in place of the Hessian.",
    )
    if loss.constant_hessian:
        expect_equal(
            "loss.hessian is the identity, as constant_hessian=True says",
            hessian,
            np.broadcast_to(np.eye(k), hessian.shape),
            EXACT,
            "Set constant_hessian=False.",
        )
    if loss.affine and not loss.classification:
        expect_equal(
            "loss.gradient is affine in y, as affine=True says",
            2.0 * np.asarray(loss.gradient(z, 0.5 * (y + y[::-1]))),
            gradient + loss.gradient(z, y[::-1]),
            SUMMED,
            "Set affine=False; psi would be wrong for other targets.",
        )
    _check_prediction(loss, z, y, rng)
    _check_unweighted(loss, z)
    dispersion = float(loss.dispersion(z, y, np.ones(n)))
    expect(
        np.isfinite(dispersion) and dispersion > 0,
        "loss.dispersion is positive",
        f"it is {dispersion:.2e}",
        "The trust region of a patch is measured in units of it.",
    )
    unchanged.check()


def _check_prediction(loss, z, y, rng):
    n, k = z.shape
    predicted = np.asarray(loss.predict(z))
    if loss.classification:
        columns = 2 if k == 1 else k
        expect_shape("loss.predict", predicted, (n, columns), "class probabilities")
        expect_equal(
            "the probabilities of loss.predict sum to 1",
            predicted.sum(axis=1),
            np.ones(n),
            SUMMED,
            "Criteria read them as probabilities.",
        )
        _check_decision(loss, z, predicted)
    else:
        expect_shape("loss.predict", predicted, y.shape, "one prediction per target")
    u = rng.standard_normal(predicted.shape)
    pulled = np.asarray(loss.predict_vjp(z, u))
    expect_shape("loss.predict_vjp", pulled, (n, k), "a gradient in z")
    for a in range(k):
        unit = np.zeros_like(z)
        unit[:, a] = 1.0
        forward = difference(loss.predict, z, unit)
        expect_equal(
            f"loss.predict_vjp(z, u)[:, {a}] == u . d loss.predict / dz[:, {a}]",
            pulled[:, a],
            (u * forward).sum(axis=1),
            DIFFERENCE,
            "Criteria of the predictions would have a wrong gradient.",
            floor=1e-4 * np.abs(u * predicted).max(),
        )


def _check_decision(loss, z, predicted):
    decided = np.asarray(loss.decide(z))
    expect_shape("loss.decide", decided, (len(z),), "one class for each row")
    expect_equal(
        "loss.decide picks the class with the largest of loss.predict",
        predicted[np.arange(len(z)), decided],
        predicted.max(axis=1),
        EXACT,
        "Accuracy would be that of other decisions than the probabilities say.",
    )


def _check_unweighted(loss, z):
    plain = loss.unweighted()
    expect(
        plain == plain.unweighted(),
        "loss.unweighted() has no weights left to drop",
        f"{plain!r} becomes {plain.unweighted()!r}",
        "Criteria measure the loss without class weights.",
    )
    expect_equal(
        "loss.unweighted().predict(z) == loss.predict(z)",
        plain.predict(z),
        loss.predict(z),
        EXACT,
        "Class weights are part of the fit, not of the prediction.",
    )
