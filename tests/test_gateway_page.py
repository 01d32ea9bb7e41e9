"""The gateway's page in a real browser: what is drawn is what /metrics says, texts stay texts, and it lives.

One gateway and one browser for all tests, on one event loop; traffic is sent once, and every test looks at it.
"""

import asyncio
import json
import re
import shutil
from collections import Counter
from contextlib import AsyncExitStack

import pytest
from click.testing import CliRunner

from adjudge.commands.keys import command as keys
from adjudge.gateway.watch import router as router_watch
from tests.gateway_watched import PRICES, fitted, pairs, routing
from tests.gateways import Model, completion, gateway, serving_model, settings

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.slow,
]

HOSTILE = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'> 1 &lt; 2 \u202eevil"
WAIT_MS = 60_000  # of a machine that is busy


def cheap_says(body):
    asked = body["messages"][-1]["content"]
    if "out of order" in asked:
        return 500, {"error": {"message": "out of order"}}
    if "who knows" in asked:
        return completion(f"Hm. {HOSTILE}", output=20)
    return completion("[[A]]" if len(asked) % 2 else "", output=20)


def dear_says(body):
    return completion("[[A]]", output=200, reasoning_content=f"Let me see. {HOSTILE}")


class Stage:
    """The loop that everything runs on. `trouble`: what pages said or did that they should not."""

    def __init__(self, runner, client, browser, trouble):
        self.client, self.browser, self.trouble = client, browser, trouble
        self._run = runner.run

    def run(self, work):
        """A test's work; the pages that it opened are closed after it."""

        async def whole():
            try:
                await work
            finally:
                for context in self.browser.contexts:
                    await context.close()

        self._run(whole())

    async def open(self, address=None, *, width=1280, height=900, expected=(), **options):
        """A page that is open, and whatever it should not do noted."""
        address = address or self.client.address
        context = await self.browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()

        def note(text):
            if not any(word in text for word in expected):
                self.trouble.append(text)

        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: note(str(error)))
        page.on("dialog", lambda dialog: note(f"dialog: {dialog.message}"))
        page.on("request", lambda request: note(request.url) if not request.url.startswith(address) else None)
        await page.goto(address)
        return page


