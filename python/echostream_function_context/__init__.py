"""What an authenticator function gets as `context`, under the name by which hosted hubs know it."""

from stentor_context import Cached, Context, Table, cache_for

__all__ = ["Cached", "Context", "Table", "cache_for"]
