"""GET /: the page, one file with its style and script in it. It holds no figure: those come by /v1/events.

The content policy lets nothing run or load but what carries this answer's nonce, and nothing connect but to here.
"""

import secrets
from functools import cache
from importlib import resources

import jinja2
from markupsafe import Markup

from adjudge.gateway.asgi import Answer, Call

HTML = b"text/html; charset=utf-8"
SCRIPTS = ("words.js", "series.js", "charts.js", "figures.js", "judgments.js", "page.js")


class PageApi:
    """`keyed`: whether the page has to ask for a key first."""

    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed

    async def get(self, call: Call) -> Answer:  # noqa: ARG002 -- the same for all
        nonce = secrets.token_urlsafe(18)
        return Answer(page(nonce, self._keyed).encode(), 200, HTML, headers(nonce))


def page(nonce: str, keyed: bool) -> str:
    style, script = _assets()
    return _template().render(nonce=nonce, keyed=keyed, style=style, script=script)


def headers(nonce: str) -> tuple[tuple[bytes, bytes], ...]:
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    )


@cache
def _assets() -> tuple[Markup, Markup]:
    own, reports = resources.files("adjudge.gateway.page"), resources.files("adjudge.report")
    style = reports.joinpath("report.css").read_text("utf-8") + own.joinpath("page.css").read_text("utf-8")
    script = reports.joinpath("text.js").read_text("utf-8")
    script += "".join(own.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    return Markup(style), Markup(script)  # noqa: S704  # our own files


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adjudge.gateway", "page"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html.jinja")
