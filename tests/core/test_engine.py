"""The engine on one machine: order, bounds, errors, workers that die, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from housevis.core.config import Config
from housevis.core.config_sections import SampleMarketSection
from housevis.core.engine import DaskRunner, LocalRunner, map_shards, open_runner
from housevis.core.errors import ListingsError, WorkerError
from housevis.core.processes import cores

PATIENCE = 60.0
IN_FLIGHT = 4


@pytest.fixture
def runner() -> Iterator[LocalRunner]:
    with LocalRunner(2) as opened:
        yield opened


def wait_until(condition: Any) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def is_gone(process: int) -> bool:
    return not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE


def test_results_come_in_order_from_two_processes_that_are_used_again(
    runner: LocalRunner, functions: ModuleType
) -> None:
    assert list(map_shards(functions.square, range(50), runner)) == [number**2 for number in range(50)]
    first = set(map_shards(functions.process, range(50), runner))
    again = set(map_shards(functions.process, range(50), runner))
    assert os.getpid() not in first
    assert len(first | again) <= 2
    runner.close()
    assert all(is_gone(process) for process in first | again)


def test_big_results(runner: LocalRunner, functions: ModuleType) -> None:
    found = list(map_shards(functions.big, range(6), runner))
    assert found == [functions.big(number) for number in range(6)]


def test_little_work_stays_in_this_process(runner: LocalRunner, functions: ModuleType) -> None:
    here = [os.getpid()]
    assert list(map_shards(functions.process, [], runner)) == []
    assert list(map_shards(functions.process, [1], runner)) == here
    assert set(map_shards(functions.process, [1, 2, 3])) == set(here)
    assert set(map_shards(functions.process, [1, 2, 3], runner, local="here")) == set(here)
    with LocalRunner(1) as single:
        assert set(map_shards(functions.process, [1, 2, 3], single)) == set(here)


@pytest.mark.parametrize("local", ["processes", "here"])
def test_shards_are_taken_as_they_are_needed(runner: LocalRunner, functions: ModuleType, local: Any) -> None:
    shards = functions.Counted(40)
    results = map_shards(functions.square, shards, runner, local=local)
    assert shards.taken == 0
    for number, result in enumerate(results):
        assert result == number**2
        assert shards.taken - number <= IN_FLIGHT
    assert shards.taken == 40


@pytest.mark.parametrize("local", ["processes", "here"])
def test_an_error_comes_through_as_it_was(runner: LocalRunner, functions: ModuleType, local: Any) -> None:
    results = map_shards(functions.fail, range(20), runner, local=local)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ListingsError) as problem:
        next(results)
    assert (problem.value.what, problem.value.where) == ("row 3 is wrong", "file.csv")
    assert problem.value.remedy == "Mend it."
    assert list(map_shards(functions.square, range(3), runner, local=local)) == [0, 1, 4]


def test_an_error_that_cannot_be_sent_is_told(runner: LocalRunner, functions: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="UnsendableError: no 0"):
        list(map_shards(functions.fail_unsendably, range(3), runner))


def test_an_error_in_making_the_shards_comes_through(runner: LocalRunner, functions: ModuleType) -> None:
    def shards() -> Iterator[int]:
        yield from range(7)
        raise ListingsError("line 8 is wrong")

    with pytest.raises(ListingsError, match="line 8"):
        list(map_shards(functions.square, shards(), runner))


def test_work_that_waits_is_cancelled_by_an_early_end(
    runner: LocalRunner, functions: ModuleType, tmp_path: Path
) -> None:
    results = map_shards(functions.begin_and_wait, [(number, tmp_path) for number in range(9)], runner)
    assert next(results) == 0
    wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    results.close()
    (tmp_path / "go").touch()
    assert list(map_shards(functions.square, range(5), runner)) == [0, 1, 4, 9, 16]
    assert {path.name for path in tmp_path.glob("began-*")} == {"began-1", "began-2"}


def test_a_worker_that_is_killed_loses_nothing(
    runner: LocalRunner, functions: ModuleType, tmp_path: Path
) -> None:
    work = [(number, tmp_path / "dead") for number in range(20)]
    assert list(map_shards(functions.die_once, work, runner)) == list(range(20))
    assert (tmp_path / "dead").exists()


def test_all_workers_killed_from_outside_lose_nothing(
    runner: LocalRunner, functions: ModuleType, tmp_path: Path
) -> None:
    def kill() -> None:
        wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
        for path in tmp_path.glob("began-*"):
            os.kill(int(path.read_text()), signal.SIGKILL)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    work = [(number, tmp_path) for number in range(1, 12)]
    assert list(map_shards(functions.begin_and_wait, work, runner)) == list(range(1, 12))
    killer.join()
    idle = set(map_shards(functions.process, range(10), runner))
    for process in idle:
        os.kill(process, signal.SIGKILL)
    assert list(map_shards(functions.square, range(5), runner)) == [0, 1, 4, 9, 16]


def test_work_that_kills_every_worker_is_given_up(runner: LocalRunner, functions: ModuleType) -> None:
    with pytest.raises(WorkerError, match="signal 9") as problem:
        list(map_shards(functions.die, range(20), runner))
    assert "set workers" in problem.value.remedy
    assert list(map_shards(functions.square, range(3), runner)) == [0, 1, 4]


def test_workers_share_the_cores(
    runner: LocalRunner, functions: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    names = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    found = list(map_shards(functions.environment, names, runner))
    assert found == [str(max(1, cores() // 2)), "3"]


def test_a_closed_runner_takes_no_work(functions: ModuleType) -> None:
    runner = LocalRunner(2)
    runner.close()
    with pytest.raises(WorkerError, match="closed"):
        list(map_shards(functions.square, range(3), runner))


SCRIPT = """
import sys
from pathlib import Path
from housevis.core.engine import LocalRunner, map_shards

folder = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import shard_functions

with (folder / "times-run").open("a") as file:
    file.write("once\\n")
with LocalRunner(2) as runner:
    list(map_shards(shard_functions.begin_and_wait, [(number, folder) for number in range(1, 9)], runner))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "script.py"
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    script.write_text(listening + SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), str(Path(__file__).parent)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_until(lambda: len(list(tmp_path.glob("began-*"))) == 2 or process.poll() is not None)
        workers = [int(path.read_text()) for path in tmp_path.glob("began-*")]
        assert len(workers) == 2, process.communicate()[1]
        os.killpg(process.pid, number)
        err = process.communicate(timeout=PATIENCE)[1]
    finally:
        process.kill()
    wait_until(lambda: all(is_gone(worker) for worker in workers))
    assert err.count("Traceback") == (1 if number == signal.SIGINT else 0), err
    assert len(list(tmp_path.glob("began-*"))) == 2
    assert (tmp_path / "times-run").read_text() == "once\n", "a worker ran the script again"


def config(**keys: Any) -> Config:
    return Config(name="here", sample_market=SampleMarketSection(), **keys)


def test_a_configuration_says_where_the_work_is_done() -> None:
    with open_runner(config(workers=3)) as local:
        assert isinstance(local, LocalRunner)
        assert (local.workers, local.distributed) == (3, False)
    with open_runner(config()) as local:
        assert local.workers == cores()
    with open_runner(config(engine="dask", workers=2)) as dask:
        assert isinstance(dask, DaskRunner)
        assert (dask.workers, dask.distributed) == (2, True)
    with open_runner(config(scheduler="tcp://127.0.0.1:8786")) as dask:
        assert isinstance(dask, DaskRunner)
