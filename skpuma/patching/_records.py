"""The records of a patch: what is asked, where the path is, where it ended."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from skpuma._dask_rows import known


@dataclass(frozen=True)
class Settings:
    """How a path is walked; the attributes are the parameters of `PumaPatcher`."""

    delta: np.ndarray
    eta: float = 1.0
    forget_at: float | None = None
    steps: int | str = "auto"
    trust: float = 0.01
    reweight: bool = True
    side: str = "worse"
    alpha: float = 0.8
    l1_ratio: float = 0.1
    max_weight: float = 1.0
    curvature: str = "auto"
    solver: str = "auto"
    damping: float | str = "auto"
    polish: bool = True
    curvature_rows: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Marks:
    """Which rows move: removed (n,) bool, extra weight (n,), candidates (n,) bool.

    Of rows that live in blocks `removed` is a dask array, `extra` one or 0 for all, and
    there are no candidates.
    """

    removed: np.ndarray
    extra: np.ndarray
    candidates: np.ndarray

    @cached_property
    def empty(self):
        """Whether nothing moves."""
        return not (known(self.removed.any()) or known(self.extra.any()))

    def of_all(self, lam):
        """Extra weight of every row, where one number stands for all."""
        return lam if np.ndim(lam) else np.full_like(self.removed, lam, dtype=float)

    @property
    def at_rest(self):
        """Extra weight from compensation before there is any."""
        return np.zeros(np.shape(self.extra))


@dataclass(frozen=True)
class State:
    """A point of the path; `tried` without the last digits of its correction."""

    s: float
    theta: np.ndarray
    lam: np.ndarray
    values: np.ndarray
    target: float | None = None
    forgetting: float | None = None
    step: float = 0.0
    tried: bool = False


@dataclass(frozen=True)
class Beginning:
    """What a path sets out with, without rows: it may be stored.

    Attributes
    ----------
    solver : BaseSolver
        Factor at the user's parameters.
    theta : ndarray (p,) or None
        Where corrections begin: the optimum of the weights before the patch.
    near : BaseSolver or None
        Factor there, if one is at hand.
    converged : bool
    """

    solver: object
    theta: np.ndarray | None = None
    near: object = None
    converged: bool = True


@dataclass(frozen=True)
class PatchResult:
    """Where a path ended, and how it got there.

    Attributes
    ----------
    theta : ndarray (p,)
    s : float
        Share of the asked removal that was carried out (1 = weights at zero).
    lam : ndarray (n,)
        ``int lambda ds``: extra weight of every row, relative to its own.
    factor : ndarray (n,)
        w+ / w of every row at the end.
    before, after : ndarray (m,)
        Measured criteria.
    history : list of State
    stopped_by : str
        "eta", "forget_at", "target", "steps", "stalled", "nonfinite", or
        "delta:<criterion>".
    """

    theta: np.ndarray
    s: float
    lam: np.ndarray
    factor: np.ndarray
    before: np.ndarray
    after: np.ndarray
    history: list = field(repr=False)
    stopped_by: str = "eta"
