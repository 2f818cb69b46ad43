"""Who was champion when, and why: each decision, promotion and rollback, kept in MLflow, where a whole team sees it.

MLflow keeps no history of an alias, so each event is a tag of the registered model, never changed once it is done.
The alias is moved between writing the event and marking it as done: an event that was left open by a process that died
counts if, and only if, its version is champion.
"""

import contextlib
import dataclasses
import datetime
import getpass
import json
import random
import time
import uuid
from collections.abc import Iterable

from baton import BatonError, NoChampion
from baton.handover import tracking

CHAMPION = "champion"  # the alias
PREFIX = "baton.event."
MOMENT = "%Y-%m-%dT%H-%M-%S-%f"  # of UTC, in the name of an event
PROMOTED, REFUSED, UNDECIDED, ROLLED_BACK = "promoted", "refused", "undecided", "rolled back"
# Seconds after which an event that is still open was left by a process that died. Between writing it and moving the
# alias lie a few requests; whoever takes longer than half of this starts again. A request that hangs may take longer,
# and a machine's clock may be wrong: then of two, the later one to look takes its own back.
LIMIT = 120
LONGEST = 4000  # characters of an event: a tag of a registered model takes 5,000


@dataclasses.dataclass(frozen=True)
class Event:
    """What happened to `version` (None: it was not fit to be registered), who was champion before, and why.

    `run_id` is the candidate's, which is all there is of a challenger without a version.

    `time` is UTC, ISO 8601. `by_hand` tells a person's decision from the gate's, whose policy is `promote`. `scores`
    are a few figures of the decision: the metric, the score of each model compared, rows, rows_digest, looks; the lead
    over the champion, or without one the baseline (value, low, high, detectable, method); and the lower bound of the
    lead over the reference of `not_worse`, where there is one, else of that same lead.
    """

    kind: str
    version: str | None
    previous: str | None
    reason: str
    promote: str | None = None
    by_hand: bool = False
    scores: dict = dataclasses.field(default_factory=dict)
    run_id: str | None = None
    git_commit: str = ""
    user: str = ""
    time: str = ""
    open: bool = False

    @property
    def moves(self) -> bool:
        """Whether it made `version` champion."""
        return self.kind in {PROMOTED, ROLLED_BACK}


class ChampionChanged(BatonError):
    """Another process has promoted or rolled back since the champion was looked up."""


def champion_version(name: str, tracking_uri: str) -> str | None:
    """Resolve the alias `champion` to the number of a version; None if none was ever promoted."""
    return _champion(tracking.connect(tracking_uri), name)


def read(name: str, tracking_uri: str) -> list[Event]:
    """All events of a model, oldest first; without those that were broken off before the alias was moved."""
    client = tracking.connect(tracking_uri)
    found, then = [], _champion(client, name)  # who was champion after the event that is looked at
    for event in (event for _, event in sorted(_events(client, name).items(), reverse=True)):
        if event.open and event.version != then:
            continue
        found.append(event)
        then = event.previous if event.moves else then
    return found[::-1]


def former_champions(events: list[Event]) -> list[str]:
    """The versions that were champion, the present one last, without those that were rolled back."""
    stack: list[str] = []
    for event in (event for event in events if event.moves):
        if event.previous not in {None, *stack[-1:]}:  # promoted before events were kept, or in MLflow's own pages
            stack.append(event.previous)
        if event.kind == ROLLED_BACK and event.version in stack:
            while stack[-1] != event.version:  # a version may have been champion more than once
                stack.pop()
        else:
            stack.append(event.version)
    return stack


def record(name: str, event: Event, tracking_uri: str) -> None:
    """Keep an event that moves no alias; also of a model of which no version is fit to be registered yet."""
    from mlflow.exceptions import MlflowException

    client = tracking.connect(tracking_uri)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    _write(client, name, _new_key(_events(client, name)), event)


