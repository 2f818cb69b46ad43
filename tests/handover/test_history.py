"""The history of champions: what is read back, the way back, and that of two at a time one sees the other."""

import dataclasses
import datetime
import os
import subprocess
import time
import types
from pathlib import Path

import mlflow
import pytest
import registering
from conftest import warm_command

from baton import BatonError
from baton.handover import history, tracking
from baton.handover.history import PROMOTED, REFUSED, ROLLED_BACK, Event

ROOT = Path(__file__).parents[2]  # config.ROOT is the store's here


@pytest.fixture
def store(tmp_path, monkeypatch) -> str:
    """A store with a registered model of five versions, without files."""
    asked, _ = registering.open_store(tmp_path, monkeypatch, name="demo")
    client = tracking.connect(asked.mlflow_tracking_uri)
    client.create_registered_model("demo")
    for _ in range(5):
        client.create_model_version("demo", str(tmp_path))
    return asked.mlflow_tracking_uri


def move(store, kind, version, previous, **keys) -> None:
    history.move("demo", Event(kind, version, previous, f"because of {version}", **keys), store)


def champion(store) -> str:
    return str(tracking.connect(store).get_model_version_by_alias("demo", "champion").version)


def test_events_are_read_in_their_order_with_who_when_and_at_which_commit(store):
    move(store, PROMOTED, "1", None, promote="superior", scores={"metric": "AUC", "challenger": 0.75})
    history.record("demo", Event(REFUSED, "2", "1", "it is worse", "superior"), store)
    move(store, PROMOTED, "3", "1", by_hand=True)
    first, second, third = history.read("demo", store)
    assert [(one.kind, one.version, one.previous) for one in (first, second, third)] == [
        (PROMOTED, "1", None), (REFUSED, "2", "1"), (PROMOTED, "3", "1"),
    ]  # fmt: skip
    assert (first.reason, first.promote, first.scores) == (
        "because of 1",
        "superior",
        {"metric": "AUC", "challenger": 0.75},
    )
    assert (first.by_hand, third.by_hand, first.git_commit) == (False, True, tracking.git_commit())
    assert first.time <= second.time <= third.time
    assert champion(store) == "3"


@pytest.mark.parametrize("letter", ["x", "é", "京"])
def test_a_reason_that_is_too_long_for_the_store_is_cut(store, letter):
    history.record("demo", Event(REFUSED, "2", None, letter * 10_000), store)
    [kept] = history.read("demo", store)
    assert 3000 < len(kept.reason) < 5000
    assert set(kept.reason) == {letter}


@pytest.mark.parametrize(
    ("events", "former"),
    [
        ([], []),
        ([("promoted", "1", None)], ["1"]),
        ([("promoted", "2", "1")], ["1", "2"]),  # version 1 was promoted before events were kept
        ([("promoted", "1", None), ("refused", "2", "1"), ("promoted", "3", "1")], ["1", "3"]),
        ([("promoted", "1", None), ("promoted", "2", "1"), ("rolled back", "1", "2")], ["1"]),
        ([("promoted", "1", None), ("promoted", "2", "1"), ("rolled back", "1", "2"), ("promoted", "3", "1")], ["1", "3"]),
        ([("promoted", "1", None), ("promoted", "2", "1"), ("promoted", "3", "2"), ("rolled back", "2", "3"), ("rolled back", "1", "2")], ["1"]),
        ([("promoted", "1", None), ("promoted", "2", "1"), ("promoted", "1", "2"), ("promoted", "3", "1"), ("rolled back", "1", "3")], ["1", "2", "1"]),
        ([("promoted", "1", None), ("promoted", "3", "2")], ["1", "2", "3"]),  # version 2 got the alias in MLflow's pages
    ],
)  # fmt: skip
def test_the_way_back_leads_over_those_that_were_not_rolled_back(events, former):
    assert history.former_champions([Event(*event, "because") for event in events]) == former


