# %% [markdown]
# # Report
# What a person wants to know of last night's batch: how many rows, by which model, and what it said.

# %% tags=["parameters"]
upstream = ["score", "receive"]
product = None

# %%
import json
from pathlib import Path

import pandas as pd

from baton import figures, scoring

manifest = json.loads(Path(upstream["score"]["manifest"]).read_text())
pd.Series(manifest, name="batch").to_frame()

# %%
predictions = pd.read_parquet(Path(upstream["score"]["manifest"]).parent)
predictions.describe(include="all").T

# %% [markdown]
# **What did the model say?**

# %%
figures.predictions(predictions, manifest["positive_class"])

# %% [markdown]
# **What came in?** The distribution of each feature of this batch.

# %%
X = pd.read_parquet(upstream["receive"]["X"])
figures.columns(X.drop(columns=X.columns.intersection(predictions.columns)))

# %% [markdown]
# **The rows to look at first**: the highest and the lowest.

# %%
scoring.extremes(predictions)