def move(name: str, event: Event, tracking_uri: str) -> None:
    """Make the event's version champion, and keep the event, if `event.previous` is still the champion.

    Of several processes that do this at the same time, one moves the alias; each of the others raises
    `ChampionChanged`, or waits for its turn: an event is written before the others' are read, so that of two, at least
    one sees the other, and takes its own back.
    """
    client = tracking.connect(tracking_uri)
    noticed: dict[str, float] = {}  # when each event of another was first seen open, by the clock of this process

    def others_at_work(events: dict[str, Event], key: str = "") -> bool:
        now = time.monotonic()
        waited = {one: now - noticed.setdefault(one, now) for one, other in events.items() if other.open and one != key}
        return any(seconds < LIMIT and _age(events[one]) < LIMIT for one, seconds in waited.items())

    def take_back(key: str, champion: str | None) -> None:
        client.delete_registered_model_tag(name, key)
        raise ChampionChanged(
            f"another process has made version {champion} of {name} champion meanwhile; it was version"
            f" {event.previous}. Look at `baton history` and start again"
        )

    while True:
        while others_at_work(there := _events(client, name)):
            time.sleep(0.2)
        started, key = time.monotonic(), _new_key(there)
        _write(client, name, key, dataclasses.replace(event, open=True))
        before, champion = _events(client, name), _champion(client, name)
        if champion != event.previous:
            take_back(key, champion)
        if others_at_work(before, key) or time.monotonic() - started > LIMIT / 2:
            client.delete_registered_model_tag(name, key)
            time.sleep(random.uniform(0.1, 1))
            continue
        client.set_registered_model_alias(name, CHAMPION, event.version)
        for one, other in _events(client, name).items():
            if other.moves and not other.open and (one not in before or before[one].open):  # it took this one for dead
                client.set_registered_model_alias(name, CHAMPION, other.version)
                take_back(key, other.version)
        _write(client, name, key, event)
        return


def _age(event: Event) -> float:
    """Seconds since an event was written, if the clock of whoever wrote it is right."""
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(event.time)
    return age.total_seconds()


def _champion(client, name: str) -> str | None:
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as error:
        if error.error_code == "INVALID_PARAMETER_VALUE" or tracking.is_missing(error, client, name):
            return None
        raise


def _events(client, name: str) -> dict[str, Event]:
    fields = {field.name for field in dataclasses.fields(Event)}
    found = {key: json.loads(value) for key, value in _registered(client, name).tags.items() if key.startswith(PREFIX)}
    return {key: Event(**{name: one[name] for name in fields & one.keys()}) for key, one in found.items()}


def _registered(client, name: str):
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if not tracking.is_missing(error, client, name):
            raise
        raise NoChampion(f"no model named {name!r} is registered: train one with `ploomber build`") from None


def _new_key(there: Iterable[str] = ()) -> str:
    """The name of a new event, which sorts behind those there are, whatever the clocks of the machines say."""
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    for last in sorted(there)[-1:]:
        written = datetime.datetime.strptime(last.removeprefix(PREFIX).rpartition(".")[0], MOMENT)
        now = max(now, written + datetime.timedelta(microseconds=1))
    return f"{PREFIX}{now:{MOMENT}}.{uuid.uuid4().hex[:6]}"


def _write(client, name: str, key: str, event: Event) -> None:
    who = "unknown"
    with contextlib.suppress(OSError, KeyError):  # a user without a name, as in some containers
        who = getpass.getuser()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    written = dataclasses.asdict(event) | {"user": who, "time": now, "git_commit": tracking.git_commit()}
    while written["reason"] and (excess := len(_dump(written)) - LONGEST) > 0:
        written["reason"] = written["reason"][: -max(1, excess // 2)]  # a character takes one place in JSON, or two
    client.set_registered_model_tag(name, key, _dump(written))


def _dump(event: dict) -> str:
    return json.dumps(event, ensure_ascii=False)  # else most of the world's letters would take six places each
