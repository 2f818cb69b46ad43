# %% [markdown]
# # Features
# Apply the feature code to the training rows once, so that it can be looked at. The same code is the first step of
# every registered model, so what is seen here is what rows to be scored go through.

# %% tags=["parameters"]
upstream = ["clean"]
product = None
features = None

# %%
import pandas as pd

from baton import config, contract, preparation

promised = contract.read_contract(upstream["clean"]["contract"])
training = pd.read_parquet(upstream["clean"]["train"])
raw = promised.rows(training)
own = config.load_features(features)

# %% [markdown]
# **Clean** marks values that only look like values; **derive** adds columns. Neither drops a row or sees another one.

# %%
rows = preparation.clean_and_derive(raw, own)
rows.head()

# %%
changed = pd.DataFrame({"missing before": raw.isna().sum(), "missing after": rows.isna().sum()}).reindex(rows.columns)
changed.assign(derived=~rows.columns.isin(raw.columns))

# %% [markdown]
# **Prepare** turns these into numbers. It is fitted anew in every fold; here, once, to show what comes out.

# %%
prepare = preparation.prepare(own, rows, promised.task)
prepared = prepare.fit_transform(rows, promised.encode(training[promised.target]))
pd.DataFrame(prepared, columns=prepare.get_feature_names_out()).describe().T

# %%
rows.to_parquet(product["rows"])
