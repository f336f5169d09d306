"""Addresses of servers: valid urls, and proxies from the environment, which are never used for loopback.

httpx reads the environment itself, but sends loopback through a proxy, takes no networks in NO_PROXY, and fails with
errors that name neither the variable nor the remedy.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from agents.backends.secrets import know

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def check_url(url: str) -> str:
    """A server's base address without the slash at its end. Raises ValueError, saying what is wrong with it."""
    url = url.strip()
    parts = _split(url)
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ValueError(
            f"the url of {parts.hostname} holds a user name or password, which would be kept with the run: put the key "
            "into an environment variable and name it as api_key_env"
        )
    if parts.scheme not in ("http", "https"):
        raise ValueError(
            f"the url {url!r} begins with neither http:// nor https://: write http://HOST:PORT/v1"
        )
    if not parts.hostname:
        raise ValueError(f"the url {url!r} names no host: write http://HOST:PORT/v1")
    if re.fullmatch(r"[\w.:%-]+", parts.hostname) is None:
        raise ValueError(f"the host {parts.hostname!r} of the url is none: write http://HOST:PORT/v1")
    if parts.query or parts.fragment:
        raise ValueError(
            f"the url of {parts.hostname} goes on after its path with ? or #: give the base address alone, further "
            "fields of each request as settings, and a key in the variable that api_key_env names"
        )
    return url.rstrip("/")


def _split(url: str) -> SplitResult:
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(f"the url {url!r} has white space or control characters in it")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - is read when it is asked for
    except ValueError as error:
        raise ValueError(f"the url cannot be read ({error}): write http://HOST:PORT/v1") from None
    return parts


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is loopback."""
    host = host.strip("[]").rstrip(".").casefold()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def proxy_of(url: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The proxy for a url, from the environment; None for a direct connection. Registers a proxy's password as a
    secret.

    Raises ValueError for a proxy that cannot be used, naming its variable.
    """
    parts = _split(url)
    host = parts.hostname or ""
    if is_loopback(host) or _excepted(host, parts.port, environ):
        return None
    names = (f"{parts.scheme}_proxy", f"{parts.scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    found = next(((name, value) for name in names if (value := environ.get(name, "").strip())), None)
    if found is None:
        return None
    name, value = found
    whole = value if "://" in value else f"http://{value}"
    remedy = f"correct the environment variable {name}, unset it, or put {host} into NO_PROXY"
    try:
        proxy = _split(whole)
    except ValueError as error:
        raise ValueError(f"the proxy for {host} cannot be used ({error}): {remedy}") from None
    if proxy.password:
        know(proxy.password, f"{name}'s password")
        know(unquote(proxy.password), f"{name}'s password")
    if proxy.scheme not in PROXY_SCHEMES or not proxy.hostname:
        raise ValueError(
            f"the proxy for {host} must be {', '.join(f'{s}://HOST:PORT' for s in PROXY_SCHEMES)}; the scheme found is "
            f"{proxy.scheme!r}, the host {proxy.hostname!r}: {remedy}"
        )
    if proxy.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ValueError(
            f"the proxy for {host} is {proxy.scheme}, which needs the package socksio (pip install "
            f"socksio): install it, or {remedy}"
        )
    return whole


def _excepted(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY excepts a host: by name, by domain, by address, by network (CIDR), or all with `*`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").replace(" ", ",").split(","):
        name = entry.strip().casefold()
        if not name:
            continue
        if name == "*":
            return True
        if address is not None and "/" in name:
            try:
                if address in ipaddress.ip_network(name, strict=False):
                    return True
            except ValueError:
                continue
        bare, _, number = name.rpartition(":") if re.fullmatch(r"[^:]+:\d+", name) else (name, "", "")
        if number and number != str(port):
            continue
        bare = bare.strip("[]").removeprefix("*").removeprefix(".")
        if bare and (host == bare or host.endswith("." + bare)):
            return True
    return False


def client_settings(url: str) -> dict[str, Any]:
    """Keyword arguments of an httpx client that asks this url. Raises ValueError as `proxy_of`."""
    return {
        "trust_env": False,
        "proxy": proxy_of(url),
        "verify": _certificates(
            os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        ),  # they still count
        "follow_redirects": False,
    }


@lru_cache(maxsize=8)
def _certificates(file: str | None, folder: str | None) -> Any:
    """The certificates trusted under these values of the environment; reading them takes 25 ms."""
    import httpx

    return httpx.create_ssl_context(trust_env=True)
