"""What a fitted estimator has found, for its view in a notebook."""

from html import escape

import numpy as np

from skpuma.reporting import _html

# Lines of a long table that a view shows.
LISTED = 10


def valuation_facts(names, values, effect, suspects, settings):
    """A fitted valuator as a block of HTML.

    Parameters
    ----------
    names : list of str
        Criteria.
    values : ndarray (m,)
    effect : ndarray (n, m)
        Removal effects.
    suspects : DataFrame
        As `inspect` gives them.
    settings : dict
        How psi was computed.
    """
    import pandas as pd

    known = np.isfinite(effect)
    table = pd.DataFrame(
        {
            "value": values,
            "rows that hurt": np.sum(known & (effect < 0), axis=0),
            "largest gain by a removal": -np.nanmin(effect, axis=0, initial=0.0),
        },
        index=names,
    )
    shown = {name: _html.number(value) for name, value in settings.items()}
    return _html.block(
        f"Values of {len(effect)} training rows",
        _html.table(table),
        _html.folded("Most harmful rows", _html.table(suspects.head(LISTED))),
        _html.folded("How psi was computed", _html.pairs(shown)),
    )


def patch_facts(report, n_patches):
    """A fitted patcher as a block of HTML; `report` is None before a patch."""
    if report is None:
        return _html.block("No patch yet", "<p>The model is as it was fitted.</p>")
    back = {0: "It cannot be undone.", 1: "unpatch() undoes it."}.get(
        n_patches, f"unpatch() undoes it, and {n_patches - 1} before it."
    )
    return _html.block("Last patch", *report.parts(), f"<p>{back}</p>")


def issues_facts(issues, noise_rate, report):
    """A fitted debugger as a block of HTML; `noise_rate` is None for regressors."""
    kinds = issues["kind"].value_counts(sort=False)
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    said = f"Rows with issues: {said or 'none'}."
    if noise_rate is not None:
        said += f" Estimated share of wrong labels: {100 * noise_rate:.1f} %."
    parts = [f"<p>{escape(said)}</p>"]
    if len(issues):
        more = len(issues) - LISTED
        more = f"<p>and {more} more: see issues_</p>" if more > 0 else ""
        table = _html.table(issues.head(LISTED))
        parts.append(_html.folded("Issues", f"{table}{more}", True))
    parts.append(_html.folded("Patch", "".join(report.parts())))
    return _html.block("Issues of the training rows", *parts)
