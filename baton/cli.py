"""What the command `baton` does: check a table, turn an env file into Ploomber's options, show and change who serves.

baton check --env--train_data data/customers.csv --env--target left
ploomber build $(baton options examples/wine.yaml)
baton options examples/parcels.yaml | xargs ploomber build    (where a value has a space or a star in it)
baton score
baton backfill --from 2026-11-01 --to 2026-11-25
baton results
baton history
baton show 3
baton rollback --reason "complaints since Monday"
baton promote 3 --reason "the new branch needs it"
baton clean --keep 20
"""

import argparse
import contextlib
import datetime
import itertools
import json
import os
import shlex
import sys
import textwrap
import traceback
from pathlib import Path

import yaml

from baton import BatonError, NothingToDo, SettingsError, config


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return what the shell gets: 0, or 1 after a message on stderr."""
    parser = argparse.ArgumentParser("baton", description="What goes with the two pipelines.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="command")
    text = "say what a careful colleague would of the training table; takes Ploomber's options, as --env--target left"
    commands.add_parser("check", help=text, allow_abbrev=False).set_defaults(run=check)
    text = "turn an env file with some keys into options of `ploomber build`, which takes all others from env.yaml"
    options = commands.add_parser("options", help=text, allow_abbrev=False)
    options.add_argument("file", type=Path)
    options.set_defaults(run=as_options)
    text = "score a batch by the serving pipeline, as a scheduler does; the README lists the exit codes"
    scores = commands.add_parser("score", help=text, allow_abbrev=False)
    scores.set_defaults(run=score)
    text = "score a batch for each day of a range that has none yet"
    fills = commands.add_parser("backfill", help=text, allow_abbrev=False)
    fills.set_defaults(run=backfill)
    for end in ("from", "to"):
        fills.add_argument(f"--{end}", dest=end, type=datetime.date.fromisoformat, required=True, metavar="DAY")
    fills.add_argument("--champion-then", action="store_true", help="by the version that was champion on that day")
    for command in (scores, fills):
        command.add_argument(
            "--json", action="store_true", help="print a line for machines on stdout, all else on stderr"
        )
    text = "tell the last training's outcome, and where everything is"
    commands.add_parser("results", help=text, allow_abbrev=False).set_defaults(run=results)
    text = "list who was champion when, and why: each decision, promotion and rollback, newest first"
    commands.add_parser("history", help=text, allow_abbrev=False).set_defaults(run=show_history)
    text = "show the model card of a version, of the champion if none is named"
    card = commands.add_parser("show", help=text, allow_abbrev=False)
    card.add_argument("version", nargs="?")
    card.set_defaults(run=show_card)
    text = "make the previous champion champion again, if it can be served"
    back = commands.add_parser("rollback", help=text, allow_abbrev=False)
    back.set_defaults(run=roll_back)
    text = "make a registered version champion, if it can be served"
    promote = commands.add_parser("promote", help=text, allow_abbrev=False)
    promote.add_argument("version")
    promote.set_defaults(run=promote_version)
    promote.add_argument("--to", metavar="URI", help="hand it to this registry instead, where the gate decides anew")
    for command in (back, promote):
        text = "why, in a sentence: it stays in the history"
        command.add_argument("--reason", required=True, type=_sentence, help=text)
    text = "remove old trainings from the store; never what is or was champion, or scored a batch"
    cleans = commands.add_parser("clean", help=text, allow_abbrev=False)
    cleans.set_defaults(run=clean)
    cleans.add_argument("--keep", type=_whole, required=True, metavar="COUNT", help="trainings that stay, the newest")
    cleans.add_argument("--days", type=_days, default=30, help="so do those of the last days (default 30)")
    cleans.add_argument("--yes", action="store_true", help="do it; without, only say what would go")
    for_ploomber, for_baton = _part(sys.argv[1:] if arguments is None else arguments)
    chosen, rest = parser.parse_known_args(for_baton)
    rest = for_ploomber + rest
    if rest and chosen.run in {as_options, results}:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if chosen.run in {score, backfill}:
            return chosen.run(chosen, rest)
        chosen.changed = _changed(rest)
        print(chosen.run(chosen), flush=True)
    except BatonError as mistake:
        print(mistake, file=sys.stderr)
        return 1
    except BrokenPipeError:  # nobody reads on, as in `baton results | head -1`; nor is Python to try when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from baton.handover import tracking

        if (said := tracking.complaint(error)) is None:
            raise
        print(said, file=sys.stderr)
        return 1
    return 0


def check(asked) -> str:
    """Read the training table that `env.yaml`, or an option, names, and say all there is to say of it."""
    from baton import grid
    from baton.data import contract, split, tables
    from baton.handover import comparison, registry
    from baton.training import checks

    settings = config.check_settings(asked.changed)
    candidates = grid.read(settings.grid)
    table = tables.read_table(settings.train_data)
    champion = registry.champion_contract(settings)
    learned = contract.learn_contract(table, settings, champion)
    comparison.require_comparable(learned, champion, table)
    division = split.separate(table, learned, settings)
    found, facts = checks.check(table, division, settings), division.facts
    question = f"The question is {learned.task}, because {learned.task_reason}"
    told = [f"\n  Look at this: {warning}" for warning in found]
    try:
        for candidate in candidates:
            grid.check(candidate, learned.task)
    except BatonError as mistake:  # which what was found in the table may explain
        raise SettingsError(f"{mistake}\n{question}.{''.join(told)}") from None
    kinds = ", ".join(f"{column} ({kind})" for column, kind in learned.kinds.items())
    return "\n".join(
        [
            f"{settings.train_data}: {len(table)} rows; {facts['training']} training, {facts['holdout']} holdout"
            f" ({facts['holdout_share']:.1%}).",
            f"{question}; candidates are chosen by {learned.metric}.",
            f"{len(learned.columns)} column{'s' * (len(learned.columns) > 1)} to learn from: {kinds}.",
            *told,
            f"\n{len(found) or 'No'} warning{'' if len(found) == 1 else 's'}. Training can start: ploomber build",
        ]
    )


def as_options(asked) -> str:
    """Write the keys of an env file as `--env--key value`, quoted for a shell."""
    if not asked.file.is_file():
        raise BatonError(f"{asked.file}: there is no such file")
    try:
        keys = yaml.safe_load(asked.file.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BatonError(f"{asked.file}: this is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(keys, dict):
        raise BatonError(f"{asked.file}: write one key a line, as `target: left`")
    unknown = [key for key in keys if key not in config.Settings.model_fields]
    if unknown:
        nearest = config.did_you_mean(unknown[0], [*config.Settings.model_fields])
        raise BatonError(f"{asked.file}: there is no such key as {unknown[0]!r}{nearest}")
    lists = {key for key, field in config.Settings.model_fields.items() if field.annotation == list[str]}
    values = {key: ",".join(config.column_names(value)) if key in lists else value for key, value in keys.items()}
    return " ".join(f"--env--{key} {shlex.quote(_written(value))}" for key, value in values.items())


def score(asked, options: list[str]) -> int:
    """Score a batch; return the exit code."""
    from baton.serving import job

    with _machine_readable(asked.json) as out:
        try:
            outcome = job.score(_changed(options))
        except BatonError as error:
            print(str(error).strip(), file=sys.stderr)
            outcome = job.failed(error)
        except Exception as error:
            traceback.print_exc()
            outcome = job.failed(error)
        if asked.json:
            print(json.dumps(outcome), file=out, flush=True)
    return outcome["exit_code"]


def backfill(asked, options: list[str]) -> int:
    """Score a batch for each day; return the exit code of the first that failed, else that of the last."""
    from baton.serving import job

    start, end = getattr(asked, "from"), asked.to
    days = [str(start + datetime.timedelta(days)) for days in range((end - start).days + 1)]
    with _machine_readable(asked.json) as out:
        try:
            if not days:
                raise SettingsError(f"--from {start} is after --to {end}")
            outcomes = job.backfill(days, _changed(options), asked.champion_then)
        except BatonError as error:  # before the first day
            outcomes = [job.failed(error)]
        for outcome in outcomes:
            what = outcome.get("reason") or f"{outcome['rows_scored']} rows by version {outcome['model_version']}"
            day = outcome.get("batch", "no day")
            print(f"{day}  {outcome['outcome']:<16} {what.splitlines()[-1]}", file=sys.stderr)
            if asked.json:
                print(json.dumps(outcome), file=out, flush=True)
    codes = [outcome["exit_code"] for outcome in outcomes]
    bad = [code for code in codes if code not in {0, NothingToDo.exit_code}]
    return bad[0] if bad else min(codes)


@contextlib.contextmanager
def _machine_readable(asked: bool):
    """Yield stdout; if that is for machines alone, let all else that is printed, here and below, go to stderr."""
    if not asked:
        yield sys.stdout
        return
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        yield out


def results(asked=None, root: Path = config.ROOT) -> str:
    """Show the last training's outcome, and list the newest predictions, their report and the experiments."""
    manifests = sorted(root.glob("predictions/*/batch=*/_manifest.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        return "There are no predictions yet: run `ploomber build`, then `ploomber build -e pipeline.serve.yaml`."
    manifest, folder = _read(manifests[-1]), manifests[-1].parent.relative_to(root)
    compared = Path("products", manifest["name"], "compare")
    verdict = root / compared / "verdict.json"
    outcome = _read(verdict) if verdict.is_file() else {"choice": "", "reason": ""}
    python = os.path.relpath(sys.executable, root)  # one that has pandas, whatever is active in the shell
    show = "import pandas; print(pandas.read_parquet('{}'))"
    if manifest["options"]["predictions_format"] == "csv":
        show = "from baton.serving import batch; print(batch.read('{}'))"
    rows = [
        (
            "predictions",
            f"{manifest['rows_scored']} rows by version {manifest['model_version']}",
            f'{python} -c "{show.format(folder)}"',
        ),
        ("report", "of that batch", f"{python} -m webbrowser -t {folder / '_report.html'}"),
        ("leaderboard", "of all candidates", f"{python} -m webbrowser -t {compared / 'compare.html'}"),
        ("experiments", "every run and model", "nox -s ui"),
    ]
    return "\n".join(
        ["", outcome["choice"], outcome["reason"], ""]
        + [f"{name:<12} {what:<24} {command}" for name, what, command in rows]
    )


def show_history(asked) -> str:
    """List the events of a model, newest first, a line of facts and the reason below it."""
    from baton.handover import history

    settings = config.check_settings(asked.changed)
    events = history.read(settings.name, settings.mlflow_tracking_uri)
    lines = []
    for event in events[::-1]:
        what = f"version {event.version}" if event.version else f"the challenger of run {event.run_id}"
        how = f"{event.kind} by {event.user}" if event.by_hand else event.kind
        if event.kind == history.ROLLED_BACK:
            what, how = f"rolled back to version {event.version}", f"by {event.user}"
        before = f", champion was version {event.previous}" if event.previous else ""
        lines += [f"{event.time[:16].replace('T', ' ')} UTC  {what} {how}{before}; commit {event.git_commit}"]
        lines += [textwrap.indent(textwrap.fill(event.reason, 110), "    "), ""]
    number = history.champion_version(settings.name, settings.mlflow_tracking_uri)
    champion = f"champion is version {number}" if number else "there is no champion yet"
    return "\n".join([f"{settings.name}: {champion}", "", *lines]).rstrip()


def show_card(asked) -> str:
    """Return the model card of a version, and where its page lies."""
    from baton.handover import registry

    settings = config.check_settings(asked.changed)
    number = asked.version or _champion(settings)
    version = registry.version_of(settings.name, number, settings.mlflow_tracking_uri)
    if not (version.path / "card.md").is_file():
        raise BatonError(f"{version} has no model card: it was registered before versions had one")
    return f"{version}; as a page: {version.path / 'card.html'}\n\n{(version.path / 'card.md').read_text()}"


def roll_back(asked) -> str:
    """Make the previous champion champion again."""
    from baton.handover import promotion

    settings = config.check_settings(asked.changed)
    version = promotion.roll_back(settings.name, asked.reason, settings)
    return f"{version} is champion again; the next batch is scored by it"


def promote_version(asked) -> str:
    """Make a version champion by hand."""
    from baton.handover import promotion

    settings = config.check_settings(asked.changed)
    if asked.to:
        config.check_settings(asked.changed | {"mlflow_tracking_uri": asked.to})
        return promotion.hand_to(settings.name, asked.version, asked.to, asked.reason, settings).reason
    version = promotion.promote_by_hand(settings.name, asked.version, asked.reason, settings)
    return f"{version} is champion; the next batch is scored by it"


def clean(asked) -> str:
    """Remove old trainings, or say what would be removed."""
    from baton.handover import retention

    settings = config.check_settings(asked.changed)
    uri = settings.mlflow_tracking_uri
    old = retention.find_old(settings.name, asked.keep, asked.days, uri)
    if not old.runs:
        return (
            f"{settings.name}: nothing to remove of {old.all_trainings} trainings, with the {asked.keep} newest kept,"
            f" and those of the last {asked.days:g} days"
        )
    if not asked.yes:
        return f"{settings.name}: this would remove {old.describe()}. To do it, add --yes"
    retention.remove(settings.name, old, uri)
    return f"{settings.name}: removed {old.describe()}"


def _days(given: str) -> float:
    try:
        days = float(given)
    except ValueError:
        days = -1.0
    if not 0 <= days < 100_000:
        raise argparse.ArgumentTypeError("give a number of days, 0 or more")
    return days


def _whole(given: str) -> int:
    if not given.isdecimal() or int(given) < 1:
        raise argparse.ArgumentTypeError("give a whole number, 1 or more")
    return int(given)


def _sentence(given: str) -> str:
    if not given.strip():
        raise argparse.ArgumentTypeError("say why, in a sentence")
    return given.strip()


def _champion(settings: config.Settings) -> str:
    from baton.handover import history

    number = history.champion_version(settings.name, settings.mlflow_tracking_uri)
    if number is None:
        raise BatonError(f"there is no champion for {settings.name!r}: train one with `ploomber build`")
    return number


def _read(file: Path) -> dict:
    try:
        return json.loads(file.read_text())
    except ValueError:
        raise BatonError(f"{file}: the file was cut off. Delete it and build again") from None


def _part(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Part Ploomber's options, with their values, from all else: argparse would take `demo` of `show --env--name demo`
    for the version."""
    options, others, words = [], [], iter(arguments)
    for word in words:
        if not word.startswith("--env--"):
            others.append(word)
        else:
            options += [word] if "=" in word else [word, *itertools.islice(words, 1)]
    return options, others


def _changed(options: list[str]) -> dict:
    """Read `--env--key value`, or `--env--key=value`, as Ploomber does."""
    keys = config.Settings.model_fields
    words = [word for option in options for word in (option.split("=", 1) if option.startswith("--") else [option])]
    changed = {}
    for name, value in zip(words[::2], [*words[1::2], None], strict=False):
        key = name.removeprefix("--env--")
        if key == name or key not in keys:
            nearest = config.did_you_mean(key.lstrip("-"), [*keys])
            raise SettingsError(f"{name}: there is no such option{nearest}; give --env--KEY VALUE")
        if value is None or value.startswith("--env--"):
            raise SettingsError(f"{name}: there is no value behind it; give --env--KEY VALUE")
        changed[key] = None if value.lower() in {"none", "null"} else value
    return changed


def _written(value) -> str:
    return "none" if value in (None, "") else str(value)


if __name__ == "__main__":
    sys.exit(main())
