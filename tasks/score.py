# %% [markdown]
# # Score
# Run the pinned version of the champion on the raw rows, chunk by chunk, in processes that have no feature code but the
# version's. A row that can't be scored is set aside, with its reason.

# %% tags=["parameters"]
upstream = ["receive"]
product = None
settings = None

# %%
import json
from pathlib import Path

import pandas as pd

from baton import config
from baton.serving import batch, scoring

settings = config.Settings(**settings)
received = batch.read_batch(upstream["receive"]["batch"])
manifest = scoring.score(received, settings)
pd.Series(manifest, name="batch").to_frame()

# %% [markdown]
# Each row that came in was scored or rejected.

# %%
scoring.sample(received, 5)

# %%
pd.read_parquet(received.result / "_rejects.parquet").head()

# %%
Path(product["manifest"]).write_text(json.dumps(manifest, indent=2, default=str))
