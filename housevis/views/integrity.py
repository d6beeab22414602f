"""Hashes of the scripts and styles of a page, so that no other ones run."""

from __future__ import annotations

import base64
import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Final

SERVER_SCRIPT: Final = "server.js"
"""The script by which a page notices a server, which answers its own."""

_NAMED: Final = re.compile(
    rb'<(?:script(?=[^>]*\ssrc="(?P<script>[^":?#]+)")|link(?=[^>]*\srel="stylesheet")'
    rb'(?=[^>]*\shref="(?P<style>[^":?#]+)"))(?![^>]*\sintegrity=)'
)
_INLINE: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def with_integrity(page: bytes, name: str, hashes: Mapping[str, str]) -> bytes:
    """A page whose scripts and styles carry the hashes that the browser checks before it runs them.

    Browsers check them for pages of a server only: in a page opened from disk
    they would block every script.

    Args:
        page: The content of an HTML file of a map.
        name: Its path relative to the folder of the map.
        hashes: File, relative to the folder -> its SHA-256 in hex; a file that is not named carries none.
    """

    def add(found: re.Match[bytes]) -> bytes:
        source = (found["script"] or found["style"]).decode()
        digest = hashes.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), source)))
        if digest is None:
            return found[0]
        return found[0] + f' integrity="{integrity(digest)}"'.encode()

    return _NAMED.sub(add, page)


def integrity(digest: str) -> str:
    """A SHA-256 in hex as the ``integrity`` attribute of an element writes it."""
    return f"sha256-{base64.b64encode(bytes.fromhex(digest)).decode()}"


def hash_of(content: bytes) -> str:
    """The SHA-256 of a file's content in hex."""
    return hashlib.sha256(content).hexdigest()


def inline_script_hashes(page: bytes) -> list[str]:
    """SHA-256 in Base64 of the scripts that stand in a page, as a content security policy names them."""
    return [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE.findall(page)]
