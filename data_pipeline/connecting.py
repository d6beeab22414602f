"""Connections to one host: proxies and certificates from the environment, and keys kept out of logs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

import urllib3
from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from housevis.core.errors import ImageryError

USER_AGENT = "housevis/0.1 (aerial tiles, rate limited)"
_HEADERS = {"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"}
_LOGGERS = ("urllib3.connectionpool", "urllib3.poolmanager", "urllib3.connection", "urllib3.util.retry")


class HostConnections:
    """Kept connections to one host, at most so many at once.

    Proxies come from the environment (``HTTPS_PROXY``, ``NO_PROXY``), and so
    does another bundle of certificates (``REQUESTS_CA_BUNDLE``). Redirects are
    not followed here.

    Args:
        origin: ``https://host:port`` of the addresses.
        connections: Requests under way at once.
        connect_timeout: Seconds.
        read_timeout: Seconds between two pieces of an answer.
    """

    def __init__(self, origin: str, connections: int, connect_timeout: float, read_timeout: float) -> None:
        self._timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        settings: dict[str, Any] = {"maxsize": connections, "block": True, "num_pools": 2}
        if origin.startswith("https:"):
            bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
            settings["ca_certs"] = bundle or DEFAULT_CA_BUNDLE_PATH
        proxy = select_proxy(origin, get_environ_proxies(origin))
        self._manager = urllib3.PoolManager(**settings) if proxy is None else _proxied(proxy, settings)
        parts = urlsplit(origin)
        self._origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._pool = None if proxy else self._manager.connection_from_url(self._origin)
        self._headers = dict(_HEADERS)
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers |= urllib3.make_headers(basic_auth=user)

    def get(self, path: str, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        """Ask for ``origin + path``; the body is still to be read, then the connection given back.

        Raises:
            urllib3.exceptions.HTTPError: No answer came.
        """
        wanted = self._headers if headers is None else self._headers | headers
        if not path.startswith("/"):
            path = "/" + path
        if self._pool is None:
            return self._manager.urlopen(
                "GET",
                self._origin + path,
                headers=wanted,
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
            )
        return self._pool.urlopen(
            "GET",
            path,
            headers=wanted,
            redirect=False,
            retries=False,
            assert_same_host=False,
            timeout=self._timeout,
            preload_content=False,
        )

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._manager.clear()


def origin_of(url: str) -> str:
    """Scheme, host and port of an address; user and password, if any, stay in."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def quiet_about(secrets: Sequence[str | None]) -> Iterator[None]:
    """Keep secrets, and the queries of all addresses, out of what the HTTP library logs in the block."""
    watch = _Censor([secret for secret in secrets if secret])
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addFilter(watch)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(watch)


class _Censor(logging.Filter):
    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret))}
        self._forms = sorted(forms, key=len, reverse=True)

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        for form in self._forms:
            text = text.replace(form, "***")
        record.msg = " ".join(
            word.split("?", 1)[0] + "?…" if "?" in word else word for word in text.split(" ")
        )
        record.args = ()
        record.exc_info = record.exc_text = None
        return True


def _proxied(proxy: str, settings: dict[str, Any]) -> urllib3.PoolManager:
    address = proxy if "://" in proxy else f"http://{proxy}"
    parts = urlsplit(address)
    try:
        if parts.scheme.startswith("socks"):
            from urllib3.contrib.socks import SOCKSProxyManager

            return SOCKSProxyManager(address, **settings)
        user = None
        if parts.username is not None:
            user = f"{parts.username}:{parts.password or ''}"
        headers = urllib3.make_headers(proxy_basic_auth=user)
        bare = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        return urllib3.ProxyManager(bare, proxy_headers=headers, **settings)
    except (HTTPError, ImportError, ValueError):
        raise ImageryError(
            "the proxy cannot be used",
            where="the environment variables HTTP_PROXY and HTTPS_PROXY",
            remedy="Correct them; a SOCKS proxy also needs the package PySocks.",
        ) from None
