# %% [markdown]
# # Features
# Apply the feature code to the training rows once, so that it can be looked at. The same code is the first step of
# every registered model, so what is seen here is what rows to be scored go through.

# %% tags=["parameters"]
upstream = ["clean"]
product = None
settings = None

# %%
import pandas as pd

from baton import config
from baton.data import split
from baton.data.contract import read_contract
from baton.training import preparation

contract = read_contract(upstream["clean"]["contract"])
training, folds = (pd.read_parquet(upstream["clean"][part]) for part in ("train", "folds"))
raw, y = contract.read_features(training), training[contract.target]
feature_code = config.load_features(config.Settings(**settings).features)

# %% [markdown]
# **Select** leaves out rows that a model should not learn from, if the feature file has such a function. They are
# predicted and scored all the same: rows like them will come.

# %%
folds = folds.assign(trains=preparation.select(training.assign(**raw), feature_code))
split.require_trainable(folds, y, contract)
folds["trains"].value_counts()

# %% [markdown]
# **Clean** marks values that only look like values; **derive** adds columns. Neither drops a row or sees another one.

# %%
X = preparation.clean_and_derive(raw, feature_code)
X.head()

# %%
changed = pd.DataFrame({"missing before": raw.isna().sum(), "missing after": X.isna().sum()}).reindex(X.columns)
changed.assign(derived=~X.columns.isin(raw.columns))

# %% [markdown]
# **Prepare** turns these into numbers. It is fitted anew in every fold; here, once, to show what comes out.

# %%
prepare = preparation.prepare(feature_code, X, contract.task)
prepared = prepare.fit_transform(X, contract.encode(y))
pd.DataFrame(prepared, columns=prepare.get_feature_names_out()).describe().T

# %%
X.to_parquet(product["X"])
folds.to_parquet(product["folds"])
