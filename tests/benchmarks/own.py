"""psi of a workload by this package: what a user calls, and the path below it."""

import numpy as np
from sklearn.frozen import FrozenEstimator

from skpuma import PumaValuator, valuing
from skpuma._meta import criterion_rows
from skpuma.models import adapt
from skpuma.objective import Objective
from tests.benchmarks import machine


class Own:
    """A call of `PumaValuator`.

    Parameters
    ----------
    what : str
        Appended to the name.
    single : bool
        Rows in float32.
    comparable : bool
        Whether its psi is at the parameters of the fit, so that it can be checked.
    **settings
        Of the valuator; polish is off and the damping that of the workload.
    """

    library = "skpuma"

    def __init__(self, what="", single=False, comparable=True, **settings):
        self.name = "skpuma" + (f", {what}" if what else "")
        self.single, self.comparable = single, comparable
        self.settings = {"polish": False, **settings}

    @property
    def curvature(self):
        return self.settings.get("curvature", "gauss_newton")

    def prepare(self, workload):
        self.workload = workload.single() if self.single else workload

    def _valuator(self):
        w = self.workload
        valuator = PumaValuator(
            FrozenEstimator(w.model), damping=w.damping, **self.settings
        )
        return valuator.fit(w.X, w.y, X_val=w.X_val, y_val=w.y_val)

    def run(self):
        """psi (n,)."""
        return self._valuator().psi_[:, 0]


class Below(Own):
    """The same without validation of input, fingerprints, warnings, stationarity."""

    def __init__(self, what="", **arguments):
        super().__init__(f"below validation{what and ', '}{what}", **arguments)

    def prepare(self, workload):
        super().prepare(workload)
        w = self.workload
        self.model = adapt(w.model)
        self.rows = self.model.inputs(w.X), self.model.targets(w.y), np.ones(len(w.y))
        self.measured = criterion_rows(self.model, w.X_val, w.y_val, None, None)

    def run(self):
        settings = valuing.Settings(
            damping=self.workload.damping, distance=False, **self.settings
        )
        objective = Objective.at_fit(self.model, *self.rows)
        return valuing.with_validation_rows(objective, self.measured, settings).psi[
            :, 0
        ]


class Leverage(Own):
    """Leverage of every row, of a valuator that is fitted already."""

    def __init__(self):
        super().__init__("leverage alone", comparable=False)

    def prepare(self, workload):
        super().prepare(workload)
        self.valuator = self._valuator()

    def run(self):
        return self.valuator.leverage(self.workload.X, self.workload.y)


def own_of(workload):
    """The rows of a workload, the default first."""
    name, polished = workload.name, {"polish": True, "comparable": False}
    costs = [Own("polish", **polished), Leverage(), Own("one_step", effect="one_step")]
    if name in ("W1", "W5"):
        singles = [Own("float32", single=True)] if name == "W1" else []
        return [Own(), Below(), *singles, *costs]
    if name == "W2":
        cg = {"solver": "cg"}
        # n k solves with p^2 each take minutes at any speed of the machine.
        costs = costs[:1]
        return [
            Own(),
            Below(),
            Own("cholesky", solver="cholesky"),
            Own("CG", **cg),
            Below("CG", **cg),
            Own("CG, float32", single=True, **cg),
            *costs,
        ]
    rows = [Own("CG", solver="cg"), Below("CG", solver="cg")]
    rows.append(Own("CG, Hessian", solver="cg", curvature="hessian"))
    if name == "W3":
        return [Own(), Below(), Own("cholesky", solver="cholesky"), *rows]
    return [*rows, Own("CG, float32", single=True, solver="cg")]


# -- the floor -------------------------------------------------------------------------


def floor_of(workload, system, products):
    """What the machine needs at least: ([(Unit, flops)], bytes of memory read).

    Parameters
    ----------
    products : (int, int)
        Products with the curvature that the system took in double and in single
        precision; none for an explicit one.
    """
    dtype = "float32" if system.single else "float64"
    double, single = products
    n, d = workload.X.shape
    k, p, d = workload.n_outputs, workload.n_parameters, d + 1
    size = n * (d - 1) * (4 if system.single else 8)
    if workload.network:
        weights = [W for W, _ in workload.layers]
        forward = 2.0 * n * sum(W.size for W in weights)
        gemm = machine.tall_gemm(n, *weights[0].shape, "float64")
        quick = machine.tall_gemm(n, *weights[0].shape, "float32")
        if any(products):
            # A tangent and an adjoint pass over the forward one; psi is a tangent.
            slow = (gemm, (3.0 * double + 2.0) * forward)
            return [slow, (quick, 3.0 * single * forward)], 2.0 * size
        return [
            (machine.syrk(n, p, dtype), float(n) * k * p * p),
            (machine.cholesky(p), p**3 / 3.0),
        ], 2.0 * size
    if any(products):
        work = 4.0 * n * d * k
        slow = machine.tall_gemm(n, d, k, "float64"), (double + 1.0) * work
        return [
            slow,
            (machine.tall_gemm(n, d, k, "float32"), single * work),
        ], 2.0 * size
    pairs = k * (k + 1) / 2
    parts = [(machine.syrk(n, d, dtype), pairs * n * d * d)]
    if k > 1:
        parts.append((machine.cholesky(p), p**3 / 3.0))
    return parts, 2.0 * size


def floor_seconds(parts, size, seconds):
    """``max(flops / rate, bytes / bandwidth)`` from times of units."""
    work = sum(flops / unit.work * seconds[unit.name] for unit, flops in parts)
    unit = machine.read()
    return max(work, size / unit.work * seconds[unit.name])
