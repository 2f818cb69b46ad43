"""What follows from a verdict, on a real store: versions, the champion, the way back, and a process killed on the way."""

import dataclasses
import json
import os
import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest
import registering
from conftest import learn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from baton import BatonError, ModelRefused
from baton.data import split
from baton.handover import comparison, effects, history, promotion, registry, saving, tracking
from baton.training import preparation


def table(count: int = 400, seed: int = 1) -> pd.DataFrame:
    """`strong` and `weak` tell the target, `noise` does not."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, count)
    columns = {"strong": y + generator.normal(0, 0.5, count), "weak": y + generator.normal(0, 1.2, count)}
    return pd.DataFrame({"id": range(count)} | columns | {"noise": generator.normal(size=count), "y": y})


class Training:
    """A project with a store, a table divided in two, and candidates to hand over."""

    def __init__(self, folder, monkeypatch, **keys):
        self.folder, self.keys = folder, {"id_columns": ["id"]} | keys
        self.settings, self.facts = registering.open_store(folder, monkeypatch, name="demo", **self.keys)
        rows = table()
        self.training, self.holdout = rows.head(250), rows.tail(150)
        self.facts |= {"holdout_share": 0.375, "train_data": "t.csv", "rows": 400, "training": 250, "holdout": 150}

    def fit(self, column: str) -> tuple[saving.Model, dict]:
        """Fit a linear model of one column, and file it as a candidate's run."""
        ignored = [one for one in ("strong", "weak", "noise") if one != column]
        path = self.folder / column
        registering.save(path, self.training, name="demo", ignore_columns=ignored, id_columns=["id"])
        run_id = registering.file(path, self.settings, self.facts, column)
        candidate = {"candidate": column, "model": "lr", "model_params": {}, "tune": 0, "run_id": run_id}
        return saving.open_model(path, run_id=run_id), candidate

    def hand_over(self, column: str, **changed) -> comparison.Verdict:
        model, candidate = self.fit(column)
        settings = self.settings.model_copy(update=changed)
        folder = self.folder / "version"
        return promotion.hand_over(
            model, candidate, "it is best", self.training, self.holdout, self.facts, settings, folder
        )

    @property
    def champion(self) -> saving.Model | None:
        return registry.find_champion("demo", self.settings.mlflow_tracking_uri)

    @property
    def events(self) -> list[history.Event]:
        return history.read("demo", self.settings.mlflow_tracking_uri)

    def description(self, version: str) -> str:
        """What MLflow's pages say of a version."""
        return tracking.connect(self.settings.mlflow_tracking_uri).get_model_version("demo", version).description

    def predict(self, model) -> np.ndarray:
        return registry.predict(model, model.contract.read_features(self.holdout))


@pytest.fixture
def training(tmp_path, monkeypatch) -> Training:
    return Training(tmp_path, monkeypatch)


def test_champions_come_and_go_and_every_decision_is_kept(training):
    uri = training.settings.mlflow_tracking_uri
    first = training.hand_over("weak")
    assert (first.decision, training.champion.version) == ("promoted", "1")
    assert first.reason.endswith("So demo version 1 becomes champion. It serves fitted anew on all rows.")
    before = training.predict(training.champion)

    worse = training.hand_over("noise")
    assert (worse.decision, worse.serves, training.champion.version) == ("refused", "training", "1")
    better = training.hand_over("strong")
    assert (better.decision, training.champion.version, better.looks) == ("promoted", "3", 2)
    assert better.champion.version == "1"
    assert better.scores["champion"] == first.scores["challenger"]  # as judged, not as it serves
    again = training.hand_over("strong")  # filed as another run, and as good
    assert (again.decision, again.leads["champion"].value, training.champion.version) == ("refused", 0, "3")

    limited = training.settings.model_copy(update={"at_most": {"megabytes": 1e-6}})
    for step in (promotion.roll_back, lambda *given: promotion.promote_by_hand("demo", "1", *given[1:])):
        with pytest.raises(BatonError, match="demo version 1 can't be served: megabytes is"):
            step("demo", "it is refused", limited)
    assert training.champion.version == "3"
    back = promotion.roll_back("demo", "complaints", training.settings)
    assert (back.version, training.champion.version) == ("1", "1")
    np.testing.assert_array_equal(training.predict(training.champion), before)
    with pytest.raises(BatonError, match="'demo' has had no champion before version 1 to go back to"):
        promotion.roll_back("demo", "more complaints", training.settings)
    promotion.promote_by_hand("demo", "3", "they were wrong", training.settings)
    with pytest.raises(BatonError, match="demo version 3 is the champion already"):
        promotion.promote_by_hand("demo", "3", "again", training.settings)

    kept = [(event.kind, event.version, event.previous, event.by_hand) for event in training.events]
    assert kept == [
        ("promoted", "1", None, False), ("refused", "2", "1", False), ("promoted", "3", "1", False),
        ("refused", "4", "3", False), ("rolled back", "1", "3", True), ("promoted", "3", "1", True),
    ]  # fmt: skip
    assert training.events[2].scores["champion"] == better.scores["champion"]["AUC"]["value"]
    assert (training.events[2].promote, training.events[4].reason) == ("superior", "complaints")
    new = registering.register_version(
        training.folder / "weak", training.champion.run_id, training.settings, serves="x"
    )
    for number in ("1", "2", new.version):  # one was champion and one was refused, which the history tells
        registry.withdraw(registry.version_of("demo", number, uri), uri)
    assert [registry.version_of("demo", number, uri).version for number in ("1", "2")] == ["1", "2"]
    with pytest.raises(BatonError, match=f"demo has no version {new.version}, or it was deleted"):
        registry.version_of("demo", new.version, uri)


