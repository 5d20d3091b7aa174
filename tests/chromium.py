"""A headless Chromium as tests use it, over the pipes of its DevTools protocol."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# Chromium reads requests from file 3 and writes answers to file 4.
LAUNCH = "import os, sys; os.dup2({}, 3); os.dup2({}, 4); os.execv(sys.argv[1], sys.argv[1:])"
SECONDS = 60
KEYS = {"Tab": 9, "Enter": 13, " ": 32}
WAIT = """
new Promise((resolve, reject) => {
  const end = performance.now() + 1000 * SECONDS;
  const look = () => {
    const value = (CONDITION);
    if (value) resolve(value);
    else if (performance.now() > end) reject(new Error(document.body.innerText));
    else setTimeout(look, 20);
  };
  look();
})
"""


class Chromium:
    """One page of a browser, with a microphone that beeps.

    Args:
        folder: An empty directory for what the browser writes.

    Attributes:
        events: What the page did so far, messages of the protocol.
    """

    def __init__(self, folder):
        self.events, self._number, self._read = [], 0, b""
        requests, self._to = os.pipe()
        self._from, answers = os.pipe()
        given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (requests, answers)]
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            "--autoplay-policy=no-user-gesture-required",
        ]
        command = [sys.executable, "-c", LAUNCH.format(*given), PROGRAM, *flags]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, pass_fds=given, **quiet)
        for end in (requests, answers, *given):
            os.close(end)
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, EOFError):
            self._session = None
            self.call("Browser.close")
        for end in (self._to, self._from):
            os.close(end)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method, **params):
        """The result of a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _next(self):
        end = time.monotonic() + 2 * SECONDS
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._from], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("Chromium does not answer")
            some = os.read(self._from, 2**20)
            if not some:
                raise EOFError("Chromium ended")
            self._read += some
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def run(self, code):
        """The value of JavaScript, awaited."""
        result = self.call(
            "Runtime.evaluate",
            expression=code,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, condition):
        """Waits until JavaScript gives something true, and gives it."""
        code = WAIT.replace("SECONDS", str(SECONDS)).replace("CONDITION", condition)
        return self.run(code)

    def open(self, url):
        """Opens a page and waits until it has been read."""
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState == 'complete' && location.href.startsWith('{url}')")

    def choose(self, selector, path):
        """Chooses a file in a field."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drop(self, selector, path):
        """Drags a file from elsewhere and drops it on an element."""
        element = f"document.querySelector({selector!r})"
        self.run(f"{element}.scrollIntoView()")
        box = self.run(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"({element}.getBoundingClientRect())"
        )
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=box[0], y=box[1], data=data)

    def press(self, key, text=""):
        """Presses and releases a key."""
        code = KEYS[key]
        pressed = {"key": key, "windowsVirtualKeyCode": code, "text": text}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        """Writes where the focus is."""
        self.call("Input.insertText", text=text)

    def dress(self, width=1200, dark=False):
        """Sets the width of the window in pixels, and whether dark colours are preferred."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def photograph(self, path):
        """Writes the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
