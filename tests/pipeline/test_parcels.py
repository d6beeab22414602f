"""Parcels of a file on the map of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import pytest
import shapely

from data_pipeline.sample_market.lots import lot_areas
from db.store import read_houses
from housevis.core.errors import ConfigError
from housevis.pipeline.page_facts import shown_settings
from housevis.pipeline.pages import atlas
from housevis.pipeline.project import open_project
from housevis.pipeline.removal import remove
from housevis.runs import list_runs, read_parquet
from housevis.views.atlas_parcels import read_parcels

OWNER = "Ms Zymurgy Quillfeather"


@pytest.fixture
def cadastre(town_copy: Any) -> Path:
    """The town's lots in the coordinates of its zone, with an owner each, and the town told to show them."""
    with open_project(town_copy.config, town_copy.runs) as project:
        section = project.config.sample_market
    areas = lot_areas(section.houses, section.seed)
    path = Path(town_copy.folder) / "cadastre.gpkg"
    frame = geopandas.GeoDataFrame({"owner": [OWNER] * len(areas)}, geometry=areas, crs="EPSG:4326")
    frame.to_crs("EPSG:32627").to_file(path)
    text = town_copy.config_file.read_text().replace("[atlas]", "")
    keys = '\n[atlas]\nparcels = "cadastre.gpkg"\nparcels_attribution = "Cadastre of the town"\n'
    town_copy.config_file.write_text(text + keys)
    return path


def test_parcels_of_a_file_are_drawn_and_go_with_a_removed_house(town_copy: Any, cadastre: Path) -> None:
    with open_project(town_copy.config, town_copy.runs) as project:
        done = atlas(project)
        assert any(line.startswith("parcels: ") for line in done.lines)
        assert atlas(project).skipped
        run = list_runs(project.workspace)[0]
        data = run.atlas / "data"
        files = [path.read_text() for path in data.iterdir()]
        assert "Cadastre of the town" in (data / "houses.js").read_text()
        assert not any("Quillfeather" in text for text in files)
        before = read_parcels(data)
        shown = read_parquet(run.estimates)["house_id"].unique()
        houses = read_houses(project.engine).set_index("house_id").loc[shown]
        places = shapely.points(houses["longitude"], houses["latitude"])
        assert shapely.STRtree(before).query(places, predicate="within").shape[1] == len(places)
        house_id, place = shown[0], places[0]
        figures = remove(project, [house_id]).figures
        assert any("cadastre.gpkg: left as they are" in each for each in figures["remains"])
        assert shapely.contains(before, place).sum() == 1
        assert shapely.contains(read_parcels(data), place).sum() == 0


def test_a_changed_file_builds_the_map_anew_and_a_lost_one_is_told(town_copy: Any, cadastre: Path) -> None:
    with open_project(town_copy.config, town_copy.runs) as project:
        before = shown_settings(project.config)
        cadastre.write_bytes(cadastre.read_bytes() + b" ")
        assert shown_settings(project.config) != before
        cadastre.unlink()
        with pytest.raises(ConfigError, match="no such file"):
            atlas(project)
