"""Does the arithmetic of docs/scale.md hold? Simulated: tasks of uneven length on workers that die.

    nox -s bench -- scale

The arithmetic says: a build takes what it does alone, before and after its candidates, and the seconds of all of them
over the workers. Here each candidate's seconds are drawn (lognormal), whoever is idle takes the next, a worker that
dies loses what it was at, which another does again, and comes back after a minute. Prints a table in Markdown.
"""

import heapq

import numpy as np

ALONE = 15.0  # seconds of a build before its first candidate and after its last: see README.md
SPREAD = 1.0  # standard deviation of the logarithm of a candidate's seconds: some take many times as long as most
DEATHS = 1 / 3600  # of a worker, by the second: one an hour, far more than machines that can be taken away at any time
BACK = 60.0  # seconds until another is there


def arithmetic(seconds: np.ndarray, workers: int) -> float:
    return ALONE + max(seconds.sum() / workers, seconds.max())


def simulate(seconds: np.ndarray, workers: int, deaths: float, generator: np.random.Generator) -> float:
    """When the last of the tasks is done."""
    waiting = [*seconds[::-1]]
    free = [(0.0, worker) for worker in range(workers)]  # when each worker has nothing to do
    dies = generator.exponential(1 / deaths, workers) if deaths else np.full(workers, np.inf)
    last = 0.0
    while waiting:
        now, worker = heapq.heappop(free)
        task = waiting.pop()
        if dies[worker] < now + task:
            waiting.append(task)
            back = max(now, dies[worker]) + BACK
            dies[worker] = back + generator.exponential(1 / deaths)
            heapq.heappush(free, (back, worker))
        else:
            last = max(last, now + task)
            heapq.heappush(free, (now + task, worker))
    return ALONE + last


def main() -> None:
    generator = np.random.default_rng(0)
    print("| candidates of 60 s each | workers | arithmetic | simulated | a death an hour and worker |")
    print("|---|---|---|---|---|")
    for candidates in (10, 100, 1_000, 10_000):
        for workers in (2, 16, 128):
            if workers > candidates:
                continue
            rounds = []
            for _ in range(30):
                seconds = generator.lognormal(np.log(60) - SPREAD**2 / 2, SPREAD, candidates)
                found = [simulate(seconds, workers, deaths, generator) for deaths in (0, DEATHS)]
                rounds.append([arithmetic(seconds, workers), *found])
            expected, *simulated = np.mean(rounds, axis=0) / 60
            cells = " | ".join(f"{took:,.1f} min ({took / expected:.2f})" for took in simulated)
            print(f"| {candidates:,} | {workers} | {expected:,.1f} min | {cells} |", flush=True)


if __name__ == "__main__":
    main()
