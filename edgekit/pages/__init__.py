"""Self-contained HTML pages from the templates in this folder.

Everything that a template prints is escaped: names come from model files that anybody may have
made. Style and script of a page are inline and the only ones that its content security policy
lets run, by their hashes; nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent / "templates"
_NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


def render(template: str, styles: Sequence[str], scripts: Sequence[str] = (), **values: Any) -> str:
    """The page `template`, which extends base.html, with `styles` and `scripts` of this folder."""
    from markupsafe import Markup

    css, js = ("\n".join(_text(name) for name in names) for names in (styles, scripts))
    policy = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    policy += [f"style-src '{_hash(css)}'"]
    policy += [f"script-src '{_hash(js)}'"] if js else []
    page = _environment().get_template(template)
    return page.render(policy="; ".join(policy), css=Markup(css), js=Markup(js), **values)


def grouped(n: float) -> str:
    """A number with narrow spaces between thousands: ``226 003``."""
    whole = int(n) if float(n).is_integer() else n
    return f"{whole:,}".replace(",", _NARROW_SPACE)


def nbytes(n: float) -> str:
    return f"{grouped(n)}\N{NO-BREAK SPACE}B"


def percent(share: float, digits: int = 1) -> str:
    """A share of 0 to 1 as ``49.9 %``, with a space that does not break."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def signed(n: float, digits: int = 0) -> str:
    """``+1 024`` or ``−3.5``, with a real minus."""
    return f"{n:+,.{digits}f}".replace(",", _NARROW_SPACE).replace("-", "\N{MINUS SIGN}")


def decibels(x: float | None, sign: str = "") -> str:
    """``37.3 dB``; infinity is "equal", minus infinity "no signal"."""
    if x is None or math.isnan(x):
        return "–"
    if math.isinf(x):
        return "equal" if x > 0 else "no signal"
    return f"{x:{sign}.1f}\N{NO-BREAK SPACE}dB"


def microjoules(x: float) -> str:
    """``12.3 µJ``, ``4.56 mJ``."""
    return f"{x / 1e3:.2f}\N{NO-BREAK SPACE}mJ" if x >= 1e3 else f"{x:.3g}\N{NO-BREAK SPACE}µJ"


def short(name: str, width: int = 36) -> str:
    """The telling end of a long layer name."""
    first = name.split(";")[0]
    return first if len(first) <= width else "…" + first[-(width - 1) :]


def shape(axes: Sequence[int]) -> str:
    """``8×8×16``, without the batch axis of 1."""
    return "×".join(str(n) for n in (axes[1:] if tuple(axes[:1]) == (1,) else axes))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    found.filters.update(
        db=decibels, grouped=grouped, microjoules=microjoules, nbytes=nbytes, percent=percent,
        shape=shape, short=short, signed=signed,
    )  # fmt: skip
    return found


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
