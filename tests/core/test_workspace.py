"""Where the files of a run live, and what is known of the machine."""

from __future__ import annotations

from pathlib import Path

from housevis.core.machine import machine_facts
from housevis.core.workspace import Workspace


def test_everything_lies_in_the_folder_of_the_configuration() -> None:
    workspace = Workspace(Path("runs/town"))
    places = [workspace.database, workspace.archive, workspace.features, workspace.sample_market]
    places += [workspace.current, workspace.run("20260101-000000-abcdef12")]
    assert len(set(places)) == 6
    assert all(place.parent == workspace.folder for place in places)


def test_a_figure_can_name_its_machine() -> None:
    facts = machine_facts()
    assert facts["processor"]
    assert int(facts["cores"]) >= 1
    assert float(facts["memory_gib"]) > 0
