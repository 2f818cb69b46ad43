# %% [markdown]
# # Compare
# Which candidate is best, how sure is that, and is it better than the champion? Only this build's candidates count.

# %% tags=["parameters"]
upstream = ["fit-*", "clean", "features"]
product = None
settings = None

# %%
import json
import textwrap
from pathlib import Path

import pandas as pd

from baton import config, figures, models
from baton.data import split
from baton.data.contract import read_contract
from baton.handover import promotion, registry, tracking
from baton.training import evaluation

settings, contract = config.Settings(**settings), read_contract(upstream["clean"]["contract"])
facts = json.loads(Path(upstream["clean"]["training"]).read_text())
training, holdout = (pd.read_parquet(upstream["clean"][part]) for part in ("train", "holdout"))
folds = pd.read_parquet(upstream["features"]["folds"])
fits = {name.removeprefix("fit-"): made for name, made in upstream["fit-*"].items()}
candidates = {name: json.loads(Path(made["candidate"]).read_text()) for name, made in fits.items()}
scores = {name: pd.read_csv(made["scores"], index_col="fold")[contract.metric] for name, made in fits.items()}

# %% [markdown]
# **The leaderboard.** `behind` is the mean distance to the best over the same folds, `low` and `high` its 95%
# interval; `level` marks those that it can't tell from the best. The best of many is a little lucky, so these figures
# choose, and the holdout below tells how good the choice is. Where `nested` is false, a tuned candidate's settings were
# chosen by the folds that score it, which flatters it.

# %%
ratio = split.make_splitter(folds, contract).test_train_ratio()
ranking = evaluation.compare_to_best(scores, contract.metric, ratio)
leaderboard = ranking.join(pd.DataFrame({name: made["costs"] for name, made in candidates.items()}).T)
nested = pd.Series({name: made["nested"] for name, made in candidates.items()}, name="nested")
described = {
    name: models.describe(made["model"], made["model_params"], made["tune"]) for name, made in candidates.items()
}
leaderboard = leaderboard.join(nested).join(pd.Series(described, name="settings"))
leaderboard.round(4)

# %%
board = figures.leaderboard(ranking, contract.metric, described)
board

# %% [markdown]
# **The choice**, by `choose` in `env.yaml`.

# %%
model_ids = {name: made["model"] for name, made in candidates.items()}
winner, reason = evaluation.choose(ranking, model_ids, settings.choose)
print(textwrap.fill(reason, 110))

# %% [markdown]
# **The verdict.** The winner is registered as a new version. It and the champion, each as registered and in a
# process of its own, predict the same raw rows of the holdout, which none of them has learned from. The winner is
# promoted if it scores better there; the first one, if it beats the baseline by more than chance.

# %%
fingerprints = split.fingerprint_training(training, holdout, contract)
challenger = registry.register(
    candidates[winner], Path(fits[winner]["model"]), reason, fingerprints, facts, settings.mlflow_tracking_uri
)  # fmt: skip
champion = promotion.find_champion(settings)
verdict = promotion.decide(challenger, champion, training, holdout)
print(textwrap.fill(verdict.reason, 110))
verdict.scores.round(4)

# %%
promotion.carry_out(verdict, challenger, settings.mlflow_tracking_uri)
tracking.log_result(
    facts["run_id"], settings.mlflow_tracking_uri, metrics=verdict.metrics(),
    tags={"winner": winner, "reason": verdict.reason},
    figures={"leaderboard": board}, tables={"leaderboard": leaderboard, "holdout": verdict.scores},
)  # fmt: skip

# %%
outcome = {"winner": winner, "choice": reason, **verdict.to_dict()}
Path(product["verdict"]).write_text(json.dumps(outcome, indent=2))
leaderboard.to_csv(product["leaderboard"])
