"""Configurations of the Python tests, as values. Port 0 asks the system for a free one."""

ALL = {"publish": True, "subscribe": True, "call": True, "register": True}


def endpoint(**more) -> dict:
    return {"type": "tcp", "interface": "127.0.0.1", "port": 0, **more}


def web(paths: dict | None = None, **endpoint_options) -> dict:
    """One web transport: WebSocket on `ws`, unsigned pusher on `push`, and whatever else is asked for."""
    standard = {"ws": {"type": "websocket"}, "push": pusher()}
    return {"type": "web", "endpoint": endpoint(**endpoint_options), "paths": {**standard, **(paths or {})}}


def pusher(kind: str = "publisher", **options) -> dict:
    service = {"type": kind, "realm": "realm1", "role": "anonymous"}
    return {**service, "options": options} if options else service


def node(*transports: dict) -> dict:
    permission = {"uri": "", "match": "prefix", "allow": ALL}
    realm = {"name": "realm1", "roles": [{"name": "anonymous", "permissions": [permission]}]}
    return {"version": 2, "workers": [{"type": "router", "realms": [realm], "transports": list(transports)}]}


def hub(**options) -> dict:
    """A node whose one transport has a hub on `hub` that lets everybody in; callbacks may be on this machine."""
    return {
        "type": "websub-hub",
        "options": {
            "authenticator": {"type": "allow-all"},
            "publish": {},
            "allow_private_networks": True,
            # Milliseconds: what fails is tried again while the test is still there.
            "retry_delay_base": 20,
            "retry_delay_min": 5,
            "retry_delay_max": 100,
            **options,
        },
    }
