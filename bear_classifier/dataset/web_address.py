"""Web addresses and hosts in one form, by which they are compared."""

from __future__ import annotations

import ipaddress
import re
import string
import unicodedata
from urllib.parse import SplitResult, quote, urlsplit

import idna

_PORTS = {"http": 80, "https": 443}
_NETLOC = re.compile(r"[^\[\]]*|([^\[\]]*@)?\[[0-9a-fA-F:.]+\](:\d*)?")  # brackets hold IPv6
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")  # which browsers take for dots, too


def split_url(address: str) -> SplitResult | None:
    """The parts of an address of the web; None for anything else, such as a path."""
    try:
        parts = urlsplit(address.strip())
        port = parts.port  # raises for one that cannot be
    except ValueError:
        return None
    usable = parts.hostname and port != 0 and _NETLOC.fullmatch(parts.netloc)
    return parts if usable and parts.scheme in _PORTS else None


def host_of(address: str) -> str:
    """The host of an address of the web in ASCII, or ""."""
    parts = split_url(address)
    return ascii_host(parts.hostname or "") if parts else ""


def ascii_host(host: str) -> str:
    """A host in lower case, international names encoded as browsers do (UTS 46, not transitional);
    an IPv6 address in brackets, "" for an invalid one."""
    if ":" in host:
        return f"[{ipaddress.ip_address(host)}]" if is_ip(host) else ""
    plain = unicodedata.normalize("NFKC", host.translate(_DOTS).lower())
    return ".".join(map(_ascii_label, plain.rstrip(".").split(".")))


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    try:
        return idna.encode(label, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):  # an emoji, say: browsers encode it all the same
        return f"xn--{label.encode('punycode').decode()}"


def is_ip(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def canonical_url(address: str) -> str:
    """An address without what makes no difference to a server; "" if it is not of the web.

    It has no fragment, user name, password or default port; the host is lower case; letters beyond
    ASCII are encoded."""
    parts, host = split_url(address), host_of(address)
    if not parts or not host:
        return ""
    if parts.port and parts.port != _PORTS[parts.scheme]:
        host += f":{parts.port}"
    path = quote(parts.path or "/", string.punctuation, errors="surrogatepass")
    query = quote(parts.query, string.punctuation, errors="surrogatepass")
    return f"{parts.scheme}://{host}{path}{'?' if query else ''}{query}"
