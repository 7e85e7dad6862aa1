"""Publish events to WAMP subscribers with plain HTTP/POST requests.

>>> import crossbarconnect
>>> client = crossbarconnect.Client("http://127.0.0.1:8080/push")  # doctest: +SKIP
>>> client.publish("com.myapp.topic1", "Hello, world!", 23)        # doctest: +SKIP
4532703899599182

The package uses the standard library only. It knows the HTTP Pusher service of a WAMP router and nothing of WAMP itself: it
sends events and never receives any.
"""

from ._client import Client
from ._errors import Error, PublicationError, TransportError

__all__ = ["Client", "Error", "PublicationError", "TransportError", "__version__"]

__version__ = "1.0.0"
