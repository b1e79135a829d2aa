"""The way to an instance: its address, a proxy, and whose certificates are trusted. Checked; nothing is sent here."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import requests.utils
import urllib3.exceptions
import urllib3.util

from snow_assets.errors import ConfigError

_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Route:
    """How an instance is reached. ``timeout``: seconds to connect and to read. Raises ``ConfigError`` when made.

    Environment proxies are honoured (not towards loopback), and so are ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``;
    ``~/.netrc`` is not.
    """

    url: str
    timeout: tuple[float, float]
    proxy: str | None = field(repr=False)  # it may hold a password
    verify: str | bool
    loopback: bool

    @classmethod
    def given(
        cls,
        url: str,
        timeout: tuple[float, float] = (10.0, 90.0),
        proxy: str | None = None,
        ca_bundle: str | None = None,
        *,
        allow_http: bool = False,
    ) -> Self:
        """From what a client was told."""
        base = base_url(url, allow_http=allow_http)
        proxy = check_proxy(proxy) if proxy else None
        verify: str | bool = check_ca_bundle(ca_bundle) if ca_bundle else True
        if not ca_bundle and base.startswith("https"):
            verify = environment_ca_bundle() or True
        return cls(base, timeout, proxy, verify, is_loopback(urlsplit(base).hostname or ""))

    @property
    def longest(self) -> float:
        """Seconds that one exchange may take."""
        return sum(self.timeout)

    @property
    def proxy_of_the_moment(self) -> str | None:
        """The URL of the proxy that is named here, or else by the environment."""
        if self.proxy or self.loopback:
            return self.proxy
        found: str | None = requests.utils.select_proxy(self.url, requests.utils.get_environ_proxies(self.url, None))
        return found if not found or "//" in found else f"http://{found}"

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request says of itself."""
        encoding = "identity" if self.loopback else "gzip"
        return {"Accept": "application/json", "Accept-Encoding": encoding, "User-Agent": "snow-assets"}


def proxy_login(proxy: str) -> dict[str, str]:
    """A proxy's user and password as a header, in UTF-8: ``requests`` takes Latin-1, and raises what else there is."""
    username, password = requests.utils.get_auth_from_url(proxy)
    if not username:
        return {}
    encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {encoded}"}


def base_url(url: str, *, allow_http: bool = False) -> str:
    """``url`` as scheme, host and port, without a slash. Raises ``ConfigError`` (key ``url``).

    Without a scheme it is https. Plain http is for loopback, unless ``allow_http``.
    """
    text = url.strip()
    parts = urlsplit(text if "://" in text else f"https://{text}")
    try:
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ConfigError("the port is not a number", key="url", hint="write https://NAME.service-now.com") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the url holds credentials", key="url", hint="give them apart, by SNOW_USERNAME and the like")
    if parts.scheme not in ("http", "https") or not (_HOST.fullmatch(host) or is_loopback(host) or ":" in host):
        raise ConfigError(
            "not the address of an instance", key="url", value=url, hint="write https://NAME.service-now.com"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        hint = f"write {parts.scheme}://{parts.netloc}"
        shown = re.split(r"[?#]", url)[0]  # what is asked may hold a password
        raise ConfigError("the url goes on after the host", key="url", value=shown, hint=hint)
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        hint = "write https://, or set allow_http: true where the network is trusted"
        raise ConfigError("plain http would show the password to the network", key="url", value=url, hint=hint)
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine itself, by its spelling alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def check_proxy(url: str) -> str:
    """The URL of an HTTP proxy as it is. Raises ``ConfigError`` where it is none."""
    try:
        parts = urllib3.util.parse_url(url)
        fits = parts.scheme in ("http", "https") and bool(parts.host) and (parts.path or "/") == "/"
    except urllib3.exceptions.LocationParseError:
        fits = False
    if not fits or urlsplit(url).hostname is None or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        hint = "write http://HOST:PORT; in its user and password, / ? # @ and : are written as %2F %3F %23 %40 and %3A"
        raise ConfigError("not the url of an HTTP proxy", key="proxy", hint=hint)
    return url


def check_ca_bundle(path: str, key: str = "ca_bundle") -> str:
    """The path of a file of certificates as it is. Raises ``ConfigError`` where there is none."""
    file, problem = Path(path), ""
    if file.is_dir():
        problem = "is a folder"
    elif not file.exists():
        problem = "there is no such file"
    else:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            problem = "holds no certificate in PEM form"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
    if problem:
        raise ConfigError(problem, key=key, value=path, hint="name a file of PEM certificates")
    return path


def environment_ca_bundle() -> str | None:
    """What the environment names, as ``requests`` would; also towards loopback, and found out before it is needed."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            # Other programs may use a folder; certificates in it are found by their hashes.
            return path if Path(path).is_dir() else check_ca_bundle(path, name)
    return None
