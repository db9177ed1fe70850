"""Pictures with their label and prediction, before and after a patch."""

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_consistent_length

from skpuma.plotting._images import CHARACTER, TITLE, as_images, draw_image
from skpuma.plotting._room import (
    FEWEST,
    Arrangement,
    place_inches,
    told_apart,
)
from skpuma.plotting._style import PALETTE, foreground, panels_or_new

# Pictures side by side, and inches of one with its title.
COLUMNS, SIZE = 8, (1.05, 1.35)
# Inches of "Prob 0.99" at the full size, and the smallest size relative to it.
PROB, SMALLEST = 0.72, 0.6
# Inches of a character in the name of a model, which is as high as a picture.
LINE = 0.12


class PatchedImagesDisplay:
    """Pictures with label, prediction and its probability, before and after a patch.

    Above each picture: T is its label, P the prediction, Prob the probability of the
    prediction. Predictions other than the label are coloured.

    Use `from_estimators`.

    Parameters
    ----------
    images : array-like (q, h, w) or (q, h, w, 3)
    label : array-like (q,)
    prediction, probability : dict of str to array-like (q,)
        Of every model, in the order of the lines.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes (lines, columns)
        Lines alternate between the models. Eight columns, or what makes the pictures
        largest in the place of axes that are given.
    figure_ : matplotlib Figure
    images_ : dict of str to list of matplotlib images
        By model.

    References
    ----------
    Blog fig. 7.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skpuma.plotting import PatchedImagesDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(max_iter=30, tol=0.1).fit(X / 16, y)
    >>> display = PatchedImagesDisplay.from_estimators(
    ...     model, model, X[:3].reshape(-1, 8, 8), X[:3] / 16, y[:3]
    ... )
    >>> display.axes_.shape
    (2, 3)
    """

    def __init__(self, images, label, prediction, probability):
        self.images = images
        self.label = label
        self.prediction = prediction
        self.probability = probability

    @classmethod
    def from_estimators(
        cls,
        before,
        after,
        images,
        X,
        y,
        *,
        names=("before", "after"),
        ax=None,
        image_kwargs=None,
    ):
        """Draw the same pictures under two models.

        Parameters
        ----------
        before, after : classifier
            Fitted, with ``predict_proba``.
        images : array-like (q, h, w), (q, h, w, 3) or (q, h * h)
            Pictures of the rows.
        X : array-like (q, d)
            The rows, as the models take them.
        y : array-like (q,)
            Their labels.
        names : (str, str), default ("before", "after")
        ax : matplotlib Axes, array of them, or None
            One is divided; an array is for the pictures; None draws on new ones.
        image_kwargs : dict, default None
            Further keywords of ``ax.imshow``.

        Returns
        -------
        PatchedImagesDisplay

        Raises
        ------
        ValueError
            If numbers of rows differ, there are none, the pictures have no shape, or
            `names` are not two.
        TypeError
            If a model has no ``predict_proba``.
        ImportError
            If matplotlib is not installed.
        """
        if len(names) != 2 or len(set(names)) != 2:
            raise ValueError(
                f"names={names!r} must be two different names: of before and of after."
            )
        models = dict(zip(names, (before, after), strict=True))
        check_consistent_length(X, y)
        label = np.asarray(column_or_1d(y))
        prediction, probability = {}, {}
        for name, model in models.items():
            if not hasattr(model, "predict_proba"):
                raise TypeError(f"{name} has no predict_proba: there is no Prob.")
            prob = model.predict_proba(X)
            prediction[name] = np.asarray(model.classes_)[prob.argmax(axis=1)]
            probability[name] = prob.max(axis=1)
        display = cls(as_images(images, len(label)), label, prediction, probability)
        return display.plot(ax=ax, image_kwargs=image_kwargs)

    def plot(self, ax=None, *, image_kwargs=None):
        """Draw the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, array of them, or None
        image_kwargs : dict, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no picture, or `ax` cannot be used.
        ImportError
            If matplotlib is not installed.
        """
        q, names = len(self.label), list(self.prediction)
        if not q:
            raise ValueError("There is no picture to draw: X has no rows.")
        columns, scale = _columns(ax, q, len(names))
        width = SIZE[0] if scale is None else place_inches(ax)[0] / columns
        scale = scale or 1.0
        titles = self._titles(int(width / (scale * CHARACTER)) - 1)
        n_lines = max(one.count("\n") for one in sum(titles.values(), [])) + 1
        lines = len(names) * -(-q // columns)
        height = SIZE[1] + (n_lines - 2) * 1.3 * TITLE / 72
        figure_size = (SIZE[0] * columns + 0.4, height * lines)
        self.axes_ = panels_or_new(
            ax, (lines, columns), "PatchedImagesDisplay", figure_size
        )
        self.figure_ = self.axes_[0, 0].figure
        self.images_ = {name: [] for name in names}
        for one in self.axes_.ravel():
            one.set_axis_off()
        most = max(int(width / (scale * LINE)), FEWEST)
        line_names = dict(zip(names, told_apart(names, most), strict=True))
        for i in range(q):
            for at, name in enumerate(names):
                line = len(names) * (i // columns) + at
                panel = self.axes_[line, i % columns]
                color = foreground() if self._right(name)[i] else PALETTE[1]
                drawn = draw_image(
                    panel,
                    self.images[i],
                    titles[name][i],
                    color,
                    **(image_kwargs or {}),
                )
                panel.title.set_fontsize(scale * panel.title.get_fontsize())
                self.images_[name].append(drawn)
                if i % columns == 0:
                    _name_line(panel, line_names[name], scale)
        if ax is not None:
            Arrangement(self.axes_, ax)()
        return self

    def _right(self, name):
        return np.asarray(self.prediction[name]) == np.asarray(self.label)

    def _titles(self, most):
        """Titles by model, in lines of at most so many characters."""
        parts = [self.label, *self.prediction.values()]
        classes = sorted({str(one) for part in parts for one in part})
        short = told_apart(classes, max(most - len("T "), FEWEST))
        short = dict(zip(classes, short, strict=True))
        out = {}
        for name, prediction in self.prediction.items():
            rows = zip(self.label, prediction, self.probability[name], strict=True)
            out[name] = []
            for label, predicted, probability in rows:
                names = f"T {short[str(label)]}", f"P {short[str(predicted)]}"
                one_line = len("  ".join(names)) <= most + 2
                line = ("  " if one_line else "\n").join(names)
                out[name].append(f"{line}\nProb {probability:.2f}")
        return out


def _name_line(panel, name, scale):
    panel.text(
        -0.08,
        0.5,
        name,
        transform=panel.transAxes,
        rotation=90,
        ha="right",
        va="center",
        color=foreground(),
        fontsize=10 * scale,
    )


def _columns(ax, q, models):
    """Pictures side by side, and the size of titles; None where that is free."""
    if not hasattr(ax, "get_subplotspec"):
        return min(q, COLUMNS), None
    width, height = place_inches(ax)

    def side(columns):
        across, down = width / columns, height / (models * -(-q // columns))
        title = 3 * 1.3 * TITLE / 72 * _scale(across)
        return min(across, down - title)

    best = max(range(1, min(q, COLUMNS) + 1), key=side)
    return best, _scale(width / best)


def _scale(across):
    return float(np.clip(across / PROB, SMALLEST, 1.0))
