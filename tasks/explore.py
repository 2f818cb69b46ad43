# %% [markdown]
# # Explore
# The pictures to look at before trusting a table. They show the training rows only: what is seen in the holdout
# would find its way into somebody's choices.

# %% tags=["parameters"]
upstream = ["clean"]
product = None
settings = None

# %%
import pandas as pd

from baton import figures
from baton.data.contract import read_contract

contract = read_contract(upstream["clean"]["contract"])
training = pd.read_parquet(upstream["clean"]["train"])
X, y = contract.read_features(training), training[contract.target]
X.describe(percentiles=[0.5], include="all").T

# %% [markdown]
# **Is the target balanced?** Where one class is rare, accuracy flatters a model that never names it.

# %%
figures.target_balance(y, contract)

# %% [markdown]
# **What is missing?** As it stands in the table: codes for "missing", such as a zero, are not counted here yet.

# %%
figures.missing_values(X)

# %% [markdown]
# **What does each column look like, and does it differ with the target?**

# %%
figures.distributions(X, y, contract)

# %% [markdown]
# **Which columns say the same thing twice?**

# %%
figures.correlations(X, y, contract)
