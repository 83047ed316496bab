r"""Search on another machine: a client of the `/retrieve` service that Search-R1 starts.

Request:   POST {"queries": ["..."], "topk": 3, "return_scores": true}
Response:  {"result": [[{"document": {"contents": "\"Title\"\ntext"}, "score": 0.9}, ...]]}
Source: Jin et al. (2025), arXiv 2503.09516, and its published retrieval server.
"""

from __future__ import annotations

import json
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from sdar.envs.search_qa.records import Hit, Passage, Search
from sdar.schemas.errors import ConfigError, InputError

MAX_BYTES = 16 << 20
"""Longest response that is read."""


def remote_search(url: str, timeout: float) -> Search:
    """Return a search that asks a server; without proxies, and the answers are not checked against a corpus.

    Args:
        url: of the service, such as http://127.0.0.1:8000/retrieve.
        timeout: seconds to wait for the connection, and for each part of the answer.

    Raises:
        ConfigError: the address is not one of http or https.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"env.options.url is {url!r}; allowed: an address such as http://127.0.0.1:8000/retrieve. "
            "Set it with --set env.options.url=ADDRESS"
        )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def search(query: str, k: int) -> tuple[Hit, ...]:
        body = json.dumps({"queries": [query], "topk": k, "return_scores": True}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with opener.open(request, timeout=timeout) as response:
                answer = response.read(MAX_BYTES + 1)
        except (HTTPError, HTTPException, URLError, OSError) as error:
            raise _refusal(url, _reason(error, timeout)) from error
        return _hits(url, answer)[:k]

    return search


def _reason(error: Exception, timeout: float) -> str:
    cause = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {timeout:g} s (env.options.timeout)"
    if isinstance(error, HTTPError):
        error.close()
        return f"it answered with status {error.code} {error.reason}"
    return str(cause) or type(cause).__name__


def _hits(url: str, answer: bytes) -> tuple[Hit, ...]:
    if len(answer) > MAX_BYTES:
        raise _refusal(url, f"its answer is longer than {MAX_BYTES >> 20} MiB")
    try:
        [found] = json.loads(answer)["result"]
        return tuple(_hit(item) for item in found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        shown = answer[:120].decode("utf-8", "replace")
        raise _refusal(url, f"its answer is not in Search-R1's format: {shown!r}") from error


def _hit(item: dict[str, Any]) -> Hit:
    """Return a hit; servers differ in whether a document has a title of its own, or an id."""
    document = item["document"]
    first, _, rest = document["contents"].partition("\n")
    title = first.strip().removeprefix('"').removesuffix('"')
    return Hit(Passage(str(document.get("id", title)), title, rest.strip()), float(item["score"]))


def _refusal(url: str, reason: str) -> InputError:
    return InputError(
        f"the retrieval server at {url}: {reason}. Allowed: a running server that speaks Search-R1's "
        "/retrieve. Start it, or search here with --set env.options.retriever=bm25"
    )