def test_a_promotion_over_another_champion_than_the_one_compared_moves_nothing(store):
    move(store, PROMOTED, "1", None)
    for compared in (None, "2"):
        with pytest.raises(history.ChampionChanged, match="another process has made version 1 of demo champion"):
            move(store, PROMOTED, "3", compared)
    assert (champion(store), len(history.read("demo", store))) == ("1", 1)


RACE = """
import sys, time
from pathlib import Path
from baton.handover import history, tracking
number, uri, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
tracking.connect(uri).search_registered_models()
(folder / f"ready-{number}").touch()
while len(list(folder.glob("ready-*"))) < 4:
    time.sleep(0.001)
try:
    history.move("demo", history.Event("promoted", number, "1", "race"), uri)
    print("moved")
except history.ChampionChanged:
    print("saw the other")
"""


def test_of_four_processes_at_once_one_promotes_and_the_others_see_it(store, tmp_path):
    move(store, PROMOTED, "1", None)
    (tmp_path / "race.py").write_text(RACE)
    here = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "stdout": subprocess.PIPE, "text": True}
    race = [*warm_command(), "python", str(tmp_path / "race.py")]
    started = [subprocess.Popen([*race, number, store, str(tmp_path)], **here) for number in "2345"]
    said = {number: one.communicate()[0].strip() for number, one in zip("2345", started, strict=True)}
    winners = [number for number, what in said.items() if what == "moved"]
    assert sorted(said.values()) == ["moved", "saw the other", "saw the other", "saw the other"]
    assert [champion(store)] == winners
    assert [event.version for event in history.read("demo", store)] == ["1", *winners]


def open_event(store, **keys) -> None:
    """Leave an event as a process does that died before it was done."""
    history._write(tracking.connect(store), "demo", history._new_key(), dataclasses.replace(Event(**keys), open=True))


