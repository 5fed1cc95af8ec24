"""A session with the device program on a board: run, profile.

with connect(find_board("virtual-cortex-m4")) as session:
    outputs = session.run([image.tobytes()])
    profile = session.profile([image.tobytes()], repeat=5)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit.devices.conversation import RUN, Conversation, Hello
from edgekit.devices.profile import Profile
from edgekit.devices.profiling import Progress, profile
from edgekit.devices.routes import Access, open_route
from targets import Board

__all__ = ["Hello", "Profile", "Session", "connect"]


class Session(Conversation):
    """See `connect`."""

    def run(self, inputs: Sequence[bytes]) -> list[bytes]:
        """Run the model once on raw inputs and return its raw outputs."""
        self.load(inputs)
        self.invoke()
        return self.outputs()

    def profile(
        self,
        inputs: Sequence[bytes],
        repeat: int = 5,
        *,
        warm_up: int = 0,
        cold: bool = False,
        interrupts_off: bool = False,
        progress: Progress | None = None,
    ) -> Profile:
        """Run `warm_up` + `repeat` times on one set of inputs; the last `repeat` of them count.

        A model with states starts from their initial contents each time.

        Args:
            cold: empty the caches of core and board before each run that counts.
            interrupts_off: mask interrupts during each run that counts; at least one warm-up run
                goes before them.
            progress: called with runs done and runs in all.

        Raises:
            EdgekitError: E608 where the firmware was built without profiling, or where its counter
                is too narrow without interrupts; E662 where no counter works; E663 where it
                failed in a run.
        """
        return profile(self, inputs, repeat, warm_up, cold, interrupts_off, progress)


def connect(
    board: Board, *, access: Access | None = None, elf: Path | None = None, timeout: float = 2.0
) -> Session:
    """Power the board up (or open its port) and start a session; use it in a ``with`` statement.

    Args:
        access: route, ports and transport, where the defaults will not do.
        elf: on emulated boards, a program to run instead of what was flashed, which stays.
        timeout: seconds that the board has for a short answer.

    Raises:
        EdgekitError: E606 nothing flashed, E602 and E603 no QEMU, E604 the connection fails.
    """
    route = open_route(board, access)
    return Session(board, route.stream(elf), timeout * route.patience, RUN * route.patience)
