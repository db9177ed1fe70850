"""Where a removal moves two parameters, over the losses that it climbs or descends."""

import numpy as np

from skpuma.plotting._room import Arrangement, place_inches, place_legend, shape_for
from skpuma.plotting._style import PALETTE, foreground, panels_or_new, thin_ticks, tidy

# Room around the arrows, relative to the longest.
ROOM = 1.6
TITLES = ("phi of the rows", "Naive removal", "PUMA")
SURFACES = {"J": ("Oranges", "training objective J"), "C": ("Purples", "criterion C")}


class DirectionDisplay:
    """phi of rows, and the moves of a naive and of a PUMA removal over J and C.

    For models with two parameters. Left: where the removal of each row pulls the
    parameters, with the marked rows coloured. Middle and right: the move of the whole
    removal, without and with re-weighting of other rows, over the contours of the
    training objective and of the criterion (lighter is lower).

    Use `from_surfaces`, or `from_estimators`, which reads the moves off fitted linear
    models.

    Parameters
    ----------
    theta : array-like (2,)
        Parameters before the removal.
    phi : array-like (q, 2)
        ``H^-1 g`` of rows: removing a row moves the parameters along it.
    naive, puma : array-like (2,)
        Moves of the parameters.
    J, C : callable
        Parameters (2,) to the loss.
    marked : array-like of bool (q,), default None
        Rows of `phi` that are removed; None is all.
    names : (str, str), default ("theta 0", "theta 1")
        Of the parameters.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes (3,)
        Side by side; on top of each other in the place of axes that are high.
    figure_ : matplotlib Figure
    phi_arrows_ : matplotlib quiver
    arrows_ : dict of str to matplotlib quiver
        "naive" and "puma".
    contours_ : dict of str to matplotlib contour set
        "J" and "C", of the last panel.

    References
    ----------
    Blog fig. 4; phi is Blog (7), the moves are Blog (10).

    Examples
    --------
    >>> from skpuma.plotting import DirectionDisplay
    >>> display = DirectionDisplay.from_surfaces(
    ...     [0.0, 0.0],
    ...     phi=[[1.0, 0.2], [0.3, -1.0]],
    ...     naive=[1.0, 0.2],
    ...     puma=[0.3, 0.6],
    ...     J=lambda theta: theta @ theta,
    ...     C=lambda theta: (theta[0] + theta[1]) ** 2 + theta[1] ** 2,
    ...     marked=[True, False],
    ... )
    >>> display.axes_.shape
    (3,)
    """

    def __init__(
        self,
        theta,
        phi,
        naive,
        puma,
        J,
        C,
        *,
        marked=None,
        names=("theta 0", "theta 1"),
    ):
        self.theta = theta
        self.phi = phi
        self.naive = naive
        self.puma = puma
        self.J = J
        self.C = C
        self.marked = marked
        self.names = names

    @classmethod
    def from_surfaces(
        cls,
        theta,
        phi,
        naive,
        puma,
        J,
        C,
        *,
        marked=None,
        names=("theta 0", "theta 1"),
        grid=41,
        ax=None,
        contour_kwargs=None,
    ):
        """Draw moves and losses that are known.

        Parameters
        ----------
        theta, phi, naive, puma, J, C, marked, names : as in the constructor
        grid : int, default 41
            Points of the surfaces along each parameter.
        ax : matplotlib Axes, three of them, or None
            One is divided; None draws on new ones.
        contour_kwargs : dict, default None
            Further keywords of ``ax.contour``.

        Returns
        -------
        DirectionDisplay

        Raises
        ------
        ValueError
            If there are not two parameters, both moves are zero, a value is not finite,
            or shapes differ.
        ImportError
            If matplotlib is not installed.
        """
        display = cls(theta, phi, naive, puma, J, C, marked=marked, names=names)
        return display.plot(ax=ax, grid=grid, contour_kwargs=contour_kwargs)

    @classmethod
    def from_estimators(cls, before, naive, puma, phi, J, C, **kwargs):
        """Draw the moves between fitted linear models.

        Parameters
        ----------
        before, naive, puma : estimator
            Fitted, with two parameters in ``coef_`` and, unless it is zero,
            ``intercept_``; a `PumaPatcher` of such a model, too. `naive` and `puma` are
            `before` after the removal.
        phi, J, C : as in the constructor
            In the order of the coefficients, the intercept last.
        **kwargs : as in `from_surfaces`

        Returns
        -------
        DirectionDisplay

        Raises
        ------
        TypeError
            If a model has no ``coef_``.
        ValueError, ImportError
            As `from_surfaces`.
        """
        models = {"before": before, "naive": naive, "puma": puma}
        theta, *ends = (_parameters(name, one) for name, one in models.items())
        moves = [end - theta for end in ends]
        return cls.from_surfaces(theta, phi, *moves, J, C, **kwargs)

    def plot(self, ax=None, *, grid=41, contour_kwargs=None):
        """Draw the three panels.

        Parameters
        ----------
        ax : matplotlib Axes, three of them, or None
        grid : int, default 41
        contour_kwargs : dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `from_surfaces`.
        ImportError
            If matplotlib is not installed.
        """
        theta, moves, phi, marked = self._checked()
        shape = shape_for(ax, 3)
        axes = panels_or_new(ax, shape, "DirectionDisplay", (11.0, 4.4))
        arrange = Arrangement(axes, ax)
        self.axes_ = axes.ravel()
        self.figure_ = self.axes_[0].figure
        self._plot_phi(theta, phi, marked)
        reach = ROOM * max(np.abs(move).max() for move in moves.values())
        surfaces = self._surfaces(theta, reach, grid)
        self.arrows_ = {}
        for panel, (name, move) in zip(self.axes_[1:], moves.items(), strict=True):
            self._plot_surfaces(panel, surfaces, contour_kwargs or {})
            self.arrows_[name] = _arrows(panel, theta, move[None], foreground(), 0.014)
            _frame(panel, theta, reach)
        self._label_axes(axes)
        arrange()
        self._plot_legends(marked)
        arrange()
        for panel in self.axes_:
            thin_ticks(panel)
        return self

    def _checked(self):
        theta = np.asarray(self.theta, dtype=float)
        moves = {
            "naive": np.asarray(self.naive, dtype=float),
            "puma": np.asarray(self.puma, dtype=float),
        }
        phi = np.atleast_2d(np.asarray(self.phi, dtype=float))
        if not phi.size:
            raise ValueError("phi has no rows: pass those that are removed, (q, 2).")
        for name, one in {"theta": theta, **moves, "a row of phi": phi[0]}.items():
            if one.shape != (2,):
                raise ValueError(
                    f"{name} has shape {one.shape}: the surfaces are drawn for models "
                    "with two parameters."
                )
        if not any(move.any() for move in moves.values()):
            raise ValueError("Neither removal moves the parameters: nothing to draw.")
        marked = np.ones(len(phi), dtype=bool)
        if self.marked is not None:
            marked = np.asarray(self.marked, dtype=bool)
        for name, one in {"theta": theta, **moves, "phi": phi}.items():
            if not np.isfinite(one).all():
                raise ValueError(f"{name} holds nan or infinite values.")
        if len(marked) != len(phi):
            raise ValueError(f"marked is of {len(marked)} rows, phi of {len(phi)}.")
        return theta, moves, phi, marked

    def _plot_phi(self, theta, phi, marked):
        panel = self.axes_[0]
        colors = np.where(marked, PALETTE[0], foreground()).tolist()
        # The marked rows lie on top.
        order = np.argsort(marked, kind="stable")
        self.phi_arrows_ = _arrows(
            panel, theta, phi[order], [colors[at] for at in order], 0.006
        )
        _frame(panel, theta, 1.1 * max(np.abs(phi).max(), np.finfo(float).tiny))

    def _surfaces(self, theta, reach, grid):
        """The plane, and J and C on it: (x, y, {name: values})."""
        x, y = (center + np.linspace(-reach, reach, grid) for center in theta)
        points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        values = {
            name: np.array([float(loss(point)) for point in points])
            for name, loss in (("J", self.J), ("C", self.C))
        }
        return x, y, {name: v.reshape(grid, grid) for name, v in values.items()}

    def _plot_surfaces(self, panel, surfaces, kwargs):
        x, y, values = surfaces
        self.contours_ = {}
        for name, value in values.items():
            style = {"cmap": _readable(SURFACES[name][0]), "levels": 8}
            style = {"linewidths": 1.2, "zorder": 1, **style, **kwargs}
            self.contours_[name] = panel.contour(x, y, value, **style)

    def _label_axes(self, axes):
        for panel, title in zip(self.axes_, TITLES, strict=True):
            panel.set_title(title)
            # Labels of ticks need about half an inch.
            panel.locator_params(
                nbins=min(max(int(2 * min(place_inches(panel))), 1), 5)
            )
        for panel in axes[-1]:
            panel.set_xlabel(self.names[0])
        for panel in axes[:, 0]:
            panel.set_ylabel(self.names[1])
        for panel in self.axes_:
            tidy(panel, grid=False)

    def _plot_legends(self, marked):
        from matplotlib.lines import Line2D

        kinds = {"marked row": PALETTE[0], "another row": foreground()}
        there = {"marked row": marked.any(), "another row": not marked.all()}
        kinds = [(color, kind) for kind, color in kinds.items() if there[kind]]
        losses = [(_readable(cmap)(0.6), label) for cmap, label in SURFACES.values()]
        for panel, entries in zip(self.axes_, (kinds, losses, losses), strict=True):
            lines = [(Line2D([], [], color=c), label, "") for c, label in entries]
            place_legend(panel, lines, side="below")


def _parameters(name, estimator):
    """Coefficients, and the intercept unless it is zero.

    Raises
    ------
    TypeError
    """
    if not hasattr(estimator, "coef_"):
        raise TypeError(
            f"{name} is a {type(estimator).__name__} without coef_: pass a fitted "
            f"linear model, of a Pipeline the last step ({name}[-1])."
        )
    parts = [np.ravel(estimator.coef_), np.ravel(estimator.intercept_)]
    return np.concatenate([parts[0], parts[1][parts[1] != 0.0]])


def _arrows(panel, start, moves, color, width):
    return panel.quiver(
        *np.tile(start, (len(moves), 1)).T,
        *moves.T,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        color=color,
        width=width,
        zorder=3,
    )


def _frame(panel, center, reach):
    panel.set(
        xlim=(center[0] - reach, center[0] + reach),
        ylim=(center[1] - reach, center[1] + reach),
        box_aspect=1,
    )


def _readable(cmap):
    """A colour map without its ends, which fade on white and on black."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps[cmap](np.linspace(0.35, 0.85, 128)))
