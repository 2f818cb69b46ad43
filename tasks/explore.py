# %% [markdown]
# # Explore
# The pictures to look at before trusting a table. They show the training rows only: what is seen in the holdout
# would find its way into somebody's choices.

# %% tags=["parameters"]
upstream = ["clean"]
product = None

# %%
import pandas as pd

from baton import contract, figures

promised = contract.read_contract(upstream["clean"]["contract"])
training = pd.read_parquet(upstream["clean"]["train"])
rows = promised.rows(training)
target = training[promised.target]
rows.describe(include="all").T

# %% [markdown]
# **Is the target balanced?** Where one class is rare, accuracy flatters a model that never names it.

# %%
figures.target_balance(target, promised)

# %% [markdown]
# **What is missing?** As it stands in the table: codes for "missing", such as a zero, are not known here yet.

# %%
figures.missing_values(rows)

# %% [markdown]
# **What does each column look like, and does it differ with the target?**

# %%
figures.distributions(rows, target, promised)

# %% [markdown]
# **Which columns say the same thing twice?**

# %%
figures.correlations(rows, target, promised)
