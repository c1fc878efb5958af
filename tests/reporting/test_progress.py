import io
import re

import pytest
from rich.console import Console

from mulo.reporting.progress import progress


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def plain():
    return Console(file=io.StringIO(), force_terminal=False)


def loop(console, clock, steps, seconds, total=300):
    with progress("meta-training", total, start=120, value_name="meta-loss", console=console, clock=clock) as bar:
        clock.now += 30
        for step in range(121, 121 + steps):
            bar.update(step, step / 100)
            clock.now += seconds
    return console.file.getvalue().splitlines()


def test_a_log_file_gets_plain_lines(clock):
    lines = loop(plain(), clock, steps=180, seconds=0.5)
    assert lines[0] == "meta-training 120/300: compiling …, 0:00:00 elapsed"
    assert lines[1] == "meta-training 121/300: meta-loss 1.21, 0:00:30 elapsed"
    # 30 steps later: 15 s for them, and 149 are left at 2 per second.
    assert lines[2] == "meta-training 151/300: meta-loss 1.51, 2 steps/s, 0:00:45 elapsed, 0:01:14 left"
    # The last step took its half second before the block ended.
    assert lines[-1] == "meta-training 300/300: meta-loss 3, 1.99 steps/s, 0:02:00 elapsed"


def test_lines_come_at_most_every_15_seconds(clock):
    lines = loop(plain(), clock, steps=180, seconds=0.5)
    times = [int(m) * 60 + int(s) for m, s in re.findall(r"0:(\d\d):(\d\d) elapsed", "\n".join(lines))]
    assert times == [0, 30, 45, 60, 75, 90, 105, 120]


def test_slow_steps_are_each_printed_once(clock):
    lines = loop(plain(), clock, steps=3, seconds=40)
    assert [line.split(":")[0] for line in lines] == [f"meta-training {n}/300" for n in (120, 121, 122, 123, 123)]


def test_no_control_characters_whatever_the_environment_says(clock, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("[bold]evaluation[/bold] :smile:", total=2, clock=clock) as bar:
        bar.update(1, float("nan"))
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "[bold]evaluation[/bold] :smile: 1/2: value nan" in seen.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", seen.err)


def test_long_lines_are_not_broken(clock):
    console = Console(file=io.StringIO(), force_terminal=False, width=20)
    assert all(line.startswith("meta-training ") for line in loop(console, clock, steps=2, seconds=20))


def test_an_exception_passes_through_and_the_last_line_says_so(clock):
    console = plain()

    def run():
        with progress("evaluation", total=9, console=console, clock=clock) as bar:
            bar.update(4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert console.file.getvalue().splitlines()[-1] == "evaluation stopped at 4/9: 0:00:00 elapsed"


def test_a_terminal_gets_a_bar_that_starts_with_compiling(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=150, color_system=None)
    with progress("meta-training", 300, start=120, value_name="meta-loss", console=console, clock=clock) as bar:
        before = console.file.getvalue()
        clock.now += 60
        bar.update(121, 0.5)
        clock.now += 10
        bar.update(141, 0.25)
    text = console.file.getvalue()
    assert "compiling …" in before
    assert "120/300" in before
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines()[-1]
    assert "meta-training" in last
    assert "141/300" in last
    assert "meta-loss 0.25, 2 steps/s, 0:01:10 elapsed, 0:01:20 left" in last
    assert "compiling" not in last


def test_a_dumb_terminal_gets_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    assert loop(console, clock, steps=1, seconds=1)[0].startswith("meta-training 120/300: compiling")
