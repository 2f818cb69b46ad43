"""Old trainings leave the store, and nothing that anyone still needs."""

import time

import mlflow
import pandas as pd
import pytest
import registering

from baton import BatonError
from baton.handover import history, registry, retention, tracking
from baton.training.study import Trial

DAY = 86_400_000  # milliseconds


class Store:
    """A store with trainings of some days ago, each with a candidate and its trials."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.asked, self.facts = registering.open_store(folder, monkeypatch, name="demo")
        self.uri = self.asked.mlflow_tracking_uri
        self.client = mlflow.MlflowClient(self.uri)
        self.experiment = self.client.get_experiment_by_name("demo").experiment_id
        self.client.delete_run(self.facts["run_id"])
        tracking.connect(self.uri)._tracking_client.store._hard_delete_run(self.facts["run_id"])
        rows = pd.DataFrame({"x": range(40), "y": [0, 1] * 20})
        self.saved = registering.save(folder / "saved", rows, name="demo").path

    def train(self, days_ago: float, trials: int = 0) -> tuple[str, str]:
        """File a training and its candidate, with a model; return the ids of both runs."""
        began = int(time.time() * 1000 - days_ago * DAY)
        parent = self.client.create_run(self.experiment, start_time=began, run_name=f"{days_ago} days ago").info.run_id
        facts = self.facts | {"run_id": parent}
        given = [
            Trial(number, {"C": 1.0}, "finished", 0.5, began / 1000, 1.0, None)._asdict() for number in range(trials)
        ]
        return parent, registering.file(self.saved, self.asked, facts, started=began / 1000, trials=given)

    def register(self, run_id: str, promote: bool) -> str:
        version = registering.register_version(self.saved, run_id, self.asked)
        if promote:
            registering.promote(version, self.asked)
        return version.version

    def find(self, keep: int = 1, days: float = 10) -> retention.Old:
        return retention.find_old("demo", keep, days, self.uri)

    @property
    def runs(self) -> set[str]:
        view = mlflow.entities.ViewType.ALL
        return {run.info.run_id for run in self.client.search_runs([self.experiment], run_view_type=view)}

    @property
    def files(self) -> set[str]:
        """The runs and models whose files there are, by the first folder of each."""
        found = (path.relative_to(self.folder / "mlruns") for path in (self.folder / "mlruns").rglob("*.*"))
        return {path.parts[2] if path.parts[1] == "models" else path.parts[1] for path in found}


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    return Store(tmp_path, monkeypatch)


def test_trainings_that_are_old_and_not_among_the_newest_go_with_all_that_belongs_to_them(store):
    oldest, old = store.train(90, trials=3), store.train(60)
    newer, newest = store.train(5), store.train(0)
    found = store.find(keep=3)
    assert (found.trainings, found.all_trainings, len(found.runs), len(found.models)) == ([oldest[0]], 4, 5, 1)
    assert store.find(keep=1).trainings == [old[0], oldest[0]]  # the one of five days ago is too young
    assert store.find(keep=1, days=3).trainings == [newer[0], old[0], oldest[0]]
    assert store.find(keep=4).runs == []
    before = store.files
    sizes = sum(file.stat().st_size for file in (store.folder / "mlruns").rglob("*") if file.is_file())
    assert 0 < found.megabytes < sizes / 1e6
    retention.remove("demo", found, store.uri)
    assert store.runs == {*old, *newer, *newest}
    assert before - store.files == {oldest[1], *found.models}
    assert store.find(keep=3).runs == []


def test_what_is_or_was_champion_or_scored_a_batch_stays_with_its_training(store):
    champions = [store.train(90), store.train(80)]
    batch, refused, handed = store.train(70), store.train(60), store.train(50)
    store.train(0)
    numbers = [store.register(run_id, promote=True) for _, run_id in champions]
    scored, gone = (store.register(run_id, promote=False) for run_id in (batch[1], refused[1]))
    other = store.register(handed[1], promote=False)
    history.record("demo", history.Event(history.REFUSED, gone, numbers[-1], "no better"), store.uri)
    experiment = store.client.create_experiment("demo-batches")
    store.client.create_run(experiment, tags={"model_version": scored})
    found = store.find()
    assert {*found.trainings} == {refused[0], handed[0]}
    assert {*found.versions} == {gone, other}
    retention.remove("demo", found, store.uri)
    assert {str(one.version) for one in store.client.search_model_versions("name='demo'")} == {*numbers, scored}
    for number in (*numbers, scored):
        registry.require_servable(registry.version_of("demo", number, store.uri), {}, store.uri)
    assert {run_id for pair in (*champions, batch) for run_id in pair} <= store.runs


def test_of_a_champions_training_the_other_candidates_go(store):
    parent, champion = store.train(90)
    other = store.client.create_run(
        store.experiment, start_time=int(time.time() * 1000 - 90 * DAY), tags={"mlflow.parentRunId": parent}
    ).info.run_id
    young = store.client.create_run(store.experiment, tags={"mlflow.parentRunId": other}).info.run_id
    store.train(0)
    store.register(champion, promote=True)
    assert store.find().runs == []  # a run below the other one is young
    assert store.find(days=-1).runs == [young, other]


def test_a_run_that_was_deleted_by_hand_goes_with_its_training(store):
    parent, run_id = store.train(90)
    store.train(0)
    store.client.delete_run(run_id)
    retention.remove("demo", store.find(), store.uri)
    assert {parent, run_id}.isdisjoint(store.runs)


def test_other_names_and_their_deleted_runs_are_left_alone(store):
    store.train(90)
    store.train(0)
    other = store.client.create_experiment("other")
    run_id = store.client.create_run(other, start_time=0).info.run_id
    store.client.delete_run(run_id)
    retention.remove("demo", store.find(), store.uri)
    assert store.client.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(BatonError, match="there is no experiment 'none' in sqlite:"):
        retention.find_old("none", 1, 0, store.uri)


def test_to_look_for_old_trainings_makes_no_store(tmp_path):
    with pytest.raises(BatonError, match="there is no experiment 'demo' in sqlite:"):
        retention.find_old("demo", 1, 0, f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}")
    assert [*tmp_path.iterdir()] == []


def test_broken_off_half_way_it_is_completed_by_doing_it_again(store, monkeypatch):
    store.train(90, trials=2)
    newest = store.train(0)
    monkeypatch.setattr(mlflow.MlflowClient, "get_run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        retention.remove("demo", store.find(), store.uri)
    monkeypatch.undo()
    retention.remove("demo", store.find(), store.uri)
    assert store.runs == {*newest}


@pytest.fixture
def two(store):
    champions = [store.train(90), store.train(80)]
    store.train(0)
    first = store.register(champions[0][1], promote=False)
    tracking.connect(store.uri).set_registered_model_alias("demo", "champion", first)  # in MLflow's own pages
    return store, first, champions


def test_a_champion_of_which_only_its_successor_tells_stays(two):
    store, first, champions = two
    store.register(champions[1][1], promote=True)
    assert store.find().versions == []


def test_a_champion_without_a_history_stays(two):
    store, first, champions = two
    assert store.find().versions == []
    assert champions[0][0] not in store.find().trainings


def test_a_version_of_a_young_training_stays(store):
    store.train(90)
    store.register(store.train(0)[1], promote=False)
    assert store.find().trainings != []
    assert store.find().versions == []
