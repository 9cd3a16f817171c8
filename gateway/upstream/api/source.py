"""The document of one API: fetched or read, compiled, and kept fresh, by its ETag or by a watch of its file."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio
import msgspec
import structlog

from gateway.blocking import in_thread
from gateway.config.models import OpenApiConfig, ServerConfig
from gateway.config.reload import watch
from gateway.errors import GatewayError
from gateway.openapi.model import CompileOptions, Elsewhere
from gateway.upstream.api import parts, web
from gateway.upstream.api.compiler import CompileFailed, compile_apart
from gateway.upstream.api.definition import ApiDefinition
from gateway.upstream.transport.pool import Origin

log = structlog.stdlib.get_logger("gateway.upstream")

ACCEPT: Final = "application/json, application/vnd.oai.openapi+json, application/yaml;q=0.9, */*;q=0.5"
MAX_NAMED: Final = 20
"""Most operations that the log names as left out at a time."""
_TOLD: Final = 120
"""Characters of a URL in a message."""


class DocumentUnusable(GatewayError):
    """There is no document, or it is none that can be used; the message says why."""

    outcome, counts_for_breaker = "upstream_garbage", True


class ApiSource:
    """
    Args:
        upstream: the name of the server.
        config: its entry; it has `openapi`.
    """

    def __init__(self, upstream: str, config: ServerConfig) -> None:
        assert config.openapi is not None
        self.upstream = upstream
        self.definition: ApiDefinition | None = None
        """As it was read last; None before the first time."""
        self._config = config
        self._settings: OpenApiConfig = config.openapi
        self._reading = anyio.Lock()
        self._is_due = anyio.Event()
        self._listeners: dict[object, Callable[[], None]] = {}
        self._etag = self._modified = ""
        self._digest = b""
        self._parts = parts.Parts()
        """The other documents that it refers to, without their content."""
        self._problem = ""

    @property
    def base(self) -> str:
        """The URL that operations stand below, without `/` at its end."""
        if self._config.url is not None:
            return self._config.url.rstrip("/")
        return self.definition.info.server if self.definition is not None else ""

    @property
    def is_guarded(self) -> bool:
        """Whether the document, which others wrote, chose the server: then it must be on the internet, or be where the
        document itself is."""
        if self._config.url is not None or self._settings.path is not None:
            return False
        return urlsplit(self.base).hostname != urlsplit(self._settings.document).hostname

    @property
    def settings(self) -> OpenApiConfig:
        return self._settings

    async def prepare(self) -> ApiDefinition:
        """What is known, read now if it never was.

        Raises:
            DocumentUnusable: it cannot be known.
        """
        async with self._reading:
            if self.definition is None:
                await self._read(is_conditional=False)
            assert self.definition is not None
            return self.definition

    def follow(self, on_change: Callable[[], None]) -> Callable[[], None]:
        """Be told when the document is another. Returns how to be told no more."""
        key = object()
        self._listeners[key] = on_change
        return lambda: self._listeners.pop(key, None) and None

    async def run(self) -> None:
        """Keep it fresh, until cancelled."""
        path = self._settings.path
        async with anyio.create_task_group() as tg:
            if path is not None:
                tg.start_soon(watch.watch, lambda: [path, *self._part_files(path)], self._on_file)
            while True:
                with anyio.move_on_after(self._settings.refresh if path is None else float("inf")):
                    await self._is_due.wait()
                self._is_due = anyio.Event()
                await self._refresh()

    def _part_files(self, path: Path) -> list[Path]:
        return [path.parent / name for name in self._parts.documents]

    async def _on_file(self) -> None:
        self._is_due.set()

    async def _refresh(self) -> None:
        """Read it again. What cannot be read, or used, changes nothing: what was known stands."""
        async with self._reading:
            if self.definition is None:
                return  # whoever connects reads it
            try:
                await self._read(is_conditional=True)
                self._problem = ""
            except DocumentUnusable as error:
                say = log.warning if error.message != self._problem else log.debug
                say("document not reloaded", upstream=self.upstream, reason=error.message)
                self._problem = error.message
            except Exception:
                log.exception("document not reloaded", upstream=self.upstream)

    async def _read(self, *, is_conditional: bool) -> None:
        config, path = self._config, self._settings.path
        try:
            reading = self._from_file(path) if path else self._from_web(is_conditional=is_conditional)
            data, location = await reading
            if data is None:
                return  # as it was
            options = self._options(config, location)
            digest = _digest(options, [data])
            if digest == self._digest:
                return
            compiled = await compile_apart(data, options)
            if isinstance(compiled[0], Elsewhere):
                others = await self._others(compiled[0], location, len(data))
                options = msgspec.structs.replace(options, unavailable=others.unavailable)
                more = [part for name in sorted(others.documents) for part in (name.encode(), others.documents[name])]
                digest = _digest(options, [data, *more])
                if digest == self._digest:
                    return
                compiled = await compile_apart(data, options, others=others.documents)
                self._parts = parts.Parts(dict.fromkeys(others.documents, b""), others.unavailable)
            else:
                self._parts = parts.Parts()
            found = ApiDefinition.of(compiled)
        except (web.FetchFailed, CompileFailed) as error:
            raise DocumentUnusable(f"its document {self._place()} {error}") from None
        if config.url is None and not found.info.server:
            what = "names no server that can be used; give its entry a `url`"
            raise DocumentUnusable(f"its document {self._place()} {what}")
        self._digest = digest
        self._take(found)

    async def _others(self, elsewhere: Elsewhere, location: str, size: int) -> parts.Parts:
        """The documents that it refers to.

        Raises:
            CompileFailed, FetchFailed: one that was there is not any more, or cannot be told to be.
        """
        path, room = self._settings.path, self._settings.max_bytes - size
        if path is not None:
            get, first, most = parts.from_folder(path.parent), path.name, parts.MAX_FILES
        else:
            get, first, most = parts.from_origin(location, self._part_from_web), location, parts.MAX_FETCHED
        found = await parts.collect(elsewhere.names, first, get, room, most)
        lost = [name for name in found.unavailable if name in self._parts.documents]
        if lost:
            raise web.FetchFailed(f"refers to {lost[0][:_TOLD]}, which {found.unavailable[lost[0]]}")
        return found

    async def _part_from_web(self, url: str, room: int) -> bytes:
        host = urlsplit(self._settings.document).hostname or ""
        answer = await web.get(
            url,
            {"accept": ACCEPT},
            room,
            self._config.connect_timeout,
            private_hosts=[host],
            credentials=self._credentials(url),
            stays=True,
        )
        if answer.status != 200:
            raise web.FetchFailed(f"answered with HTTP status {answer.status}")
        return answer.body

    def _credentials(self, url: str) -> Mapping[str, str]:
        """The file's headers, where the API is."""
        config = self._config
        return config.headers if config.url is not None and Origin.of(config.url) == Origin.of(url) else {}

    def _take(self, found: ApiDefinition) -> None:
        before, self.definition = self.definition, found
        if found == before:
            return
        if before is None or before.left_out != found.left_out:
            for each in found.left_out[:MAX_NAMED]:
                what = "operation is no resource" if each.name in found.operations else "operation left out"
                log.warning(what, upstream=self.upstream, operation=each.name, reason=each.reason)
            if len(found.left_out) > MAX_NAMED:
                log.warning("operations left out", upstream=self.upstream, count=len(found.left_out))
        log.info(
            "document read",
            upstream=self.upstream,
            operations=found.info.operations,
            tools=len(found.tools),
            left_out=sum(each.name not in found.operations for each in found.left_out) or None,
        )
        if before is not None:
            for tell in list(self._listeners.values()):
                asyncio.get_running_loop().call_soon(tell)

    def _options(self, config: ServerConfig, location: str) -> CompileOptions:
        settings = self._settings
        return CompileOptions(
            upstream=self.upstream,
            operations=tuple(settings.operations),
            headers=tuple(name.lower() for name in config.headers),
            query=tuple(settings.query),
            resources=tuple(settings.resources),
            uses_servers=config.url is None and settings.use_servers,
            location=location,
            name=location if settings.path is None else settings.path.name,
            output=settings.output,
        )

    async def _from_file(self, path: Path) -> tuple[bytes | None, str]:
        cap = self._settings.max_bytes

        def read() -> bytes:
            with open(path, "rb") as file:
                return file.read(cap + 1)

        try:
            data = await in_thread(read)
        except OSError as error:
            raise web.FetchFailed(f"cannot be read ({error.strerror})") from None
        if len(data) > cap:
            raise web.FetchFailed(f"is larger than {cap} bytes, the cap set by `openapi.max_bytes`")
        return data, ""

    async def _from_web(self, *, is_conditional: bool) -> tuple[bytes | None, str]:
        settings, config = self._settings, self._config
        url = settings.document
        asked: dict[str, str] = {"accept": ACCEPT}
        is_conditional = is_conditional and not self._parts.documents and not self._parts.unavailable
        if is_conditional and self._etag:
            asked["if-none-match"] = self._etag
        elif is_conditional and self._modified:
            asked["if-modified-since"] = self._modified
        own = self._credentials(url)
        host = urlsplit(url).hostname or ""
        answer = await web.get(
            url, asked, settings.max_bytes, config.connect_timeout, private_hosts=[host], credentials=own
        )
        if answer.status == 304 and is_conditional:
            return None, ""
        if answer.status != 200:
            raise web.FetchFailed(f"answered with HTTP status {answer.status}")
        self._etag = _value(answer.headers, b"etag")
        self._modified = _value(answer.headers, b"last-modified")
        return answer.body, answer.url

    def _place(self) -> str:
        """Where it is, without what may be secret in it."""
        if self._settings.path is not None:
            return str(self._settings.path)
        parts = urlsplit(self._settings.document)
        return f"{parts.scheme}://{parts.hostname}{parts.path}"[:_TOLD]


def _digest(options: CompileOptions, documents: Iterable[bytes]) -> bytes:
    digest = blake2b(repr(options).encode(), digest_size=16)
    for data in documents:
        digest.update(len(data).to_bytes(8) + data)
    return digest.digest()


def _value(headers: Mapping[bytes, bytes], name: bytes) -> str:
    value = headers.get(name, b"").decode("latin-1").strip()
    return value if value.isprintable() and len(value) <= 1000 else ""
