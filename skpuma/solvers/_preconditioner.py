"""Preconditioners of conjugate gradients: cheap stand-ins for the inverse of H.

Each has ``apply(R)`` for R (p, m) and ``kind``, which says what it is. `Identity` and
`Diagonal` are also known by a factor F with ``apply = F F.T`` (`right` is F, `left` its
transpose), on which `Nystrom` builds.
"""

import copy

import numpy as np
from scipy import sparse

from skpuma import rows
from skpuma.losses._output_hessian import OutputHessian
from skpuma.solvers._kronecker import Kronecker
from skpuma.solvers._softmax_blocks import SoftmaxBlocks
from skpuma.utils.errors import SolverError

PRECONDITIONERS = (
    "auto",
    "diagonal",
    "kronecker",
    "none",
    "nystrom",
    "softmax",
    "woodbury",
)
# Rows times outputs of a row sample, at least, where there are so many, and at most: a
# factor takes about as long as a product with H. Below the last it says too little.
SAMPLE_ROWS = 500, 1500
SMALLEST_SAMPLE = 200
# Products that its mean eigenvalue takes, to within a factor that does not matter.
MEAN_PROBES = 4
# More intercepts than these are not worth their products with H.
MAX_INTERCEPTS = 64
# Classes whose coefficients of a column are taken together.
MAX_CLASSES = 16
# Numbers that a Nystrom sketch may hold: 2 * 2**24 * 8 bytes, with its products.
SKETCH_SIZE = 2**24
SKETCH_START = 16
# Its bytes beside those of sparse rows, which are not to be outgrown by their solver.
SKETCH_SHARE = 0.1
SKETCH_LIMIT = 128
# An eigenvalue this much above the end of the sketch is worth a column.
OUTSTANDING = 3.0


class Identity:
    """No preconditioner."""

    kind = "none"
    floor = 0.0

    def apply(self, R):
        return R

    def right(self, V):
        return V

    def left(self, R):
        return R


class Diagonal:
    """The diagonal of H after the intercepts of a linear model are eliminated.

    An intercept couples to every column whose mean is not zero; scaling by the diagonal
    alone makes that coupling the worst-conditioned direction of all. With I the
    intercepts and R the other parameters, ``H = L diag(S, H_II) L.T`` exactly, where
    ``S = H_RR - H_RI H_II^+ H_IR`` is the curvature of the *centred* columns, and only
    S is replaced by its diagonal. The coefficients that several classes have for one
    column stay together, in blocks: a softmax hardly sees their common shift, which
    the diagonal does not know.

    Products to a residual of 1e-8, 50,000 texts, 100,000 words: 45 with the diagonal
    alone, 27 without a preconditioner, 13 with this one.

    Parameters
    ----------
    curvature : Curvature
        Gauss-Newton like: it must have `output_hessian` or `root`.
    """

    def __init__(self, curvature):
        model, p = curvature.objective.model, curvature.shape[0]
        linear = model.convex and hasattr(model, "free_intercept")
        n_intercepts = int(np.count_nonzero(model.free_intercept)) if linear else 0
        if n_intercepts > MAX_INTERCEPTS:
            n_intercepts = 0
        self.rest = p - n_intercepts
        self.kind = "diagonal, intercepts eliminated" if n_intercepts else "diagonal"
        k = model.n_outputs
        together = linear and 1 < k <= MAX_CLASSES and self.rest == k * model.n_features
        together = together and curvature.total(_n_coupled) > 0
        self._k = k if together else 1
        ridge = curvature.diagonal_part[: self.rest].reshape(self._k, -1)
        if together:
            block = curvature.total(_pair_sums)
        else:
            block = curvature.total(_data_diagonal)[: self.rest].reshape(1, 1, -1)
        block[np.diag_indices(self._k)] += ridge
        self._coupling = self._root = None
        if n_intercepts:
            block -= self._eliminate(curvature).reshape(block.shape)
        trace = np.einsum("aaj->j", block)
        least = 1e-12 * max(trace.max(), 1e-300)
        if together:
            # Rounding, and the shift that a softmax without penalty does not see.
            block[np.diag_indices(self._k)] += np.maximum(1e-12 * trace, least)
            block += np.where(ridge.min(axis=0) > 0, 0.0, np.abs(trace) / k**2)
            lower = np.linalg.cholesky(block.transpose(2, 0, 1))
            inverse = np.linalg.inv(lower).transpose(1, 2, 0)
            self._inverse = np.ascontiguousarray(inverse)[..., None]
            largest = np.abs(block).sum(axis=0).max(axis=0)
        else:
            largest = np.maximum(block[0, 0], np.maximum(ridge[0], least))
            self._inverse = (1.0 / np.sqrt(largest))[None, None, :, None]
        # Smallest eigenvalue that the ridge alone leaves to F.T H F.
        self.floor = float((ridge.min(axis=0) / largest).min())

    def _eliminate(self, curvature):
        """What H_RR loses, the blocks of ``H_RI H_II^+ H_IR``."""
        p, start = curvature.shape[0], self.rest
        border = curvature.total(_border)
        border[start:] += np.diag(curvature.diagonal_part[start:])
        values, vectors = np.linalg.eigh(border[start:])
        # A softmax does not see one shift of its intercepts.
        seen = values > 1e-12 * max(values[-1], 1e-300)
        scale = np.where(seen, 1.0 / np.sqrt(np.where(seen, values, 1.0)), 0.0)
        self._root = (vectors * scale) @ vectors.T
        self._coupling = border[:start] @ (self._root @ self._root)
        left = self._coupling.reshape(self._k, -1, p - start)
        right = border[:start].reshape(self._k, -1, p - start)
        return np.einsum("ajc,bjc->abj", left, right)

    def apply(self, R):
        return self.right(self.left(R))

    def right(self, V):
        out = np.empty_like(V)
        source, top = self._by_class(V), self._by_class(out)
        for a in range(self._k):
            np.multiply(self._inverse[a, a], source[a], out=top[a])
            for b in range(a + 1, self._k):
                top[a] += self._inverse[b, a] * source[b]
        if self._root is not None:
            out[self.rest :] = self._root @ V[self.rest :]
            out[self.rest :] -= self._coupling.T @ out[: self.rest]
        return out

    def left(self, R):
        out = np.empty_like(R)
        if self._root is None:
            np.copyto(out, R)
        else:
            np.matmul(self._coupling, R[self.rest :], out=out[: self.rest])
            np.subtract(R[: self.rest], out[: self.rest], out=out[: self.rest])
            out[self.rest :] = self._root @ R[self.rest :]
        top = self._by_class(out)
        # From the last class on: each needs those before it as they were.
        for a in range(self._k - 1, -1, -1):
            top[a] *= self._inverse[a, a]
            for b in range(a):
                top[a] += self._inverse[a, b] * top[b]
        return out

    def _by_class(self, V):
        return V[: self.rest].reshape(self._k, -1, V.shape[1])


