"""URLs that may be downloaded, in one form.

Nothing is resolved or opened here. A host name does not show where it leads (2130706433 and 0x7f.1
are 127.0.0.1): whoever connects resolves it and checks every address with `ssrf_guard.is_public`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote

from bear_classifier.dataset.web_address import ascii_host, is_ip
from bear_classifier.errors import PhotoError

MAX_URL_LENGTH = 4_096  # characters of an address, as given and as sent
PORTS = (80, 443, 8080, 8443)
_USUAL_PORT = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")  # RFC 3986
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
_LONGEST_NAME = 253  # characters, RFC 1035 less the length bytes
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?")
_PORT = re.compile(r"[0-9]{1,5}")
# Everything that RFC 3986 lets stand in a path or query, the percent sign of escapes, and brackets,
# which many sites use and signed links may have been signed with.
_KEPT = "!$&'()*+,;=:@/?[]%-._~"
_ODD = re.compile(r"[\\\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # the last are half characters


@dataclass(frozen=True)
class Target:
    """url: ASCII, as it is sent, without a fragment; host: lower case, IPv6 without brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port, such as https://example.com or http://[2001::1]:8080."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (
            "" if self.port == _USUAL_PORT[self.scheme] else f":{self.port}"
        )


def parse_url(url: str) -> Target:
    """The address as it will be sent, or a PhotoError: BLOCKED_SCHEME, BLOCKED_PORT, BAD_ADDRESS.

    Path and query stay as they were given: only characters that may not be sent are escaped.
    """
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if match and scheme not in _USUAL_PORT:
        raise PhotoError(
            "BLOCKED_SCHEME",
            f"only http and https addresses are downloaded (got {shorten(match[0])})",
        )
    _check_text(url)
    start = f"{match[0]}//" if match else ""
    if not start or not url.startswith(start):
        _refuse(f"the address does not begin with http:// or https:// ({shorten(url)})")
    hierarchy, _, query = url[len(start) :].partition("#")[0].partition("?")
    authority, _, path = hierarchy.partition("/")
    host, port_text = _host_and_port(authority)
    port = _USUAL_PORT[scheme] if port_text is None else int(port_text)
    if port not in PORTS:
        allowed = ", ".join(map(str, PORTS))
        raise PhotoError("BLOCKED_PORT", f"only the ports {allowed} are used (got {port})")
    sent = Target("", scheme, host, port).origin + quote(f"/{path}", safe=_KEPT)
    if query:
        sent += "?" + quote(query, safe=_KEPT)
    if len(sent) > MAX_URL_LENGTH:
        _refuse(f"the address has more than {MAX_URL_LENGTH:,} characters ({shorten(sent)})")
    return Target(sent, scheme, host, port)


def follow(base: Target, location: str) -> Target:
    """Where a redirect from base leads (RFC 3986, 5.2), or a PhotoError as from `parse_url`."""
    if _SCHEME.match(location):
        target = parse_url(location)
    else:
        _check_text(location)
        target = parse_url(_joined(base, location))
    if base.scheme == "https" and target.scheme == "http":
        raise PhotoError(
            "BLOCKED_SCHEME", f"the site redirects from https to http ({shorten(target.url)})"
        )
    return target


def shorten(text: str, most: int = 80) -> str:
    """Text for a sentence: unprintable characters escaped, cut to about most characters."""
    plain = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text[: most + 1]
    )
    return plain if len(plain) <= most else plain[:most] + "..."


def _refuse(sentence: str) -> NoReturn:
    raise PhotoError("BAD_ADDRESS", sentence)


def _check_text(text: str) -> None:
    """Refuse what one parser may read differently than another, or what would end the request."""
    if len(text) > MAX_URL_LENGTH:
        _refuse(f"the address has more than {MAX_URL_LENGTH:,} characters ({shorten(text)})")
    if odd := _ODD.search(text):
        what = "a backslash" if odd[0] == "\\" else "a blank or control character"
        _refuse(f"the address holds {what} ({shorten(text)})")


def _host_and_port(authority: str) -> tuple[str, str | None]:
    """The port's digits, None if there is none."""
    if "@" in authority:  # quoted without its beginning: that may be a password
        place = shorten(authority.rpartition("@")[2])
        _refuse(f"the address holds a user name or password (for {place})")
    host: str
    port: str | None
    if authority.startswith("["):
        match = _BRACKETED.fullmatch(authority)
        host, port = (match[1].lower(), match[2]) if match else ("", None)
        if not (":" in host and is_ip(host)):
            _refuse(f"the host is no IPv6 address ({shorten(authority)})")
    else:
        host, colon, digits = authority.partition(":")
        host, port = _name(host, authority), digits if colon else None
    if port is not None and not _PORT.fullmatch(port):
        _refuse(f"the port is no number ({shorten(authority)})")
    return host, port


def _name(host: str, authority: str) -> str:
    """A host name in ASCII. Refused: one that IDNA 2003 and IDNA 2008 take for different hosts."""
    plain = unicodedata.normalize("NFKC", host).lower().replace("\u3002", ".").removesuffix(".")
    if not plain:
        _refuse(f"the address has no host ({shorten(authority)})")
    name = plain if plain.isascii() else _punycode(plain)
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        _refuse(f"the host is no valid name ({shorten(authority)})")
    return name


def _punycode(name: str) -> str:
    """Empty if IDNA 2003 cannot encode it or gives another name: it drops some letters and rewrites
    others that IDNA 2008 keeps."""
    try:
        before = name.encode("idna")
        return ascii_host(name) if before.decode("idna") == name else ""
    except UnicodeError:
        return ""


def _joined(base: Target, location: str) -> str:
    """RFC 3986, 5.2.2, for a location without a scheme. No part of it is written anew."""
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    if not location or location.startswith("#"):
        return base.url
    path, question, query = location.partition("#")[0].partition("?")
    before = base.url[len(base.origin) :].partition("?")[0]
    if path:
        path = path if path.startswith("/") else before.rpartition("/")[0] + "/" + path
        before = _without_dots(path)
    return base.origin + before + question + query


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    if path.endswith(("/.", "/..")):
        kept.append("")
    return "/" + "/".join(kept)
