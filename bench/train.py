"""Time `ploomber build` on the sample table beside what a user would do instead, and hold it against the goals.

    nox -s bench            # three rounds of each, in turn
    nox -s bench -- train 1

The same candidates, PyCaret's, are fitted and logged by a hand-written script on two processes, and by a pipeline of
notebooks as it is commonly written with Ploomber, papermill and MLflow. Prints a table of medians and ratios, and
writes it, with the machine, to README.md beside this file.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
PLOOMBER = str(PROGRAMS / "ploomber")
MARKS = "<!-- written by bench/train.py -->", "<!-- until here -->"


def seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - started


def copy_project(folder: Path) -> Path:
    """Copy the project without what it makes; return the copy."""
    made = shutil.ignore_patterns(".*", "products", "predictions", "mlruns", "mlflow.db")
    return shutil.copytree(ROOT, folder / "project", ignore=made)


def build(project: Path, grid: str = "bench/grid.yaml") -> float:
    return seconds([PLOOMBER, "build", "--env--grid", grid], project)


def script(folder: Path, grid: Path) -> float:
    (store := folder / "store").mkdir()
    return seconds([sys.executable, "bench/handwritten.py", str(store), str(grid)], ROOT)


def part_of_sweep(project: Path, values: int) -> str:
    """Write the sweep with so many values of each parameter; return its path within the project."""
    [entry] = yaml.safe_load((ROOT / "bench/grid64.yaml").read_text())
    params = {name: swept[:values] for name, swept in entry["model_params"].items()}
    file = f"sweep{values**2}.yaml"
    (project / file).write_text(yaml.safe_dump([entry | {"model_params": params}]))
    return file


def time_once() -> dict[str, float]:
    """Seconds of everything, each in a new folder."""
    took = {}
    with tempfile.TemporaryDirectory() as made:
        project = copy_project(Path(made))
        took["build"] = build(project)
        took["unchanged"] = build(project)
        took["status"] = seconds([PLOOMBER, "status", "--env--grid", "bench/grid.yaml"], project)
        took["script"] = script(Path(made), ROOT / "bench/grid.yaml")
    for values in (4, 8):
        with tempfile.TemporaryDirectory() as made:
            project = copy_project(Path(made))
            file = part_of_sweep(project, values)
            took["build", values**2] = build(project, file)
            took["script", values**2] = script(Path(made), project / file)
    return took


def time_template() -> float:
    with tempfile.TemporaryDirectory() as made:
        project = copy_project(Path(made))
        return seconds([PLOOMBER, "build"], project / "bench/template")


def table(rounds: list[dict], template: float) -> str:
    """The medians, and the medians of each round's ratios."""

    def line(what: str, ours, other, beside: str, goal: str) -> str:
        pairs = [(ours(took), other(took)) for took in rounds]
        both = [statistics.median(one) for one in zip(*pairs, strict=True)]
        ratio = statistics.median(one / two for one, two in pairs)
        return f"| {what} | {both[0]:.2f} s | {beside}: {both[1]:.2f} s | {ratio:.2f} | {goal} |"

    def more(what: str):
        return lambda took: (took[what, 64] - took[what, 16]) / 48

    lines = [
        line("ten candidates", lambda took: took["build"], lambda took: took["script"], "the script", "at most 1.15"),
        line("a sweep of 64", lambda took: took["build", 64], lambda took: took["script", 64], "the script", ""),
        line("one more candidate of it", more("build"), more("script"), "the script", "at most 1.0"),
        line(
            "ten candidates", lambda took: took["build"], lambda took: template, "notebooks under papermill",
            "at most 0.2",
        ),
        line(
            "nothing changed", lambda took: took["unchanged"], lambda took: took["status"], "`ploomber status`",
            "at most 1.1",
        ),
    ]  # fmt: skip
    return "\n".join(["| | `ploomber build` | beside | ratio | goal |", "|---|---|---|---|---|", *lines])


def machine() -> str:
    model = platform.processor() or platform.machine()
    for said in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else ():
        if said.startswith("model name"):
            model = said.partition(":")[2].strip()
    return f"{len(os.sched_getaffinity(0))} cores of {model}, Python {platform.python_version()}"


def main(rounds: int = 3) -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    found = []
    for number in range(rounds):
        found.append(time_once())
        print(f"round {number + 1}:", {str(what): round(took, 1) for what, took in found[-1].items()}, flush=True)
    written = f"{table(found, time_template())}\n\n{rounds} rounds; {machine()}."
    print(written)
    readme = Path(__file__).with_name("README.md")
    before, start, rest = readme.read_text().partition(MARKS[0])
    readme.write_text(f"{before}{start}\n{written}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
