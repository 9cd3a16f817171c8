"""HTTP/1.1 that becomes no other protocol: an offer of one (`Upgrade: h2c`, which Java's client and curl make by
themselves) is ignored, as RFC 9110, 7.8 has it.

The parser stops after the headers of a request that makes one, and would take its body for the next request. It is then
given the headers anew, without the offer.
"""

from collections.abc import Mapping
from typing import Any, Final

import httptools

_OFFERS: Final = frozenset({"upgrade", "http2-settings"})


class PlainParser:
    """An `httptools.HttpRequestParser` whose requests never upgrade.

    The protocol calls `ignore_offer` from its `on_headers_complete` when `should_upgrade` is true, and hears of the
    whole request again; what it hears until then is to be ignored (`is_repeating`).
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._head = b""
        self._make()

    def _make(self) -> None:
        self._parser = httptools.HttpRequestParser(self._protocol)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)  # a pipeline may go on after its last
        self.get_method = self._parser.get_method
        self.get_http_version = self._parser.get_http_version
        self.should_keep_alive = self._parser.should_keep_alive
        self.should_upgrade = self._parser.should_upgrade

    @property
    def is_repeating(self) -> bool:
        return bool(self._head)

    def ignore_offer(self, url: bytes, headers: Mapping[str, str]) -> None:
        """
        Args:
            headers: by lower-case name.
        """
        lines = [b"%s %s HTTP/%s" % (self.get_method(), url, self.get_http_version().encode())]
        for name, value in headers.items():
            if name == "connection":
                tokens = [token.strip() for token in value.split(",")]
                value = ", ".join(token for token in tokens if token.lower() not in _OFFERS)
            if name not in _OFFERS:
                lines.append(f"{name}: {value}".encode("latin-1"))
        self._head = b"\r\n".join([*lines, b"", b""])

    def feed_data(self, data: bytes) -> None:
        """
        Raises:
            httptools.HttpParserError: it is not HTTP.
        """
        while data:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            head, self._head = self._head, b""
            self._make()
            self._parser.feed_data(head)