@pytest.fixture(scope="module", name="runner")
def fixture_runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", name="stage")
def fixture_stage(runner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    stack, trouble = AsyncExitStack(), []
    looks = pytest.MonkeyPatch()
    looks.setattr(router_watch, "DRIFT_LOOK_S", 0.2)

    async def begin():
        cheap = await stack.enter_async_context(serving_model(Model(cheap_says)))
        dear = await stack.enter_async_context(serving_model(Model(dear_says)))
        both = {"server": "cheap", "orders": "both", "price": {"input": 1.0, "output": 1.0}}
        told = settings({"cheap": cheap.url, "dear": dear.url}, PRICES | {"both": both})
        found = routing(fitted(folder / "router"), told)
        how = {"audit": 1.0, "cap_usd": 2.0}
        client = await stack.enter_async_context(gateway(told, folder / "g.db", found, **how))
        await traffic(client)
        driver = await stack.enter_async_context(playwright.async_playwright())
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        stack.push_async_callback(browser.close)
        return Stage(runner, client, browser, trouble)

    try:
        yield runner.run(begin())
    finally:
        runner.run(stack.aclose())
        looks.undo()
    assert trouble == []


async def traffic(client):
    """A batch that is routed, a part of it again, both orders, a chat, failures, labels, and texts that attack."""
    _, found = await client.post("/v1/judge", {"arm": "auto", "items": pairs(40, 1000)})
    await client.post("/v1/judge", {"arm": "auto", "items": pairs(7, 1000)})
    await client.post("/v1/judge", {"arm": "both", "items": pairs(6, 2000)})
    attack = {"prompt": f"who knows {HOSTILE}", "response_a": HOSTILE, "response_b": "b", "rubric": f"Fair. {HOSTILE}"}
    await client.post("/v1/judge", {"arm": "cheap", **attack})
    await client.post("/v1/judge", {"arm": "dear", **attack})
    await client.post("/v1/judge", {"arm": "cheap", **pairs(1, 3000)[0], "prompt": "out of order"})
    says = [{"role": "user", "content": "hi"}]
    await client.post("/v1/chat/completions", {"model": "adjudge/cheap", "messages": says})
    for one in found["results"][:10]:
        await client.post("/v1/feedback", {"id": one["id"], "gold": "A"})
    for _ in range(300):
        samples = await metrics(client)
        if sum(n for (name, *_), n in samples.items() if name == "audits_total") == 40:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(2.5)  # for the last of it to be looked at


async def metrics(client):
    """(name without its prefix, values of the labels in their order) -> value"""
    _, text = await client.get("/metrics")
    found = {}
    for line in text.splitlines():
        if line.startswith("adjudge_"):
            name, labels, value = re.fullmatch(r"adjudge_(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            found[name, *re.findall(r'="([^"]*)"', labels or "")] = float(value)
    return found


def total(samples, name, fits=lambda *labels: True):
    return sum(value for (one, *labels), value in samples.items() if one == name and fits(*labels))


async def live(page):
    await page.wait_for_selector("#live[data-is=live]")
    await page.click("[data-range='1h']")
    await page.wait_for_selector("#figure-judgments svg")


async def fact(page, name):
    return float(await page.get_attribute(f"[data-fact={name}]", "data-value"))


async def heights(page, figure):
    """What a chart's bars come to by their height in pixels on its axis, by class."""
    return await page.evaluate(
        """(id) => {
          const svg = document.querySelector(`#figure-${id} svg`);
          const ticks = [...svg.querySelectorAll("text.tick[text-anchor=end]")].slice(0, 2).map((tick) =>
            [Number(tick.getAttribute("y")), Number(tick.textContent.replace(/[^0-9.e-]/g, ""))]);
          const perPixel = (ticks[1][1] - ticks[0][1]) / (ticks[0][0] - ticks[1][0]);
          const found = {};
          for (const bar of svg.querySelectorAll(".piece")) {
            const name = bar.getAttribute("class").split(" ")[1];
            found[name] = (found[name] || 0) + Number(bar.getAttribute("height")) * perPixel;
          }
          return found;
        }""",
        figure,
    )


# -- what is drawn is what /metrics says


def test_the_tiles_say_what_metrics_says(stage):
    async def work():
        page = await stage.open()
        await live(page)
        samples = await metrics(stage.client)
        judgments = total(samples, "judgments_total")
        silent = total(samples, "judgments_total", lambda arm, outcome: outcome not in ("A", "B", "tie"))
        assert judgments == 40 + 6 + 2 + 40 + 1  # routed, both, attacks, audits, the one that failed
        assert await fact(page, "judgments") == judgments
        assert await fact(page, "cached") == total(samples, "judgments_cached_total") == 7
        assert await fact(page, "without") == silent > 0
        assert await fact(page, "spent") == pytest.approx(total(samples, "cost_usd_total"), rel=1e-12)
        assert await fact(page, "mean") == pytest.approx(samples["mean_cost_rel",], rel=1e-12)
        assert await fact(page, "agreement") == pytest.approx(samples["agreement",], rel=1e-12)
        same = total(samples, "audits_total", lambda result: result == "same")
        compared = total(samples, "audits_total", lambda result: result in ("same", "tie", "other"))
        assert await fact(page, "agreement") == pytest.approx(same / compared)
        right = total(samples, "feedback_total", lambda arm, result: result == "right")
        assert await fact(page, "accuracy-route\\:racer") == right / 10
        agreeing = total(samples, "both_orders_total", lambda arm, agree: agree == "yes")
        assert await fact(page, "consistency") == agreeing

    stage.run(work())


def test_bars_are_as_high_as_the_counters_of_metrics(stage):
    async def work():
        page = await stage.open()
        await live(page)
        samples = await metrics(stage.client)
        drawn = await heights(page, "judgments")
        told = {
            "hue-lead": total(samples, "judgments_total", lambda arm, outcome: outcome in ("A", "B", "tie")),
            "hue-none": total(samples, "judgments_total", lambda arm, outcome: outcome not in ("A", "B", "tie")),
            "hue-tie": total(samples, "judgments_cached_total"),
            "hue-second": total(samples, "completions_total"),
            "hue-warm": total(samples, "unjudged_total"),
        }
        assert told["hue-warm"] == 1
        assert drawn == {name: pytest.approx(n, abs=0.2) for name, n in told.items()}
        spent = await heights(page, "spend")
        by_arm = {
            name: total(samples, "cost_usd_total", lambda arm, n=name: arm == n) for name in ("cheap", "dear", "both")
        }
        assert spent == {
            f"hue-{place}": pytest.approx(by_arm[name], rel=0.02)
            for place, name in enumerate(("cheap", "dear", "both"))
        }

    stage.run(work())


def test_the_latency_is_the_median_of_the_histogram(stage):
    async def work():
        page = await stage.open()
        await live(page)
        samples = await metrics(stage.client)
        ends = Counter()
        for (name, *labels), n in samples.items():
            if name == "judgment_seconds_bucket":
                ends[float(labels[1])] += n
        count, below, low = ends[float("inf")], 0, 0.0
        for end in sorted(ends):
            if ends[end] >= count / 2:
                median = low + (end - low) * (count / 2 - below) / (ends[end] - below)
                break
            below, low = ends[end], end
        assert await fact(page, "latency") == pytest.approx(median, rel=1e-9)

    stage.run(work())


def test_budgets_are_those_of_the_ledger(stage):
    async def work():
        page = await stage.open()
        await live(page)
        rows = await page.locator("#accounts tbody tr").all_inner_texts()
        spent = total(await metrics(stage.client), "cost_usd_total")
        assert [row.split("\t")[0] for row in rows] == ["Everything", "Audits"]
        assert "of $2.00" in rows[0]
        shown = float(re.search(r"\$([\d.]+)\s+of", rows[0])[1])
        assert shown == pytest.approx(spent, rel=0.006)  # three digits

    stage.run(work())


def test_a_new_judgment_shows_up_by_itself(stage):
    async def work():
        page = await stage.open()
        await live(page)
        before = await fact(page, "judgments")
        status, found = await stage.client.post("/v1/judge", {"arm": "both", **pairs(1, 4000)[0]})
        assert status == 200
        await page.wait_for_selector(f".row[data-id='{found['id']}']")
        await page.wait_for_function(
            f"document.querySelector('[data-fact=judgments]').dataset.value === '{before + 1:.0f}'"
        )
        samples = await metrics(stage.client)
        assert await fact(page, "judgments") == total(samples, "judgments_total")

    stage.run(work())


def test_drift_past_the_radius_raises_an_alarm_on_the_page_in_metrics_and_in_the_log(stage):
    async def work():
        page = await stage.open()
        await live(page)
        status, _ = await stage.client.post("/v1/judge", {"arm": "auto", "items": pairs(60, 5000, words=8)})
        assert status == 200
        await page.wait_for_selector("#alarms:has-text('Drift')")
        samples = await metrics(stage.client)
        assert samples["drift_alarm",] == 1.0
        assert samples["drift_least_nats",] > samples["drift_radius_nats",] == 0.3
        assert await fact(page, "drift") == pytest.approx(samples["drift_least_nats",], rel=0.05)
        lines = [line for line in stage.client.lines() if line.get("event") == "drift"]
        assert lines[0]["alarm"] is True
        assert await page.locator("#figure-drift .rule-name").text_content() == "fitted radius 0.3"

    stage.run(work())


# -- texts stay texts


def test_what_attacks_the_page_stays_text(stage):
    async def work():
        page = await stage.open()
        await live(page)
        await page.click("#more")
        await page.select_option("#only", "arm:dear")
        rows = page.locator("#rows > .row", has_not=page.locator(".badge"))
        opened = 0
        for i in range(await rows.count()):
            if opened == 1:
                break
            if await rows.nth(i).locator(".chip").count() == 1:
                await rows.nth(i).locator("summary").first.click()
                await rows.nth(i).locator("pre").first.wait_for()
                for fold in await rows.nth(i).locator("details > summary").all():
                    await fold.click()
                opened += 1
        assert opened == 1
        shown = "\n".join(await page.locator("#rows pre").all_text_contents())
        assert shown.count("<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'> 1 &lt; 2 ") == 4
        assert "\u202e" not in shown
        assert "U+202E" in shown
        assert await page.locator("#rows :is(script, img, iframe, a)").count() == 0
        assert await page.evaluate("typeof window.pwned") == "undefined"

    stage.run(work())


def test_an_opened_judgment_says_what_the_store_has(stage):
    async def work():
        _, found = await stage.client.post("/v1/judge", {"arm": "dear", **pairs(1, 6000)[0]})
        page = await stage.open()
        await live(page)
        row = page.locator(f".row[data-id='{found['id']}']")
        await row.locator("summary").first.click()
        await row.locator("pre").first.wait_for()
        texts = await row.locator("pre").all_text_contents()
        assert texts[:3] == ["Add 6000 and 6000.", "It is 12000.", "12001"]
        assert "[[A]]" in texts[-1]
        assert "Let me see." in texts[-2]
        assert "$0.003" in await row.locator("table").inner_text()  # (100 + 200) tokens at $10 a million

    stage.run(work())


def test_the_policy_lets_nothing_in_but_what_carries_the_nonce(stage):
    async def work():
        async with stage.client.session.get(stage.client.address) as answer:
            first, html = answer.headers["Content-Security-Policy"], await answer.text()
        async with stage.client.session.get(stage.client.address) as answer:
            second = answer.headers["Content-Security-Policy"]
        nonce = re.search("'nonce-([^']+)'", first)[1]
        assert nonce not in second
        assert "default-src 'none'" in first
        assert "unsafe" not in first
        assert html.count(f'nonce="{nonce}"') == html.count("<script") + html.count("<style") == 2
        assert not re.search(r"""(?:src|href)=["'](?!#|data:,|/openapi)""", html)
        assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
        assert " style=" not in html
        page = await stage.open(expected=("Content Security Policy",))
        await live(page)
        await page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {text: 'pwned = 3'}))"
        )
        assert await page.evaluate("typeof window.pwned") == "undefined"

    stage.run(work())


# -- hands, eyes, sizes


def test_the_list_is_walked_by_arrow_keys_and_escape_closes(stage):
    async def work():
        page = await stage.open()
        await live(page)
        await page.focus("#only")
        await page.keyboard.press("Tab")
        at = "[...document.querySelectorAll('#rows > .row > summary')].indexOf(document.activeElement)"
        assert await page.evaluate(at) == 0
        for key, place in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 24), ("Home", 0)):
            await page.keyboard.press(key)
            assert await page.evaluate(at) == place
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await page.keyboard.press("Enter")
        await page.locator("#rows > .row[open] pre").first.wait_for()
        await page.keyboard.press("Tab")  # into what was opened
        await page.keyboard.press("Escape")
        assert await page.locator("#rows > .row[open]").count() == 0
        assert await page.evaluate(at) == 0
        assert await page.locator("#rows > .row > summary[tabindex='0']").count() == 1

    stage.run(work())


