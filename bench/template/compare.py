# %% [markdown]
# Register the candidate with the best score.

# %% tags=["parameters"]
upstream = ["fit-*"]
product = None

# %%
import json
from pathlib import Path

import mlflow

results = [json.loads(Path(made["result"]).read_text()) for made in upstream["fit-*"].values()]
name, score, model_uri, run_id = max(results, key=lambda result: result[1])
mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/made/mlflow.db")
version = mlflow.register_model(model_uri, "template")
mlflow.MlflowClient().set_registered_model_alias("template", "champion", version.version)
name, score
