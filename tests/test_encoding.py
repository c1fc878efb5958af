"""Text is read and written as UTF-8, whatever the locale."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [path for folder in ("mulo", "tests", "experiments", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
PLACE_OF_ENCODING = {"read_text": 0, "write_text": 1}
STREAMS = {"run", "Popen", "check_output"}
"""Of subprocess: text=True decodes by the locale."""


def left_to_the_locale(source: str) -> list[int]:
    """Lines that open a file or a pipe as text and do not say its encoding."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if _is_text(call) and not _says(call)]


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _is_text(call: ast.Call) -> bool:
    if _name(call) in STREAMS:
        return any(word.arg in ("text", "universal_newlines") for word in call.keywords)
    if _name(call) != "open":
        return _name(call) in PLACE_OF_ENCODING
    by_itself = isinstance(call.func, ast.Name)
    if not by_itself and ast.unparse(call.func.value) in ("os", "gzip", "tarfile"):
        return False
    modes = call.args[1:] if by_itself else call.args
    return not modes or (isinstance(modes[0], ast.Constant) and "b" not in str(modes[0].value))


def _says(call: ast.Call) -> bool:
    place = PLACE_OF_ENCODING.get(_name(call))
    positional = place is not None and len(call.args) > place
    return positional or any(word.arg == "encoding" for word in call.keywords)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", [1]),
        ("x = 1\nopen(path, 'w')", [2]),
        ("with path.open('a') as file: pass", [1]),
        ("run(command, text=True)", [1]),
        ("path.read_text('utf-8'); path.write_text(text, encoding='utf-8'); path.open('rb'); open(path, 'wb')", []),
        ("run(command, text=True, encoding='utf-8'); os.open(path, os.O_RDONLY); run(config)", []),
    ],
)
def test_the_test_sees_files_left_to_the_locale(source, found):
    assert left_to_the_locale(source) == found


def test_every_text_file_says_its_encoding():
    found = {str(path.relative_to(ROOT)): left_to_the_locale(path.read_text(encoding="utf-8")) for path in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_job_under_the_c_locale_reads_and_writes_utf8(tmp_path):
    told = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    settings = ("mode=parameters", "name=µLO_M", "logger=none", "task=mlp", "task.width=8")
    command = [sys.executable, "-m", "mulo.run", *settings]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | told, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("parameters-µLO_M-")
    assert "name: µLO_M\n" in (folder / "config.yaml").read_text(encoding="utf-8")
    assert b"parameters-\\xb5LO_M-" in done.stdout  # the terminal is told to be ASCII: the letter's number stands there