def test_a_chart_is_read_by_keyboard_and_holds_still_meanwhile(stage):
    async def work():
        page = await stage.open()
        await live(page)
        assert await page.locator("#figure-judgments .mark[tabindex='0']").count() == 1
        await page.locator("#figure-judgments .mark").last.focus()
        tip = page.locator("#tip")
        last = await tip.inner_text()
        assert re.match(r"\d\d:\d\d\n", last)
        await page.keyboard.press("ArrowLeft")
        assert await tip.inner_text() != last
        await stage.client.post("/v1/judge", {"arm": "both", **pairs(1, 4500)[0]})
        await page.wait_for_selector("#figure-judgments.paused")
        await page.keyboard.press("Escape")
        assert await tip.is_hidden()
        await page.wait_for_selector("#figure-judgments:not(.paused)")
        await page.locator("#figure-latency summary").click()
        await page.locator("#figure-latency table tbody tr").first.wait_for()

    stage.run(work())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_systems_theme_until_the_button_says_otherwise(stage, scheme):
    async def work():
        page = await stage.open(color_scheme=scheme)
        await live(page)
        ground = "getComputedStyle(document.body).backgroundColor"
        own = {"light": "rgb(250, 250, 248)", "dark": "rgb(18, 23, 28)"}
        assert await page.evaluate(ground) == own[scheme]
        await page.click("#theme")
        assert await page.evaluate(ground) == own["light"]
        await page.click("#theme")
        assert await page.evaluate(ground) == own["dark"]
        await page.reload()
        assert await page.inner_text("#theme") == "Theme: dark"

    stage.run(work())


