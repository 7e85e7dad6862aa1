"""What an authenticator function of Stentor gets as `context`, and what it may wrap its result in.

Inside of a function, for the type checker:

    from typing import TYPE_CHECKING, cast

    if TYPE_CHECKING:
        from stentor_context import Context

        context = cast(Context, context)
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import MutableMapping
from logging import Logger
from typing import TYPE_CHECKING, Any, NamedTuple

__all__ = ["Cached", "Context", "Table", "cache_for"]


class Cached(NamedTuple):
    """A result, and for how many seconds the node may repeat it to the same request."""

    seconds: float
    result: Any


def cache_for(seconds: float, result: Any) -> Cached:
    """Lets the node give this result again to a request that is the same in every octet, without asking."""
    return Cached(float(seconds), result)


class Table(MutableMapping[str, Any]):
    """Texts and JSON values that outlive the worker and the node, shared by all workers of the hub.

    Each method is atomic. `with context.table:` makes several of them so, in an `async` function
    `async with context.table:`: an exception that leaves the block takes back what was written in it.
    """

    @abstractmethod
    def copy(self) -> dict[str, Any]:
        """All of it at one moment; `dict(table)` would ask for one key after the other."""

    @abstractmethod
    def __enter__(self) -> "Table": ...

    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    @abstractmethod
    async def __aenter__(self) -> "Table": ...

    @abstractmethod
    async def __aexit__(self, *_: object) -> None: ...


class Context:
    """One for each worker process, as long as it lives; functions may put attributes of their own on it.

    It is a lock too: `with context:` keeps other requests of the same worker out, in an `async` function
    `async with context:`.
    """

    #: The function's `config`.
    config: dict[str, Any]
    #: Writes to the node's log, under the function's name.
    logger: Logger
    #: The name of the hub.
    node: str
    #: The name of the folder that the node's directory lies in.
    tenant: str
    #: Texts and JSON values that outlive the worker and the node.
    table: Table

    if TYPE_CHECKING:
        # Attributes of a function's own may be anything.
        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(
        self,
        *,
        config: dict[str, Any],
        logger: Logger,
        node: str,
        tenant: str,
        table: Table,
    ) -> None:
        self.config = config
        self.logger = logger
        self.node = node
        self.tenant = tenant
        self.table = table
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes the lock."""
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Gives it back."""
        self._lock.release()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    async def __aenter__(self) -> bool:
        # A wait in the event loop's thread would keep the holder from ever giving it back.
        while not self._lock.acquire(blocking=False):
            await asyncio.sleep(0.001)
        return True

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