class Nystrom:
    """Another preconditioner, with the largest eigenvalues that it leaves divided out.

    A random sketch ``Y = (F.T H F - floor I) Omega`` finds them (Frangella, Tropp and
    Udell, 2023): one product with H per column, (p, rank) numbers and no matrix. The
    sketch is widened until its last eigenvalue is near the floor, has no outstanding
    eigenvalues to show for its columns, or is at its limit.

    Parameters
    ----------
    curvature : Curvature
        Positive semi-definite.
    base : Identity or Diagonal
    rank : int, optional
        Columns of the sketch, all of which are kept, unless the curvature has a lower
        rank. By default they are found, 128 at most. On correlated
        columns (p = 2000, relative ridges 1e-5 and 1e-3) 0, 32, 64, 128 of them took
        788, 378, 282, 191 and 194, 94, 72, 48 iterations; a power iteration, at twice
        the price, saved a tenth.
    """

    def __init__(self, curvature, base, rank=None):
        if not curvature.psd:
            raise SolverError(
                "The Nystrom preconditioner needs a positive semi-definite curvature: "
                "use curvature='gauss_newton' or preconditioner='none'."
            )
        self._base = base
        p = curvature.shape[0]
        limit = min(rank or sketch_limit(p), p)
        rng = np.random.default_rng(0)
        omega, Y = np.empty((p, 0)), np.empty((p, 0))
        width = limit if rank else min(SKETCH_START, limit)
        while True:
            more = rng.standard_normal((p, width - omega.shape[1]))
            product = base.left(curvature @ base.right(more)) - base.floor * more
            omega, Y = np.hstack([omega, more]), np.hstack([Y, product])
            vectors, values = _nystrom(omega, Y)
            last = values[-1] + base.floor
            flat = values[0] + base.floor <= OUTSTANDING * last
            if width == limit or flat or last <= 10.0 * base.floor:
                break
            width = min(2 * width, limit)
        self.n_products = width
        shifted = values + base.floor
        kept = np.ones(len(shifted), dtype=bool)
        if rank is None:
            kept = shifted > OUTSTANDING * shifted[-1]
        self._vectors = np.ascontiguousarray(vectors[:, kept])
        self._shrink = (shifted[-1] / shifted[kept] - 1.0)[:, None]
        self.rank = int(kept.sum())
        on = "" if base.kind == "none" else f" on {base.kind}"
        self.kind = f"nystrom (rank {self.rank}){on}"

    def apply(self, R):
        inner = self._base.left(R)
        inner = inner + self._vectors @ (self._shrink * (self._vectors.T @ inner))
        return self._base.right(inner)


