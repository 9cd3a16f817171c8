"""Holds every upstream to its pins: what is first seen is pinned, what differs from that later is judged and reported.

Keeps the file of pins too: writes what is new to it, and follows it, so that an approval counts at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from gateway import blocking
from gateway.blocking import in_thread, within
from gateway.catalogue import judging, own_pin_records
from gateway.catalogue import pins as decisions
from gateway.catalogue.judging import Judged, Pinned
from gateway.catalogue.own_pin_records import OwnPinFolder
from gateway.catalogue.own_pins import OwnPins
from gateway.catalogue.pin_reports import Counters, Reports
from gateway.catalogue.pins import PinVerdict
from gateway.catalogue.timing import USUAL, CatalogueTiming
from gateway.config.models import ServerConfig
from gateway.errors import ConfigError
from gateway.store import files
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.upstream.listing import Listing, LoginListing

log = structlog.stdlib.get_logger("gateway.pins")


class Pinning:
    """The pins of all upstreams. Constructing it reads the file, and blocks.

    A file that cannot be read is left alone. Until it can be, nothing is compared with it.

    Args:
        on_change: told `"pins"` and, by keyword, which upstreams' pins are others, and whether somebody approved that.

    Raises:
        ConfigError: the file cannot be read, and an upstream is to be blocked by what it says.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerConfig],
        path: Path,
        counters: Counters,
        on_change: Callable[..., None] | None = None,
        timing: CatalogueTiming = USUAL,
    ) -> None:
        self._on_change = on_change
        self._path = path
        self._timing = timing
        self._reports = Reports(counters)
        self._unsaved = anyio.Event()
        self._too_large: set[str] = set()
        """Upstreams whose definitions are not pinned because they are."""
        self._trouble = ""
        self._signature = files.signature(path)
        self._pins: dict[str, Pins] | None = None
        self._servers = servers
        self.own = OwnPins(OwnPinFolder(path.parent / own_pin_records.NAME))
        """What each saw first who has lists of their own."""
        self._prepared: dict[str, Judged] = {}
        self._judged: dict[str, Judged] = {}
        """Upstream → what was said last, which holds as long as what it was said of does."""
        try:
            self._pins = pin_file.load(path)
        except ConfigError as error:
            self.check(servers)
            if any(server.pin != "off" for server in servers.values()):
                log.error("definitions are not compared with their pins", reason=error.message)

    def check(self, servers: Mapping[str, ServerConfig]) -> None:
        """Whether this configuration can be gone by. Blocks.

        Raises:
            ConfigError: an upstream is to be blocked by pins that cannot be read. Its `files` has the one to mend.
        """
        if self._pins is None and any(server.pin == "block" for server in servers.values()):
            try:
                self._pins = pin_file.load(self._path)
            except ConfigError as error:
                error.files = [self._path]
                raise

    def use(self, servers: Mapping[str, ServerConfig]) -> None:
        """Go by this configuration, which was checked, from the next listing on."""
        self._servers = servers
        self.own.keep(servers)
        for kept in (self._prepared, self._judged):
            for name in kept.keys() - servers.keys():
                del kept[name]

    def judge(self, upstream: str, listing: Listing) -> PinVerdict:
        """What becomes of a listing. What was never seen is pinned; what is different is reported, once."""
        server, known = self._servers[upstream], self._pins
        if server.pin == "off" or known is None:
            return decisions.unjudged(listing)
        if isinstance(listing, LoginListing):
            verdict = self.own.judge(judging.pins_now(known, self._servers, upstream), server, upstream, listing)
            self._reports.say(upstream, verdict)
            return verdict
        judged = self._prepared.pop(upstream, None)
        if judged is None or judged.known is not known or not judged.is_of(listing, server):
            judged = self._last(upstream, listing, self._servers) or judging.judge(
                known, self._servers, upstream, listing
            )
        self._note(upstream, judged.pinned)
        last = self._judged.get(upstream)
        self._judged[upstream] = replace(judged, known={}, pinned=Pinned(judged.pinned.pins, {}))
        if last is None or last.verdict is not judged.verdict:
            self._reports.say(upstream, judged.verdict)
        return judged.verdict

    async def prepare(
        self, upstream: str, listing: Listing, servers: Mapping[str, ServerConfig] | None = None
    ) -> PinVerdict:
        """Work out beside the event loop what `judge` will say, if nothing changes until then.

        Args:
            servers: the configuration that is to be used then, if it is to be another.
        """
        servers = self._servers if servers is None else servers
        known = self._pins
        if servers[upstream].pin == "off" or known is None:
            return decisions.unjudged(listing)
        if isinstance(listing, LoginListing):
            await self.own.prepare(servers[upstream], upstream, listing)
            approved = judging.pins_now(known, servers, upstream)
            return self.own.judge(approved, servers[upstream], upstream, listing)
        if (last := self._last(upstream, listing, servers)) is not None:
            return last.verdict
        judged = await anyio.to_thread.run_sync(judging.judge, known, servers, upstream, listing)
        self._prepared[upstream] = judged
        return judged.verdict

    def _last(self, upstream: str, listing: Listing, servers: Mapping[str, ServerConfig]) -> Judged | None:
        """What was said last, if it is still so."""
        last = self._judged.get(upstream)
        if last is None or self._pins is None or not last.is_of(listing, servers[upstream]):
            return None
        if judging.pins_now(self._pins, servers, upstream) is not last.pinned.pins:
            return None
        return replace(last, pinned=Pinned(last.pinned.pins, self._pins))

    @property
    def known(self) -> Mapping[str, Pins] | None:
        """All pins; another object whenever they are others. None if the file cannot be read."""
        return self._pins

    def adopt(self, pins: Mapping[str, Pins]) -> None:
        """Go by these from now on, and write them down. All listings have to be judged anew."""
        self._pins = dict(pins)
        self._unsaved.set()

    async def run(self, on_pins: Callable[[], None]) -> None:
        """Keep the file, until cancelled.

        Args:
            on_pins: told when the pins are others, so that all listings are judged anew.
        """
        async with anyio.create_task_group() as tg:
            tg.start_soon(self._save_always)
            tg.start_soon(self._follow, on_pins)

    async def save(self, seconds: float = blocking.LAST_SECONDS) -> None:
        """Write what was pinned and is not written yet. What others wrote meanwhile stays; the log says why not.

        Args:
            seconds: how long it may take.
        """
        if self._unsaved.is_set():
            self._unsaved = anyio.Event()
            ours = self._pins or {}
            try:
                await within(seconds, pin_file.add, self._path, ours)
                self._trouble = ""
            except (ConfigError, OSError) as error:
                self._unsaved.set()
                reason = error.message if isinstance(error, ConfigError) else f"{self._path}: {error.strerror}"
                if reason != self._trouble:
                    log.error("pins not saved", reason=reason)
                self._trouble = reason

    def _note(self, upstream: str, pinned: Pinned) -> None:
        """Keep what was pinned, and say so."""
        if pinned.is_too_large:
            self._say_too_large(upstream)
        if pinned.has_namesake:
            log.warning("another server of the same name; it is pinned anew", upstream=upstream)
        if pinned.after is not self._pins:
            self._pins = dict(pinned.after)
            self._unsaved.set()
        if pinned.is_new:
            some = {kind: len(items) for kind, items in pinned.pins.items.items()}
            log.info("definitions pinned", upstream=upstream, **some)
            if self._on_change is not None:
                self._on_change("pins", how="first seen", upstreams=[upstream])

    def _say_too_large(self, upstream: str) -> None:
        if upstream not in self._too_large:
            self._too_large.add(upstream)
            reason = f"they are larger than {pin_file.MAX_UPSTREAM_BYTES} bytes"
            log.error("definitions not pinned", upstream=upstream, reason=reason)

    async def _save_always(self) -> None:
        while True:
            await self._unsaved.wait()
            await anyio.sleep(self._timing.pin_seconds)
            await self.save(blocking.SAVE_SECONDS)
            if self._trouble:  # else, what is unsaved by now was pinned meanwhile
                await anyio.sleep(self._timing.retry_seconds)

    async def _follow(self, on_pins: Callable[[], None]) -> None:
        while True:
            await anyio.sleep(self._timing.poll_seconds)
            signature = await in_thread(files.signature, self._path)
            if signature != self._signature:
                self._signature = signature
                await self._reload(on_pins)

    async def _reload(self, on_pins: Callable[[], None]) -> None:
        try:
            stored = await in_thread(pin_file.load, self._path)
        except ConfigError as error:
            log.error("pins not reloaded; those from before stay", reason=error.message)
            return
        if self._on_change is not None and (others := _differing(self._pins or {}, stored)):
            self._on_change("pins", how="approved", upstreams=others)
        pins = pin_file.joined(stored, self._pins or {})
        if pins != stored:
            self._unsaved.set()  # somebody who did not know of ours wrote at the same instant, or some are new since
        if pins != self._pins:  # else it was ourselves who wrote, and hundreds of listings would be judged for nothing
            self._pins = pins
            on_pins()


def _differing(ours: Mapping[str, Pins], stored: Mapping[str, Pins]) -> list[str]:
    """The upstreams of which the file says something else; those that it does not have are ours to write."""
    return sorted(name for name, pins in stored.items() if ours.get(name) != pins)
