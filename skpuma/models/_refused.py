"""Why some estimators cannot be supported, and what to use instead."""

REFUSED = {
    "sklearn.CalibratedClassifierCV": (
        "its probabilities come from a map that was fitted on other folds than its "
        "models were. Patch the model that it calibrates, and calibrate that again."
    ),
    "sklearn.FixedThresholdClassifier": "hand over the classifier that it wraps.",
    "sklearn.MultiOutputClassifier": (
        "use OneVsRestClassifier, which takes several labels a row."
    ),
    "sklearn.MultiOutputRegressor": (
        "Ridge, Lasso, LinearRegression and MLPRegressor take several targets as they "
        "are."
    ),
    "sklearn.MultiTaskLasso": "its penalty ties the targets together. Use Lasso.",
    "sklearn.Perceptron": (
        "the perceptron loss has no unique optimum and no curvature. Use "
        "SGDClassifier(loss='log_loss'), LogisticRegression or LinearSVC."
    ),
    "sklearn.QuantileRegressor": (
        "the pinball loss has no curvature: the solution jumps from vertex to vertex "
        "of a linear program. Use HuberRegressor, or take skpuma's 'pinball' as the "
        "criterion of a smooth model."
    ),
    "sklearn.TunedThresholdClassifierCV": "hand over the classifier that it wraps.",
    "sklearn.SVC": "kernel machines have no fixed parameters. Use LinearSVC.",
    "sklearn.SVR": (
        "kernel machines have no fixed parameters. Use "
        "LinearSVR(loss='squared_epsilon_insensitive')."
    ),
}
