"""What follows from a verdict: what is registered, who is champion, and the way back."""

import contextlib
import dataclasses
import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from baton import BatonError, NoChampion, config, models
from baton.data import split, tables
from baton.data.contract import Contract
from baton.handover import card, comparison, effects, gate, history, profile, registry, saving, tracking
from baton.handover.comparison import Verdict
from baton.handover.history import PROMOTED, ROLLED_BACK, Event
from baton.handover.saving import Model
from baton.training import evaluation

ALIKE = 0.5  # correlation of the answers of a model and of its refit, below which the refit is not trusted


def hand_over(
    challenger: Model, candidate: dict, choice: str, training: pd.DataFrame, holdout: pd.DataFrame, facts: dict,
    settings: config.Settings, folder: Path,
) -> Verdict:  # fmt: skip
    """Decide, register the winner with all that belongs to it, make it champion if so decided, and keep the decision.

    `candidate` is what `fit` wrote of the winner, `facts` what `clean` wrote of the training. What serves is fitted
    anew on all rows, if `final_fit` says so. The version is put together in `folder`. If another process changes the
    champion meanwhile, the decision is made again, against the new one.
    """

    def finish(verdict: Verdict) -> Verdict:
        if verdict.answers is not None:  # else it can't be served, whatever is decided by hand later
            verdict = _prepare_version(verdict, challenger, training, holdout, settings, folder)
            _describe_version(verdict, challenger, candidate, choice, training, holdout, facts, folder)
        tags = {
            "candidate": candidate["candidate"],
            "training_run": facts["run_id"],
            "data_digest": facts["data_digest"],
            "serves": verdict.serves,
        }
        # A reader of MLflow's pages sees this figure beside the version, and is told whose it is.
        this = "that model fitted anew on all rows" if verdict.serves == "all" else "the model as judged"
        description = f"Cross-validated on the training rows, {choice}. This version is {this}: see its card.md"
        return carry_out(verdict, challenger._replace(path=folder), tags, description, settings)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)  # which a build expects, also where nothing is registered
    return _decide(challenger, training, holdout, settings, finish)


def carry_out(
    verdict: Verdict, version: Model, tags: dict[str, str], description: str, settings: config.Settings, note: str = ""
) -> Verdict:  # fmt: skip
    """Register a version whose folder is whole, make it champion if so decided, and keep the decision, with a note.

    Broken off at any point, this leaves the champion there was, or the new one; doing it again completes it.
    """
    uri, champion = settings.mlflow_tracking_uri, verdict.champion
    number = None
    if verdict.answers is not None:
        against = champion.version if champion else "none"
        decided = {"compared_with": against, "decision": f"{verdict.decision}: {verdict.policy}"}
        version = registry.register(version, tags | decided, description, uri)
        number = version.version
    if verdict.decision == PROMOTED:
        verdict = dataclasses.replace(verdict, outcome=f"{version} becomes champion")
    event = Event(
        verdict.decision, number, champion and champion.version, verdict.reason + note, settings.promote,
        scores=_summary(verdict), run_id=version.run_id,
    )  # fmt: skip
    keep = history.move if event.moves else history.record
    try:
        keep(settings.name, event, uri)
    except history.ChampionChanged:
        registry.withdraw(version, uri)  # its card and its tags tell of a promotion that did not come about
        raise
    return verdict


def promote_by_hand(name: str, number: str, reason: str, settings: config.Settings) -> Model:
    """Make a registered version champion, if it can be served; keep the reason. Raises `BatonError` if it can't."""
    uri = settings.mlflow_tracking_uri
    version, current = registry.version_of(name, number, uri), history.champion_version(name, uri)
    if version.version == current:
        raise BatonError(f"{version} is the champion already; nothing was changed")
    registry.require_servable(version, settings.at_most, uri)
    registry.keep_digest(version, uri)
    history.move(name, Event(PROMOTED, version.version, current, reason, by_hand=True, run_id=version.run_id), uri)
    return version


