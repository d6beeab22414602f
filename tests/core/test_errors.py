"""The error tree, and what the operating system says."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from housevis.core import errors
from housevis.core.errors import ConfigError, HousevisError, LeakError, StorageError
from housevis.core.storage import explained_disk_errors


def test_a_message_has_place_finding_and_remedy() -> None:
    problem = ConfigError("the zoom is too deep", where="imagery.zoom", remedy="Set zoom = 18.")
    assert str(problem) == "imagery.zoom: the zoom is too deep. Set zoom = 18."
    assert str(HousevisError("it is so")) == "it is so"


def test_usage_ends_with_2_and_data_with_1() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, HousevisError)
    ]
    for kind in kinds:
        assert kind.exit_code == (2 if issubclass(kind, errors.UsageError) else 1)
    assert issubclass(LeakError, errors.ModelError)


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"a\.csv.*No such file") as caught,
        explained_disk_errors(tmp_path),
    ):
        (tmp_path / "a.csv").read_text()
    assert caught.value.remedy
    with pytest.raises(StorageError, match=str(tmp_path)), explained_disk_errors(tmp_path):
        raise OSError(28, "No space left on device")


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), explained_disk_errors(tmp_path):
        raise BrokenPipeError(32, "Broken pipe")
    with pytest.raises(ConfigError), explained_disk_errors(tmp_path):
        raise ConfigError("no")


@pytest.mark.parametrize("kind", [HousevisError, ConfigError, LeakError, StorageError])
def test_an_error_survives_the_way_between_processes(kind: type[HousevisError]) -> None:
    problem = kind("the price is missing", where="sales.csv, line 3", remedy="Fill it in.")
    arrived = pickle.loads(pickle.dumps(problem))
    assert type(arrived) is kind
    assert (arrived.what, arrived.where, arrived.remedy) == (problem.what, problem.where, problem.remedy)
    assert str(arrived) == str(problem)
