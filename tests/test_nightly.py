"""`baton score`, as a scheduler runs it: how it ends, what it leaves, and what it says, whatever is wrong that night."""

import contextlib
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.parse

import pandas as pd
import pytest
import registering
import sqlalchemy
from conftest import ODD, PROGRAMS, copy_sources, free_port, warm_command
from serving.test_scoring import ROWS, train

import baton
from baton import config
from baton.data import tables
from baton.handover import registry

HERE = config.ROOT
EXIT_CODES = {kind.outcome: kind.exit_code for kind in [baton.BatonError, *baton.BatonError.__subclasses__()]}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a champion, and a batch to be scored."""
    project = copy_sources(tmp_path / "project")
    train(project.folder, monkeypatch)
    project.set(
        name="demo", target="y", id_columns="id", features="none", score_data="new.csv", batch="night",
        train_data="train.csv", on_failure="cat >> told.json",
    )  # fmt: skip
    ROWS.to_csv(project.folder / "new.csv", index=False)
    return project


def command(*arguments: str) -> list[str]:
    return [*warm_command(), "baton", *arguments]


def run(project, *arguments: str, of: str = "score") -> tuple[int, dict | list[dict], str]:
    """Run a command with --json; return its exit code, what it said in a line for each batch, and all else it said."""
    how = {"cwd": project.folder, "env": project.environment(), "capture_output": True, "text": True}
    done = subprocess.run(command(of, *arguments, "--json"), **how)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, said if of == "backfill" else said[0], done.stderr


def spoil_model(project) -> None:
    for model in project.folder.glob("mlruns/**/model.skops"):
        model.write_bytes(b"another")


def add_rows(project, *cells: str) -> None:
    table = ROWS.astype("str")
    table.loc[range(len(cells)), "x"] = cells
    table.to_csv(project.folder / "new.csv", index=False)


ENDS = {
    "settings": (lambda project: project.set(explain="many"), "explain: input should be a valid integer"),
    "no champion": (lambda project: project.set(name="other"), "there is no champion for 'other'"),
    "input missing": (lambda project: (project.folder / "new.csv").unlink(), "new.csv: there is no such file"),
    "input empty": (lambda project: (project.folder / "new.csv").write_text("id,x\n"), "a header with 2 columns, and no row"),
    "input stale": (lambda project: (project.set(max_age=1), os.utime(project.folder / "new.csv", (1e9, 1e9))), "hours old, and max_age allows 1"),
    "schema mismatch": (lambda project: ROWS.drop(columns="city").to_csv(project.folder / "new.csv"), "lacks 1 of the columns it needs: 'city'"),
    "too many rejects": (lambda project: add_rows(project, "a", "b", "c"), "3 of 40 rows can't be scored (3 unparsable)"),
    "model refused": (spoil_model, "a file of it was changed, added or removed since it was registered"),
    "failed": (lambda project: (project.folder / "new.csv").write_bytes(b"a,b\n\x00,1\n"), "this is no text but binary data"),
}  # fmt: skip


@pytest.mark.parametrize("outcome", ENDS)
def test_each_way_to_fail_has_its_exit_code_its_record_and_its_call(project, outcome):
    spoil, reason = ENDS[outcome]
    spoil(project)
    code, said, printed = run(project)
    assert (code, said["outcome"], said["exit_code"]) == (EXIT_CODES[outcome], outcome, EXIT_CODES[outcome])
    assert reason in said["reason"]
    assert reason in printed
    assert "Traceback" not in printed
    name = "other" if outcome == "no champion" else "demo"
    folder = project.folder / "predictions" / name
    record = json.loads((folder / "_failed/batch=night/_manifest.json").read_text())
    assert (record["status"], record["outcome"], record["exit_code"]) == ("failed", outcome, EXIT_CODES[outcome])
    assert json.loads((project.folder / "told.json").read_text()) == record  # once
    assert record.get("rows_rejected") == (3 if outcome == "too many rejects" else None)
    assert (folder / "_failed/batch=night/_rejects.parquet").exists() == (outcome == "too many rejects")
    assert not (folder / "batch=night").exists()


WITHOUT_THE_RIGHTS_OF_ROOT = """
import ctypes, sys
header, rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
ctypes.CDLL(None).capget(header, rights)
for kind in (0, 1):  # effective and permitted
    rights[kind] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