class RowSample:
    """The inverse of the curvature of a row sample, by the Woodbury identity.

    A sample says nothing about directions that its rows do not span, and too much about
    those that they do. Adding the geometric mean of damping and mean eigenvalue to its
    diagonal makes up for both. Iterations of networks for a relative damping of 0.1,
    0.01, 0.001: 76, 221, 651 without it, 50, 96, 218 with it (p = 3329, 1500 of 20,000
    rows); 145, 338, 768 and 93, 162, 376 (p = 7510, 150 of 1797 rows, 10 classes). The
    best multiple of it was between 0.3 and 3 everywhere.

    Parameters
    ----------
    curvature : Curvature
        Of the form A.T A + diag, with a diagonal that is positive where the sample is
        all rows.
    """

    def __init__(self, curvature):
        from skpuma.solvers._woodbury import Woodbury

        objective = curvature.objective
        n, size = rows.count(objective.X), sample_size(curvature)
        damping = curvature.damping
        if size < n:
            sample = np.random.default_rng(0).permutation(n)[:size]
            part = objective.subset(np.sort(sample))
            share = objective.weight.sum() / max(part.weight.sum(), 1e-300)
            objective = part.reweighted(part.weight * share)
            mean = type(curvature)(objective, damping).mean_eigenvalue(MEAN_PROBES)
            unseen = 1.0 - size / n
            damping += np.sqrt(unseen * mean * curvature.diagonal_part.mean())
        self.apply = Woodbury(type(curvature)(objective, damping))._raw_solve
        self.kind = f"woodbury ({size} rows)"


class Preconditioning:
    """The preconditioner of a solver, which is improved once that pays.

    Parameters
    ----------
    curvature : Curvature
    name : str
        One of `PRECONDITIONERS`, see `skpuma.solvers._cg.CG`.
    rank : int or None
        Columns of the sketch of "nystrom".

    Attributes
    ----------
    kind : str
        What is in use.
    spent : int
        Products with H so far, by columns.
    """

    def __init__(self, curvature, name="auto", rank=None):
        if name not in PRECONDITIONERS:
            raise ValueError(
                f"Unknown preconditioner {name!r}; choose one of "
                f"{list(PRECONDITIONERS)}."
            )
        if rank is not None and name not in ("auto", "nystrom"):
            raise ValueError(
                "rank is the width of the sketch of preconditioner='nystrom'; "
                f"{name!r} has none."
            )
        if rank is not None and not 1 <= rank <= curvature.shape[0]:
            raise ValueError(
                f"rank must be between 1 and the number of parameters, got {rank!r}."
            )
        self.curvature, self.rank, self.spent = curvature, rank, 0
        self._current = self._choose(name)
        self._lazy = name == "auto" and curvature.psd and _sketch_is_small(curvature)
        # What those leave has no outstanding eigenvalues.
        done = RowSample, Kronecker, SoftmaxBlocks
        self._lazy = self._lazy and not isinstance(self._current, done)

    @property
    def kind(self):
        return self._current.kind

    def of(self, curvature):
        """The same preconditioner for a curvature nearby, or None to hand it on."""
        other = copy.copy(self)
        other.curvature = curvature
        return other

    def apply(self, R):
        """An approximation of ``H^-1 R``."""
        return self._current.apply(R)

    def widened(self):
        """Whether it was just improved, once half its price was spent without it."""
        p = self.curvature.shape[0]
        price = self.rank or sketch_limit(p)
        if not self._lazy or 2 * self.spent < price or 2 * price > p:
            return False
        self._lazy = False
        better = Nystrom(self.curvature, self._current, self.rank)
        if better.rank:
            self._current = better
        return better.rank > 0

    def _choose(self, name):
        curvature = self.curvature
        if name == "woodbury" or (name == "auto" and _sample_is_good(curvature)):
            return RowSample(curvature)
        if name == "none":
            return Identity()
        base = Identity()
        alike = name != "diagonal" and _has_kronecker(curvature)
        operator = _output_operator(curvature) if alike else None
        blocks = alike and SoftmaxBlocks.fits(curvature, operator)
        if name == "softmax" and not blocks:
            raise SolverError(
                "preconditioner='softmax' is for dense rows, and many, of a linear "
                "model with a softmax over three classes or more: use 'auto'."
            )
        if name == "softmax" or (name == "auto" and blocks):
            return SoftmaxBlocks(curvature, operator)
        if name == "kronecker" or alike:
            if not alike:
                raise SolverError(
                    "preconditioner='kronecker' is for dense rows of a linear model "
                    "with several outputs that share one penalty: use 'auto'."
                )
            base = Kronecker(curvature, operator)
        elif name == "diagonal" or curvature.objective.model.convex:
            base = Diagonal(curvature)
        return Nystrom(curvature, base, self.rank) if name == "nystrom" else base


