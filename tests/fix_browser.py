"""Chromium without a screen, driven by the DevTools protocol over a WebSocket.

A test fails if the page threw, logged an error or was refused something by its policy.

What must not live here: anything that knows Howdah's pages.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.fix_tools import PATIENCE, eventually

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Where pictures go that are looked at by people.
PICTURES = Path(__file__).resolve().parent.parent / "build" / "screenshots"

DESKTOP = (1280, 900)
PHONE = (390, 844)


class Browser:
    """One page. `problems` collects exceptions, errors in the console and refusals."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(DESKTOP)

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of the protocol, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(PATIENCE))
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self.problems.append(f"{details['text']} {thrown}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.problems.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        details = result.get("exceptionDetails")
        assert details is None, f"{script}: {details}"
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Load a page afresh, even if only the fragment differs from the one shown."""
        self.call("Page.navigate", url="about:blank")
        eventually(lambda: self.run("location.href") == "about:blank")
        self.call("Page.navigate", url=url)
        eventually(lambda: self.run("location.href !== 'about:blank'"))

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        try:
            eventually(lambda: self.run(f"!!({script})"), what=script)
        except AssertionError as error:
            text = self.text("body")[:3000]
            raise AssertionError(f"{error}\n{self.problems}\n{text}") from None

    def text(self, selector: str) -> str:
        """What can be read in the first element of that kind; empty where there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def texts(self, selector: str) -> list[str]:
        """What can be read in all of them."""
        chosen = f"document.querySelectorAll({json.dumps(selector)})"
        return list(self.run(f"[...{chosen}].map(each => each.innerText)"))

    def until_says(self, selector: str, wanted: str) -> str:
        """Wait until the first element of that kind contains a text; all that it says."""
        name, text = json.dumps(selector), json.dumps(wanted)
        self.until(f"(document.querySelector({name})?.innerText ?? '').includes({text})")
        return self.text(selector)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field, as if it had been typed."""
        self.run(
            f"(field => {{ field.value = {json.dumps(text)};"
            "field.dispatchEvent(new Event('input', {bubbles: true}));"
            "field.dispatchEvent(new Event('change', {bubbles: true})) })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def size(self, size: tuple[int, int]) -> None:
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 500 else 1,
            mobile=width < 500,
        )

    def dark(self, on: bool) -> None:
        """What the system prefers."""
        preferred = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.call("Emulation.setEmulatedMedia", features=[preferred])

    def forgive(self, fragment: str) -> None:
        """Forget problems that contain this: the test has brought them about."""
        self.run("1")  # what has happened so far is told by now
        self.problems = [each for each in self.problems if fragment not in each]

    def offline(self, on: bool) -> None:
        """Cut the network."""
        self.call(
            "Network.emulateNetworkConditions",
            offline=on,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def picture(self, name: str) -> Path:
        """The whole page as a PNG in `PICTURES`."""
        height = self.run("document.documentElement.scrollHeight")
        width = self.run("innerWidth")
        taken = self.call(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": width, "height": min(height, 5000), "scale": 1},
        )
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        path.write_bytes(base64.b64decode(taken["data"]))
        return path


def executable() -> str | None:
    """The browser of the system."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """The address of a running browser's DevTools, `host:port`."""
    program = executable()
    if program is None:
        pytest.skip("NO BROWSER: the dashboard is not tested; apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "log"
        arguments = [program, "--headless", "--disable-gpu", "--remote-debugging-port=0"]
        arguments += [f"--user-data-dir={profile}", "--no-first-run", "--mute-audio"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # it refuses root otherwise
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*arguments, "about:blank"], stdout=output, stderr=subprocess.STDOUT
            )
        try:
            found = eventually(
                lambda: re.search(r"listening on ws://([^/\s]+)", log.read_text(errors="replace")),
                what="chromium's DevTools",
            )
            assert found is not None
            yield found[1]
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    """A fresh page with storage of its own."""
    request = urllib.request.Request(f"http://{chromium}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(request) as answer:
        page = json.load(answer)
    with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
        browser = Browser(socket)
        yield browser
        browser.call("Storage.clearDataForOrigin", origin="*", storageTypes="all")
        problems = browser.problems
        browser.call("Page.close")
    assert problems == []
