"""Whether a challenger takes the champion's place: both judged as registered, on the frozen holdout."""

import dataclasses

import numpy as np
import pandas as pd

from baton import BatonError, evaluation, registry
from baton.contract import Contract


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The decision, its reason, and a table of scores on the holdout: one row each for who was judged, with intervals."""

    promote: bool
    reason: str
    metric: str
    scores: pd.DataFrame

    def metrics(self) -> dict[str, float]:
        """The scores as MLflow metrics."""
        return {f"holdout/{who}": float(value) for who, value in self.scores[self.metric].items()}

    def to_dict(self) -> dict:
        return dataclasses.asdict(self) | {"scores": self.scores.to_dict("index")}


def judge(
    challenger: registry.Model, champion: registry.Model | None, holdout: pd.DataFrame, training_target: pd.Series
) -> Verdict:
    """Let challenger and champion predict the same raw holdout rows, and decide.

    The challenger must score better than the champion; without one, better than a guess that looks at no feature.
    Intervals are 95%, by bootstrap over holdout rows; `lead` is the challenger's distance to the row's score, paired.
    """
    contract = challenger.contract
    truth = contract.encode(holdout[contract.target]).to_numpy()
    named = {"challenger": challenger} | ({"champion": champion} if champion else {})
    answers = dict(zip(named, registry.predict_all([*named.values()], holdout), strict=True))
    answers = {who: _aligned(told, named[who].contract, contract) for who, told in answers.items()}
    answers["guess"] = evaluation.baseline(truth, contract, training_target)

    metric, sign = contract.metric, 1 if evaluation.METRICS[contract.metric].higher_is_better else -1
    scored = {
        who: evaluation.score(truth, predictions, contract.task, metric)[metric] for who, predictions in answers.items()
    }
    draws = evaluation.bootstrap(truth, answers, contract.task, metric)
    rows = {}
    for who, own in scored.items():
        lead = sign * (scored["challenger"] - own)
        bounds = evaluation.interval(draws[who]), evaluation.interval(sign * (draws["challenger"] - draws[who]))
        values = [str(named.get(who, "no model")), own, *bounds[0], lead, *bounds[1]]
        rows[who] = dict(zip(["model", metric, "low", "high", "lead", "lead_low", "lead_high"], values, strict=True))
    scores = pd.DataFrame(rows).T

    rival = "champion" if champion else "guess"
    lead, low, high = (float(scores.at[rival, column]) for column in ("lead", "lead_low", "lead_high"))
    promote = lead > 0
    said = (
        f"{metric} on {len(holdout)} holdout rows: challenger {scored['challenger']:.4f},"
        f" {rival} {scored[rival]:.4f}; lead {lead:+.4f} (95% interval {low:+.4f} to {high:+.4f})"
    )
    outcome = (
        f"{challenger} becomes champion"
        if promote
        else f"the {rival} stays unbeaten"
        + (f": {champion} remains champion" if champion else "; there is no champion yet")
    )
    return Verdict(promote, f"{said}. So {outcome}.", metric, scores)


def require_comparable(contract: Contract, table: pd.DataFrame, track: bool, tracking_uri: str) -> None:
    """Raise `BatonError` if the champion answers another question than this training's, or can't read its table."""
    champion = registry.champion(contract.name, tracking_uri) if track else None
    if champion is None:
        return
    other = f"{champion} is champion, and can't be compared with a model of this table"
    mend = "Give this training a name of its own in env.yaml"
    if (champion.contract.task, champion.contract.target) != (contract.task, contract.target):
        raise BatonError(f"{other}: it answers {champion.contract.task} {champion.contract.target!r}. {mend}")
    if contract.labels and len({*champion.contract.labels} & {*contract.labels}) < 2:
        known, asked = (", ".join(map(repr, labels[:5])) for labels in (champion.contract.labels, contract.labels))
        raise BatonError(f"{other}: it tells apart the classes {known}, and this table has {asked}. {mend}")
    try:
        champion.contract.rows(table)
    except BatonError as error:
        raise BatonError(f"{other}: {error}. {mend}") from None


def _aligned(answers: np.ndarray, own: Contract, asked: Contract) -> np.ndarray:
    """Give probabilities in another contract's order of classes; a class that a model never saw can't be, to it."""
    if own.labels == asked.labels:
        return answers
    return pd.DataFrame(answers, columns=own.labels).reindex(columns=asked.labels, fill_value=0.0).to_numpy()