def _sample_is_good(curvature):
    """Whether a sample of rows stands for the curvature.

    Where the sample is all rows it is the curvature. On networks it spans the few
    large eigenvalues; on a linear model with many rare columns it does not.
    """
    model = curvature.objective.model
    if not (curvature.factored and np.all(curvature.diagonal_part > 0)):
        return False
    size = sample_size(curvature)
    if size == rows.count(curvature.objective.X):
        return True
    return not model.convex and size * model.n_outputs >= SMALLEST_SAMPLE


def _has_kronecker(curvature):
    """Whether classes are coupled and the rows alike enough for `Kronecker`."""
    model = curvature.objective.model
    return model.convex and curvature.factored and Kronecker.fits(curvature)


def sample_size(curvature):
    """Rows of a sample whose Gram matrix is small beside the curvature."""
    n, k = rows.count(curvature.objective.X), curvature.objective.model.n_outputs
    p = curvature.shape[0]
    rank = int(np.clip(np.cbrt(18.0 * n * p), *SAMPLE_ROWS))
    return max(min(n, rank // k, p // (2 * k)), 1)


def sketch_limit(p):
    """Columns that a sketch of p rows may have."""
    return int(np.clip(SKETCH_SIZE // p, 8, SKETCH_LIMIT))


def _sketch_is_small(curvature):
    """Whether a sketch takes little memory beside the rows, if those are sparse."""
    X, p = curvature.objective.X, curvature.shape[0]
    if not sparse.issparse(X):
        return True
    return 2 * 8 * SKETCH_START * p <= SKETCH_SHARE * 12 * X.nnz


def _nystrom(omega, Y):
    """Eigenvectors (p, r) and eigenvalues (r,), largest first, of the approximation."""
    values, vectors = np.linalg.eigh(0.5 * (omega.T @ Y + Y.T @ omega))
    # What rounding made negative carries nothing.
    used = values > 1e-12 * max(values[-1], 1e-300)
    if not used.any():
        return np.zeros((len(Y), 1)), np.zeros(1)
    half = Y @ (vectors[:, used] / np.sqrt(values[used]))
    left, singular, _ = np.linalg.svd(half, full_matrices=False)
    return left, singular**2


def _output_hessian(curvature):
    """``L_i`` of every row, with its weight (n, k, k)."""
    hessian = getattr(curvature, "output_hessian", None)
    if hessian is None:
        root = curvature.root
        hessian = root @ root.transpose(0, 2, 1)
    return hessian


def _output_operator(curvature):
    """The same for products and sums."""
    operator = getattr(curvature, "output_operator", None)
    return OutputHessian(_output_hessian(curvature)) if operator is None else operator


def _blocks(X):
    """Blocks of rows whose entries fit a cache: X is not copied as a whole."""
    n = rows.count(X)
    entries = X.nnz if sparse.issparse(X) else X.size
    return rows.blocks(n, 24 * max(entries // max(n, 1), 1))


def _n_coupled(curvature):
    """Pairs of outputs that the loss couples."""
    hessian = _output_hessian(curvature)
    return sum(bool(hessian[:, a, :a].any()) for a in range(1, hessian.shape[1]))


def _border(curvature):
    """Columns of the intercepts in the data term (p, number of intercepts)."""
    objective = curvature.objective
    model, hessian = objective.model, _output_hessian(curvature)
    free = np.flatnonzero(model.free_intercept)
    return np.stack([model.vjp(objective.X, hessian[:, :, b]) for b in free], axis=1)


def _data_diagonal(curvature):
    """Diagonal of the data term (p,)."""
    objective = curvature.objective
    return objective.model.diagonal(objective.X, _output_hessian(curvature))


def _pair_sums(curvature):
    """``sum_i x_ij^2 L_iab`` of every column j and pair of classes: (k, k, d)."""
    X, hessian = curvature.objective.X, _output_hessian(curvature)
    k, d = hessian.shape[1], X.shape[1]
    first, second = np.tril_indices(k)
    total = np.zeros((d, len(first)))
    for block in _blocks(X):
        pairs = hessian[block][:, first, second]
        total += rows.squared_column_sums(rows.take(X, block), pairs)
    out = np.empty((k, k, d))
    out[first, second] = out[second, first] = total.T
    return out