def test_an_event_that_was_broken_off_counts_if_its_version_became_champion(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    open_event(store, kind=PROMOTED, version="2", previous="1", reason="died before the alias was moved")
    assert [event.version for event in history.read("demo", store)] == ["1"]
    open_event(store, kind=PROMOTED, version="3", previous="1", reason="died after")
    tracking.connect(store).set_registered_model_alias("demo", "champion", "3")
    assert [event.version for event in history.read("demo", store)] == ["1", "3"]
    monkeypatch.setattr(history, "LIMIT", 4)  # so that it is not waited for long
    move(store, PROMOTED, "4", "3")
    assert [event.version for event in history.read("demo", store)] == ["1", "3", "4"]
    move(store, ROLLED_BACK, "3", "4")
    assert history.former_champions(history.read("demo", store)) == ["1", "3"]


def test_an_event_does_not_count_before_its_version_is_champion(store, monkeypatch):
    move(store, PROMOTED, "1", None)

    def lose_the_connection(*_):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_registered_model_alias", lose_the_connection)
        with pytest.raises(ConnectionError):
            move(store, PROMOTED, "2", "1")
    assert [event.version for event in history.read("demo", store)] == ["1"]


def test_an_event_that_another_is_writing_is_waited_for(store, monkeypatch):
    monkeypatch.setattr(history, "LIMIT", 4)
    open_event(store, kind=PROMOTED, version="2", previous=None, reason="at work, or dead")
    started = time.monotonic()
    move(store, PROMOTED, "1", None)
    assert 1.5 < time.monotonic() - started < 30
    assert champion(store) == "1"


def test_of_two_that_write_at_the_same_moment_none_moves_before_it_has_looked_for_the_other(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    monkeypatch.setattr(history, "LIMIT", 4)
    write, written = history._write, []

    def write_both(client, name, key, event):
        write(client, name, key, event)
        if not written:
            written.append(key)
            other = dataclasses.replace(event, version="3", reason="another's")
            write(client, name, history._new_key(), other)

    monkeypatch.setattr(history, "_write", write_both)
    started = time.monotonic()
    move(store, PROMOTED, "2", "1")
    assert 1.5 < time.monotonic() - started < 30  # until the other, which never goes on, counts as dead
    assert [event.version for event in history.read("demo", store)] == ["1", "2"]


def test_a_request_that_hangs_until_its_event_counts_as_dead_moves_nothing_any_more(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    monkeypatch.setattr(history, "LIMIT", 3)
    ask, hung = mlflow.MlflowClient.set_registered_model_alias, []

    def hang(client, name, alias, version):
        if not hung:
            hung.append(version)
            move(store, PROMOTED, "3", "1")
        ask(client, name, alias, version)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", hang)
    with pytest.raises(history.ChampionChanged, match="another process has made version 3 of demo champion meanwhile"):
        move(store, PROMOTED, "2", "1")
    assert (hung, champion(store)) == (["2"], "3")
    assert [event.version for event in history.read("demo", store)] == ["1", "3"]


def test_an_event_from_the_future_is_waited_for_no_longer_than_another(store, monkeypatch):
    """As a machine left it whose clock was ahead."""
    monkeypatch.setattr(history, "LIMIT", 1)
    dump, later = history._dump, (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)).isoformat()
    with monkeypatch.context() as patch:
        patch.setattr(history, "_dump", lambda event: dump(event | {"time": later}))
        open_event(store, kind=PROMOTED, version="2", previous=None, reason="dead")
    started = time.monotonic()
    move(store, PROMOTED, "1", None)
    assert 0.9 < time.monotonic() - started < 30
    assert champion(store) == "1"


def test_events_are_in_the_order_in_which_they_were_written_whatever_the_clocks_say(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    ahead, clock = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2), datetime.datetime
    with monkeypatch.context() as patch:
        machine = types.SimpleNamespace(datetime=types.SimpleNamespace(now=lambda _: ahead, strptime=clock.strptime))
        machine.UTC, machine.timedelta = datetime.UTC, datetime.timedelta
        patch.setattr(history, "datetime", machine)
        move(store, PROMOTED, "2", "1")
    move(store, PROMOTED, "3", "2")
    history.record("demo", Event(REFUSED, "4", "3", "it is worse"), store)
    assert [event.version for event in history.read("demo", store)] == ["1", "2", "3", "4"]
    assert history.former_champions(history.read("demo", store)) == ["1", "2", "3"]


def test_a_model_that_was_never_registered_has_no_history(store):
    with pytest.raises(BatonError, match="no model named 'other' is registered: train one with `ploomber build`"):
        history.read("other", store)


def tags(store) -> int:
    return len(tracking.connect(store).get_registered_model("demo").tags)


def test_what_a_process_left_open_counts_whatever_came_after_it(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    open_event(store, kind=PROMOTED, version="2", previous="1", reason="died after the alias was moved")
    tracking.connect(store).set_registered_model_alias("demo", "champion", "2")
    history.record("demo", Event(REFUSED, "3", "1", "compared with the champion before"), store)
    assert [event.version for event in history.read("demo", store)] == ["1", "2", "3"]
    monkeypatch.setattr(history, "LIMIT", 1)
    move(store, ROLLED_BACK, "1", "2")
    assert [event.version for event in history.read("demo", store)] == ["1", "2", "3", "1"]


def test_a_champion_that_was_set_elsewhere_comes_back_into_the_order():
    events = [
        ("promoted", "1", None),
        ("promoted", "2", "1"),
        ("promoted", "3", "1"),
    ]  # 1 got the alias in MLflow's pages
    assert history.former_champions([Event(*event, "because") for event in events]) == ["1", "2", "1", "3"]


def test_an_event_that_was_left_open_long_ago_is_not_waited_for(store, monkeypatch):
    dump, before = history._dump, (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)).isoformat()
    with monkeypatch.context() as patch:
        patch.setattr(history, "_dump", lambda event: dump(event | {"time": before}))
        open_event(store, kind=PROMOTED, version="2", previous=None, reason="dead")
    started = time.monotonic()
    monkeypatch.setattr(history, "LIMIT", 20)
    move(store, PROMOTED, "1", None)
    assert time.monotonic() - started < 10


def test_what_moved_nothing_leaves_no_event_that_others_wait_for(store):
    move(store, PROMOTED, "1", None)
    with pytest.raises(history.ChampionChanged):
        move(store, PROMOTED, "3", None)
    assert tags(store) == 1


def test_where_the_champion_was_taken_away_meanwhile_nothing_is_moved(store):
    move(store, PROMOTED, "1", None)
    tracking.connect(store).delete_registered_model_alias("demo", "champion")
    with pytest.raises(history.ChampionChanged):
        move(store, PROMOTED, "2", "1")
    assert history.champion_version("demo", store) is None


def test_whoever_takes_longer_than_half_the_limit_starts_again(store, monkeypatch):
    monkeypatch.setattr(history, "LIMIT", 4)
    write, written = history._write, []

    def write_slowly(client, name, key, event):
        write(client, name, key, event)
        written.append((key, event.open))
        if len(written) == 1:
            time.sleep(2.5)

    monkeypatch.setattr(history, "_write", write_slowly)
    move(store, PROMOTED, "1", None)
    (first, *_), (second, *_), (third, *_) = written
    assert [one for _, one in written] == [True, True, False]
    assert first != second == third
    assert (champion(store), tags(store)) == ("1", 1)


def test_another_that_was_taken_for_dead_and_ends_is_seen(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    monkeypatch.setattr(history, "LIMIT", 1)
    client, key, other = tracking.connect(store), history._new_key(), Event(PROMOTED, "3", "1", "it hung")
    history._write(client, "demo", key, dataclasses.replace(other, open=True))
    ask, hung = mlflow.MlflowClient.set_registered_model_alias, []

    def end_the_other(client, name, alias, version):
        if not hung:
            hung.append(version)
            ask(client, name, alias, "3")
            history._write(client, name, key, other)
        ask(client, name, alias, version)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", end_the_other)
    with pytest.raises(history.ChampionChanged, match="version 3"):
        move(store, PROMOTED, "2", "1")
    assert (hung, champion(store)) == (["2"], "3")
    assert [event.version for event in history.read("demo", store)] == ["1", "3"]


def test_a_decision_that_moves_nothing_is_in_nobodys_way(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    ask, told = mlflow.MlflowClient.set_registered_model_alias, []

    def refuse_another(client, name, alias, version):
        if not told:
            told.append(version)
            history.record("demo", Event(REFUSED, "3", "1", "it is worse"), store)
        ask(client, name, alias, version)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", refuse_another)
    move(store, PROMOTED, "2", "1")
    assert champion(store) == "2"
    assert sorted(event.version for event in history.read("demo", store)) == ["1", "2", "3"]


def test_a_promotion_that_ends_while_this_one_looks_is_seen(store, monkeypatch):
    move(store, PROMOTED, "1", None)
    look, ended = history._champion, []

    def look_before_it_ends(client, name):
        found = look(client, name)
        if not ended:
            ended.append(True)
            history._write(client, name, history._new_key(), Event(PROMOTED, "3", "1", "another's"))
            client.set_registered_model_alias(name, "champion", "3")
        return found

    monkeypatch.setattr(history, "_champion", look_before_it_ends)
    with pytest.raises(history.ChampionChanged, match="version 3"):
        move(store, PROMOTED, "2", "1")
    assert champion(store) == "3"


def test_a_reason_whose_signs_take_two_places_is_cut(store):
    history.record("demo", Event(REFUSED, "2", None, '"' * 10_000), store)
    [kept] = tracking.connect(store).get_registered_model("demo").tags.values()
    assert history.LONGEST - 10 < len(kept) <= history.LONGEST


def test_what_a_newer_version_keeps_besides_is_passed_by(store, monkeypatch):
    dump = history._dump
    with monkeypatch.context() as patch:
        patch.setattr(history, "_dump", lambda event: dump(event | {"later": 1}))
        history.record("demo", Event(REFUSED, "2", None, "because"), store)
    [kept] = history.read("demo", store)
    assert kept.reason == "because"
