# %% [markdown]
# # Score
# Run the pinned version of the champion on the raw rows, in a process that has no feature code but the version's.

# %% tags=["parameters"]
upstream = ["receive"]
product = None
settings = None

# %%
import pandas as pd

from baton import config
from baton.handover import registry
from baton.serving import scoring

settings = config.Settings(**settings)
batch = scoring.read_batch(upstream["receive"]["batch"])
champion = registry.version_of(batch.name, batch.model_version, settings.mlflow_tracking_uri)
X = pd.read_parquet(upstream["receive"]["X"])
predictions = scoring.score(X, champion)
predictions.head()

# %% [markdown]
# All of it is published in one step: whoever reads the folder finds every row, or no folder.

# %%
manifest = scoring.publish(predictions, batch, champion.contract)
print(manifest.read_text())
