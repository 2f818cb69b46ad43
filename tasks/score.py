# %% [markdown]
# # Score
# Run the pinned version of the champion on the raw rows, in a process that has no feature code but the version's own.

# %% tags=["parameters"]
upstream = ["receive"]
product = None
predictions_table = None
mlflow_tracking_uri = None

# %%
import pandas as pd

from baton import registry, scoring

batch = scoring.read_batch(upstream["receive"]["batch"])
champion = registry.version_of(batch.name, batch.model_version, mlflow_tracking_uri)
rows = pd.read_parquet(upstream["receive"]["rows"])
predictions = scoring.score(rows, champion)
predictions.head()

# %% [markdown]
# All of it is published in one step: whoever reads the folder finds every row, or no folder.

# %%
manifest = scoring.publish(predictions, batch, champion.contract)
print(manifest.read_text())
