"""The command `baton`: what it prints, and what it says of a mistake."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import registering
import yaml
from conftest import NOXFILE, PROJECT, free_port

from baton import BatonError, cli, config
from baton.handover import history, saving

BATON = Path(sys.executable).with_name("baton")
SAMPLE = "data/diabetes_train.csv: 576 rows; 465 training, 111 holdout (19.3%)."


@pytest.fixture(autouse=True)
def _project(tmp_path_factory, monkeypatch):
    """The tests' project, in a folder of its own."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("env.yaml", "features.py"):
        shutil.copy2(PROJECT / name, folder)
    (folder / "grids").symlink_to(PROJECT / "grids")
    for name in ("data", "examples"):
        (folder / name).symlink_to(config.ROOT / name)
    monkeypatch.setattr(config, "ROOT", folder)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = cli.main([*arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_check_says_what_is_asked_of_which_rows_and_columns(capsys):
    code, said, _ = run(capsys, "check")
    assert (code, said.splitlines()) == (
        0,
        [
            SAMPLE,
            "The question is binary, because Outcome has two values; candidates are chosen by AUC.",
            "8 columns to learn from: Pregnancies (number), Glucose (number), BloodPressure (number), SkinThickness (number),"
            " Insulin (number), BMI (number), DiabetesPedigreeFunction (number), Age (number).",
            "",
            "  Look at this: there are no id_columns, and without ids a changed value, or a new column, moves rows between"
            " training and holdout. No column, and no pair of columns, would do: if rows have a key where they come from,"
            " add it to the table",
            "",
            "1 warning. Training can start: ploomber build",
        ],
    )  # fmt: skip


@pytest.fixture
def visits(tmp_path) -> str:
    """A table with a column to warn of, and one that holds groups."""
    rows = [f"{number},{number % 7 * 1.5 + number % 3},c{number % 40},{number // 3 % 2}" for number in range(200)]
    (tmp_path / "visits.csv").write_text("\n".join(["visit,length,yes,[x", *rows]))
    return str(tmp_path / "visits.csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], ["3 columns to learn from: visit (number), length (number), yes (text).", "Column 'visit' looks like an id: ", "1 warning. "]),
        (["--env--id_columns", "visit"], ["2 columns to learn from: length (number), yes (text).", "No warnings. "]),
        (["--env--ignore_columns=visit, length"], ["1 column to learn from: yes (text).", "rows hold only 40 different ones", "2 warnings. "]),
        (["--env--split", "group", "--env--split_by", "yes"], ["2 columns to learn from: visit (number), length (number).", "1 warning. "]),
        (["--env--id_columns", "visit", "--env--metric", "Log Loss", "--env--split_by", "None"], ["candidates are chosen by Log Loss.", "No warnings. "]),
        (["--env--id_columns", "visit", "--env--task", "regression"], ["The question is regression, because env.yaml says so", "No warnings. "]),
    ],
)  # fmt: skip
def test_check_takes_ploombers_options(capsys, visits, options, said):
    code, printed, _ = run(capsys, "check", "--env--train_data", visits, "--env--target", "[x", *options)
    assert code == 0
    places = [printed.find(part) for part in said]
    assert min(places) >= 0, printed
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ("defalt", "grid: there is no file grids/defalt.yaml (did you mean 'default'?)"),
        (
            "- {candidate: a, model: ridge}",
            "candidate 'a': the question is multiclass, and model 'ridge' can't answer it; take another\n"
            "The question is multiclass, because ",
        ),
    ],
)
def test_check_reads_the_grid(capsys, visits, tmp_path, grid, said):
    if grid.startswith("-"):
        (tmp_path / "mine.yaml").write_text(grid)
        grid = str(tmp_path / "mine.yaml")
    code, _, printed = run(capsys, "check", "--env--train_data", visits, "--env--target", "yes", "--env--grid", grid)
    assert (code, said in printed) == (1, True), printed


def test_a_value_may_have_an_equals_sign_in_it(capsys, tmp_path):
    table = shutil.copy2(config.ROOT / "data" / "diabetes_train.csv", tmp_path / "a=b=c.csv")
    for options in ([f"--env--train_data={table}"], ["--env--train_data", str(table)]):
        assert run(capsys, "check", *options)[1].startswith(f"{table}: 576 rows; 465 training")


def test_check_divides_the_rows_as_training_would(capsys):
    said = run(capsys, "check", "--env--holdout", "0.4")[1]
    assert said.startswith("data/diabetes_train.csv: 576 rows; 354 training, 222 holdout (38.5%).")


