"""`nox -s ui`: the page of the trainings, on a free port, and nothing left running however it is ended."""

import concurrent.futures
import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest
import registering
from conftest import NOXFILE, ODD, PROGRAMS, free_port, serving

from baton import config, ui

ENDINGS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def alive(group: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    found = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [line[2] for line in found if line[0] == str(group) and not line[1].startswith("Z")]


def page_in(log: Path) -> str | None:
    found = re.search(r"^The trainings: (\S+)\n", log.read_text(), re.MULTILINE)
    return found and found[1]


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C end what is started here: a shell that runs the suite in the background has all of it ignore that."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


@pytest.mark.usefixtures("ctrl_c")
def test_it_shows_the_trainings_and_leaves_no_process(trained, tmp_path):
    """Three at once, all given the same port; then nox alone gets the signal, not the process it started."""
    (trained.folder / "nox_ui.py").write_text(NOXFILE)
    port = str(free_port())
    command = [PROGRAMS / "nox", "-f", "nox_ui.py", "-s", "ui", "--", "--no-browser", "--port", port]
    logs = [tmp_path / ending.name for ending in ENDINGS]
    how = {"cwd": trained.folder, "env": trained.environment()}
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor() as pool:
        starting = [serving(command, lambda log=log: page_in(log), log, **how) for log in logs]
        servers = [*pool.map(stack.enter_context, starting)]
        pages = [page_in(log) for log in logs]
        assert sum(page.startswith(f"http://127.0.0.1:{port}/") for page in pages) == 1
        assert sum(f"Port {port} is busy; using " in log.read_text() for log in logs) == 2
        for page in pages:
            server, experiment = re.fullmatch(
                r"(http://127\.0\.0\.1:\d+)/#/experiments/(\d+)/runs\?workflowType=machine_learning", page
            ).groups()
            assert "<title>MLflow</title>" in urllib.request.urlopen(server).read().decode()
            asked = json.dumps({"experiment_ids": [experiment]}).encode()
            request = urllib.request.Request(
                f"{server}/api/2.0/mlflow/runs/search", asked, {"Content-Type": "application/json"}
            )
            names = [run["info"]["run_name"] for run in json.load(urllib.request.urlopen(request))["runs"]]
            assert "lr" in names

        # A store that is a server has its page printed; nothing is started.
        trained.set(mlflow_tracking_uri=pages[0].partition("/#")[0])
        assert trained.start("python", "-m", "baton.ui", "--no-browser") == f"The trainings: {pages[0]}\n"

        for nox, ending in zip(servers, ENDINGS, strict=True):
            assert any("baton.ui" in command for command in alive(nox.pid))
            os.kill(nox.pid, ending)
        for nox in servers:
            nox.wait(300)
        given_up = time.monotonic() + 300
        while (left := [alive(nox.pid) for nox in servers]) != [[]] * 3:
            assert time.monotonic() < given_up, left
            time.sleep(0.2)


@pytest.mark.parametrize("user", ["me:${ODD}@", "me@", ""])
def test_the_page_of_a_server_is_shown_without_user_and_password(tmp_path, monkeypatch, capsys, user):
    monkeypatch.setenv("ODD", ODD)
    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setattr(ui, "find_page", lambda server, _: f"{server}/#/")  # which would ask the server
    store = f"http://{user}mlflow.example.org:5000/"
    (tmp_path / "env.yaml").write_text(f"{{name: demo, target: y, train_data: t.csv, mlflow_tracking_uri: '{store}'}}")
    assert ui.main(["--no-browser"]) == 0
    assert capsys.readouterr().out == "The trainings: http://mlflow.example.org:5000/#/\n"


def test_before_the_first_training_the_page_is_that_of_all_experiments(tmp_path, monkeypatch):
    asked, _ = registering.open_store(tmp_path, monkeypatch, name="demo")
    pages = [ui.find_page("http://x", asked.model_copy(update={"name": name})) for name in ("demo", "other")]
    assert pages == [
        f"http://x/#/{place}?workflowType=machine_learning" for place in ("experiments/1/runs", "experiments")
    ]


def test_nobody_else_on_the_network_can_reach_it():
    with ui.listen(free_port()) as first, ui.listen(first.getsockname()[1]) as second:
        assert first.getsockname()[0] == second.getsockname()[0] == "127.0.0.1"
        assert first.getsockname()[1] != second.getsockname()[1]


@pytest.mark.parametrize(("screen", "no_browser"), [("", False), (":0", True), (":0", False)])
def test_a_browser_is_opened_where_there_is_a_screen_unless_told_not_to(monkeypatch, screen, no_browser):
    monkeypatch.setattr(ui.sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    opened = []
    monkeypatch.setattr(ui.webbrowser, "open", opened.append)
    ui.show("http://x", no_browser)
    assert opened == (["http://x"] if screen and not no_browser else [])


def test_ctrl_c_is_no_error_and_a_mistake_in_the_settings_is_one(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(config, "ROOT", tmp_path)
    monkeypatch.setattr(ui, "serve", interrupt)
    (tmp_path / "env.yaml").write_text("{name: demo, target: y, train_data: t.csv}")
    assert ui.main([]) == 0
    (tmp_path / "env.yaml").write_text("{name: demo, target: y, train_data: t.csv, mlflow_tracking_uri: mlruns}")
    assert ui.main(["--no-browser"]) == 1
    assert capsys.readouterr().err.startswith("mlflow_tracking_uri 'mlruns': MLflow keeps no runs in plain folders")


def test_mlflow_still_knows_the_workflow_in_the_address():
    """The page's own scripts read it; without it they show the pages for language models."""
    built = Path(mlflow.__file__).parent / "server/js/build/static/js"
    main = next(built.glob("main.*.js")).read_text()
    assert 'MACHINE_LEARNING="machine_learning"' in main
    assert re.search(r'\.get\("workflowType"\)', main)
