"""What every command that judges shares: the event loop, Ctrl-C, the progress line, the closing words."""

import asyncio
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from adjudge.commands.remedies import remedies
from adjudge.config import Arm, Settings
from adjudge.judging.backends.base import Backend, open_backend
from adjudge.judging.collector import rare_collections
from adjudge.judging.driver import Judge
from adjudge.judging.progress import Progress, Summary
from adjudge.judging.run import reachable, run
from adjudge.store.store import Store
from adjudge.types import Outcome, Pair


class Counted(Iterable[Pair]):
    """Pairs whose number is known beforehand, so that progress can say how many are left."""

    def __init__(self, pairs: Iterable[Pair], count: int) -> None:
        self._pairs, self._count = pairs, count

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs)

    def __length_hint__(self) -> int:
        return self._count


def judge_pairs(
    pairs: Iterable[Pair],
    arms: Sequence[Arm],
    settings: Settings,
    store: Store,
    *,
    concurrency: int,
    cap_usd: float | None = None,
    judges: Mapping[str, Judge] | None = None,
) -> Summary:
    """Judge in an event loop of its own, with a progress line where stderr is a terminal.

    A first Ctrl-C lets what is in flight finish; a second gives it up (KeyboardInterrupt). Raises what `run` raises.
    """
    with rare_collections(), asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_judge(pairs, arms, settings, store, concurrency, cap_usd, judges))


def new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _judge(
    pairs: Iterable[Pair],
    arms: Sequence[Arm],
    settings: Settings,
    store: Store,
    concurrency: int,
    cap_usd: float | None,
    judges: Mapping[str, Judge] | None,
) -> Summary:
    stop = asyncio.Event()
    backends: dict[str, Backend] = {}
    with ExitStack() as stack:
        bar = stack.enter_context(_progress_line())
        stack.enter_context(_stop_on_ctrl_c(stop))
        try:
            for arm in reachable(arms, settings):
                if arm.server not in backends:
                    backends[arm.server] = open_backend(arm.server, settings)
            return await run(
                pairs,
                arms,
                settings,
                store,
                backends=backends,
                concurrency=concurrency,
                cap_usd=cap_usd,
                stop=stop,
                progress=bar.show if bar else None,
                judges=judges,
            )
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            for backend in backends.values():
                await backend.close()


@contextmanager
def _stop_on_ctrl_c(stop: asyncio.Event) -> Iterator[None]:
    task = asyncio.current_task()
    assert task is not None

    def interrupted() -> None:
        if stop.is_set():
            task.cancel()
        else:
            print("\nstopping: waiting for the calls in flight (Ctrl-C again gives them up)", file=sys.stderr)
            stop.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class _Line:
    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def show(self, now: Progress) -> None:
        self._bar.update(self._task, completed=now.done, total=now.total, words=_words(now))


@contextmanager
def _progress_line() -> Iterator[_Line | None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.fields[words]}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        yield _Line(bar, bar.add_task("", total=None, words=""))


def _words(now: Progress) -> str:
    parts = [f"{now.rate_per_s:,.1f}/s"]
    if now.left_s is not None:
        parts.append(f"{duration(now.left_s)} left")
    parts.append(f"${now.spend_usd:,.4f}" + (f" + {now.unpriced:,} unpriced" if now.unpriced else ""))
    parts.append(f"{100 * now.unread_share:.1f} % unread")
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    if now.waiting:
        parts.append(f"{now.waiting:,} with another run")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(4), duration(125), duration(7500)
    ('4 s', '2 min 05 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def closing_lines(summary: Summary, settings: Settings) -> list[str]:
    """What a run did, what went wrong most, and what to do about it, in a few plain lines."""
    spend = summary.spend
    settled, failed = summary.bought - summary.failed, summary.failed - summary.not_bought
    first = f"{settled:,} judgments bought in {duration(summary.seconds)}"
    first += f", {failed:,} failed" if failed else ""
    first += f", {summary.skipped:,} were in the store" if summary.skipped else ""
    lines = [first + "."]
    if settled:
        lines.append(_verdicts(summary))
    if spend.prompt_tokens or spend.output_tokens:
        lines.append(
            f"{spend.calls:,} calls, {spend.prompt_tokens:,} prompt and {spend.output_tokens:,} output tokens, "
            f"${spend.cost_usd:,.4f}."
        )
    if spend.unpriced_calls:
        lines.append(f"{spend.unpriced_calls:,} calls have no known cost (no price in arms.toml, or no usage given).")
    if spend.unmetered_calls:
        lines.append(f"{spend.unmetered_calls:,} attempts failed that the server may have billed all the same.")
    if summary.interrupted:
        lines.append(f"{summary.interrupted:,} judgments were in flight when an earlier run died; bought again.")
    lines += [_sentence(part) for part in _gone_wrong(summary, settings) if part]
    return lines


def _gone_wrong(summary: Summary, settings: Settings) -> Iterator[str]:
    """Why servers were given up or what failed most, what to do about it, and how to go on."""
    failed = summary.failed - summary.not_bought
    if summary.given_up:
        yield from summary.given_up.values()
    elif summary.failures:
        worst = summary.failures[0]
        yield f"{'All' if worst.count == failed else f'{worst.count:,}'} of the {failed:,} failed with: {worst.error}"
    yield from remedies(summary, settings)
    yield summary.what_is_left if summary.given_up else summary.how_to_go_on


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?")) else text + "."


def _verdicts(summary: Summary) -> str:
    verdicts = sum(n for o, n in summary.outcomes.items() if o.is_verdict)
    ties = summary.outcomes.get(Outcome.TIE, 0)
    none = sorted(f"{n:,} {o}" for o, n in summary.outcomes.items() if not o.is_verdict and o is not Outcome.FAILED)
    without = f"without a verdict: {', '.join(none)}" if none else "none without a verdict"
    return f"{verdicts:,} verdicts ({ties:,} ties or split orders); {without}."
