"""The scheduler files of deploy/: they call what exists, and treat each exit code of `baton score` as they say.

Their shell lines are run with a stand-in for `baton`. What Airflow, cron and the schema validators say of them is not
asked here: deploy/README.md has the commands.
"""

import ast
import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from baton import cli, config

DEPLOY = config.ROOT / "deploy"
FILES = {path.name: path.read_text() for path in sorted(DEPLOY.iterdir()) if path.is_file()}
PLACE = "/opt/baton"  # where the files expect the project

CODES = range(12)
FINE = {0, 3}  # scored, and nothing to do
RETRIED = {1, 10}  # failed otherwise, and busy


def unit(name: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(FILES[name])
    return {section: dict(parser[section]) for section in parser.sections()}


def cronjob() -> dict:
    claim, job = yaml.safe_load_all(FILES["kubernetes-cronjob.yaml"])
    assert (claim["kind"], job["kind"]) == ("PersistentVolumeClaim", "CronJob")
    return job["spec"]


def container() -> dict:
    return cronjob()["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]


def github_step() -> dict:
    return yaml.safe_load(FILES["github-actions.yml"])["jobs"]["score"]["steps"][0]


def airflow_task() -> dict:
    """The keywords of the one task, as they are written."""
    calls = [node for node in ast.walk(ast.parse(FILES["airflow_dag.py"])) if isinstance(node, ast.Call)]
    [task] = [call for call in calls if ast.unparse(call.func) == "BashOperator"]
    return {keyword.arg: ast.unparse(keyword.value) for keyword in task.keywords}


def cron_line() -> str:
    [line] = [line for line in FILES["crontab"].splitlines() if re.match(r"[\d*]", line)]
    return line.split(maxsplit=5)[5]


@pytest.fixture
def install(tmp_path):
    """Lay out the place with a `baton` that prints its arguments and ends with a code; return where it is."""

    def lay_out(code: int) -> Path:
        program = tmp_path / ".venv-serve" / "bin" / "baton"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "asked: $*"\nexit {code}\n')
        program.chmod(0o755)
        return tmp_path

    return lay_out


def run(command: list[str], place: Path, **environment: str) -> tuple[int, str]:
    """Run a command of a file in `place`, with what its text names /opt/baton there; return its code and its output."""
    environment = {"PATH": f"{PLACE}/.venv-serve/bin:/usr/bin:/bin"} | environment
    done = subprocess.run(
        [word.replace(PLACE, str(place)) for word in command], cwd=place, text=True,
        env={name: value.replace(PLACE, str(place)) for name, value in environment.items()},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("code", CODES)
def test_cron_mails_only_what_a_person_should_see(install, code):
    path = re.search(r"^PATH=(.+)$", FILES["crontab"], re.MULTILINE)[1]
    _, mail = run(["/bin/sh", "-c", cron_line()], install(code), PATH=path)
    assert mail == ("" if code in FINE else f"baton score: exit code {code}. asked: score\n")


def test_cron_reads_no_percent_sign_as_the_end_of_the_line():
    assert "%" not in cron_line()


@pytest.mark.parametrize("code", CODES)
def test_github_turns_nothing_to_do_into_a_notice(install, code):
    ended, said = run(["bash", "-e", "-c", github_step()["run"]], install(code), BATCH="")
    assert ended == (0 if code in FINE else code)
    assert ("::notice " in said) == (code == 3)
    assert said.startswith("asked: score\n")


def test_github_hands_the_batch_on(install):
    assert run(["bash", "-e", "-c", github_step()["run"]], install(0), BATCH="2026-11-20") == (
        0,
        "asked: score --env--batch 2026-11-20\n",
    )


@pytest.mark.parametrize("code", CODES)
def test_kubernetes_tries_again_what_another_try_can_mend(install, code):
    shell, rules = container(), cronjob()["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    ended, said = run([*shell["command"], *shell["args"]], install(code))
    assert ended == (0 if code in FINE else code)
    assert said == f"asked: score {' '.join(shell['args'])}\n"
    [final] = [rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob"]
    assert (final["containerName"], final["operator"]) == (shell["name"], "In")
    assert (code in final["values"]) == (code not in RETRIED | {0})


def test_kubernetes_runs_one_at_a_time_as_the_user_of_the_image():
    job = cronjob()
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert pod["restartPolicy"] == "Never"  # the API takes a podFailurePolicy with no other
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"USER {pod['securityContext']['runAsUser']}\n" in FILES["Dockerfile"]
    kept = {mount["mountPath"] for mount in container()["volumeMounts"] if mount["name"] == "baton"}
    assert kept == {f"{PLACE}/{folder}" for folder in ("data", "store", "predictions", "products")}


def test_systemd_starts_again_what_another_try_can_mend():
    service = unit("baton-score.service")["Service"]
    assert service["SuccessExitStatus"] == "3"
    assert service["Restart"] == "on-failure"
    final = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert final == set(CODES) - FINE - RETRIED
    assert service["User"] == "baton"


def test_the_timer_is_persistent_and_starts_the_service_of_its_name():
    timer = unit("baton-score.timer")
    assert timer["Timer"] == {"OnCalendar": "*-*-* 03:15:00", "Persistent": "true"}
    assert timer["Install"] == {"WantedBy": "timers.target"}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here; the tests above still read the units")
def test_systemd_has_nothing_to_say_against_the_units(install, tmp_path):
    place = install(0)
    units = ["baton-score.service", "baton-score.timer"]
    for name in units:  # it looks whether the program is there
        (tmp_path / name).write_text(FILES[name].replace(PLACE, str(place)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "baton-score" in line]) == (0, [])


def test_airflow_skips_when_there_is_nothing_to_do():
    task = airflow_task()
    assert task["skip_on_exit_code"] == "3"
    assert task["retries"] == "0"  # it would try again whatever the code
    assert task["cwd"] == repr(PLACE)


def test_the_image_has_the_python_that_the_project_names():
    wanted = (config.ROOT / ".python-version").read_text().strip()
    assert set(re.findall(r"^FROM python:([\d.]+)-", FILES["Dockerfile"], re.MULTILINE)) == {wanted}


def test_the_image_gets_what_serves_and_nothing_else():
    ignored = (config.ROOT / ".dockerignore").read_text().splitlines()
    admitted = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert [name for name in admitted if not (config.ROOT / name).exists()] == []
    assert admitted >= {"baton", "env.yaml", "hooks.py", "pipeline.serve.yaml", "tasks", "uv.lock"}
    assert not admitted & {"mlflow.db", "mlruns", "data", "predictions", "products"}


@pytest.mark.parametrize("name", sorted({*FILES} - {"baton-score.timer", "Dockerfile"}))
def test_every_file_calls_the_command(name):
    assert re.search(r"\bbaton score\b", FILES[name])


def test_the_image_calls_the_command():
    starts = re.findall(r"^(?:ENTRYPOINT|CMD) .+$", FILES["Dockerfile"], re.MULTILINE)
    assert starts == ['ENTRYPOINT ["baton"]', 'CMD ["score"]']


@pytest.mark.parametrize("command", ["score", "backfill"])
def test_the_commands_have_the_options_that_are_given(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    lines = [line for text in FILES.values() for line in re.findall(rf"\bbaton {command}\b([^`\n]*)", text)]
    given = {option for line in lines for option in re.findall(r"(?<!\S)--(?!env--)[\w-]+", line)}
    assert given <= {*re.findall(r"--[\w-]+", capsys.readouterr().out)}


def test_the_settings_that_are_given_exist():
    given = {key for text in FILES.values() for key in re.findall(r"--env--(\w+)", text)}
    assert {"batch", "mlflow_tracking_uri"} <= given <= {*config.Settings.model_fields}