assert ctypes.CDLL(None).capset(header, rights) == 0
from baton import cli
sys.exit(cli.main(["score", "--json"]))
"""


def test_a_file_that_may_not_be_read_is_told_before_and_after_it_was_scored(project):
    (project.folder / "without.py").write_text(WITHOUT_THE_RIGHTS_OF_ROOT)
    how = {"cwd": project.folder, "env": project.environment(), "capture_output": True, "text": True}
    for scored_before in (False, True):
        if scored_before:
            (project.folder / "new.csv").chmod(0o600)
            assert run(project)[0] == 0
        (project.folder / "new.csv").chmod(0)
        done = subprocess.run([*warm_command(), "python", "without.py"], **how)
        said = json.loads(done.stdout)
        assert (done.returncode, said["outcome"]) == (1, "failed")
        assert said["reason"].startswith("the machine says: [Errno 13] Permission denied: ")
        assert "Traceback" not in done.stderr
        record = json.loads((project.folder / "predictions/demo/_failed/batch=night/_manifest.json").read_text())
        assert record["reason"] == said["reason"]
        assert (project.folder / "predictions/demo/batch=night").exists() == scored_before


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (
            "import os; os.kill(os.getpid(), 9)",
            "the process of demo version 1 was killed, most often for want of memory",
        ),
        ("raise MemoryError", "the machine says: there is no memory left"),
    ],
)
def test_a_machine_without_memory_says_nothing_against_the_model(project, fails, reason):
    project.edit(
        "baton/serving/scoring.py", "    asked, contract, profile", f"    {fails}\n    asked, contract, profile"
    )
    code, said, _ = run(project)
    assert (code, said["outcome"]) == (1, "failed")
    assert said["reason"].startswith(reason)


@pytest.mark.parametrize("of", ["score", "backfill"])
def test_a_mistyped_option_is_a_line_for_machines_as_well(project, of):
    days = ["--from", "2026-01-01", "--to", "2026-01-02"] if of == "backfill" else []
    code, said, _ = run(project, *days, "--env--bach", "x", of=of)
    assert code == 2
    assert (said[0] if of == "backfill" else said) == {
        "outcome": "settings", "exit_code": 2,
        "reason": "--env--bach: there is no such option (did you mean 'batch'?); give --env--KEY VALUE",
    }  # fmt: skip


def test_a_batch_is_scored_once_and_its_failure_is_forgotten_when_it_is_scored(project):
    (project.folder / "new.csv").rename(project.folder / "late.csv")
    assert run(project)[0] == EXIT_CODES["input missing"]
    (project.folder / "late.csv").rename(project.folder / "new.csv")
    code, said, printed = run(project)
    assert (code, said["outcome"], said["rows_in"], said["rows_scored"], said["replaces"]) == (0, "scored", 40, 40, "")
    assert "Batch night of demo: 40 rows scored by version 1, 0 rejected" in printed
    assert not (project.folder / "predictions/demo/_failed/batch=night").exists()
    code, said, printed = run(project)
    assert (code, said["outcome"]) == (EXIT_CODES["nothing to do"], "nothing to do")
    assert "Nothing has changed: batch night of demo was scored by version 1 from these 40 rows." in printed
    same = project.build("-e", "pipeline.serve.yaml")  # which says the same
    assert "Nothing has changed: batch night of demo was scored by version 1 from these 40 rows." in same


def test_ploomber_build_leaves_the_same_record(project):
    (project.folder / "new.csv").unlink()
    said = project.build("-e", "pipeline.serve.yaml", succeeds=False)
    assert "new.csv: there is no such file" in said
    record = json.loads((project.folder / "predictions/demo/_failed/batch=night/_manifest.json").read_text())
    assert record["outcome"] == "input missing"
    assert json.loads((project.folder / "told.json").read_text()) == record


def test_of_two_runs_of_one_batch_one_works_and_the_other_leaves(project):
    project.edit(
        "baton/serving/scoring.py",
        "    _require_unchanged(batch)\n",
        "    while not Path('go_on').exists():\n        time.sleep(0.05)\n    _require_unchanged(batch)\n",
    )
    how = {"cwd": project.folder, "env": project.environment(), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    first = subprocess.Popen(command("score"), **how)
    while not (project.folder / "predictions/demo/.batch=night/plan.json").exists():
        assert first.poll() is None
        time.sleep(0.1)
    code, said, _ = run(project)
    assert (code, said["outcome"]) == (EXIT_CODES["busy"], "busy")
    assert not (project.folder / "told.json").exists()  # the batch has not failed
    (project.folder / "go_on").touch()
    first.communicate()
    assert first.returncode == 0


def test_the_lock_of_a_dead_run_does_not_block(project):
    project.edit(
        "baton/serving/scoring.py",
        "    _require_unchanged(batch)\n",
        "    time.sleep(60)\n    _require_unchanged(batch)\n",
    )
    first = subprocess.Popen(command("score"), cwd=project.folder, env=project.environment(), start_new_session=True)
    while not (project.folder / "predictions/demo/.batch=night/plan.json").exists():
        assert first.poll() is None
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    project.edit("baton/serving/scoring.py", "    time.sleep(60)\n", "")
    assert run(project)[0] == 0


def test_a_range_of_days_is_filled_in_and_goes_on_after_a_day_that_fails(project):
    days = project.folder / "days"
    days.mkdir()
    for day in (1, 2, 4):
        ROWS.head(10 * day).to_csv(days / f"2026-01-0{day}.csv", index=False)
    (days / "2026-01-02.csv").write_text("id,x\n")
    asked = ("--from", "2026-01-01", "--to", "2026-01-04", "--env--score_data", "days/{batch}.csv")
    code, said, printed = run(project, *asked, of="backfill")
    assert code == EXIT_CODES["input empty"]  # of the first that failed
    assert [(one["batch"], one["outcome"]) for one in said] == [
        ("2026-01-01", "scored"), ("2026-01-02", "input empty"), ("2026-01-03", "input missing"), ("2026-01-04", "scored"),
    ]  # fmt: skip
    assert re.search(r"^2026-01-04  scored +40 rows by version 1$", printed, re.MULTILINE)
    for day in (2, 3):
        ROWS.head(5).to_csv(days / f"2026-01-0{day}.csv", index=False)
    code, said, _ = run(project, *asked, of="backfill")
    assert (code, [one["outcome"] for one in said]) == (0, ["nothing to do", "scored", "scored", "nothing to do"])
    assert run(project, *asked, of="backfill")[0] == EXIT_CODES["nothing to do"]
    code, said, _ = run(
        project, "--from", "2020-01-01", "--to", "2020-01-01", *asked[4:], "--champion-then", of="backfill"
    )
    assert (code, said[0]["outcome"]) == (EXIT_CODES["no champion"], "no champion")


def test_days_that_are_complete_stay_as_they_are_whoever_is_champion_by_now(project):
    (project.folder / "days").mkdir()
    for day in (1, 2):
        ROWS.head(10 * day).to_csv(project.folder / f"days/2026-01-0{day}.csv", index=False)
    asked = ("--from", "2026-01-01", "--to", "2026-01-02", "--env--score_data", "days/{batch}.csv")
    asked += ("--env--predictions_table", "sqlite:///scores.db#scores")
    assert [one["outcome"] for one in run(project, *asked, of="backfill")[1]] == ["scored"] * 2
    first = registry.version_of("demo", "1", project.uri)
    settings = config.check_settings(
        config.read_env(project.folder / "env.yaml") | {"mlflow_tracking_uri": project.uri}
    )
    registering.promote(registering.register_version(first.path, first.run_id, settings, serves="again"), settings)
    code, said, printed = run(project, *asked, of="backfill")
    assert (code, {one["outcome"] for one in said}) == (EXIT_CODES["nothing to do"], {"nothing to do"})
    assert "was scored by version 1 from these 10 rows" in printed
    # The version that is asked for is another matter, and so are other rows.
    ROWS.head(3).to_csv(project.folder / "days/2026-01-01.csv", index=False)
    said = run(project, *asked, of="backfill")[1]
    assert [(one["outcome"], one.get("model_version")) for one in said] == [("scored", "2"), ("nothing to do", None)]
    said = run(project, *asked, "--env--model_version", "1", of="backfill")[1]
    assert [(one["outcome"], one.get("model_version")) for one in said] == [("scored", "1"), ("nothing to do", None)]
    with contextlib.closing(sqlite3.connect(project.folder / "scores.db")) as database, database:
        database.execute("DELETE FROM scores WHERE batch = '2026-01-02'")
    said = run(project, *asked, of="backfill")[1]
    assert [(one["outcome"], one.get("rows_scored")) for one in said] == [("nothing to do", None), ("scored", 20)]
    # What was scored may be archived.
    (project.folder / "days/2026-01-02.csv").unlink()
    assert [one["outcome"] for one in run(project, *asked, of="backfill")[1]] == ["nothing to do"] * 2
    said = run(project, *asked, "--env--model_version", "1", of="backfill")[1]
    assert [one["outcome"] for one in said] == ["nothing to do", "input missing"]


def test_a_job_that_is_ended_by_its_time_limit_leaves_its_record(project):
    project.edit(
        "baton/serving/scoring.py",
        "    _require_unchanged(batch)\n",
        "    time.sleep(60)\n    _require_unchanged(batch)\n",
    )
    (project.folder / "job.py").write_text(
        "import os, sys; print(os.getpid(), file=open('pid', 'w'), flush=True)\n"
        "from baton import cli; sys.exit(cli.main(['score', '--json']))"
    )
    how = {"cwd": project.folder, "env": project.environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    job = subprocess.Popen([*warm_command(), "python", "job.py"], text=True, **how)
    while not [*project.folder.glob("predictions/demo/.batch=night/chunk-*.json")]:
        assert job.poll() is None
        time.sleep(0.1)
    os.kill(int((project.folder / "pid").read_text()), signal.SIGTERM)
    said, printed = job.communicate(timeout=60)
    assert (job.returncode, json.loads(said)["outcome"]) == (1, "failed")
    assert "ended from outside (SIGTERM)" in json.loads(said)["reason"]
    assert "Traceback" not in printed
    assert json.loads((project.folder / "told.json").read_text())["status"] == "failed"
    assert (project.folder / "predictions/demo/_failed/batch=night/_manifest.json").is_file()
    project.edit("baton/serving/scoring.py", "    time.sleep(60)\n", "")
    assert run(project)[0] == 0


def test_the_exit_codes_are_those_of_the_readme():
    rows = re.findall(r"^\| (\d+) \| ([a-z ]+) \|", (HERE / "README.md").read_text(), re.MULTILINE)
    assert {outcome: int(code) for code, outcome in rows} == EXIT_CODES | {"scored": 0}
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)


def test_a_registry_that_does_not_answer_is_told(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    project.set(mlflow_tracking_uri=f"http://127.0.0.1:{free_port()}")
    code, said, printed = run(project)
    assert (code, said["outcome"]) == (1, "failed")
    assert "MLflow says: " in said["reason"]
    assert "Traceback" not in printed
    assert json.loads((project.folder / "told.json").read_text())["outcome"] == "failed"
    project.edit("env.yaml", "mlflow_tracking_uri: http", "mlflow_tracking_uri: sqlite:///mlflow.db # http")
    assert run(project)[0] == 0


@pytest.mark.parametrize("where", ["COPY (", "COPY nightly_scores"], ids=["reading", "writing"])
def test_a_database_that_is_lost_half_way_publishes_nothing_and_the_next_run_is_right(project, postgres, where):
    """PostgreSQL itself ends the connection in the middle of that statement."""
    engine = sqlalchemy.create_engine(
        postgres.replace("${ODD}", urllib.parse.quote(ODD, safe="")).replace("://", "+pg8000://")
    )
    many = pd.concat([ROWS] * 500, ignore_index=True).assign(id=range(20_000))
    tables.append([many], f"{postgres}#nightly", {})
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS nightly_scores")
    project.edit("baton/serving/batch.py", "MOST_ROWS = 100_000", "MOST_ROWS = 2_000")
    project.set(score_data=f"{postgres}#nightly", predictions_table=f"{postgres}#nightly_scores")
    ended, cut = (
        threading.Event(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
    )

    def cut_off():
        with engine.connect() as connection:
            while not ended.is_set():
                if connection.exec_driver_sql(f"{cut} AND query LIKE '{where}%%'").fetchall():
                    ended.set()
                connection.rollback()

    thread = threading.Thread(target=cut_off)
    thread.start()
    code, said, printed = run(project)
    was_cut = ended.is_set()
    ended.set()
    thread.join()
    assert (was_cut, code, said["outcome"]) == (True, 1, "failed"), printed
    destination = "nightly_scores" if where.endswith("scores") else "nightly"
    assert f"#{destination}: the database says: " in said["reason"]
    assert "Traceback" not in printed
    assert not (project.folder / "predictions/demo/batch=night").exists()
    assert not sqlalchemy.inspect(engine).has_table("nightly_scores")  # its transaction was rolled back
    assert run(project)[0] == 0
    assert pd.read_sql("SELECT id FROM nightly_scores ORDER BY id", engine)["id"].tolist() == [*range(20_000)]
    assert len(pd.read_parquet(project.folder / "predictions/demo/batch=night")) == 20_000
    engine.dispose()


def test_a_full_disk_is_told_publishes_nothing_and_the_next_night_is_right(project):
    """A small file system; where none may be mounted, a limit on the size of files, which ends writing as well."""
    predictions = project.folder / "predictions"
    predictions.mkdir()
    mounted = not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", predictions]).returncode
    limit = None if mounted else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        how = {"cwd": project.folder, "env": project.environment(), "capture_output": True, "text": True}
        start = command("score") if mounted else [PROGRAMS / "baton", "score"]
        done = subprocess.run([*start, "--json"], preexec_fn=limit, **how)
        said = json.loads(done.stdout)
        assert (done.returncode, said["outcome"]) == (1, "failed")
        assert ("No space left on device" if mounted else "File too large") in said["reason"]
        assert "Traceback" not in done.stderr
        assert not (predictions / "demo" / "batch=night").exists()
        record = json.loads((predictions / "demo" / "_failed" / "batch=night" / "_manifest.json").read_text())
        assert record["reason"] == said["reason"]
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=50m", predictions], check=True)
        assert run(project)[0] == 0
        assert len(pd.read_parquet(predictions / "demo" / "batch=night")) == 40
    finally:
        if mounted:
            subprocess.run(["umount", predictions], check=True)