def test_check_asks_what_the_champion_answers(capsys, tmp_path, monkeypatch):
    """As training would: its positive class stays, and a table that it can't be compared on is refused."""
    asked, facts = registering.open_store(tmp_path, monkeypatch, name="demo", train_data="t.csv", id_columns=["id"])
    rows = pd.DataFrame({"id": range(200), "a": np.arange(200) % 17, "y": ["up", "down", "up"] * 66 + ["up"] * 2})
    pipeline, learned = registering.fit(rows, id_columns=["id"])
    assert learned.positive == "down"
    arguments = saving.model_arguments(pipeline, learned, learned.read_features(rows), rows["y"], None)
    saving.save(tmp_path / "model", arguments)
    registering.promote(registering.register(tmp_path / "model", asked, facts), asked)
    keys = {key: value for key, value in asked.model_dump().items() if value not in (None, "", [], "unknown")}
    (tmp_path / "env.yaml").write_text(yaml.safe_dump(keys))
    (tmp_path / "grids").symlink_to(PROJECT / "grids")

    rows.assign(y=rows["y"].map({"up": "down", "down": "up"})).to_csv(tmp_path / "t.csv", index=False)
    code, said, _ = run(capsys, "check")
    assert (code, "because that is what the champion answers" in said) == (0, True)
    assert "counts as positive" not in said  # "up" would, as the rarer class
    rows.assign(y=rows["y"].map({"up": "high", "down": "low"})).to_csv(tmp_path / "t.csv", index=False)
    code, _, told = run(capsys, "check")
    assert (code, told[:70]) == (1, "the champion of 'demo' can't be compared with a model of this table: i")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--env--target", "Outcom"], "the table of 'diabetes' lacks 1 of the columns it needs: 'Outcom' (did you mean 'Outcome'?); correct target in env.yaml."),
        (["check", "--env--train_data", "nowhere.csv"], "nowhere.csv: there is no such file."),
        (["check", "--env--folds", "many"], "env.yaml, or an --env-- option, needs a correction:\n  folds: input should be a valid integer"),
        (["check", "--env--split", "time"], "env.yaml, or an --env-- option, needs a correction:\n  split: time goes by a column: name it in split_by"),
        (["check", "--env--target", "Age", "--env--task", "binary"], "column 'Age' has "),
        (["check", "--env--fold", "3"], "--env--fold: there is no such option (did you mean 'folds'?); give --env--KEY VALUE\n"),
        (["check", "--folds", "3"], "--folds: there is no such option (did you mean 'folds'?); give --env--KEY VALUE\n"),
        (["check", "data.csv"], "data.csv: there is no such option"),
        (["check", "--env--folds"], "--env--folds: there is no value behind it; give --env--KEY VALUE\n"),
        (["check", "--env--target", "--env--folds", "3"], "--env--target: there is no value behind it"),
        (["options", "nowhere.yaml"], "nowhere.yaml: there is no such file\n"),
        (["options", "{folder}/typo.yaml"], "{folder}/typo.yaml: there is no such key as 'fold' (did you mean 'folds'?)\n"),
        (["options", "{folder}/list.yaml"], "{folder}/list.yaml: write one key a line, as `target: left`\n"),
        (["options", "{folder}/broken.yaml"], "{folder}/broken.yaml: this is no YAML: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_message(capsys, tmp_path, arguments, said):
    for name, text in {"typo": "fold: 3", "list": "- a\n- b", "broken": "target: [a"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    code, printed, told = run(capsys, *(argument.format(folder=tmp_path) for argument in arguments))
    assert (code, printed) == (1, "")
    assert told.startswith(said.format(folder=tmp_path)), told


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bogus"],
        ["options"],
        ["options", "a.yaml", "--b"],
        ["results", "now"],
        ["check", "-x"],
        ["clean"],
        ["clean", "--keep", "0"],
        ["clean", "--keep", "x"],
        ["clean", "--keep", "1", "--days", "-1"],
        ["clean", "--keep", "1", "--days", "nan"],
    ],
)
def test_a_command_that_does_not_exist_is_refused(arguments):
    if arguments[:1] == ["check"]:
        assert cli.main(arguments) == 1
    else:
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 2


