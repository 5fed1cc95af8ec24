"""Routes: one file each, found by being in this folder.

A route's name is its module's name with dashes; the module has the class as ``ROUTE``. It is
imported when it is used, so that a route may need packages that others do not.
"""

from __future__ import annotations

import importlib
import pkgutil

from edgekit.devices.routes.base import Access, Route
from edgekit.errors import EdgekitError, did_you_mean
from targets import Board

__all__ = [
    "Access",
    "Route",
    "find_route",
    "open_route",
    "refuse_packages_only",
    "route_names",
    "transport_of",
]


#: Modules of this folder that are no routes.
_SHARED = ("base", "remote")


def route_names() -> tuple[str, ...]:
    """All routes by name."""
    found = (m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found if name not in _SHARED))


def find_route(name: str) -> type[Route]:
    """The class of a route; raises EdgekitError E601 where there is none of that name."""
    if name not in route_names():
        hint = did_you_mean(name, list(route_names()))
        raise EdgekitError("E601", f"unknown route '{name}'", help=hint)
    route: type[Route] = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").ROUTE
    return route


def open_route(board: Board, access: Access | None = None) -> Route:
    """The route to `board` that the user, or else the board's file, has chosen; not connected yet.

    Raises:
        EdgekitError: E601 where the board has no such route, or is emulated and a port was given;
            E511 where packages are the only way to it; E646 where board or route do not have the
            transport.
    """
    refuse_packages_only(board)
    access = access or Access()
    name = access.route or board.route
    if name not in board.routes:
        raise EdgekitError(
            "E601",
            f"board '{board.name}' has no route '{name}'",
            help=f"it has: {', '.join(board.routes)}",
        )
    if board.emulated and (access.port or access.serial):
        raise EdgekitError(
            "E601",
            f"board '{board.name}' is emulated and has no port '{access.port or access.serial}'",
            help="leave --port and --serial away",
        )
    route = find_route(name)(board, access)
    carried = [t for t in board.transports if t in route.transports]
    if route.transport not in carried:
        raise EdgekitError(
            "E646",
            f"board '{board.name}' does not talk by '{route.transport}' over route '{name}'",
            help=f"it does with --transport {' or '.join(carried)}"
            if carried
            else "choose another --route",
        )
    return route


def transport_of(board: Board, access: Access | None = None) -> str:
    """How host and program will talk; firmware is built for it. Raises what `open_route` raises."""
    return open_route(board, access).transport


def refuse_packages_only(board: Board) -> None:
    """Raises EdgekitError E511 where packages are the only way to a board."""
    if board.packages_only:
        raise EdgekitError(
            "E511",
            f"edgekit cannot flash board '{board.name}'",
            details=[board.notes] if board.notes else [],
            help=f"edgekit export OUT --as {board.packages_only} writes sources for its own tools",
        )
