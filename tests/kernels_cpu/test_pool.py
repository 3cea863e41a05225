"""Threads share out ranges: each is taken once, whoever waits or sleeps."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import kernel
from netc_kernels.cpu.words import IDLE, LINE


@kernel
def count_up(counts: Any, takers: Any, thread: int, start: int, stop: int) -> None:
    """Count each element of a range, and who did."""
    for i in range(start, stop):
        counts[i] += 1
        takers[i] = thread


def in_python(counts: Any, takers: Any, thread: int, start: int, stop: int) -> None:
    counts[start:stop] += 1
    takers[start:stop] = thread


@pytest.mark.parametrize("part", [count_up, in_python])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_each_element_is_visited_once(part: Any, threads: int) -> None:
    with Pool(threads) as pool:
        for count in (0, 1, 2, 7, 64, 1000):
            for grain in (1, 3, 1000):
                counts, takers = np.zeros(count, np.int64), np.full(count, -1)
                pool.run(count, grain, part, counts, takers)
                assert (counts == 1).all()
                assert ((takers >= 0) & (takers < threads)).all()


def test_kernels_and_functions_follow_each_other() -> None:
    with Pool(3) as pool:
        counts, takers = np.zeros(12, np.int64), np.zeros(12, np.int64)
        for turn in range(200):
            pool.run(12, 1, count_up if turn % 3 else in_python, counts, takers)
        assert (counts == 200).all()


@pytest.mark.parametrize("before", [None, in_python, count_up])
@pytest.mark.parametrize("asleep", [False, True])
def test_a_thread_helps_whatever_it_did_before(before: Any, asleep: bool) -> None:
    # Where other programs want the processor, a thread may come too late many times.
    counts, takers = np.zeros(1 << 18, np.int64), np.zeros(1 << 18, np.int64)
    end = time.monotonic() + 120
    with Pool(2) as pool:
        while time.monotonic() < end:
            if before is not None:
                pool.run(2, 1, before, np.zeros(2, np.int64), np.zeros(2, np.int64))
            while asleep and not pool._words[IDLE + LINE]:
                threading.Event().wait(0.001)
            pool.run(len(counts), 1, count_up, counts, takers)
            assert (counts == counts[0]).all()
            if takers.any():
                return
    raise AssertionError("it never helped")


def test_pools_run_at_once() -> None:
    found: list[Any] = []

    def work() -> None:
        counts, takers = np.zeros(100, np.int64), np.zeros(100, np.int64)
        with Pool(2) as pool:
            for _ in range(100):
                pool.run(100, 3, count_up, counts, takers)
        found.append(counts)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 3
    assert all((counts == 100).all() for counts in found)


def test_a_function_that_fails_is_heard_after_all_have_stopped() -> None:
    def fail(thread: int, start: int, stop: int) -> None:
        raise ValueError(start)

    with Pool(2) as pool:
        for _ in range(3):
            with pytest.raises(ValueError, match=r"[01]"):
                pool.run(2, 1, fail)
        counts, takers = np.zeros(9, np.int64), np.zeros(9, np.int64)
        pool.run(9, 1, count_up, counts, takers)
        assert (counts == 1).all()


def test_closing_ends_the_threads() -> None:
    before = set(threading.enumerate())
    pool = Pool(3)
    pool.run(9, 1, count_up, np.zeros(9, np.int64), np.zeros(9, np.int64))
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    pool.close()
    for thread in own:
        thread.join(10)
        assert not thread.is_alive()
