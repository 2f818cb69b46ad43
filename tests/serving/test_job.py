"""What is left of a batch that failed, and who is told."""

import http.server
import json
import os
import signal
import threading

import mlflow
import pandas as pd
import pytest
from serving.test_scoring import ROWS, train

from baton import Busy, InputMissing, SettingsError, TooManyRejects, config
from baton.handover import history, registry, tracking
from baton.serving import batch, job, scoring

ASKED = {"name": "demo", "batch": "b", "score_data": "new.csv"}


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "ROOT", tmp_path)


def record() -> dict:
    return json.loads((config.ROOT / "predictions/demo/_failed/batch=b/_manifest.json").read_text())


def test_a_failed_batch_leaves_a_record_beside_its_last_good_result(tmp_path):
    good = batch.folder_of("demo", "b")
    good.mkdir(parents=True)
    pd.DataFrame({"a": [1]}).to_parquet(good / "part-0.parquet")
    job.record_failure(ASKED, InputMissing("new.csv: there is no such file"))
    found = record()
    assert {key: found[key] for key in ("status", "outcome", "exit_code", "reason", "name", "batch", "input")} == {
        "status": "failed", "outcome": "input missing", "exit_code": 5, "reason": "new.csv: there is no such file",
        "name": "demo", "batch": "b", "input": {"source": "new.csv"},
    }  # fmt: skip
    assert pd.read_parquet(tmp_path / "predictions" / "demo")["a"].tolist() == [1]  # readers pass over it


def test_the_rejected_rows_are_left_with_the_reason(tmp_path):
    rejects = tmp_path / "predictions/demo/.batch=b/result"
    rejects.mkdir(parents=True)
    pd.DataFrame({"_row": [3]}).to_parquet(rejects / "_rejects.parquet")
    job.record_failure(ASKED, TooManyRejects("too many"))
    assert pd.read_parquet(tmp_path / "predictions/demo/_failed/batch=b/_rejects.parquet")["_row"].tolist() == [3]


def test_the_record_of_a_failure_has_nothing_of_an_earlier_one(tmp_path):
    test_the_rejected_rows_are_left_with_the_reason(tmp_path)
    job.record_failure(ASKED | {"score_data": "days/{batch}.csv"}, InputMissing("gone"))
    assert [file.name for file in (tmp_path / "predictions/demo/_failed/batch=b").iterdir()] == ["_manifest.json"]
    assert record()["input"] == {"source": "days/b.csv"}


def test_that_another_run_is_at_work_is_no_failure(tmp_path):
    job.record_failure(ASKED | {"on_failure": f"touch {tmp_path}/called"}, Busy("another"))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["../up", "a/b", None])
def test_a_name_that_is_none_leaves_no_record_anywhere(tmp_path, name):
    job.record_failure(ASKED | {"name": name, "on_failure": f"cat > {tmp_path}/told.json"}, SettingsError("name: bad"))
    assert [path.name for path in tmp_path.iterdir()] == ["told.json"]
    assert json.loads((tmp_path / "told.json").read_text())["outcome"] == "settings"


def test_a_command_is_given_the_record_once(tmp_path):
    error = InputMissing("gone")
    for _ in range(2):
        job.record_failure(ASKED | {"on_failure": "cat >> told.json"}, error)
    assert json.loads((tmp_path / "told.json").read_text()) == record()


