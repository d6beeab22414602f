"""The configuration: one typed TOML file for a whole run.

A string value may name environment variables as ``${NAME}`` or, with a
default, ``${NAME:-default}``. Relative paths are taken from the folder of the
configuration file. An unknown key is an error that names the nearest known
key.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from housevis.core.config_sections import (
    LARGEST_SEED,
    AtlasSection,
    ExplainSection,
    ImagerySection,
    LandCoverSection,
    ListingsSection,
    OptionalPath,
    OptionalText,
    PricingSection,
    RatioStudiesSection,
    SampleMarketSection,
    Section,
    SiameseSection,
    VisionSection,
)
from housevis.core.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Config(Section):
    """The whole configuration of a run.

    `directory` is the folder that relative paths start from; it is set by
    :func:`load_config` and is no key of the file.
    """

    name: str
    seed: int = Field(1, ge=0, le=LARGEST_SEED)
    database: OptionalText = None
    """SQLAlchemy address; None keeps SQLite in the run's folder."""
    engine: Literal["local", "dask"] = "local"
    """Where shards of work run: on this machine, or on Dask workers."""
    scheduler: OptionalText = None
    """Address of a Dask scheduler; None starts one on loopback."""
    workers: int | None = Field(None, ge=1)
    """Worker processes; None takes one for each core."""
    sample_market: SampleMarketSection | None = None
    listings: ListingsSection = Field(default_factory=ListingsSection)
    imagery: ImagerySection = Field(default_factory=ImagerySection)
    vision: VisionSection = Field(default_factory=VisionSection)
    siamese: SiameseSection = Field(default_factory=SiameseSection)
    pricing: PricingSection = Field(default_factory=PricingSection)
    explain: ExplainSection = Field(default_factory=ExplainSection)
    land_cover: LandCoverSection = Field(default_factory=LandCoverSection)
    ratio_studies: RatioStudiesSection = Field(default_factory=RatioStudiesSection)
    atlas: AtlasSection = Field(default_factory=AtlasSection)
    results: OptionalPath = None
    """Where `evaluate` also writes its figures as JSON, for the docs."""

    @property
    def uses_pictures(self) -> bool:
        """False where prices are estimated from attributes alone."""
        return self.pricing.visual_features != "none"

    @model_validator(mode="after")
    def _check(self) -> Config:
        if not _RUN_NAME.fullmatch(self.name):
            raise ValueError(
                f"name {self.name!r} must be letters, digits, '.', '_' or '-', as it names a folder"
            )
        if self.vision.pooling == "average-and-centre" and self.imagery.framing != "centred":
            raise ValueError(
                "vision.pooling average-and-centre needs imagery.framing centred: in a tile the house "
                "may stand anywhere"
            )
        listings = self.listings
        if self.sample_market is None and listings.path is None and listings.query is None:
            raise ValueError("listings.path is missing, and there is no [sample_market] section")
        if listings.path is not None and listings.query is not None:
            raise ValueError("listings.path and listings.query are both set; listings come from one of them")
        if listings.bounds is not None and listings.bounds[1] >= listings.bounds[3]:
            raise ValueError(
                "listings.bounds must be west, south, east, north: the south is not below the north"
            )
        learns_price = self.siamese.objective != "rank"
        if self.uses_pictures and learns_price and self.explain.scalar.startswith("loss-"):
            raise ValueError(
                f"explain.scalar {self.explain.scalar!r} is the loss of the rank siamese; with "
                f"siamese.objective {self.siamese.objective!r} take 'ordering', 'dearer' or 'cheaper'"
            )
        if self.atlas.parcels == "sample-market" and self.sample_market is None:
            raise ValueError(
                "atlas.parcels is 'sample-market', but there is no [sample_market] section; give a file"
            )
        needs_folds = set(self.siamese.targets) != {"price"} and self.pricing.folds < 3
        if needs_folds and self.pricing.visual_features == "cross-fitted":
            raise ValueError("pricing.folds must be 3 or more where residuals are learned cross-fitted")
        return self


def load_config(path: str | Path) -> Config:
    """Read a configuration file.

    Args:
        path: The TOML file.

    Returns:
        The configuration, with environment variables filled in and paths
        made absolute from the file's folder.

    Raises:
        ConfigError: The file is missing, is no TOML, has an unknown key, a
            value of the wrong type, or names an environment variable that is
            not set.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            "there is no such configuration file",
            where=str(file),
            remedy="Check the path, or start from examples/sample-market.toml.",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "the configuration is not in UTF-8", where=str(file), remedy="Save it as TOML in UTF-8."
        ) from None
    except OSError as problem:
        raise ConfigError(
            f"the configuration cannot be read ({problem.strerror})",
            where=str(file),
            remedy="It must be a TOML file in UTF-8.",
        ) from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(
            f"this is not valid TOML: {problem}", where=str(file), remedy="Mend the line that is named."
        ) from None
    return parse_config(table, where=str(file), directory=file.resolve().parent)


def parse_config(table: dict[str, Any], *, where: str, directory: Path) -> Config:
    """Turn a parsed TOML table into a configuration; see :func:`load_config`."""
    filled = _fill_variables(table, where=where, key="")
    try:
        config = Config.model_validate(filled)
    except ValidationError as problem:
        raise _first_problem(problem, where) from None
    return _with_absolute_paths(config, directory)


def _fill_variables(value: Any, *, where: str, key: str) -> Any:
    if isinstance(value, dict):
        return {
            name: _fill_variables(item, where=where, key=f"{key}.{name}" if key else name)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_fill_variables(item, where=where, key=key) for item in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        found = os.environ.get(match["name"], match["default"])
        if found is None:
            raise ConfigError(
                f"{key} needs the environment variable {match['name']}, which is not set",
                where=where,
                remedy=f"Set it, for example: export {match['name']}=…",
            )
        return found

    return _VARIABLE.sub(replace, value)


def _first_problem(problem: ValidationError, where: str) -> ConfigError:
    details = min(problem.errors(), key=lambda error: error["type"] != "extra_forbidden")
    location = [str(part) for part in details["loc"]]
    key = ".".join(location)
    if details["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        remedy = (
            f"Did you mean {nearest[0]!r}?" if nearest else f"Known keys here: {', '.join(sorted(known))}."
        )
        return ConfigError(f"unknown key {key!r}", where=where, remedy=remedy)
    message = details["msg"].removeprefix("Value error, ")
    what = f"{key}: {message}" if key else message
    secret = isinstance(details["input"], dict) or location[-1:] == ["database"]
    shown = key and details["type"] != "missing" and not secret
    remedy = f"It is {details['input']!r} now." if shown else ""
    return ConfigError(what, where=where, remedy=remedy or "Add it or mend it.")


def _known_keys(location: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        annotation = section.model_fields[part].annotation
        candidates = getattr(annotation, "__args__", (annotation,))
        section = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(section.model_fields)


def _with_absolute_paths(section: Any, directory: Path) -> Any:
    changes: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Path):
            changes[name] = value if value.is_absolute() else (directory / value).resolve()
        elif isinstance(value, Section):
            changes[name] = _with_absolute_paths(value, directory)
    return section.model_copy(update=changes)