def hand_to(name: str, number: str, registry_uri: str, reason: str, settings: config.Settings) -> Verdict:
    """Hand a version, with its run and all that belongs to it, to another registry, where the gate decides anew.

    It is compared with the champion there on holdout rows of `train_data` that neither has learned from. Doing it
    again completes what was broken off, and else changes nothing. Raises `BatonError` if what serves of it can't be
    served, or the champion there answers another question.
    """
    here = settings.mlflow_tracking_uri
    if tracking.resolve_uri(registry_uri) == tracking.resolve_uri(here):
        raise BatonError(
            f"{name} version {number} is in {registry_uri} already. `baton promote {number}` without --to makes it"
            " champion there"
        )
    version = registry.version_of(name, number, here)
    if version.fingerprints is None:
        raise BatonError(
            f"{version} was registered before models kept the fingerprints of their rows, so nothing tells by which"
            " rows it may be judged in another registry: train there"
        )
    registry.require_servable(version, settings.at_most, here)
    table = tables.read_table(settings.train_data)
    there = settings.model_copy(update={"mlflow_tracking_uri": registry_uri, "track": True})
    comparison.require_comparable(version.contract, registry.champion_contract(there), table)
    division = split.separate(table, version.contract, settings)
    run_id = tracking.copy_run(version.run_id, settings, there)
    challenger = version._replace(version=None, run_id=run_id)

    def finish(verdict: Verdict) -> Verdict:
        verdict = dataclasses.replace(verdict, serves=version.tags.get("serves", "training"))
        # The version's own decision.json, and its card, tell of where it comes from.
        now = datetime.datetime.now(datetime.UTC)
        file = f"decisions_here/{now:%Y-%m-%dT%H-%M-%S-%f}.json"
        tracking.connect(registry_uri).log_dict(run_id, verdict.to_dict(), file)
        note = f" Handed on from another registry, where it is version {version.version}: {reason}"
        tags = {key: value for key, value in version.tags.items() if key != "training_run"}  # which is not there
        return carry_out(verdict, challenger, tags, reason, there, note)

    return _decide(challenger, division.training, division.holdout, there, finish)


def roll_back(name: str, reason: str, settings: config.Settings) -> Model:
    """Make the previous champion champion again, if it can be served; keep the reason."""
    uri = settings.mlflow_tracking_uri
    current = history.champion_version(name, uri)
    former = [number for number in history.former_champions(history.read(name, uri)) if number != current]
    version, deleted = None, []
    while former and version is None:
        try:
            version = registry.version_of(name, former[-1], uri)
        except NoChampion:
            deleted.append(former.pop())
    gone = f" (passing by what was deleted: version {', '.join(deleted)})" if deleted else ""
    if version is None:
        before = f" before version {current}" if current else ""
        raise BatonError(
            f"{name!r} has had no champion{before} to go back to{gone}. `baton promote VERSION` takes any version:"
            " `baton history` lists them"
        )
    reason += gone
    registry.require_servable(version, settings.at_most, uri)
    registry.keep_digest(version, uri)
    history.move(name, Event(ROLLED_BACK, version.version, current, reason, by_hand=True, run_id=version.run_id), uri)
    return version


def _decide(
    challenger: Model, training: pd.DataFrame, holdout: pd.DataFrame, settings: config.Settings,
    finish: Callable[[Verdict], Verdict],
) -> Verdict:  # fmt: skip
    """Compare a challenger with the champion and `finish` what is decided; again, if the champion changes meanwhile."""
    with registry.kept_running(challenger):
        while True:
            champion = comparison.find_champion(settings)
            registry.keep_digest(champion, settings.mlflow_tracking_uri)
            verdict = comparison.compare(challenger, champion, training, holdout, settings)
            if verdict.decision == comparison.UNCHANGED or challenger.run_id is None:
                return verdict
            with contextlib.suppress(history.ChampionChanged):
                return finish(verdict)