def test_what_serves_has_learned_from_all_rows_and_the_judged_model_stays_beside_it(training):
    verdict = training.hand_over("strong")
    served, judged = training.champion, training.champion.judged
    # The judged model, fitted on the training rows alone; and the same on all of them.
    asked = {"name": "demo", "ignore_columns": ["weak", "noise"], "id_columns": ["id"]}
    for model, rows in ((judged, training.training), (served, pd.concat([training.training, training.holdout]))):
        pipeline, contract = registering.fit(rows, **asked)
        expected = pipeline.predict_proba(contract.read_features(training.holdout))
        np.testing.assert_allclose(training.predict(model), expected, atol=1e-12)
    assert (verdict.serves, served.tags["serves"]) == ("all", "all")
    assert training.description("1") == (
        "Cross-validated on the training rows, it is best. This version is that model fitted anew on all rows: see its"
        " card.md"
    )
    assert sorted(served.fingerprints) == sorted(split.identify(training.training, served.contract))
    assert sorted(served.judged_on) == sorted(split.identify(training.holdout, served.contract))
    kept = json.loads((served.path / "decision.json").read_text())
    assert (kept["decision"], kept["challenger"]["candidate"], kept["rows"]) == ("promoted", "strong", 150)
    assert kept["scores"]["challenger"].keys() >= {"AUC", "F1", "Log Loss"}
    assert json.loads((served.path / "profile.json").read_text())["rows"] == 400
    assert "To be written by a person" in (served.path / "card.md").read_text()
    assert (served.path / "card.html").stat().st_size > 50_000
    # A limit that it kept when it was promoted holds for it as it is registered, with its card, too.
    size = (served.path / "model.skops").stat().st_size / 1e6
    registry.require_servable(served, {"megabytes": size}, training.settings.mlflow_tracking_uri)
    with pytest.raises(BatonError, match="can't be served: megabytes is"):
        registry.require_servable(served, {"megabytes": 0.999 * size}, training.settings.mlflow_tracking_uri)


def test_final_fit_training_serves_what_was_judged(training):
    verdict = training.hand_over("strong", final_fit="training")
    served = training.champion
    assert (verdict.serves, served.judged, "fitted anew" in verdict.reason) == ("training", served, False)
    assert "it is best. This version is the model as judged: see" in training.description("1")
    np.testing.assert_array_equal(training.predict(served), verdict.answers)


