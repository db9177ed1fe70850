"""
Inside a pipeline, with categorical columns
===========================================

Nothing has to be prepared by hand: a whole ``Pipeline`` over a DataFrame goes in, rows
keep the names of its index, and what comes back is a ``Pipeline``. Here loans are
judged from numbers and words, and some of the records are wrong.
"""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skpuma import PumaPatcher, PumaValuator, supports
from skpuma.plotting import InfluenceDisplay, PatchPathDisplay

# %%
# A table with a name for every row, missing numbers and words. Of the loans that came
# in through the new form, a third were entered with the outcome the wrong way round.

rng = np.random.default_rng(0)
n = 2000
loans = pd.DataFrame(
    {
        "age": rng.integers(18, 80, n).astype(float),
        "income": rng.lognormal(10, 0.5, n).round(),
        "job": rng.choice(["clerk", "nurse", "smith", "teacher"], n),
        "form": rng.choice(["new", "old"], n, p=[0.2, 0.8]),
    },
    index=pd.Index([f"L{i:04d}" for i in range(n)], name="loan"),
)
logit = 1.5 * (np.log(loans["income"]) - 10) / 0.5 + (loans["job"] == "nurse")
paid = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int).rename("paid")
loans.loc[rng.random(n) < 0.1, "age"] = np.nan

X, X_rest, y, y_rest = train_test_split(loans, paid, test_size=0.5, random_state=0)
X_val, X_test, y_val, y_test = train_test_split(
    X_rest, y_rest, test_size=0.6, random_state=0
)
wrong = (X["form"] == "new") & (rng.random(len(X)) < 1 / 3)
y = y.where(~wrong, 1 - y)
print(X.head(4).to_string())
print(f"{wrong.sum()} of {len(X)} training rows were entered wrongly")

# %%
# The whole pipeline is the model. Only its last step has parameters that move; the
# imputer, the scaler and the encoder stay as they were fitted.

columns = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]),
    (OneHotEncoder(), ["job", "form"]),
)
model = make_pipeline(columns, LogisticRegression(tol=1e-8))
print(supports(model))

# %%
# The most harmful rows, by the names of the loans, so that the table can be asked what
# they are.

validation = {"X_val": X_val, "y_val": y_val}
valuator = PumaValuator(model, "log_loss", effect="one_step").fit(X, y, **validation)
suspects = valuator.inspect(top=60)
shown = X.join(y).join(suspects["removal_effect_log_loss"], how="right")
print(shown.head(8).to_string(float_format="{:.5g}".format))
hits, chance = wrong[suspects.index].sum(), len(suspects) * wrong.mean()
print(f"{hits} of {len(suspects)} suspects are wrong records, {chance:.1f} by chance")

# %%
# Their labels in the figure are those names too.

InfluenceDisplay.from_valuator(valuator, X, y, top=4)

# %%
# Take the suspects out by their names. The log-loss of the validation rows may rise by
# 0.01 nats; it falls.

patcher = PumaPatcher(model, "log_loss", delta=0.01, trust=1e-3).fit(X, y)
before = patcher.score(X_test, y_test)
patcher.patch(X, y, remove=suspects.index, **validation)
print(patcher.report_)

# %%
# The path of the patch. The loss falls; where it begins to rise again, other rows are
# given more weight to make up for that.

PatchPathDisplay.from_patcher(patcher)
print(f"{(patcher.lambda_ > 0).sum()} rows were given more weight")

# %%
# Conclusion
# ----------
# A whole pipeline was valued and patched by the names of its rows, and what came back
# predicts from the raw table. Among the suspects there are several times as many wrong
# records as chance would give, but not all suspects are wrong and most wrong records
# are not among them: a row is suspect because it hurts the model, and a wrong outcome
# of a borderline loan hurts nobody. The imputer, the scaler and the encoder still know
# the rows: to forget them altogether, train the pipeline again.

after = patcher.score(X_test, y_test)
print(f"patched: a {type(patcher.estimator_).__name__}")
print(f"suspects: {hits} of {wrong.sum()} wrong records found")
print(f"accuracy on {len(X_test)} test rows: {before:.4f} before, {after:.4f} after")
