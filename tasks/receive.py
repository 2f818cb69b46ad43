# %% [markdown]
# # Receive
# Read the rows that arrived, find the champion that will score them, and hold one to the contract of the other.

# %% tags=["parameters"]
upstream = None
product = None
settings = None

# %%
import json
from pathlib import Path

import pandas as pd

from baton import config
from baton.data import tables
from baton.handover import registry
from baton.serving import scoring

settings = config.Settings(**settings)
champion = registry.require_champion(settings.name, settings.mlflow_tracking_uri)
table = tables.read_table(settings.score_data)
table.head()

# %% [markdown]
# The alias `champion` is resolved here, once: the rest of this run uses this version, whatever is promoted meanwhile.

# %%
batch, X = scoring.receive(table, champion, settings.batch, settings.score_data, settings.predictions_table)
X.describe(percentiles=[0.5], include="all").T

# %%
X.to_parquet(product["X"])
outcome = batch.to_dict() | {"published": scoring.is_published(batch)}
Path(product["batch"]).write_text(json.dumps(outcome, indent=2))
pd.Series(outcome, name="batch").to_frame()