def _prepare_version(
    verdict: Verdict, challenger: Model, training: pd.DataFrame, holdout: pd.DataFrame, settings, folder: Path
) -> Verdict:
    """Put what will serve into a folder: the judged model, or the same fitted anew on all rows with it beside."""
    if verdict.decision == PROMOTED and settings.final_fit == "all":
        rows = pd.concat([training, holdout]).sort_index()
        try:
            groups = split.identify_for_split(rows, challenger.contract)[1]
            refitted = registry.refit(challenger, rows, groups, folder)
            X = challenger.contract.read_features(holdout)
            answers = registry.require_servable(refitted, settings.at_most, settings.mlflow_tracking_uri, X)
            doubt = _differs_wildly(verdict.answers, answers, holdout, challenger.contract)
        except BatonError as error:
            doubt = str(error)
        if not doubt:
            shutil.copytree(challenger.path, folder / saving.JUDGED)
            return dataclasses.replace(verdict, serves="all")
        verdict = dataclasses.replace(verdict, serves_reason=f"fitted anew on all rows, {doubt}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(challenger.path, folder)
    return verdict


def _differs_wildly(before: np.ndarray, after: np.ndarray, holdout: pd.DataFrame, contract: Contract) -> str:
    """Say how the answers of a refit differ from the judged model's, if by more than more rows explain."""
    if any(np.ptp(answers, axis=0).max() == 0 for answers in (before, after)):
        return "" if np.allclose(before, after) else "it gives every row the same answer"
    # Around the mean of each class: that one class is rarer than another, any two models say.
    moves = ((answers - answers.mean(axis=0)).ravel() for answers in (before, after))
    alike = float(np.corrcoef(*moves)[0, 1])
    if alike < ALIKE:
        return f"it answers the holdout otherwise: the correlation is {alike:.2f}"
    y = contract.encode(holdout[contract.target]).to_numpy()
    pair = (evaluation.as_read(answers, contract.threshold, contract.metric) for answers in (after, before))
    lead = gate.measure_lead(y, *pair, contract.task, contract.metric, weights=contract.read_weights(holdout))
    return f"it is worse by {-lead.value:.4f} on the holdout, which it has learned from" if lead.high < 0 else ""


def _describe_version(
    verdict: Verdict, challenger: Model, candidate: dict, choice: str, training, holdout, facts: dict, folder: Path
) -> None:
    """Add to a version's folder what tells of it: fingerprints, profile, decision, card."""
    contract = challenger.contract
    for name, rows in zip(
        (saving.FINGERPRINTS, saving.JUDGED_ON), split.fingerprint_both(training, holdout, contract), strict=True
    ):
        np.save(folder / name, np.unique(rows))
    learned = pd.concat([training, holdout]).sort_index() if verdict.serves == "all" else training
    described = profile.describe(
        contract.read_features(learned), learned[contract.target], verdict.answers, contract
    )  # fmt: skip
    what = models.describe(candidate)
    record = verdict.to_dict() | {
        "task": contract.task,
        "challenger": {"candidate": candidate["candidate"], "model": what, "run_id": challenger.run_id},
        "threshold": candidate.get("threshold"),
        "choice": choice,
        "data_digest": facts["data_digest"],
        "git_commit": tracking.git_commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    (folder / "decision.json").write_text(json.dumps(record, indent=2))
    (folder / "profile.json").write_text(json.dumps(described, allow_nan=False))
    explanation = effects.explain(training, holdout, contract, lambda X: registry.predict(challenger, X))
    card.write(folder, contract, record, described, facts, explanation, holdout, verdict.answers)


def _summary(verdict: Verdict) -> dict:
    """The figures of a decision that its event keeps."""
    values = {name: found[verdict.metric]["value"] for name, found in verdict.scores.items()}
    kept = {"metric": verdict.metric, "rows": verdict.rows, "rows_digest": verdict.rows_digest, "looks": verdict.looks}
    if not verdict.leads:
        return kept | values
    lead = verdict.leads.get("champion") or verdict.leads["baseline"]
    bound = (verdict.leads.get("reference") or lead).bound  # by which a later training finds its reference
    return kept | values | lead._asdict() | {"bound": bound}
