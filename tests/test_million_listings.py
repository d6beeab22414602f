"""The benchmark of a million listings, with two thousand of them."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

pytest.importorskip("psutil")

ROWS = 2000


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "million_listings.py"
    spec = importlib.util.spec_from_file_location("million_listings", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["million_listings"] = module
    spec.loader.exec_module(module)
    return module


def test_the_listings_are_the_same_for_a_seed(benchmark: ModuleType, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        benchmark.write_listings(tmp_path / name, ROWS, seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()
    read = pd.read_csv(tmp_path / "a")
    assert len(read) == ROWS
    assert read["latitude"].max() - read["latitude"].min() > 5


def test_both_databases_hold_the_same_rows(benchmark: ModuleType) -> None:
    for tool in ("initdb", "pg_ctl", "postgres"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed, so there is no PostgreSQL to test with")
    found = benchmark.compare(ROWS, 1)
    assert found["identical"]
    assert found["identical_plans"]
    tables = found["databases"]["postgresql"]["tables"]
    assert tables["sales"]["rows"] + tables["rejects"]["rows"] == ROWS
    assert 0 < tables["rejects"]["rows"] < ROWS / 10
    for run in found["databases"].values():
        assert run["peak_mib"] > 0
        assert f"{ROWS:,} rows in" in " ".join(run["ingest"]["said"])