def test_options_are_quoted_for_a_shell(capsys, tmp_path):
    given = {
        "target": "it's a $HOME; x", "id_columns": ["a", "b c"], "ignore_columns": [], "split_by": None, "track": False,
        "holdout": 0.1, "seed": 0, "train_data": "data/*.csv", "predictions_table": "postgresql://me:${PASSWORD}@host/db#t",
    }  # fmt: skip
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(given))
    code, printed, _ = run(capsys, "options", str(tmp_path / "own.yaml"))
    words = shlex.split(printed)
    assert (code, len(printed.splitlines())) == (0, 1)
    assert dict(zip(words[::2], words[1::2], strict=True)) == {
        "--env--target": "it's a $HOME; x",
        "--env--id_columns": "a,b c",
        "--env--ignore_columns": "none",
        "--env--split_by": "none",
        "--env--track": "False",
        "--env--holdout": "0.1",
        "--env--seed": "0",
        "--env--train_data": "data/*.csv",
        "--env--predictions_table": "postgresql://me:${PASSWORD}@host/db#t",
    }
    told = subprocess.run(["xargs", "printf", "%s\n"], input=printed, text=True, capture_output=True, check=True)
    assert told.stdout.splitlines() == words


def test_options_of_the_examples_are_what_check_reads(capsys):
    """And need no quotes, so `$(baton options …)` will do."""
    for file in sorted((config.ROOT / "examples").glob("*.yaml")):
        _, printed, _ = run(capsys, "options", str(file))
        assert printed.split() == shlex.split(printed)
        assert run(capsys, "check", *printed.split())[0] == 0


@pytest.mark.parametrize("written", ["boat, body", "[boat, body]", "boat,body"])
def test_several_columns_are_one_word_for_a_shell(capsys, tmp_path, written):
    """Nothing divides `$(baton options …)` but its spaces."""
    (tmp_path / "titanic.yaml").write_text(f"ignore_columns: {written}\n")
    expected = (0, "--env--ignore_columns boat,body\n", "")
    assert run(capsys, "options", str(tmp_path / "titanic.yaml")) == expected


def test_no_key_is_no_option(capsys, tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert run(capsys, "options", str(tmp_path / "empty.yaml")) == (0, "\n", "")


def filed(root: Path, batch: str, version: str, verdict: dict | None = None, name: str = "demo", written="parquet"):
    folder = root / "predictions" / name / f"batch={batch}"
    folder.mkdir(parents=True)
    manifest = {"name": name, "rows_scored": 12, "model_version": version, "options": {"predictions_format": written}}
    (folder / "_manifest.json").write_text(json.dumps(manifest))
    if verdict:
        (root / "products" / name / "compare").mkdir(parents=True)
        (root / "products" / name / "compare" / "verdict.json").write_text(json.dumps(verdict))


def test_results_tell_the_outcome_and_where_things_are(tmp_path):
    filed(tmp_path, "2026-01-01", "1", {"choice": "another training", "reason": "another"}, name="churn")
    filed(tmp_path, "2026-01-01", "3", {"choice": "lr has the best mean", "reason": "AUC on 80 holdout rows: …"})
    filed(tmp_path, "2025-12-31", "4")  # scored later, of rows from before
    filed(tmp_path, "x", "5")
    (tmp_path / "predictions/demo/batch=x").rename(tmp_path / "predictions/demo/.batch=x.draft")
    lines = cli.results(root=tmp_path).splitlines()
    assert lines[:4] == ["", "lr has the best mean", "AUC on 80 holdout rows: …", ""]
    assert [line[:37].split("  ")[0] for line in lines[4:]] == ["predictions", "report", "leaderboard", "experiments"]
    assert lines[4][13:37] == "12 rows by version 4    "
    assert "pandas.read_parquet('predictions/demo/batch=2025-12-31')" in lines[4]
    assert lines[5].endswith("-m webbrowser -t predictions/demo/batch=2025-12-31/_report.html")
    assert lines[6].endswith("-m webbrowser -t products/demo/compare/compare.html")


def test_results_show_how_to_read_a_batch_in_csv(tmp_path):
    filed(tmp_path, "x", "5", written="csv")
    command = cli.results(root=tmp_path).splitlines()[4][38:]
    assert command.endswith(" -c \"from baton.serving import batch; print(batch.read('predictions/demo/batch=x'))\"")


def test_a_broken_manifest_is_named(tmp_path):
    filed(tmp_path, "x", "5")
    (tmp_path / "predictions/demo/batch=x/_manifest.json").write_text("")
    with pytest.raises(BatonError, match="batch=x/_manifest.json: the file was cut off. Delete it and build again"):
        cli.results(root=tmp_path)


def test_without_predictions_results_say_how_to_get_some(tmp_path):
    expected = "There are no predictions yet: run `ploomber build`, then `ploomber build -e pipeline.serve.yaml`."
    assert cli.results(root=tmp_path) == expected


@pytest.fixture
def refused(tmp_path, monkeypatch) -> config.Settings:
    """A project whose only training found nothing that is better than the baseline."""
    asked, _ = registering.open_store(tmp_path, monkeypatch, name="demo", train_data="t.csv")
    keys = {key: value for key, value in asked.model_dump().items() if value not in (None, "", [], {}, "unknown")}
    (tmp_path / "env.yaml").write_text(yaml.safe_dump(keys))
    reason = "it is not certainly better than the baseline"
    event = history.Event(history.REFUSED, None, None, reason, "superior", run_id="abc")
    history.record("demo", event, asked.mlflow_tracking_uri)
    return asked


@pytest.mark.usefixtures("refused")
def test_the_history_tells_of_a_refusal_before_there_is_a_champion(capsys):
    code, said, _ = run(capsys, "history")
    assert (code, said.splitlines()[0]) == (0, "demo: there is no champion yet")
    assert "UTC  the challenger of run abc refused; commit" in said
    assert "    it is not certainly better than the baseline" in said


@pytest.mark.usefixtures("refused")
def test_the_value_of_an_option_is_not_taken_for_a_version(capsys):
    assert run(capsys, "show", "--env--name", "other")[2].startswith("there is no champion for 'other': ")
    told = run(capsys, "promote", "--env--name", "other", "7", "--reason", "x")[2]
    assert told.startswith("other has no version 7, ")


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show"], "there is no champion for 'demo': train one with `ploomber build`\n"),
        (["show", "7"], "demo has no version 7, or it was deleted: `baton history` lists those there were\n"),
        (["promote", "7", "--reason", "x"], "demo has no version 7, or it was deleted: `baton history` lists those there were\n"),
        (["promote", "two", "--reason", "x"], "demo has no version two, or it was deleted: `baton history` lists those there were\n"),
        (["rollback", "--reason", "x"], "'demo' has had no champion to go back to. "),
        (["promote", "7", "--reason", "x", "--to", "sqlite:///mlflow.db"], "demo version 7 is in sqlite:///mlflow.db already. "),
        (["promote", "7", "--reason", "x", "--to", "http://me:secret@team.example"], "env.yaml, or an --env-- option, needs a correction:\n  mlflow_tracking_uri: it holds a password"),
    ],
)  # fmt: skip
def test_what_an_operator_asks_in_vain_is_told_in_one_message(capsys, arguments, said):
    code, printed, told = run(capsys, *arguments)
    assert (code, printed) == (1, "")
    assert told.startswith(said), told


