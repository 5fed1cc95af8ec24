"""Run a function in a process of its own and take its CPU seconds and peak memory."""

from __future__ import annotations

import multiprocessing
import resource
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def isolated(function: Callable[[], Any]) -> tuple[Any, float]:
    """(result of `function`, peak resident memory of the process in MB).

    The process is forked, so that it starts with what the caller has loaded; that counts.

    Raises:
        RuntimeError: with the traceback of what `function` raised.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(function, sender))
    process.start()
    sender.close()
    try:
        kind, value, peak = receiver.recv()
    except EOFError:
        raise RuntimeError(f"the process ended with status {process.exitcode}") from None
    finally:
        process.join()
    if kind == "error":
        raise RuntimeError(value)
    return value, peak


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """(result, CPU seconds of this process)."""
    started = time.process_time()
    return function(), time.process_time() - started


def _work(function: Callable[[], Any], sender: Connection) -> None:
    try:
        answer = ("value", function())
    except Exception:
        answer = ("error", traceback.format_exc())
    # Linux gives kilobytes.
    sender.send((*answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
