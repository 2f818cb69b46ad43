# %% [markdown]
# # Report
# What a person wants to know of last night's batch: how many rows, by which model, and what it predicted.

# %% tags=["parameters"]
upstream = ["score", "receive"]
product = None
settings = None

# %%
import json
import textwrap
from pathlib import Path

import pandas as pd

from baton import figures
from baton.serving import batch, scoring

received = batch.read_batch(upstream["receive"]["batch"])
manifest = json.loads(Path(upstream["score"]["manifest"]).read_text())
shown = [
    "name",
    "batch",
    "model_version",
    "threshold",
    "rows_in",
    "rows_scored",
    "rows_rejected",
    "rejected",
    "replaces",
    "scored_at",
]
pd.Series(manifest, name="batch")[shown].to_frame()

# %% [markdown]
# **Warnings** on the rows that were scored.

# %%
print(*(textwrap.fill(warning, 110) for warning in manifest["warnings"] or ["none"]), sep="\n")

# %% [markdown]
# **Rejected rows**, the first of them, each with its reason; `_rejects.parquet` has them all, as they came.

# %%
pd.read_parquet(received.result / "_rejects.parquet", columns=["_row", "_reason", "_column", "_value"]).head()

# %% [markdown]
# **What did the model predict?** Of a large batch, what follows is of some 100,000 rows.

# %%
predictions = scoring.sample(received)
predictions.filter(regex="^(prediction(_low|_high)?$|probability)").describe(include="number").T.round(4)

# %%
figures.predictions(predictions, manifest["positive_class"])

# %% [markdown]
# **What came in?** The distribution of each feature of the first rows.

# %%
X = pd.read_parquet(upstream["receive"]["head"])
figures.columns(X.drop(columns=X.columns.intersection(predictions.columns)))

# %% [markdown]
# **The rows to look at first**: the highest and the lowest.

# %%
scoring.extremes(predictions).drop(columns=["model_version", "scored_at"])