@pytest.mark.usefixtures("refused")
@pytest.mark.parametrize("command", [["history"], ["show"], ["rollback", "--reason", "x"]])
def test_a_server_that_does_not_answer_is_told_in_one_line(capsys, monkeypatch, command):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, printed, told = run(capsys, *command, "--env--mlflow_tracking_uri", f"http://127.0.0.1:{free_port()}")
    assert (code, printed, len(told.splitlines())) == (1, "", 1)
    assert told.startswith("MLflow says: API request to http://127.0.0.1:"), told


@pytest.mark.parametrize("command", [["rollback"], ["promote", "3"]])
@pytest.mark.parametrize("reason", [[], ["--reason"], ["--reason", " "]])
def test_no_step_by_hand_is_without_a_reason(capsys, command, reason):
    with pytest.raises(SystemExit):
        cli.main([*command, *reason])
    assert "--reason" in capsys.readouterr().err


def test_nox_runs_each_command_as_it_is(refused, tmp_path):
    (tmp_path / "nox_baton.py").write_text(NOXFILE)
    nox = [BATON.with_name("nox"), "-f", "nox_baton.py", "-s", "baton", "--"]
    asked = [f"--env--mlflow_tracking_uri={refused.mlflow_tracking_uri}", "--env--name=demo"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NOX_")}
    how = {"cwd": tmp_path, "env": inherited, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    told = subprocess.run([*nox, "history", *asked], **how)
    assert (told.returncode, "demo: there is no champion yet" in told.stdout.splitlines()) == (0, True), told


@pytest.mark.parametrize("command", ["check", "results"])
def test_a_reader_that_stops_early_ends_it_quietly(command):
    """As in `baton results | head -1`; with what is left in the buffer, which Python tries to write when it ends."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    code = "import sys, pathlib; from baton import cli, config; config.ROOT = pathlib.Path(sys.argv[1]); "
    ran = [sys.executable, "-c", code + "sys.exit(cli.main(sys.argv[2:]))", config.ROOT, command]
    started = subprocess.Popen(ran, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered)
    started.stdout.close()
    assert (started.stderr.read(), started.wait()) == (b"", 0)


def test_a_mistake_ends_with_a_message_and_the_status_of_one():
    done = subprocess.run([BATON, "options", "nowhere.yaml"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "nowhere.yaml: there is no such file\n")