def test_nothing_is_wider_than_a_phone(stage):
    async def work():
        page = await stage.open(width=360, height=740, has_touch=True)
        await live(page)
        await page.locator("#rows > .row > summary").first.click()
        await page.locator("#rows pre").first.wait_for()
        for back in ("5m", "1h", "24h"):
            await page.click(f"[data-range='{back}']")
            assert await page.evaluate("document.documentElement.scrollWidth") == 360

    stage.run(work())


# -- who may look


def test_an_empty_gateway_says_what_to_do_first_and_it_works(stage, tmp_path):
    async def work():
        async with (
            serving_model(Model(dear_says)) as model,
            gateway(settings({"plain": model.url}), tmp_path / "g.db") as client,
        ):
            page = await stage.open(client.address)
            await page.wait_for_selector("#empty:visible")
            assert await page.locator("#figures").is_hidden()
            command = await page.inner_text("#first")
            assert command.startswith(f"curl {client.address}/v1/judge")
            body = json.loads(re.search(r"-d '(.*)'", command)[1])
            status, found = await client.post("/v1/judge", body)
            assert (status, found["arm"]) == (200, "plain")
            await page.wait_for_selector("#rows > .row")
            assert await page.locator("#empty").is_hidden()
            assert await page.locator("#figure-drift").count() == 0  # there is no router

    stage.run(work())


