"""Where the files of a run live: one folder per configuration name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folder ``runs/<name>/``: shared data of all runs of one configuration.

    Attributes:
        folder: The folder itself; run folders ``<run id>/`` and the file
            ``current`` lie directly in it.
    """

    folder: Path

    @property
    def database(self) -> Path:
        """The SQLite file, where no other database is configured."""
        return self.folder / "housevis.sqlite"

    @property
    def archive(self) -> Path:
        """The MBTiles archive of fetched tiles."""
        return self.folder / "tiles.mbtiles"

    @property
    def features(self) -> Path:
        """The folder of pooled features, one subfolder per backbone."""
        return self.folder / "features"

    @property
    def layer3_maps(self) -> Path:
        """The folder of cached maps of layer3, one subfolder per backbone."""
        return self.folder / "maps"

    @property
    def finetuning(self) -> Path:
        """The folder of checkpoints and scores of trained networks."""
        return self.folder / "finetune"

    @property
    def sample_market(self) -> Path:
        """The folder of the built-in town's listings and true driver masks."""
        return self.folder / "sample-market"

    @property
    def current(self) -> Path:
        """The file that names the promoted run."""
        return self.folder / "current"

    @property
    def promoted_before(self) -> Path:
        """The file of the runs that were promoted before, the oldest first."""
        return self.folder / "promoted-before.json"

    def run(self, run_id: str) -> Path:
        """The folder of one run."""
        return self.folder / run_id
