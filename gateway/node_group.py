"""What this node shares with the other nodes of its gateway, put together. Without `gateway.store` that is nothing."""

from collections.abc import Callable, Mapping

from anyio.abc import TaskGroup

from gateway.access.shared_limiter import SharedLimiter
from gateway.access.shared_slots import SharedSlots
from gateway.catalogue import own_pin_records
from gateway.catalogue.keeper import fingerprint
from gateway.catalogue.own_pin_records import OwnPinFolder, OwnPinStore
from gateway.catalogue.pinning import Pinning
from gateway.catalogue.shared_pins import SharedPins
from gateway.catalogue.shared_snapshot import SharedSnapshot
from gateway.config.models import Config
from gateway.logins.logins import keeps_logins
from gateway.store.memory import MemoryStore
from gateway.store.opening import open_store
from gateway.store.shared import Store
from gateway.store.shared_agents import SharedAgentStore
from gateway.telemetry import families
from gateway.telemetry.metrics import Metrics
from gateway.upstream.peers import Peers
from gateway.upstream.upstream import Upstream


class NodeGroup:
    """
    Args:
        is_node: whether this is a node of the gateway, and not there for a moment only.
        upstreams: those that serve now, at any time.
        observe: `(limit, allowed)`, told of what is refused because of other nodes.

    Raises:
        ConfigError: what the store takes is not installed.
    """

    def __init__(
        self,
        config: Config,
        upstreams: Mapping[str, Upstream],
        pinning: Pinning,
        observe: Callable[[str, bool], None],
        *,
        is_node: bool,
    ) -> None:
        settings = config.gateway
        self.store: Store = open_store(settings) if is_node else MemoryStore()
        self.logins: Store | None = None
        """Where logins are, if not on this machine. Whoever is no node reads them there too."""
        if settings.store is not None and (is_node or keeps_logins(config)):
            self.logins = self.store if is_node else open_store(settings)
        self.limiter: SharedLimiter | None = None
        self.slots: SharedSlots | None = None
        self.peers: Peers | None = None
        self.snapshot: SharedSnapshot | None = None
        self._pins: SharedPins | None = None
        self._upstreams = upstreams
        self._servers = config.enabled
        self._is_shared = is_node and settings.store is not None
        if self._is_shared:
            self.limiter = SharedLimiter(self.store)
            self.slots = SharedSlots(self.store, settings.max_requests_per_principal, observe)
            self.peers = Peers(self.store, upstreams, fingerprint)
            self.snapshot = SharedSnapshot(self.store, settings.state_keys[0])
            self._pins = SharedPins(self.store, pinning)
            pinning.own.records = OwnPinStore(self.store, OwnPinFolder(settings.state_dir / own_pin_records.NAME))

    def agents(self) -> SharedAgentStore | None:
        """Where registered agents are, if not in this node's folder."""
        return SharedAgentStore(self.store) if self._is_shared else None

    def watch(self, metrics: Metrics) -> None:
        """Have the metrics show how the store does, if there is one."""
        limiter, slots, store = self.limiter, self.slots, self.store
        if limiter is not None and slots is not None:
            metrics.watch(families.STORE_UP, lambda: int(store.is_quick))
            metrics.watch(families.STORE_NODES, lambda: store.nodes)
            metrics.watch(families.STORE_SHARES, lambda: limiter.shared_out + slots.shared_out)

    async def start(self, tasks: TaskGroup, on_pins: Callable[[], None]) -> bool:
        """Begin to share; returns whether there may be more to offer than was known, or other pins.

        Args:
            on_pins: see `SharedPins.run`.
        """
        await tasks.start(self.store.run)
        if self.logins is not None and self.logins is not self.store:
            await tasks.start(self.logins.run)
        if self.limiter is None or self.slots is None or self._pins is None or self.snapshot is None:
            return False
        tasks.start_soon(self.limiter.run)
        tasks.start_soon(self.slots.run)
        await self._pins.begin()
        tasks.start_soon(self._pins.run, on_pins)
        unknown = {name: server for name, server in self._servers.items() if self._upstreams[name].known is None}
        if unknown:
            for name, listing in (await self.snapshot.load(unknown)).items():
                self._upstreams[name].offer.remember(listing)
        return True