def test_a_gateway_stops_under_an_open_page_which_comes_back_with_it(stage, tmp_path):
    async def work():
        async with serving_model(Model(dear_says)) as model:
            told = settings({"plain": model.url})
            async with gateway(told, tmp_path / "g.db") as client:
                port = int(client.address.rsplit(":", 1)[1])
                page = await stage.open(client.address, expected=("ERR_", "Failed to load"))
                await page.wait_for_selector("#live[data-is=live]")
                began = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - began < 6
            await page.wait_for_selector("#live[data-is=lost]")
            async with gateway(told, tmp_path / "g.db", port=port):
                await page.wait_for_selector("#live[data-is=live]")

    stage.run(work())


def made(store, scope):
    """A key with this scope, of the same name."""
    found = CliRunner().invoke(keys, ["add", "--store", str(store), "--name", scope, "--scopes", scope, "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.output)["key"]


def test_with_keys_the_page_asks_for_one_that_is_the_admins(stage, tmp_path):
    store = tmp_path / "g.db"
    admin, judge = made(store, "admin"), made(store, "judge")

    async def work():
        async with (
            serving_model(Model(dear_says)) as model,
            gateway(settings({"plain": model.url}), store) as client,
        ):
            _, found = await client.post("/v1/judge", {"arm": "plain", **pairs(1)[0]}, key=judge)
            page = await stage.open(client.address, expected=("401", "403"))
            await page.wait_for_selector("#ask:visible")
            for wrong, why in (("adj_000000000000_nobody", "key"), (judge, "admin")):
                await page.fill("#key", wrong)
                await page.keyboard.press("Enter")
                await page.wait_for_selector(f"#refused:visible:has-text('{why}')")
            await page.fill("#key", admin)
            await page.keyboard.press("Enter")
            row = page.locator(f".row[data-id='{found['id']}']")
            await row.locator("summary").first.click()
            await row.locator("pre").first.wait_for()
            kept = await page.evaluate("[Object.values(sessionStorage), JSON.stringify(localStorage), document.cookie]")
            assert kept == [[admin], "{}", ""]
            assert "judge" in await page.inner_text("#accounts")
            await page.click("#forget")
            await page.wait_for_selector("#ask:visible")
            assert await page.evaluate("sessionStorage.length") == 0
            assert await page.locator("#told").is_hidden()

    stage.run(work())
