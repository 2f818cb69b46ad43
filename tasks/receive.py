# %% [markdown]
# # Receive
# Find the rows that arrived and the champion that will score them, and hold one to the contract of the other.

# %% tags=["parameters"]
upstream = None
product = None
settings = None

# %%
import json
from pathlib import Path

import pandas as pd

from baton import config
from baton.serving import batch

settings = config.Settings(**settings)
received, champion, head = batch.receive(settings)
head.head()

# %% [markdown]
# The alias `champion` was resolved there, once: the rest of this run uses this version, whatever is promoted meanwhile.
# With the digest of the rows it names the batch.

# %%
pd.Series(received.to_dict(), name="batch").to_frame()

# %% [markdown]
# **What came in?** The first rows, as the champion reads them.

# %%
X = champion.contract.settle(head).inspect(head)[0]
X.describe(percentiles=[0.5], include="all").T

# %%
X.to_parquet(product["head"])
Path(product["batch"]).write_text(json.dumps(received.to_dict(), indent=2))