def test_what_serves_is_fitted_anew_by_whole_groups(tmp_path, monkeypatch):
    """Else its encoder, unlike that of the judged model, would show rows the target of their group."""
    keys = {"name": "demo", "split": "group", "split_by": "region"}
    asked, _ = registering.open_store(tmp_path, monkeypatch, **keys)
    generator = np.random.default_rng(8)
    clinic = generator.integers(0, 40, 1600)
    rows = pd.DataFrame(
        {"code": [f"c{one}" for one in clinic], "a": generator.normal(size=1600), "region": np.arange(1600) // 4}
    )
    rows["y"] = (generator.random(1600) < np.where(clinic % 2, 0.7, 0.3)).astype(int)
    contract = learn(rows, **keys)
    X, y, groups = contract.read_features(rows), rows["y"], split.identify_for_split(rows, contract)[1]
    prepare = preparation.prepare(None, X, "binary", grouped=True)
    model = Pipeline([("prepare", prepare), ("model", LogisticRegression())])
    judged = preparation.fit(clone(model), X[:1200], y[:1200], groups[:1200])
    saving.save(tmp_path / "judged", saving.model_arguments(judged, contract, X, y, None))
    challenger, folder = saving.open_model(tmp_path / "judged"), tmp_path / "version"
    folder.mkdir()
    verdict = comparison.Verdict("promoted", "", "", "AUC", answers=judged.predict_proba(X[1200:]))
    verdict = promotion._prepare_version(verdict, challenger, rows[:1200], rows[1200:], asked, folder)
    assert (verdict.serves, verdict.serves_reason) == ("all", "")
    served = registry.predict(saving.open_model(folder), X)
    by_group, by_row = (preparation.fit(clone(model), X, y, one).predict_proba(X) for one in (groups, np.arange(1600)))
    np.testing.assert_allclose(served, by_group, atol=1e-9)
    assert np.abs(by_row - by_group).max() > 1e-4


def test_a_refit_that_answers_otherwise_does_not_serve(training, monkeypatch):
    monkeypatch.setattr(registry, "refit", lambda model, rows, groups, path: spoiled(model, path))
    spoil = np.array([[-1.0]])

    def spoiled(model, path):
        pipeline, contract = registering.fit(
            training.training, name="demo", ignore_columns=["weak", "noise"], id_columns=["id"]
        )
        pipeline.named_steps["model"].coef_ = pipeline.named_steps["model"].coef_ * spoil
        y = training.training["y"]
        saving.save(path, saving.model_arguments(pipeline, contract, training.training[["strong"]], y, None))
        return model._replace(path=path)

    verdict = training.hand_over("strong")
    assert (verdict.decision, verdict.serves, training.champion.judged.path) == (
        "promoted",
        "training",
        training.champion.path,
    )
    assert "It serves as judged: fitted anew on all rows, it answers the holdout otherwise" in verdict.reason
    np.testing.assert_array_equal(training.predict(training.champion), verdict.answers)


def test_where_no_refit_can_be_made_the_judged_model_serves(training, monkeypatch):
    def fail(*_):
        raise BatonError("the model in x can't be used: its process ended with -9")

    monkeypatch.setattr(registry, "refit", fail)
    verdict = training.hand_over("strong")
    assert verdict.reason.endswith(
        "It serves as judged: fitted anew on all rows, the model in x can't be used: its process ended with -9."
    )
    np.testing.assert_array_equal(training.predict(training.champion), verdict.answers)


@pytest.mark.parametrize("metric", ["AUC", "Accuracy"])
def test_a_refit_is_compared_row_by_row_also_where_a_class_is_rare(metric):
    """Two models that have nothing in common both find it unlikely; by accuracy, neither is then better."""
    rows = table()
    contract = dataclasses.replace(learn(rows, metric=metric), threshold=0.5)
    found = np.where(rows["y"] == 1, 0.09, 0.01) + np.linspace(0, 0.01, len(rows))

    def differs(positive) -> str:
        before, after = (np.column_stack([1 - one, one]) for one in (found, positive))
        return promotion._differs_wildly(before, after, rows, contract)

    assert differs(found + np.linspace(0.01, 0, len(rows))) == ""
    assert differs(np.random.default_rng(1).permutation(found)).startswith("it answers the holdout otherwise: the corr")
    assert differs(np.full(len(rows), 0.05)) == "it gives every row the same answer"


def test_many_models_that_are_each_a_little_worse_do_not_add_up(tmp_path, monkeypatch):
    """Under `not_worse`, each is measured against the last one that was promoted as better."""
    training = Training(tmp_path, monkeypatch, promote="not_worse", margin=0.1)
    assert training.hand_over("strong").decision == "promoted"
    slid = training.hand_over("strong")
    assert (slid.decision, training.champion.version) == ("promoted", "2")
    third = training.hand_over("strong")
    assert third.scores.keys() == {"challenger", "champion", "reference", "baseline"}
    assert third.leads["reference"].value == 0
    assert training.hand_over("weak").decision == "refused"


def test_to_be_better_than_a_champion_that_lost_does_not_move_what_the_next_is_measured_against(tmp_path, monkeypatch):
    """Else champions that are worse, and better than those, in turns, would lead down."""
    training = Training(tmp_path, monkeypatch, promote="not_worse", margin=0.1)
    training.hand_over("strong")
    training.hand_over("weak", promote="always")
    back = training.hand_over("strong")
    assert (back.decision, back.leads["champion"].bound > 0, back.leads["reference"].value) == ("promoted", True, 0)
    assert [event.scores["bound"] > 0 for event in training.events] == [True, False, False]
    assert "reference" in training.hand_over("weak").leads


def test_a_model_that_is_too_dear_to_serve_is_refused_and_not_registered(training):
    verdict = training.hand_over("strong", at_most={"megabytes": 1e-6})
    assert (verdict.decision, training.champion) == ("refused", None)
    assert "megabytes is" in verdict.reason
    with pytest.raises(BatonError, match="no version 1"):
        registry.version_of("demo", "1", training.settings.mlflow_tracking_uri)


def test_what_another_registry_decides_is_told_there_each_time(training, tmp_path, monkeypatch):
    table().to_csv(tmp_path / "t.csv", index=False)
    training.hand_over("weak")
    training.hand_over("strong")
    (tmp_path / "team").mkdir()
    shutil.copy2(registering.empty_store(), tmp_path / "team" / "mlflow.db")
    team = f"sqlite:///{tmp_path / 'team' / 'mlflow.db'}"
    # As for trying things in Jupyter: what is handed on is tracked all the same.
    settings = training.settings.model_copy(update={"train_data": str(tmp_path / "t.csv"), "track": False})
    assert promotion.hand_to("demo", "2", team, "for all", settings).decision == "promoted"
    assert promotion.hand_to("demo", "1", team, "this too", settings).decision == "refused"
    changed = iter([True])  # another process promotes meanwhile

    def move(*given, move=history.move):
        if next(changed, False):
            raise history.ChampionChanged("meanwhile")
        move(*given)

    monkeypatch.setattr(history, "move", move)
    always = settings.model_copy(update={"promote": "always"})
    assert promotion.hand_to("demo", "1", team, "all the same", always).decision == "promoted"
    client = tracking.connect(team)
    versions = {str(one.version): one for one in client.search_model_versions("name='demo'")}
    told = {
        number: (one.tags["decision"].partition(":")[0], one.tags["compared_with"]) for number, one in versions.items()
    }
    champion = history.champion_version("demo", team)
    assert told == {"1": ("promoted", "none"), "2": ("refused", "1"), champion: ("promoted", "1")}
    assert not [one for one in versions.values() if "training_run" in one.tags]
    run_id = versions[champion].run_id
    decisions = [
        mlflow.artifacts.load_dict(f"runs:/{run_id}/{file.path}")["decision"]
        for file in client.list_artifacts(run_id, "decisions_here")
    ]
    assert decisions == ["refused", "promoted", "promoted"]
    assert [(event.kind, event.version) for event in history.read("demo", team)] == [
        ("promoted", "1"), ("refused", "2"), ("promoted", champion),
    ]  # fmt: skip

    monkeypatch.setattr(saving.Model, "fingerprints", None)  # as of version 0.1
    with pytest.raises(BatonError, match="nothing tells by which rows it may be judged in another registry"):
        promotion.hand_to("demo", "2", team, "without fingerprints", settings)


def test_a_rollback_passes_by_what_was_deleted(training):
    uri = training.settings.mlflow_tracking_uri
    model, _ = training.fit("weak")
    for serves in ("a", "b", "c"):
        version = registering.register_version(model.path, model.run_id, training.settings, serves=serves)
        registering.promote(version, training.settings)
    tracking.connect(uri).delete_model_version("demo", "2")
    version = promotion.roll_back("demo", "complaints", training.settings)
    assert (version.version, training.champion.version) == ("1", "1")
    assert training.events[-1].reason == "complaints (passing by what was deleted: version 2)"


def test_who_is_champion_is_not_withdrawn_though_the_history_knows_nothing_of_it(training):
    model, _ = training.fit("weak")
    uri = training.settings.mlflow_tracking_uri
    other = registering.register_version(model.path, model.run_id, training.settings)
    tracking.connect(uri).set_registered_model_alias("demo", "champion", other.version)  # in MLflow's own pages
    registry.withdraw(other, uri)
    assert training.champion.version == other.version


def test_a_version_is_handed_to_another_registry_where_the_gate_decides_anew(training, tmp_path, monkeypatch):
    table().to_csv(tmp_path / "t.csv", index=False)
    training.hand_over("strong")
    settings = training.settings.model_copy(update={"train_data": str(tmp_path / "t.csv"), "promote": "better"})
    (tmp_path / "team").mkdir()
    shutil.copy2(registering.empty_store(), tmp_path / "team" / "mlflow.db")
    team = f"sqlite:///{tmp_path / 'team' / 'mlflow.db'}"
    before = training.champion
    verdict = promotion.hand_to("demo", "1", team, "for all of us", settings)
    there = registry.find_champion("demo", team)
    assert (verdict.decision, there.version, there.run_id != before.run_id) == ("promoted", "1", True)
    assert verdict.rows < verdict.holdout_rows  # it had learned from some of these, since they were divided otherwise
    holdout = split.separate(table(), before.contract, settings).holdout
    judged = registry.predict(before.judged, before.contract.read_features(holdout))
    np.testing.assert_array_equal(verdict.answers, judged)  # what serves has learned from these rows
    np.testing.assert_array_equal(training.predict(there), training.predict(before))
    np.testing.assert_array_equal(training.predict(there.judged), training.predict(before.judged))
    assert (there.path / "card.md").read_text() == (before.path / "card.md").read_text()
    assert tracking.connect(team).get_run(there.run_id).data.tags["candidate"] == "strong"
    (event,) = history.read("demo", team)
    assert (event.version, verdict.reason in event.reason) == ("1", True)
    assert event.reason.endswith("Handed on from another registry, where it is version 1: for all of us")
    assert there.tags["decision"].startswith("promoted: ")
    (kept,) = tracking.connect(team).list_artifacts(there.run_id, "decisions_here")
    kept = mlflow.artifacts.load_dict(f"runs:/{there.run_id}/{kept.path}")
    assert kept["scores"] == json.loads(json.dumps(verdict.scores))
    assert str(there.path).startswith(str(tmp_path / "team"))
    assert promotion.hand_to("demo", "1", team, "once more", settings).decision == "unchanged"
    assert len(tracking.connect(team).search_model_versions("name='demo'")) == 1
    other = dataclasses.replace(before.contract, target="another")
    monkeypatch.setattr(registry, "champion_contract", lambda _: other)
    with pytest.raises(BatonError, match="the champion of 'demo' can't be compared"):
        promotion.hand_to("demo", "1", team, "for all of us", settings)


def test_a_version_whose_serving_model_cannot_be_served_is_not_handed_on(training, tmp_path):
    """The gate compares the judged model; what serves is another one."""
    table().to_csv(tmp_path / "t.csv", index=False)
    training.hand_over("strong")
    spoiled = shutil.copytree(training.champion.path, tmp_path / "spoiled")
    np.save(spoiled / saving.ANSWERS, 1 - np.load(spoiled / saving.ANSWERS))
    model = training.champion._replace(path=spoiled)
    registry.register(model, {"serves": "all"}, "spoiled", training.settings.mlflow_tracking_uri)
    settings = training.settings.model_copy(update={"train_data": str(tmp_path / "t.csv")})
    shutil.copy2(registering.empty_store(), tmp_path / "team.db")
    with pytest.raises(BatonError, match="demo version 2 can't be used: it answers 50 of 50 sample rows otherwise"):
        promotion.hand_to("demo", "2", f"sqlite:///{tmp_path / 'team.db'}", "for all of us", settings)
    assert tracking.connect(f"sqlite:///{tmp_path / 'team.db'}").search_registered_models() == []


def test_a_version_is_not_handed_to_a_champion_that_answers_another_question(training, tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    training.hand_over("strong")
    settings = training.settings.model_copy(update={"train_data": str(tmp_path / "t.csv")})
    (tmp_path / "team").mkdir()
    shutil.copy2(registering.empty_store(), tmp_path / "team" / "mlflow.db")
    team = settings.model_copy(update={"mlflow_tracking_uri": f"sqlite:///{tmp_path / 'team' / 'mlflow.db'}"})
    run_id = tracking.copy_run(training.champion.run_id, training.settings, team)
    other = registering.save(tmp_path / "other", table(), name="demo", target="weak", id_columns=["id"])
    registering.promote(registering.register_version(other.path, run_id, team), team)
    with pytest.raises(BatonError, match="it answers regression 'weak'. Give this training a name of its own"):
        promotion.hand_to("demo", "1", team.mlflow_tracking_uri, "for all of us", settings)
    assert len(history.read("demo", team.mlflow_tracking_uri)) == 1


@pytest.mark.parametrize(
    ("changed", "decision", "said"),
    [
        ({"at_least": {"AUC": 0.999}}, "refused", "AUC"),
        ({"promote": "never"}, "refused", "never"),
        ({"promote": "always"}, "promoted", ""),
    ],
)
def test_the_policy_decides(training, changed, decision, said):
    verdict = training.hand_over("strong", **changed)
    assert verdict.decision == decision
    assert said in verdict.reason


def test_a_champion_that_changed_meanwhile_is_compared_anew(training, monkeypatch):
    """Another training promotes between the comparison and the promotion of this one."""
    training.hand_over("weak")
    register, raced = registry.register, []

    def promote_another(*arguments):
        version = register(*arguments)
        if not raced:
            raced.append(True)
            other, _ = training.fit("noise")
            registering.promote(
                registering.register_version(other.path, other.run_id, training.settings), training.settings
            )
        return version

    monkeypatch.setattr(registry, "register", promote_another)
    verdict = training.hand_over("strong")
    assert (verdict.decision, verdict.champion.version) == ("promoted", "3")
    assert [(event.version, event.previous) for event in training.events] == [("1", None), ("3", "1"), ("4", "3")]
    # Its card, too, tells of the comparison that was decided by, not of the first one.
    assert json.loads((training.champion.path / "decision.json").read_text())["champion"]["version"] == "3"
    assert "champion, version 3" in (training.champion.path / "card.md").read_text()
    # Nothing is left of the first one, whose card says that it was promoted.
    versions = tracking.connect(training.settings.mlflow_tracking_uri).search_model_versions("name='demo'")
    assert sorted(one.version for one in versions) == [1, 3, 4]


POINTS = int(os.environ.get("BATON_KILLS", 6))


def test_a_killed_promotion_leaves_one_champion_that_serves_and_is_completed_later(training, monkeypatch):
    monkeypatch.setattr(history, "LIMIT", 2)
    training.hand_over("weak")
    tags = {"candidate": "strong", "training_run": "x", "data_digest": "y", "serves": "training"}

    def ready():
        model, _ = training.fit("strong")
        verdict = comparison.compare(model, training.champion, training.training, training.holdout, training.settings)
        return verdict, model

    verdict, model = ready()

    def carry_out() -> None:
        promotion.carry_out(verdict, model, tags, "because", training.settings)

    total = registering.kill_on_the_way(carry_out, kill_at=0)
    promotion.roll_back("demo", "start again", training.settings)
    seen = set()
    for kill_at in np.unique(np.linspace(1, total, POINTS).astype(int)):
        _, model = ready() if kill_at == 1 else (None, training.fit("strong")[0])
        verdict = dataclasses.replace(verdict, champion=training.champion)
        registering.kill_on_the_way(carry_out, kill_at)
        left = training.champion
        assert history.former_champions(training.events)[-1] == left.version
        registry.require_servable(left, {}, training.settings.mlflow_tracking_uri)
        seen.add(left.contract.features[0])
        if left.contract.features == ["weak"]:
            carry_out()
        assert training.champion.run_id == model.run_id
        versions = tracking.connect(training.settings.mlflow_tracking_uri).search_model_versions("name='demo'")
        assert [one.run_id for one in versions].count(model.run_id) == 1
        promotion.roll_back("demo", "start again", training.settings)
        assert training.champion.contract.features == ["weak"]
    assert "weak" in seen


def handing(training, tmp_path, **keys):
    """The settings of a training whose version 1 is handed on, and the other registry."""
    table().to_csv(tmp_path / "t.csv", index=False)
    training.hand_over("strong")
    (tmp_path / "team").mkdir()
    shutil.copy2(registering.empty_store(), tmp_path / "team" / "mlflow.db")
    settings = training.settings.model_copy(update={"train_data": str(tmp_path / "t.csv")} | keys)
    return settings, f"sqlite:///{tmp_path / 'team' / 'mlflow.db'}"


def test_an_event_names_the_run_of_its_candidate(training):
    training.hand_over("strong")
    assert training.events[0].run_id == training.champion.run_id


def test_what_is_too_dear_to_serve_is_not_handed_on(training, tmp_path):
    settings, team = handing(training, tmp_path, at_most={"megabytes": 1e-6})
    with pytest.raises(BatonError, match="demo version 1 can't be served: megabytes is"):
        promotion.hand_to("demo", "1", team, "for all", settings)


def test_what_is_handed_on_serves_as_it_did(training, tmp_path):
    settings, team = handing(training, tmp_path)
    assert promotion.hand_to("demo", "1", team, "for all", settings).serves == "all"
    assert " It serves fitted anew on all rows. Handed on" in history.read("demo", team)[0].reason


def test_a_rollback_does_not_pass_by_what_was_tampered_with(training):
    model, _ = training.fit("weak")
    for serves in ("a", "b", "c"):
        version = registering.register_version(model.path, model.run_id, training.settings, serves=serves)
        registering.promote(version, training.settings)
    second = registry.version_of("demo", "2", training.settings.mlflow_tracking_uri)
    (second.path / "model.skops").write_bytes(b"another")
    with pytest.raises(ModelRefused, match="demo version 2 is refused"):
        promotion.roll_back("demo", "complaints", training.settings)
    assert training.champion.version == "3"


def test_a_refit_learns_from_the_rows_in_the_order_of_the_table(tmp_path, monkeypatch):
    training, learned = Training(tmp_path, monkeypatch), []
    refit = registry.refit
    monkeypatch.setattr(
        registry, "refit", lambda model, rows, *given: learned.append(rows) or refit(model, rows, *given)
    )
    training.training, training.holdout = table().iloc[::2], table().iloc[1::2]
    training.hand_over("strong")
    assert learned[0].index.tolist() == [*range(400)]


def test_a_refit_that_is_too_dear_does_not_serve(training, monkeypatch):
    check = registry.require_servable

    def dear(model, at_most, *given):
        if model.path == training.folder / "version" and at_most:
            raise BatonError("it is too dear")
        return check(model, at_most, *given)

    monkeypatch.setattr(registry, "require_servable", dear)
    verdict = training.hand_over("strong", at_most={"megabytes": 5})
    assert verdict.reason.endswith("It serves as judged: fitted anew on all rows, it is too dear.")


def test_nothing_of_a_refit_that_failed_is_in_the_version(training, monkeypatch):
    def fail(model, rows, groups, path):
        (path / "left").write_text("of the refit")
        raise BatonError("it can't be fitted")

    monkeypatch.setattr(registry, "refit", fail)
    training.hand_over("strong")
    assert not (training.champion.path / "left").exists()


def test_an_event_keeps_the_lead_over_the_champion(training):
    training.hand_over("weak")
    verdict = training.hand_over("strong")
    assert training.events[1].scores.items() >= verdict.leads["champion"]._asdict().items()
    assert training.events[0].scores["low"] > 0


def test_a_card_explains_the_model_as_judged(training, monkeypatch):
    explain, asked = effects.explain, []

    def watch(training, holdout, contract, predict):
        asked.append(predict(contract.read_features(holdout)))
        return explain(training, holdout, contract, predict)

    monkeypatch.setattr(effects, "explain", watch)
    verdict = training.hand_over("strong")
    assert verdict.serves == "all"
    np.testing.assert_array_equal(asked[0], verdict.answers)


def test_a_challenger_of_which_nothing_is_decided_is_registered(training, monkeypatch):
    training.hand_over("weak")

    def fail(*_):
        raise BatonError("the reference is gone")

    monkeypatch.setattr(comparison, "_find_reference", fail)
    assert training.hand_over("strong").decision == "undecided"
    assert [(event.kind, event.version) for event in training.events] == [("promoted", "1"), ("undecided", "2")]
    assert registry.version_of("demo", "2", training.settings.mlflow_tracking_uri).tags["decision"][:9] == "undecided"
