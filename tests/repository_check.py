"""Check that nothing made from the shared data folder is in the repository.

Run by `make lint`. Two things are looked for among the files that git tracks:
binary files that this project has no business holding, and files or lines
that stand in the shared data folder too, where that folder is at hand.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("HOUSEVIS_SHARED", PROJECT.parent / "shared"))

ALLOWED_DATA = re.compile(
    r"docs/images/sample-market[\w-]*\.(png|jpg|webp)|housevis/views/static/.*\.(png|svg)"
    r"|housevis/explain/land-cover\.safetensors"
)
DATA_SUFFIXES = {
    ".csv", ".db", ".geojson", ".gpkg", ".jpeg", ".jpg", ".mbtiles", ".npy", ".npz", ".parquet", ".pickle",
    ".pkl", ".png", ".pmtiles", ".pt", ".pth", ".safetensors", ".sqlite", ".tif", ".tiff", ".webp",
}  # fmt: skip
PUBLISHED_TABLES = (
    "data/king-county/sales.csv",
    "data/other-markets/melbourne.csv",
    "data/other-markets/miami.csv",
)
FEWEST_SHARED_ROWS = 3


def tracked_files() -> list[Path]:
    """The files that git tracks or would track, relative to the project."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    ).stdout
    names = (Path(os.fsdecode(name)) for name in listing.split(b"\0") if name)
    return [name for name in names if (PROJECT / name).is_file()]


def digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def data_files(files: list[Path]) -> list[str]:
    """Complaints about data and pictures that are not the sample market's."""
    return [
        f"{name}: no data or pictures are committed but the sample market's and what was learned from it"
        for name in files
        if name.suffix.lower() in DATA_SUFFIXES and not ALLOWED_DATA.fullmatch(name.as_posix())
    ]


def notebook_outputs(files: list[Path]) -> list[str]:
    """Complaints about notebooks that carry outputs."""
    return [
        f"{name}: the notebook carries outputs; clear them before committing"
        for name in files
        if name.suffix == ".ipynb" and '"output_type"' in (PROJECT / name).read_text(encoding="utf-8")
    ]


def copies_of_shared_data(files: list[Path]) -> list[str]:
    """Complaints about files, or table rows, that stand in the shared folder too."""
    if not SHARED.is_dir():
        print(f"repository check: no shared folder at {SHARED}; files were not compared with it")
        return []
    shared_sizes: dict[int, list[Path]] = {}
    for path in SHARED.rglob("*"):
        if path.is_file():
            shared_sizes.setdefault(path.stat().st_size, []).append(path)
    complaints = []
    for name in files:
        path = PROJECT / name
        twins = shared_sizes.get(path.stat().st_size, []) if path.stat().st_size > 64 else []
        if any(digest(path) == digest(twin) for twin in twins):
            complaints.append(f"{name}: the same file lies in the shared folder")
    rows = {
        line
        for table in PUBLISHED_TABLES
        if (SHARED / table).is_file()
        for line in (SHARED / table).read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    }
    for name in files:
        lines = (PROJECT / name).read_bytes().decode("utf-8", errors="replace").splitlines()
        if sum(line in rows for line in lines if len(line) > 40) >= FEWEST_SHARED_ROWS:
            complaints.append(f"{name}: rows of a table in the shared folder stand in it")
    return complaints


def main() -> int:
    """Print what is wrong; exit code 1 if anything is."""
    files = tracked_files()
    complaints = data_files(files) + notebook_outputs(files) + copies_of_shared_data(files)
    for complaint in complaints:
        print(complaint)
    print(f"repository check: {len(files)} files, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
