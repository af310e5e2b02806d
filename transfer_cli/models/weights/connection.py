"""Whether a server answers, and in plain words why it does not: no internet, a proxy, HTTP 404, a broken connection."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from transfer_cli.text import megabytes

PREFLIGHT_SECONDS = 8.0
STALL_SECONDS = 10.0
"""A download is aborted after this time without data."""
_NO_HEAD = (405, 501)
"""A server that refuses HEAD may answer GET."""
_REMEMBERED_SECONDS = 60.0
_failures: dict[str, tuple[float, str]] = {}
"""When and why a host did not answer: a ranking of forty networks must not wait for it forty times."""
_MEANINGS = {
    401: "it wants a login",
    403: "access is refused, by it or by a proxy on the way",
    404: "the file is not at this address",
    407: "the proxy wants a login",
    410: "the file is not at this address any more",
    429: "too many downloads; try again later",
}


def unreachable(url: str) -> str | None:
    """Return why `url` cannot be downloaded, or None if its server has it.

    The server has `PREFLIGHT_SECONDS` for a first answer, since a connection that drops packets would block for ever.
    """
    host = urlsplit(url).netloc
    failed, reason = _failures.get(host, (0.0, ""))
    if reason and time.monotonic() - failed < _REMEMBERED_SECONDS:
        return reason
    code, reason = _ask(url)
    if reason and not code:
        _failures[host] = (time.monotonic(), reason)
    return reason or None


def failure_reason(error: BaseException, url: str, seconds: float) -> str:
    """Return in plain words why a request failed.

    Parameters
    ----------
    error : BaseException
        Of urllib or requests.
    url : str
    seconds : float
        The time that the server had to answer.
    """
    parts = urlsplit(url)
    proxy = _proxy(parts.scheme, parts.netloc)
    asked = f"{parts.hostname} (through the proxy {proxy})" if proxy else f"{parts.hostname}"
    every = list(_chain(error))
    code = next(filter(None, map(_http_code, every)), None)
    if code:
        meaning = _MEANINGS.get(code) or ("it has a fault; try again later" if code >= 500 else "")
        phrase = http.client.responses.get(code, "")
        return f"{asked} answered {f'HTTP {code} {phrase}'.strip()}{meaning and f': {meaning}'}"
    if any(isinstance(each, TimeoutError) or "timed out" in str(each) for each in every):
        return f"there was no answer within {seconds:.0f} seconds from {asked}"
    return _connection_reason(every[-1], asked)


def _connection_reason(error: BaseException, asked: str) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, socket.gaierror):
        return f"there is no internet connection (cannot find the server {asked}: {text})"
    if isinstance(error, ConnectionRefusedError):
        return f"the connection to {asked} was refused"
    if isinstance(error, ssl.SSLError):
        return (
            f"the certificate of {asked} is not trusted ({text}); if a proxy of your organisation reads the traffic, "
            "set SSL_CERT_FILE and REQUESTS_CA_BUNDLE to the file of its certificate"
        )
    expected, partial = getattr(error, "expected", None), getattr(error, "partial", None)
    if isinstance(expected, int) and partial is not None:
        received = partial if isinstance(partial, int) else len(partial)
        whole = megabytes(received + expected)
        return f"the connection to {asked} broke off after {megabytes(received)} of {whole}"
    if isinstance(error, ConnectionError):
        return f"{asked} closed the connection without an answer"
    return f"{asked}: {text}"


def _http_code(error: BaseException) -> int | None:
    if isinstance(error, urllib.error.HTTPError):
        return error.code
    if text := str(error).partition("Tunnel connection failed: ")[2]:
        return int(text[:3]) if text[:3].isdigit() else None
    return getattr(getattr(error, "response", None), "status_code", None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and, one after the other, those that it wraps: libraries wrap them in various ways."""
    seen: list[BaseException] = []
    inner: BaseException | None = error
    while inner is not None and inner not in seen:
        yield inner
        seen.append(inner)
        wrapped = (getattr(inner, "reason", None), *inner.args, inner.__cause__)
        inner = next((each for each in wrapped if isinstance(each, BaseException)), None)


def _proxy(scheme: str, host: str) -> str:
    """Return the address of the proxy for a host, without the password that may be in it; empty if there is none."""
    proxy = urllib.request.getproxies().get(scheme, "")
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2]


def _ask(url: str) -> tuple[int, str]:
    """Return the HTTP status (0: no answer) and why the file cannot be downloaded; the reason is empty if it can be."""
    answer: list[tuple[int, str]] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            # urlopen would keep the proxies of its first call.
            with urllib.request.build_opener().open(request, timeout=PREFLIGHT_SECONDS) as response:
                answer.append((response.status, ""))
        except urllib.error.HTTPError as error:
            with error:
                reason = "" if error.code in _NO_HEAD else failure_reason(error, url, PREFLIGHT_SECONDS)
                answer.append((error.code, reason))
        except Exception as error:  # a proxy may answer with anything
            answer.append((0, failure_reason(error, url, PREFLIGHT_SECONDS)))

    # No socket timeout ends getaddrinfo if a name server drops packets; a daemon thread can be abandoned.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PREFLIGHT_SECONDS + 1)
    return answer[0] if answer else (0, failure_reason(TimeoutError(), url, PREFLIGHT_SECONDS))
