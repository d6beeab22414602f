"""Dask workers: the same results, on loopback only, and nothing lost with a worker."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import psutil
import pytest
from distributed import LocalCluster
from distributed.security import Security

import housevis
from housevis.core import dask_workers
from housevis.core.dask_workers import checked_address
from housevis.core.engine import DaskRunner, map_shards, worker_threads
from housevis.core.errors import ConfigError, ListingsError, WorkerError

PATIENCE = 60.0
IN_FLIGHT = 4


@pytest.fixture(scope="module")
def runner(functions: ModuleType) -> Iterator[DaskRunner]:
    with DaskRunner(None, 2) as opened:
        yield opened


def wait_until(condition: Any) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_results_come_in_order_from_two_processes(runner: DaskRunner, functions: ModuleType) -> None:
    assert list(map_shards(functions.square, range(50), runner)) == [number**2 for number in range(50)]
    workers = set(map_shards(functions.process, range(50), runner))
    assert workers <= set(runner.client.run(os.getpid).values())
    assert os.getpid() not in workers
    assert (runner.workers, runner.distributed) == (2, True)


def test_a_single_shard_stays_here(runner: DaskRunner, functions: ModuleType) -> None:
    assert list(map_shards(functions.process, [1], runner)) == [os.getpid()]
    assert list(map_shards(functions.process, [], runner)) == []


def test_everything_listens_on_loopback_only(runner: DaskRunner) -> None:
    workers = runner.client.run(os.getpid)
    addresses = [runner.client.scheduler.address, *workers]
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
    listening = [
        connection.laddr.ip
        for process in (os.getpid(), *workers.values())
        for connection in psutil.Process(process).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert all(ipaddress.ip_address(address).is_loopback for address in listening)


def test_shards_are_taken_as_they_are_needed(runner: DaskRunner, functions: ModuleType) -> None:
    shards = functions.Counted(40)
    results = map_shards(functions.square, shards, runner)
    assert shards.taken == 0
    for number, result in enumerate(results):
        assert result == number**2
        assert shards.taken - number <= IN_FLIGHT
    assert shards.taken == 40


def test_big_shards_are_sent_without_a_warning(
    runner: DaskRunner, functions: ModuleType, recwarn: pytest.WarningsRecorder
) -> None:
    shards = [bytes([number]) * 20_000_000 for number in range(3)]
    assert list(map_shards(len, shards, runner)) == [20_000_000] * 3
    assert not [str(warning.message) for warning in recwarn if "graph" in str(warning.message)]


def test_an_error_comes_through_as_it_was(runner: DaskRunner, functions: ModuleType) -> None:
    results = map_shards(functions.fail, range(20), runner)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ListingsError) as problem:
        next(results)
    assert (problem.value.what, problem.value.where) == ("row 3 is wrong", "file.csv")
    with pytest.raises(RuntimeError, match="UnsendableError: no 0"):
        list(map_shards(functions.fail_unsendably, range(3), runner))


def test_an_early_end_leaves_the_workers_free(runner: DaskRunner, functions: ModuleType) -> None:
    results = map_shards(functions.square, range(1000), runner)
    assert next(results) == 0
    results.close()
    assert list(map_shards(functions.square, range(5), runner)) == [0, 1, 4, 9, 16]


def test_a_worker_that_is_killed_loses_nothing(
    runner: DaskRunner, functions: ModuleType, tmp_path: Path
) -> None:
    work = [(number, tmp_path / "dead") for number in range(20)]
    assert list(map_shards(functions.die_once, work, runner)) == list(range(20))
    assert (tmp_path / "dead").exists()


def test_a_worker_killed_from_outside_loses_nothing(
    runner: DaskRunner, functions: ModuleType, tmp_path: Path
) -> None:
    def kill() -> None:
        wait_until(lambda: list(tmp_path.glob("began-*")))
        os.kill(int(next(tmp_path.glob("began-*")).read_text()), signal.SIGKILL)
        (tmp_path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    work = [(number, tmp_path) for number in range(1, 20)]
    assert list(map_shards(functions.begin_and_wait, work, runner)) == list(range(1, 20))
    killer.join()


def test_work_that_kills_every_worker_is_given_up(runner: DaskRunner, functions: ModuleType) -> None:
    with pytest.raises(WorkerError, match="4 Dask workers died") as problem:
        list(map_shards(functions.die, range(4), runner))
    assert "memory" in problem.value.remedy
    assert list(map_shards(functions.square, range(3), runner)) == [0, 1, 4]


def test_a_worker_knows_its_threads(runner: DaskRunner) -> None:
    assert worker_threads() is None
    runner.client.wait_for_workers(2, timeout=PATIENCE)
    assert runner.client.submit(worker_threads, pure=False).result() == 1


def test_a_scheduler_that_runs_already(
    runner: DaskRunner, functions: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.client.wait_for_workers(2, timeout=PATIENCE)
    address = runner.client.scheduler.address
    with DaskRunner(address) as second:
        assert second.workers == 2
        assert list(map_shards(functions.square, range(5), second)) == [0, 1, 4, 9, 16]
    assert list(map_shards(functions.square, range(5), runner)) == [0, 1, 4, 9, 16]
    monkeypatch.setattr(housevis, "__version__", "99.0")
    with DaskRunner(address) as other, pytest.raises(WorkerError, match=r"runs housevis .*, this is 99\.0"):
        list(map_shards(functions.square, range(5), other))
    with pytest.raises(WorkerError, match=r"runs housevis .*, this is 99\.0"):
        list(map_shards(functions.square, range(5), runner))


def test_tls_with_the_certificates_of_dasks_own_configuration(
    functions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = Security.temporary()
    settings = {"ca-file": temporary.tls_ca_file}
    for role in ("client", "worker", "scheduler"):
        for part in ("cert", "key"):
            settings[f"{role}.{part}"] = getattr(temporary, f"tls_{role}_{part}")
    files = {}
    for name, text in settings.items():
        path = tmp_path / f"{name}.pem"
        path.write_text(text)
        files[f"distributed.comm.tls.{name}"] = str(path)
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            protocol="tls://",
            security=temporary,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        dask.config.set(files),
    ):
        address = cluster.scheduler_address
        assert address.startswith("tls://")
        with DaskRunner(address) as runner:
            assert list(map_shards(functions.square, range(5), runner)) == [0, 1, 4, 9, 16]
        monkeypatch.setattr(dask_workers, "_SECONDS_TO_CONNECT", 1)
        plain = address.replace("tls://", "tcp://")
        with DaskRunner(plain) as runner, pytest.raises(WorkerError, match="cannot be reached"):
            list(map_shards(functions.square, range(5), runner))


def test_nothing_of_a_shard_stands_in_what_dask_logs() -> None:
    message = dask_workers._Message(b"https://tiles.example/?key=secret", "1")
    assert "secret" not in repr(message)


def test_a_scheduler_that_is_not_there(functions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "_SECONDS_TO_CONNECT", 1)
    with (
        DaskRunner("tcp://127.0.0.1:9") as runner,
        pytest.raises(WorkerError, match="cannot be reached") as problem,
    ):
        list(map_shards(functions.square, range(5), runner))
    assert problem.value.where == "tcp://127.0.0.1:9"


def test_a_scheduler_without_workers(functions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_workers, "_SECONDS_FOR_WORKERS", 1)
    with dask_workers._loopback_cluster(0) as cluster:
        address = cluster.scheduler_address
        with DaskRunner(address) as runner, pytest.raises(WorkerError, match="has no workers") as problem:
            list(map_shards(functions.square, range(5), runner))
    assert f"dask worker {address}" in problem.value.remedy


def test_fewer_workers_than_wanted(
    runner: DaskRunner, functions: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.client.wait_for_workers(2, timeout=PATIENCE)
    monkeypatch.setattr(dask_workers, "_SECONDS_FOR_WORKERS", 1)
    with (
        DaskRunner(runner.client.scheduler.address, 3) as more,
        pytest.raises(WorkerError, match="has 2 of 3 workers"),
    ):
        list(map_shards(functions.square, range(5), more))


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("127.0.0.1:8786", "tcp://127.0.0.1:8786"),
        ("tcp://localhost:1", "tcp://localhost:1"),
        ("tcp://[::1]:8786", "tcp://[::1]:8786"),
    ],
)
def test_addresses_of_this_machine_need_no_certificate(address: str, whole: str) -> None:
    assert checked_address(address) == whole


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("tcp://10.0.0.5:8786", "not encrypted"),
        ("office:8786", "not encrypted"),
        ("tcp://127.0.0.1.example.org:8786", "not encrypted"),
        ("tls://10.0.0.5:8786", "needs certificates"),
        ("ws://127.0.0.1:8786", "no address"),
        ("tcp://127.0.0.1", "no address"),
        ("tcp://127.0.0.1:port", "no address"),
        ("somewhere", "no address"),
    ],
)
def test_other_addresses_are_refused_before_anything_is_sent(address: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as problem:
        DaskRunner(address)
    assert problem.value.where == "scheduler"
    assert problem.value.remedy


def test_without_dask_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed") as problem:
        DaskRunner()
    assert "housevis[dask]" in problem.value.remedy
