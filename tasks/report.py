# %% [markdown]
# # Report
# What a person wants to know of last night's batch: how many rows, by which model, and what it predicted.

# %% tags=["parameters"]
upstream = ["score", "receive"]
product = None

# %%
import json
import textwrap
from pathlib import Path

import pandas as pd

from baton import figures
from baton.serving import scoring

manifest = json.loads(Path(upstream["score"]["manifest"]).read_text())
shown = ["name", "batch", "model_version", "rows_in", "rows_scored", "rows_rejected", "scored_at"]
pd.Series(manifest, name="batch")[shown].to_frame()

# %% [markdown]
# **Remarks** on the rows that arrived.

# %%
print(*(textwrap.fill(remark, 110) for remark in manifest["remarks"] or ["none"]), sep="\n")

# %% [markdown]
# **What did the model predict?**

# %%
predictions = pd.read_parquet(Path(upstream["score"]["manifest"]).parent)
predictions.filter(regex="^(prediction$|probability)").describe(include="number").T.round(4)

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
scoring.extremes(predictions).drop(columns=["model_version", "scored_at"])
