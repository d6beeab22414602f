"""A run's pages as a folder for a static host: map, house pages and report, with integrity attributes."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from housevis.core.errors import StorageError, UsageError
from housevis.core.progress import progress_bar
from housevis.core.storage import explained_disk_errors, write_file
from housevis.views.atlas_manifest import MANIFEST, changed_files, read_manifest, write_manifest
from housevis.views.integrity import with_integrity
from housevis.views.site_hashes import with_group_hashes, write_script_hashes

ATLAS: Final = "atlas"
REPORT: Final = "report.html"

_START: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=atlas/index.html">
<link rel="icon" href="data:,">
<title>Map of sold houses</title>
</head>
<body><p><a href="atlas/index.html">To the map</a></p></body>
</html>
"""


@dataclass(frozen=True)
class SiteReport:
    """What :func:`write_site` wrote.

    Attributes:
        files: How many files.
        bytes: Their size.
    """

    files: int
    bytes: int


def write_site(run_folder: Path, run_id: str, out: Path) -> SiteReport:
    """Copy a run's map, house pages and report to a folder that any static host can serve.

    Each file of the map is compared with its manifest first; the pages of the
    copy name the hashes of their scripts and styles, of those too that they
    load later. A site that an earlier call wrote is replaced as a whole; until
    then it stays as it is.

    Args:
        run_folder: The run's folder with its ``atlas``.
        run_id: The run.
        out: The folder to write.

    Raises:
        UsageError: `out` holds something else than such a site.
        StorageError: A file of the map is damaged or missing, or the disk refuses.
    """
    atlas = run_folder / ATLAS
    _check_out(run_folder, out)
    damaged = changed_files(atlas)
    if damaged:
        raise StorageError(
            f"{len(damaged):,} files of the map are not what its manifest says, {damaged[0]} among them",
            where=str(atlas),
            remedy="Delete the folder and build the map again with `housevis atlas CONFIG`.",
        )
    with explained_disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=".writing-"))
    try:
        with explained_disk_errors(out.parent):
            found = _write(run_folder, run_id, beside / "site")
            if out.exists():
                out.rename(beside / "before")
            (beside / "site").rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return found


def _check_out(run_folder: Path, out: Path) -> None:
    if out.resolve().is_relative_to(run_folder.resolve()):
        raise UsageError(
            "the site would lie inside the run", where=str(out), remedy="Give --out another folder."
        )
    if out.is_file():
        raise UsageError("this is a file", where=str(out), remedy="Give --out a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / ATLAS / MANIFEST).is_file():
        raise UsageError(
            "this folder holds something else than a site of housevis, which would be lost",
            where=str(out),
            remedy="Give --out a new folder.",
        )


def _write(run_folder: Path, run_id: str, site: Path) -> SiteReport:
    listed = read_manifest(run_folder / ATLAS)
    hashes = {name: str(facts["sha256"]) for name, facts in listed.items()}
    with progress_bar("site", len(listed)) as bar:
        for name in listed:
            target = site / ATLAS / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run_folder / ATLAS / name, target)
            bar.advance()
    groups = write_script_hashes(site / ATLAS, hashes)
    for name in listed:
        if name.endswith(".html"):
            page = with_integrity((site / ATLAS / name).read_bytes(), name, hashes)
            (site / ATLAS / name).write_bytes(with_group_hashes(page, groups))
    write_manifest(site / ATLAS, run_id)
    if (run_folder / REPORT).is_file():
        shutil.copyfile(run_folder / REPORT, site / REPORT)
    write_file(site / "index.html", _START)
    written = [path for path in site.rglob("*") if path.is_file()]
    return SiteReport(len(written), sum(path.stat().st_size for path in written))
