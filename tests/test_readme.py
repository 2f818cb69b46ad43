"""What the README shows is what happens: its commands run, and its output is real."""

import re

from baton import config

README = (config.ROOT / "README.md").read_text()


def test_the_first_command_ends_by_saying_where_everything_is(first_hour):
    project, printed = first_hour
    assert "pip install nox && nox -s pipeline" in README
    tail = printed[printed.index("\npredictions ") :]
    assert re.search(r"predictions +192 rows by version 1 +python -c", tail)
    for name in ("report", "leaderboard", "experiments"):
        assert re.search(rf"^{name} ", tail, re.MULTILINE)