@pytest.fixture
def receiver():
    """A web server on loopback: its address, and what it was sent."""
    received = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(500 if "broken" in self.path else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_web_address_is_sent_the_record_with_its_secret_filled_in(receiver, monkeypatch):
    address, received = receiver
    monkeypatch.setenv("HOOK", "s3cret")
    job.record_failure(ASKED | {"on_failure": f"{address}/${{HOOK}}"}, InputMissing("gone"))
    assert received == [("/s3cret", "application/json", record())]


def test_what_goes_wrong_there_is_told_and_hides_nothing(receiver, monkeypatch, capsys):
    address, _ = receiver
    monkeypatch.setenv("HOOK", "broken")
    for called in (f"{address}/${{HOOK}}", "exit 7", "http://127.0.0.1:9/"):
        job.record_failure(ASKED | {"on_failure": called}, InputMissing("gone"))
        printed = capsys.readouterr().err
        assert printed.startswith(f"on_failure ({called}) failed as well: ")
        assert "broken" not in printed
        assert record()["outcome"] == "input missing"


def test_a_batch_is_entered_in_mlflow_though_a_run_was_killed_before(tmp_path, monkeypatch):
    asked = train(tmp_path, monkeypatch)
    ROWS.to_csv(tmp_path / "new.csv", index=False)
    (tmp_path / "report.html").write_text("report")

    def interrupt(*_):
        raise KeyboardInterrupt

    def publish() -> str:
        received, *_ = batch.receive(asked)
        assert received.complete is False
        scoring.score(received, asked)
        return job.publish(received, tmp_path / "report.html", asked.mlflow_tracking_uri)

    with monkeypatch.context() as killed:
        killed.setattr(tracking, "log_batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            publish()
    assert publish() == "Batch b of demo: 40 rows scored by version 1, 0 rejected, in predictions/demo/batch=b"
    (run,) = mlflow.search_runs(experiment_names=["demo-batches"], output_format="list")
    assert (run.info.status, run.data.metrics["rows_scored"]) == ("FINISHED", 40)
    assert (run.data.tags["batch"], run.data.tags["model_version"]) == ("b", "1")
    assert run.data.metrics["seconds"] > 0
    artifacts = tracking.connect(asked.mlflow_tracking_uri).list_artifacts(run.info.run_id)
    assert {file.path for file in artifacts} == {"_manifest.json", "_report.html"}
    ROWS.head(30).to_csv(tmp_path / "new.csv", index=False)
    with monkeypatch.context() as gone:
        gone.setattr(tracking, "log_batch", lambda *_: {}["the store"])
        assert publish().splitlines()[-1] == (
            "  Look at this: the batch is published, and is not recorded in MLflow: 'the store'"
        )
    assert len(batch.read(batch.folder_of("demo", "b"))) == 30


def test_the_champion_of_a_day_is_the_one_when_it_ended(monkeypatch):
    def event(version, day, kind=history.PROMOTED, previous=None):
        return history.Event(kind, version, previous, "because", time=f"{day}T12:00:00+00:00")

    events = [
        event("2", "2026-01-03", previous="1"),
        event("3", "2026-01-05"),
        event("2", "2026-01-05", history.ROLLED_BACK),
    ]
    events.append(event("4", "2026-01-06", history.REFUSED))
    monkeypatch.setattr(history, "read", lambda name, uri: events)
    asked = config.Settings(name="demo", train_data="t", target="y")
    days = {day: job._champion_on(f"2026-01-0{day}", asked) for day in range(2, 8)}
    assert days == {2: "1", 3: "2", 4: "2", 5: "2", 6: "2", 7: "2"}


def test_a_range_needs_an_input_for_each_day(tmp_path):
    (tmp_path / "env.yaml").write_text("name: demo\ntrain_data: t.csv\nscore_data: new.csv\ntarget: y\nbatch: x\n")
    with pytest.raises(SettingsError, match="name a pattern, such as --env--score_data 'days/{batch}.csv'"):
        job.backfill(["2026-01-01"], {})


def test_a_range_goes_on_after_a_day_that_fails_in_a_way_that_nobody_thought_of(tmp_path, monkeypatch):
    keys = "name: demo\ntrain_data: t.csv\nscore_data: 'days/{batch}.csv'\ntarget: y\nbatch: x\n"
    (tmp_path / "env.yaml").write_text(keys)

    def score(changed, again):
        if changed["batch"] == "2026-01-01":
            raise ValueError("what a library says")
        return {"outcome": "scored", "batch": changed["batch"]}

    monkeypatch.setattr(job, "score", score)
    job.TERMINATED.set()  # by a batch before, in the same process
    assert job.backfill(["2026-01-01", "2026-01-02"], {}) == [
        {"outcome": "failed", "exit_code": 1, "reason": "what a library says", "batch": "2026-01-01"},
        {"outcome": "scored", "batch": "2026-01-02"},
    ]


def test_the_batch_is_named_as_ploomber_names_it(tmp_path):
    keys = "name: demo\ntrain_data: t.csv\nscore_data: new.csv\ntarget: y\n"
    for written, length in (("{{now[:10]}}", 10), ("{{ now[:13] }}", 13), ("{{now}}", 26)):
        (tmp_path / "env.yaml").write_text(f'{keys}batch: "{written}"\n')
        found = job._asked({})["batch"]
        assert len(found) == length
        assert found[:4].isdigit()
    assert job._asked({"batch": "mine"})["batch"] == "mine"
    day = job._asked({"score_data": "days/{{now[:4]}}/{batch}.csv"})["score_data"]
    assert (day[5:9].isdigit(), day[9:]) == (True, "/{batch}.csv")


def test_a_batch_is_given_as_many_processes_as_it_will_keep_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "cores", lambda: 3)
    (tmp_path / "days").mkdir()

    def processes(*sizes: float, source: str = "days/{batch}-*.csv") -> int:
        for number, size in enumerate(sizes):
            with (tmp_path / f"days/b-{number}.csv").open("wb") as file:
                file.truncate(int(size))
        return job._processes(config.Settings(train_data="t", target="y", **ASKED | {"score_data": source}))

    assert (processes(9e6), processes(6e6, 6e6), processes(6e6, 90e6)) == (1, 2, 3)
    assert processes(source="sqlite:///new.db#rows") == 1


def test_a_range_that_is_ended_from_outside_ends(tmp_path, monkeypatch):
    (tmp_path / "env.yaml").write_text(
        "name: demo\ntrain_data: t.csv\nscore_data: '{batch}.csv'\ntarget: y\nbatch: x\n"
    )
    monkeypatch.setattr(job.batches, "read_manifest", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    (outcome,) = job.backfill(["2026-01-01", "2026-01-02"], {})
    assert (outcome["batch"], outcome["outcome"]) == ("2026-01-01", "failed")
    assert outcome["reason"].startswith("it was ended from outside (SIGTERM)")
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_reason_of_a_mistake_of_ours_is_the_error_that_came_first():
    first = "Traceback (most recent call last):\n  File ...\nValueError: no such thing\n"
    later = 'Traceback (most recent call last):\nploomber.exceptions.TaskBuildError: Error building task "score"\n'
    for told in (first, f"{first}\nThe above exception was the direct cause of the following exception:\n\n{later}"):
        found = job.failed(RuntimeError(told))
        assert found == {"outcome": "failed", "exit_code": 1, "reason": "ValueError: no such thing"}
    assert (
        job.failed(RuntimeError(later))["reason"] == 'ploomber.exceptions.TaskBuildError: Error building task "score"'
    )


def test_a_day_without_a_champion_leaves_its_record_as_well(tmp_path):
    keys = "name: demo\ntrain_data: t.csv\nscore_data: 'days/{batch}.csv'\ntarget: y\nbatch: x\n"
    keys += "mlflow_tracking_uri: sqlite:///m.db\non_failure: cat >> told.json\n"
    (tmp_path / "env.yaml").write_text(keys)
    [outcome] = job.backfill(["2020-01-01"], {}, champion_then=True)
    assert (outcome["outcome"], outcome["exit_code"]) == ("no champion", 4)
    written = tmp_path / "predictions/demo/_failed/batch=2020-01-01/_manifest.json"
    assert json.loads(written.read_text())["outcome"] == "no champion"
    assert json.loads((tmp_path / "told.json").read_text())["batch"] == "2020-01-01"  # once: two are no JSON
