"""Hashes of the scripts that a published page loads later: its houses, in many small files.

In two steps, so that a page loads a few kilobytes of them and not a hash of
every file: the page names the hashes of the groups, ``hashes/0.js`` and so on,
a group those of the scripts whose names fall into it (:func:`chunk_of`). No
script that was changed since runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from housevis.core.storage import write_file
from housevis.views.house_chunks import chunk_of
from housevis.views.integrity import hash_of, integrity
from housevis.views.words import script_json

FOLDER: Final = "hashes"

_HEAD_END: Final = b"</head>"

_FROM_DISK: Final = """<script>
if (location.protocol === "file:") addEventListener("DOMContentLoaded", () => {
  document.body.style = "max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem;"
    + "font: 1rem/1.5 system-ui, sans-serif";
  document.body.textContent = "This copy was made for a web server; browsers refuse its scripts from disk. "
    + "Put the folder on a server, or open the map in the folder of its run.";
});
</script>
"""


def write_script_hashes(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Write the groups of the hashes of a map's scripts.

    Args:
        folder: The folder of the copied map.
        hashes: File, relative to the folder -> its SHA-256 in hex.

    Returns:
        The hash of each group, as an ``integrity`` attribute writes it.
    """
    scripts = {name: integrity(of) for name, of in hashes.items() if name.endswith(".js")}
    groups: list[dict[str, str]] = [{} for _ in range(math.isqrt(len(scripts)) + 1)]
    for name, of in scripts.items():
        groups[chunk_of(name, len(groups))][name] = of
    texts = [f"housevis.receiveHashes({script_json(group)});\n".encode() for group in groups]
    (folder / FOLDER).mkdir()
    for number, text in enumerate(texts):
        write_file(folder / FOLDER / f"{number}.js", text)
    return [integrity(hash_of(text)) for text in texts]


def with_group_hashes(page: bytes, groups: list[str]) -> bytes:
    """A page that names the hashes of the groups, for ``housevis.load`` of ``atlas/words.js``.

    Opened from disk, where browsers refuse every script with a hash, it says so.
    """
    named = f'<script type="application/json" id="hashes">{script_json(groups)}</script>\n'
    return page.replace(_HEAD_END, (named + _FROM_DISK).encode() + _HEAD_END, 1)
