"""Chromium over its debugging pipe, with the standard library alone: no driver, no port, no socket.

Messages are JSON ended by a NUL byte, on descriptors 3 (to Chromium) and 4 (from it).
Reference: Chromium's --remote-debugging-pipe and the DevTools protocol.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)
SECONDS = 60


class Browser:
    """One Chromium process with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        command = [shutil.which("chromium") or "chromium", *FLAGS, f"--user-data-dir={profile}"]
        script = f'exec "$0" "$@" 3<&{to_child} 4>&{from_child}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, *command, "about:blank"],
            pass_fds=(to_child, from_child),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._buffer, self._last = b"", 0
        self.events: list[dict] = []

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def open(self, url: str, width: int, *, height: int = 900, dark: bool = False) -> "Tab":
        """Open a page in a new tab and wait until it is loaded."""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        tab = Tab(self, self.send("Target.attachToTarget", attach)["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.send(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        tab.send("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.send("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.events.clear()
        tab.send("Page.navigate", {"url": url})
        self._wait(lambda m: m.get("method") == "Page.loadEventFired", "the page to load")
        return tab

    def send(self, method: str, params: dict | None = None, session: str | None = None) -> dict:
        """Call a method of the protocol and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params or {}}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda m, wanted=self._last: m.get("id") == wanted, method)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _wait(self, is_wanted, what: str) -> dict:
        deadline = time.monotonic() + SECONDS
        while True:
            while b"\0" in self._buffer:
                line, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(line)
                self.events.append(message)
                if is_wanted(message):
                    return message
            left = deadline - time.monotonic()
            assert left > 0, f"waited {SECONDS} s for {what}"
            if select.select([self._in], [], [], left)[0]:
                chunk = os.read(self._in, 1 << 20)
                assert chunk, f"Chromium ended while waiting for {what}"
                self._buffer += chunk


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.browser, self.session = browser, session

    def send(self, method: str, params: dict | None = None) -> dict:
        return self.browser.send(method, params, self.session)

    def run(self, script: str) -> object:
        """Evaluate a script and return its value."""
        how = {"expression": script, "returnByValue": True, "awaitPromise": True}
        answer = self.send("Runtime.evaluate", how)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def point(self, x: float, y: float) -> None:
        """Move the pointer there."""
        self.send("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key: a letter or digit as it is without Shift, or a named one."""
        named = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38}
        named |= {"ArrowRight": 39, "ArrowDown": 40}
        kind = "Digit" if key.isdigit() else "Key"
        code = key if key in named else f"{kind}{key.upper()}"
        event = {"key": key.upper() if shift and len(key) == 1 else key, "code": code}
        event |= {"windowsVirtualKeyCode": named.get(key) or ord(key.upper())}
        event |= {"modifiers": 8} if shift else {}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        event |= {"text": text} if text else {}
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **event})
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def reload(self) -> None:
        """Load the page again, at the address that it has now."""
        self.send("Page.reload")
        self.browser._wait(lambda m: m.get("method") == "Page.loadEventFired", "the page to load")

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, the policy's among them, and uncaught exceptions."""
        found = []
        for event in self.browser.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"]))
            if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(json.dumps(params["args"]))
        return found

    def requests(self) -> list[str]:
        """Every address that was asked for, embedded data left out."""
        sent = [e for e in self.browser.events if e.get("method") == "Network.requestWillBeSent"]
        addresses = [event["params"]["request"]["url"] for event in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG of the page."""
        how = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "scale": 1, "width": size["width"], "height": size["height"]}
            how["clip"] = clip
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", how)["data"]))
