"""Pictures with their label and prediction, before and after a patch."""

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_consistent_length

from skpuma.plotting._images import as_images, draw_image
from skpuma.plotting._style import PALETTE, foreground, panels_or_new

# Pictures side by side, and inches of one with its title.
COLUMNS, SIZE = 8, (1.05, 1.35)


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
        Lines alternate between the models.
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
            If numbers of rows differ, there are none, or the pictures have no shape.
        TypeError
            If a model has no ``predict_proba``.
        ImportError
            If matplotlib is not installed.
        """
        models = dict(zip(names, (before, after), strict=True))
        check_consistent_length(X, y)
        label = column_or_1d(y)
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
        columns = min(q, COLUMNS)
        lines = len(names) * -(-q // columns)
        size = (SIZE[0] * columns + 0.4, SIZE[1] * lines)
        self.axes_ = panels_or_new(ax, (lines, columns), "PatchedImagesDisplay", size)
        self.figure_ = self.axes_[0, 0].figure
        self.images_ = {name: [] for name in names}
        for one in self.axes_.ravel():
            one.set_axis_off()
        for i in range(q):
            for at, name in enumerate(names):
                line = len(names) * (i // columns) + at
                panel = self.axes_[line, i % columns]
                self.images_[name].append(self._draw(panel, i, name, image_kwargs))
                if i % columns == 0:
                    self._name_line(panel, name)
        return self

    def _draw(self, panel, i, name, image_kwargs):
        prediction, probability = self.prediction[name][i], self.probability[name][i]
        right = prediction == self.label[i]
        title = f"T {self.label[i]}  P {prediction}\nProb {probability:.2f}"
        color = foreground() if right else PALETTE[1]
        return draw_image(panel, self.images[i], title, color, **(image_kwargs or {}))

    def _name_line(self, panel, name):
        panel.text(
            -0.08,
            0.5,
            name,
            transform=panel.transAxes,
            rotation=90,
            ha="right",
            va="center",
            color=foreground(),
        )
