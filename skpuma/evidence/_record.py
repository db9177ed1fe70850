"""The record of a removal: what was done, what it changed, and how sure that is."""

import platform
import re
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import scipy
import sklearn

import skpuma
from skpuma.evidence import _json, _page

SCHEMA = 1
# Columns of the sections, in the order of reports; those of three numbers have bounds.
COLUMNS = ("before", "after", "change", "retrained", "gap", "noise_floor")
SECTIONS = ("criteria", "scores", "attack", "distance")


@dataclass(frozen=True, eq=False)
class RemovalEvidence:
    """What a removal did to a model, and how well the rows are forgotten.

    Made by `PumaPatcher.verify`. It holds plain values only, and none of the rows: they
    are named by their SHA-256, by which whoever has the rows can tell that these were
    meant. (Whoever can list all rows that there could be, can also tell which one has
    been.) Labels of removed groups are in it as they are.

    Attributes
    ----------
    schema : int
        Version of the layout.
    created : str
        UTC.
    versions : dict
        Of python, numpy, scipy, scikit-learn and skpuma.
    estimator : dict
        ``class`` and ``parameters``, as text.
    settings : dict
        Parameters of the patcher, as text, and of the verification.
    data : dict
        SHA-256 of the rows and targets of the fit (``fit``), of those that were kept
        (``kept``) and removed (``removed``), and their numbers.
    groups : list of dict
        Groups that were removed as a whole: ``group``, ``rows``, ``weight``.
    patches : list of dict
        What every patch since the fit did: ``s``, ``stopped_by``, ``delta``, ``kept``.
    criteria, scores, attack, distance : list of dict
        The measurements, a line each: ``name``, and one number or [value, low, high]
        for ``before``, ``after``, ``change`` (after - before), ``retrained``, ``gap``
        (after - retrained) and ``noise_floor`` (a second retraining).
    retrained : str
        How the model was trained again, or why it was not.
    notes : list of str
        What the record cannot tell.

    See Also
    --------
    skpuma.evidence.membership_inference, skpuma.evidence.retrain_gap

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skpuma import PumaPatcher
    >>> X, y = load_iris(return_X_y=True)
    >>> patcher = PumaPatcher(delta=0.05).fit(X, y).forget(X, y, [0, 60])
    >>> evidence = patcher.verify(X, y, random_state=0)
    >>> evidence.data["n_removed"]
    2
    """

    created: str
    versions: dict = field(repr=False)
    estimator: dict
    settings: dict = field(repr=False)
    data: dict = field(repr=False)
    groups: list = field(repr=False)
    patches: list = field(repr=False)
    criteria: list = field(repr=False)
    scores: list = field(repr=False)
    attack: list = field(repr=False)
    distance: list = field(repr=False)
    retrained: str
    notes: list
    schema: int = SCHEMA

    def __post_init__(self):
        for one in fields(self):
            object.__setattr__(self, one.name, _json.plain(getattr(self, one.name)))

    def __eq__(self, other):
        if not isinstance(other, RemovalEvidence):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self):
        return hash(self.to_json())

    @property
    def kept(self):
        """Whether every patch kept every criterion within its delta."""
        return all(all(patch["kept"]) for patch in self.patches)

    def to_frame(self):
        """All measurements, a line each, by section and name.

        Returns
        -------
        DataFrame
            Index ``section``, ``name``; columns ``before``, ``after``, ``change``,
            ``retrained``, ``gap`` and ``noise_floor``, each with ``_low`` and
            ``_high``, ``delta`` and ``kept``. nan is what was not measured.
        """
        import pandas as pd

        names = [f"{c}{end}" for c in COLUMNS for end in ("", "_low", "_high")]
        rows, index = [], []
        for section in SECTIONS:
            for line in getattr(self, section):
                index.append((section, line["name"]))
                row = []
                for column in COLUMNS:
                    value = line.get(column)
                    three = value if isinstance(value, list) else [value, None, None]
                    row += three
                rows.append([*row, line.get("delta"), line.get("kept")])
        index = pd.MultiIndex.from_tuples(index, names=["section", "name"])
        frame = pd.DataFrame(rows, index=index, columns=[*names, "delta", "kept"])
        return frame.astype(dict.fromkeys([*names, "delta"], float))

    def __str__(self):
        return f"{self.headline}\n{_page.text(self)}"

    @property
    def headline(self):
        """What was done, what was kept, and what an attack finds."""
        return " ".join(_page.sentences(self))

    def _repr_html_(self):
        return _page.block(self)

    # -- files -------------------------------------------------------------------------

    def to_json(self, indent=None):
        """The record as strict JSON; nan and inf are ``{"float": "nan"}``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return _json.dumps(values, indent=indent)

    def to_html(self):
        """A self-contained page that `load` reads too."""
        return _page.page(self)

    def save(self, path):
        """Write the record: ``.html`` as a page to look at, or ``.json``.

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        ValueError
            For any other suffix.
        """
        path = Path(path)
        if path.suffix == ".html":
            text = self.to_html()
        elif path.suffix == ".json":
            text = self.to_json(indent=2) + "\n"
        else:
            raise ValueError(f"Cannot save to {path.name}: use .html or .json.")
        path.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path):
        """Read what `save` wrote, a page or JSON.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        RemovalEvidence
            Equal to the one that was saved.

        Raises
        ------
        ValueError
            If the file holds no record, or one of a later skpuma.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            if text.lstrip().startswith("<"):
                text = _page.embedded(text)
            found = _json.loads(text)
        except ValueError as error:
            raise ValueError(
                f"{path.name} is not removal evidence: {error}. Load a file that "
                "RemovalEvidence.save wrote."
            ) from error
        return cls(**_checked(found, path.name))


def _checked(found, name):
    """The fields of a record, from what a file holds."""
    if not isinstance(found, dict) or not isinstance(found.get("schema"), int):
        raise ValueError(
            f"{name} is not removal evidence: it has no schema. Load a file that "
            "RemovalEvidence.save wrote."
        )
    if found["schema"] != SCHEMA:
        raise ValueError(
            f"{name} has schema {found['schema']}, this skpuma reads {SCHEMA}: load it "
            "with the skpuma that wrote it."
        )
    expected = {one.name: one.type for one in fields(RemovalEvidence)}
    wrong = sorted(set(expected) ^ set(found)) + sorted(
        key
        for key in set(expected) & set(found)
        if type(found[key]) is not expected[key]
    )
    if wrong:
        raise ValueError(
            f"{name} is damaged: {', '.join(wrong)} missing, unknown, or of the wrong "
            "type."
        )
    return found


def versions():
    """Versions that a record names."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "skpuma": skpuma.__version__,
    }


def described(estimator):
    """Class and parameters of an estimator, as text without addresses."""
    kind = type(estimator)
    parameters = estimator.get_params(deep=True)
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "parameters": {name: as_text(value) for name, value in parameters.items()},
    }


def as_text(value):
    """A parameter as text: without addresses, and without what a table holds."""
    if hasattr(value, "shape") and value.shape:
        return f"{type(value).__name__} of shape {value.shape}"
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", " ".join(repr(value).split()))
    return text if len(text) <= 200 else f"{text[:197]}..."


def utc(time=None):
    """A time, by default now, as text in UTC.

    Raises
    ------
    TypeError
        If it is no datetime.
    """
    if time is None:
        time = datetime.now(UTC)
    if not isinstance(time, datetime):
        raise TypeError(f"time must be a datetime.datetime in UTC, got {time!r}.")
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="seconds")
