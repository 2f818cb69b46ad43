"""Work that is spread over the idle cores of a build: in order, never on more of them than there are, and for good."""

import multiprocessing
import os
import select
import signal
import threading
import time

import pytest

from baton import cores

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def build(request):
    """Be at work on one of three cores."""
    made = cores.make(3, FORK)
    cores.use(made)
    with cores.held():
        yield made
    assert made.idle.get_value() == 3
    cores.use(None)


def at_work(others=None) -> tuple[float, float, int]:
    """From when to when this was at work, and the process; beside all those that a barrier waits for."""
    started = time.monotonic()
    if others:
        others.wait(60)
    time.sleep(0.1)
    return started, time.monotonic(), os.getpid()


def most_at_once(times: list[tuple]) -> int:
    return max(sum(one[0] <= moment < one[1] for one in times) for moment, *_ in times)


def test_outside_of_a_build_this_process_does_it_item_by_item():
    begun = []
    results = cores.spread(lambda item: begun.append(item) or os.getpid(), [1, 2, 3])
    assert (next(results), begun) == (os.getpid(), [1])
    assert [*results] == [os.getpid()] * 2


def test_results_come_in_the_order_of_the_items(build):
    assert [*cores.spread(lambda item: (time.sleep(0.1 * (item % 3 == 0)), item)[1], range(10))] == [*range(10)]
    assert [*cores.spread(abs, [])] == []


@pytest.mark.parametrize("others", [0, 1, 2])
def test_idle_cores_are_used_and_no_more(build, others):
    for _ in range(others):
        build.idle.acquire()
    times = [*cores.spread(at_work, [FORK.Barrier(3 - others)] * 6)]
    assert most_at_once(times) == 3 - others
    assert (os.getpid() in {process for *_, process in times}) == (others == 2)  # nothing is forked for one core
    assert build.idle.get_value() == 2 - others
    for _ in range(others):
        build.idle.release()


def test_a_core_that_falls_idle_meanwhile_is_used(build):
    build.idle.acquire()
    build.idle.acquire()
    results = cores.spread(at_work, [None] + [FORK.Barrier(3)] * 6)
    times = [next(results)]
    build.idle.release()
    build.idle.release()
    assert most_at_once(times + [*results]) == 3


def test_a_core_that_a_task_waits_for_is_not_taken(build):
    with build.waited_for:  # as a task does that waits
        assert {process for *_, process in cores.spread(at_work, [None] * 3)} == {os.getpid()}

    def wait_for_one():
        with cores.held():
            pass

    build.idle.acquire()
    build.idle.acquire()
    task = threading.Thread(target=wait_for_one)
    task.start()
    given_up = time.monotonic() + 60
    while build.waited_for.acquire(block=False):  # until the task does wait
        build.waited_for.release()
        time.sleep(0.01)
        assert time.monotonic() < given_up
    build.idle.release()
    task.join()
    build.idle.release()


def test_what_a_process_was_killed_over_is_done_here(build):
    here = os.getpid()

    def kill_itself(item: int) -> tuple[int, bool]:
        if item in (0, 1, 4) and os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return item, os.getpid() == here

    results = [*cores.spread(kill_itself, range(6))]
    assert [item for item, _ in results] == [*range(6)]
    assert [done_here for item, done_here in results if item in (0, 1, 4)] == [True] * 3
    assert build.idle.get_value() == 2


def test_what_a_function_raises_is_raised_here_and_ends_the_others(build, capfd):
    def fail(item: int):
        time.sleep(3600 if item else 0)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        [*cores.spread(fail, range(4))]
    assert not multiprocessing.active_children()
    assert build.idle.get_value() == 2
    assert capfd.readouterr().err == ""


def test_results_that_nobody_asks_for_any_more_are_not_waited_for(build):
    results = cores.spread(lambda item: time.sleep(3600 * item), range(4))
    next(results)
    results.close()
    assert not multiprocessing.active_children()
    assert build.idle.get_value() == 2


def test_processes_end_with_the_one_that_is_killed(build):
    ended, alive = os.pipe()

    def spread() -> None:
        [*cores.spread(lambda item: os.write(alive, b"x") and time.sleep(3600), range(3))]

    owner = FORK.Process(target=spread)
    owner.start()
    os.close(alive)  # held by the owner and those it has started alone now
    started = 0
    while started < 3:
        started += len(os.read(ended, 3))
    owner.kill()
    assert select.select([ended], [], [], 300)[0]
    assert os.read(ended, 1) == b""
    os.close(ended)
    owner.join()
    for _ in range(2):  # what the one that was killed held
        build.idle.release()
