"""`housevis serve`: runs opened for the server, and opened anew when a house is removed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from data_pipeline.one_value import AREA
from db.session import open_database
from db.store import read_images
from housevis.core.config import Config
from housevis.core.errors import HousevisError, UsageError
from housevis.core.workspace import Workspace
from housevis.pipeline.attention import load_parts
from housevis.pipeline.comparables import read_supporting_sales
from housevis.pipeline.embedding import open_store
from housevis.pipeline.estimating_desk import EstimatingDesk, checked_values
from housevis.pipeline.house_details import stored_house_details
from housevis.pipeline.house_facts import map_scale
from housevis.pipeline.page_facts import notice, training_members
from housevis.pipeline.sold import stored_pool
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import no_pictures
from housevis.pipeline.what_if import MEANING, WhatIf
from housevis.pricing.attributes import LOCATION
from housevis.runs import REMOVED, Run, find_run_with_map, read_parquet
from housevis.views.data import check_out_of_sample
from housevis.views.heat import DRAWN_STATUSES, MapScales
from housevis.views.heat_tiles import HeatTiles
from housevis.views.map_table import TABLE, read_map_table
from housevis.views.served import AttributeField, ServedRun, ShelvedRun
from housevis.views.server import serve as serve_runs
from housevis.views.server import token_for
from housevis.views.server_guard import Limits
from housevis.views.viewport import Viewport
from housevis.views.words import ATTRIBUTE_LABELS, label

_PICTURE: Final = "driver picture"


def serve(
    runs_folder: Path,
    run_names: str | Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    imagery: str | None = None,
    limits: Limits = Limits(),  # noqa: B008
) -> None:
    """Serve the maps, the reports and the API of some runs until stopped.

    Args:
        runs_folder: Where the runs lie.
        run_names: A run's name or id, or several; the first is shown at ``/``.
        host: A loopback address; any other needs a token in ``HOUSEVIS_TOKEN``.
        port: Port to listen at.
        imagery: Name of a provider or a path, for new houses that the run's own archive has no picture
            of; None estimates them without one.
        limits: What one client may ask for.

    Raises:
        RunError: There is no such run, its map is not built, or it keeps too little.
        UsageError: The address needs a token, or the port is taken.
        LeakError: An estimate to be shown is not out of sample.
    """
    names = [run_names] if isinstance(run_names, str) else list(run_names)
    shelved = list(
        {run.run_id: run for run in (shelve(runs_folder, name, imagery) for name in names)}.values()
    )
    token_for(host)
    _check_port(host, port)
    for run in shelved:
        threading.Thread(target=_warm, args=(run.current(),), daemon=True).start()
    serve_runs(shelved, host, port, limits)


def _warm(run: ServedRun) -> None:
    """Open what estimates need, so that the first one does not wait; a fault is told to whoever asks."""
    with suppress(HousevisError):
        run.warm()


def shelve(runs_folder: Path, run_name: str, imagery: str | None = None) -> ShelvedRun:
    """A run for the server, opened with the first question.

    Args:
        runs_folder: Where the runs lie.
        run_name: The run's name or id.
        imagery: See :func:`serve`.

    Raises:
        RunError: There is no such run, or its map is not built.
    """
    run = find_run_with_map(runs_folder, run_name)
    return ShelvedRun(run.run_id, run.folder, partial(_state, run), partial(open_run, run, imagery))


def open_run(run: Run, imagery: str | None = None) -> ServedRun:
    """Open a run: its sold houses out of sample, its maps, and desks for what-if and new houses.

    Raises:
        RunError: It was evaluated before comparable sales were kept, or files are damaged.
        LeakError: An estimate to be shown is not out of sample.
    """
    config = run.config()
    sales = read_supporting_sales(run)
    shown = shown_houses(run, sales)
    table = read_map_table(run.atlas)
    maps, scales = _maps(run, config, set(shown["house_id"]))
    sold = SoldDesk(run, config, sales, shown)
    new = EstimatingDesk(run, config, scales, imagery)
    archive = Workspace(run.folder.parent).archive
    attribution = config.imagery.attribution
    if config.uses_pictures and archive.is_file():
        with TileArchive(archive) as opened:
            attribution = opened.attribution
    return ServedRun(
        run_id=run.run_id,
        name=config.name,
        title=config.atlas.title or config.name,
        currency=config.listings.currency,
        area_unit=config.listings.area_unit,
        interval=config.pricing.interval,
        notice=notice(config),
        attribution=attribution if config.uses_pictures else None,
        folder=run.folder,
        viewport=Viewport(table.placed(shown), table.limits),
        fields=tuple(_fields(config, sales)),
        maps=maps,
        details=partial(stored_house_details, run),
        what_if=sold.what_if,
        estimate=new.estimate,
        warm=new.warm,
        map_settings=table.settings,
    )


def shown_houses(run: Run, sales: pd.DataFrame) -> pd.DataFrame:
    """One row per sold house, its last sale with the estimate of the model that has not seen it.

    Args:
        run: The run.
        sales: See :func:`housevis.pipeline.comparables.read_supporting_sales`.

    Returns:
        Columns of :data:`housevis.views.viewport.COLUMNS`, ``sale_id`` and ``model_id``.

    Raises:
        LeakError: An estimate is not out of sample.
    """
    judged = read_parquet(run.estimates)
    places = sales[["sale_id", "latitude", "longitude", "bedrooms"]]
    shown = judged.merge(places, on="sale_id", validate="one_to_one")
    shown = shown.sort_values("sale_date", kind="stable").drop_duplicates("house_id", keep="last")
    shown = shown.assign(house_id=shown["house_id"].astype(str)).reset_index(drop=True)
    check_out_of_sample(shown, *training_members(run, shown["model_id"].unique().tolist()))
    effect = shown[_PICTURE] if _PICTURE in shown else pd.Series(np.nan, index=shown.index)
    used = shown["used_picture"].to_numpy(dtype=bool)
    return shown.assign(effect=effect.where(used), confidence=shown.get("confidence"))


class SoldDesk:
    """Answers what if for sold houses, each by the model that has not seen it.

    Args:
        run: The run.
        config: Its configuration.
        sales: Its sales with their attributes and ``picture_key``.
        shown: The sale that is shown of each house.
    """

    def __init__(self, run: Run, config: Config, sales: pd.DataFrame, shown: pd.DataFrame) -> None:
        self._run, self._config = run, config
        self._sales = sales.set_index("sale_id", drop=False)
        self._shown = shown.set_index("house_id")[["sale_id", "model_id"]]
        self._lock = threading.Lock()
        self._tools: dict[str, Any] = {}

    def what_if(self, house_id: str, attributes: Mapping[str, float]) -> dict[str, Any]:
        """The estimate of a house with changed attributes, as the API answers.

        Args:
            house_id: A house that is shown.
            attributes: Attribute of the model -> new value, areas in square metres.

        Raises:
            UsageError: The model does not use an attribute, or a value is impossible.
            HousevisError: The run lacks what is needed.
        """
        used = changeable(self._config)
        for name in attributes:
            if name not in used:
                raise UsageError(
                    f"{name!r} cannot be changed",
                    remedy=f"What can be changed: {', '.join(used) or 'nothing'}.",
                )
        change = checked_values(attributes)
        desk = self.house(house_id)
        found = desk.changed([change]).iloc[0]
        names = ("estimate", "low", "high", "difference", "difference_percent")
        beyond = desk.outside_training(change)
        return {
            **{name: float(found[name]) for name in names},
            "outside_training": {name: [float(edge) for edge in edges] for name, edges in beyond.items()},
            "meaning": MEANING,
        }

    def house(self, house_id: str) -> WhatIf:
        """One house, ready to be estimated with any changes."""
        shown = self._shown.loc[house_id]
        sale = self._sales.loc[[str(shown["sale_id"])]].reset_index(drop=True)
        return self._model(str(shown["model_id"]))(sale, self._pooled(sale))

    def _model(self, model_id: str) -> Any:
        with self._lock:
            if model_id not in self._tools:
                self._tools[model_id] = WhatIf.opened(model_folder(self._run, model_id))
            return self._tools[model_id]

    def _pooled(self, sale: pd.DataFrame) -> NDArray[np.float32]:
        """What the learners embed of one house, from the stored features."""
        if not self._config.uses_pictures:
            return no_pictures(1)
        backbone, numbers = self._run.record["backbone"], self._config.siamese.neighbourhood
        key = str(sale["picture_key"].iloc[0])
        if not key:
            return np.full((1, backbone["channels"] * (1 + len(numbers))), np.nan, dtype=np.float32)
        with self._lock:
            if "pool" not in self._tools:
                self._tools["pool"] = stored_pool(self._run, self._config)
                features = Workspace(self._run.folder.parent).features
                self._tools["store"] = open_store(features, backbone["fingerprint"])
            pool, own = self._tools["pool"], self._tools["store"].read([key])
        if pool is None:
            return own
        places = sale[["latitude", "longitude"]].to_numpy(np.float64)
        return np.asarray(pool.joined(own, [key], places[:, 0], places[:, 1], numbers))


def changeable(config: Config) -> list[str]:
    """The attributes that a house may have otherwise, and that a new house is asked for."""
    return [name for name in config.pricing.attributes if name not in (*LOCATION, "sale_month")]


def _fields(config: Config, sales: pd.DataFrame) -> list[AttributeField]:
    fields = []
    for name in changeable(config):
        values = sales[name].to_numpy(dtype=np.float64, na_value=np.nan)
        known = values[np.isfinite(values)]
        lowest, highest = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
        fields.append(
            AttributeField(name, label(name, ATTRIBUTE_LABELS), "m2" if name == AREA else "", lowest, highest)
        )
    return fields


def _maps(run: Run, config: Config, house_ids: set[str]) -> tuple[dict[str, HeatTiles], MapScales]:
    """The layers of maps, of the houses that are shown, and their scales."""
    database = Workspace(run.folder.parent).database
    if not config.uses_pictures or not database.is_file():
        return {}, MapScales()
    maps = load_parts(run.maps)
    engine = open_database(database)
    try:
        images = read_images(engine, config.imagery.framing, config.imagery.zoom)
    finally:
        engine.dispose()
    bounds = images.set_index("house_id")[["west", "south", "east", "north"]].reindex(maps.houses["house_id"])
    edges = bounds.to_numpy(np.float64)
    there = np.isfinite(edges).all(axis=1) & maps.houses["house_id"].isin(house_ids).to_numpy()
    layers, scales = {}, []
    for name, values, status in (
        ("attention", maps.heats, "status"),
        ("value", maps.values, "value_status"),
    ):
        signed = name == "value"
        scales.append(map_scale(maps, values, status, signed=signed))
        drawn = there & maps.houses[status].isin(DRAWN_STATUSES).to_numpy()
        layers[name] = HeatTiles(values[drawn], edges[drawn], scales[-1], signed=signed)
    return layers, MapScales(*scales)


def _state(run: Run) -> Hashable:
    """Which removals the files of a run have seen, and whether its map was built anew."""
    files = (
        run.folder / REMOVED,
        run.estimates,
        run.atlas / "index.html",
        run.atlas / TABLE,
        run.serving / "supporting.parquet",
    )
    return tuple(_changed(path) for path in files)


def _changed(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise UsageError(
                f"port {port} of {host} cannot be listened at ({problem.strerror})",
                where="--port",
                remedy="Take another port, for example --port 8765.",
            ) from None
