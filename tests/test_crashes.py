"""A batch that is killed, at whatever moment: the next run completes it, and no reader ever sees a part of it.

BATON_CRASHES=200 nox -s tests -- tests/test_crashes.py -s     # as `bench/README.md` reports
"""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import copy_sources, warm_command
from serving.test_scoring import train

from baton.serving import batch

CRASHES = int(os.environ.get("BATON_CRASHES", 3))
ROWS = 12_000  # in chunks of 1,000


def table(seed: int) -> pd.DataFrame:
    """Rows of which some can't be scored."""
    generator = np.random.default_rng(seed)
    ids = generator.permutation(ROWS)
    ids[generator.integers(1, ROWS, 20)] = ids[0]
    x = generator.normal(size=ROWS).round(3).astype("str")
    x[generator.integers(0, ROWS, 50)] = "?"
    days = pd.Timestamp("2026-01-01") + pd.to_timedelta(generator.integers(0, 40, ROWS), unit="D")
    return pd.DataFrame(
        {"id": ids, "x": x, "when": days.astype("str"), "city": generator.choice(["Bern", "Basel"], ROWS)}
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    project = copy_sources(tmp_path / "project")
    train(project.folder, monkeypatch)
    project.edit("baton/serving/batch.py", "MOST_ROWS = 100_000", "MOST_ROWS = 1_000")
    project.set(
        name="demo", target="y", id_columns="id", features="none", score_data="days/{batch}.csv",
        predictions_table="sqlite:///out.db#scores",
    )  # fmt: skip
    (project.folder / "days").mkdir()
    return project


class Reader(threading.Thread):
    """Reads one batch all the while, by its manifest and as a folder, and notes how many rows there were."""

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder, self.seen, self.errors, self.ended = folder, set(), [], False

    def run(self):
        while not self.ended:
            try:
                self.seen.add(self.look(batch.read(self.folder)))
                with contextlib.suppress(FileNotFoundError):  # the one that was listed has been replaced: no mixture
                    self.seen.add(self.look(pd.read_parquet(self.folder)))
            except Exception as error:  # noqa: BLE001
                self.errors.append(repr(error))
            time.sleep(0.01)  # else it would take a core from what it watches

    def look(self, rows: pd.DataFrame) -> tuple:
        return len(rows), round(float(rows["probability"].sum()), 6)


def contents(project, name: str) -> tuple:
    """All that a batch has published, but for the time."""
    folder = project.folder / "predictions" / "demo" / f"batch={name}"
    with contextlib.closing(sqlite3.connect(project.folder / "out.db")) as database:
        stored = database.execute("SELECT id, probability FROM scores WHERE batch = ? ORDER BY id, probability", [name])
        stored = stored.fetchall()
    rows = batch.read(folder)
    rejects = pd.read_parquet(folder / "_rejects.parquet")
    assert stored == sorted(zip(rows["id"], rows["probability"], strict=True))
    assert len(rows) + len(rejects) == ROWS
    return rows.drop(columns="scored_at").to_csv(), rejects.to_csv()


def kill(project, name: str, moment, whole: float, generator: random.Random) -> None:
    """Start a run and kill it, and all that it has started, at a moment of it."""
    run = subprocess.Popen(
        [*warm_command(), "baton", "score", "--env--batch", name], cwd=project.folder, env=project.environment(),
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if moment is None:
        time.sleep(generator.uniform(0, whole))
    else:
        while run.poll() is None and not moment():
            time.sleep(0.001)
        time.sleep(generator.uniform(0, 0.05))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def test_a_batch_that_is_killed_is_completed_by_the_next_run(project):
    generator, expected = random.Random(CRASHES), {}
    for seed in (1, 2):
        table(seed).to_csv(project.folder / f"days/calm{seed}.csv", index=False)
        started = time.monotonic()
        project.run("baton", "score", "--env--batch", f"calm{seed}")
        whole = time.monotonic() - started
        expected[seed] = contents(project, f"calm{seed}")
    home, days = project.folder / "predictions" / "demo", project.folder / "days"
    table(1).to_csv(days / "night.csv", index=False)
    project.run("baton", "score", "--env--batch", "night")
    reader = Reader(home / "batch=night")
    reader.start()
    draft = home / ".batch=night"
    moments = {
        "any": None,
        "publishing": (draft / "result" / "_report.html").exists,
        "transaction": (project.folder / "out.db-journal").exists,
    }
    told = dict.fromkeys(moments, 0)
    for number in range(CRASHES):
        seed = 2 - number % 2  # the other rows than last time
        table(seed).to_csv(days / "draft", index=False)
        (days / "draft").replace(days / "night.csv")
        where = ["publishing", "transaction", "any", "any", "any", "any"][number % 6]
        kill(project, "night", moments[where], whole, generator)
        told[where] += 1
        printed = project.run("baton", "score", "--env--batch", "night", succeeds=None)
        assert contents(project, "night") == expected[seed], (number, where, printed)
        assert sorted(path.name for path in home.iterdir() if path.name != ".lock") == [
            "batch=calm1", "batch=calm2", "batch=night",
        ], (number, where)  # fmt: skip
    reader.ended = True
    reader.join()
    complete = {reader.look(batch.read(home / f"batch=calm{seed}")) for seed in (1, 2)}
    assert reader.errors == []
    assert reader.seen == complete
    print(
        f"\n{CRASHES} kills: {told}; each run takes {whole:.1f} s; the reader saw {len(complete)} results, each whole"
    )
