"""What an authenticator function gets as `context`, under the name by which hosted hubs know it."""

from stentor_context import Context, cache_for

__all__ = ["Context", "cache_for"]
