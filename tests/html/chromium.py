"""Headless Chromium, spoken to through a pipe in its own protocol: no driver and no package is needed."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time

#: Nothing of the browser's own may use the network: every request that is seen is the page's.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)

#: A page that does not come to this within the time never will.
PATIENCE_S = 60


def find():
    """Where Chromium is; None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class BrowserError(Exception):
    """What the browser refused, or a script that threw."""


class Browser:
    """One process. `page()` gives its pages, one at a time."""

    def __init__(self, profile_folder, *arguments):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        # The browser reads descriptor 3 and writes 4. The copies are above both, so that neither overwrites the other.
        high_in, high_out = (os.dup(descriptor) for descriptor in (theirs_in, theirs_out))
        pass_on = f'exec 3<&{high_in} 4>&{high_out}; exec "$@"'
        command = [find(), *ARGUMENTS, f"--user-data-dir={profile_folder}", *arguments, "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", pass_on, "browser", *command],
            pass_fds=(high_in, high_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (theirs_in, theirs_out, high_in, high_out):
            os.close(descriptor)
        self._in = os.fdopen(ours_in, "rb", buffering=0)
        self._out = os.fdopen(ours_out, "wb", buffering=0)
        self._rest = b""
        self._numbers = itertools.count(1)
        self.events = []

    def close(self):
        """Ends the process."""
        with contextlib.suppress(BrowserError, OSError):
            self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._in.close()
        self._out.close()

    def call(self, method, session=None, **parameters):
        """Asks for something and returns the answer; events that come before it are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self):
        while b"\0" not in self._rest:
            piece = self._in.read(1 << 20)
            if not piece:
                raise BrowserError("the browser is gone")
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(message)
        if "method" in message:
            self.events.append(message)
        return message

    def wait_for(self, method, session):
        """The next event of that kind, which may have come already."""
        while True:
            for event in self.events:
                if event["method"] == method and event.get("sessionId") == session:
                    self.events.remove(event)
                    return event["params"]
            self._receive()


class Page:
    """A page of its own, with what it asked the network for and complained of."""

    def __init__(self, browser, *, width=1280, height=900, dark=False):
        self.browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        browser.events.clear()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.prefer("dark" if dark else "light")

    def call(self, method, **parameters):
        """Asks this page for something."""
        return self.browser.call(method, self._session, **parameters)

    def close(self):
        """Closes the page."""
        self.browser.call("Target.closeTarget", targetId=self._target)

    def resize(self, width, height):
        """The window has that many pixels from now on."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme):
        """What the system says about light and dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path):
        """Opens a report from disk and waits until it shows its profile."""
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.browser.wait_for("Page.loadEventFired", self._session)
        self.until("['ready', 'failed'].includes(document.documentElement.dataset.state)")
        return self

    def run(self, expression):
        """The value of an expression in the page, which may be a promise."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(json.dumps(result["exceptionDetails"]["exception"].get("description")))
        return result["result"].get("value")

    def until(self, expression):
        """Waits until an expression is true: the page is asked again after each of its frames."""
        deadline = time.monotonic() + PATIENCE_S
        frame = "new Promise(done => setTimeout(() => requestAnimationFrame(() => done(Boolean({}))), 0))"
        while not self.run(frame.format(expression)):
            if time.monotonic() > deadline:
                raise BrowserError(f"never true: {expression}")

    # What a person does.

    def place(self, selector):
        """The middle of an element, scrolled into view."""
        box = self.run(
            f"(() => {{ const element = document.querySelector({json.dumps(selector)});"
            " element.scrollIntoView({block: 'nearest'}); const box = element.getBoundingClientRect();"
            " return [box.x, box.y, box.width, box.height]; })()"
        )
        assert min(box[2:]) > 0, f"{selector} is not to be seen"
        return box[0] + box[2] / 2, box[1] + box[3] / 2

    def mouse(self, kind, x, y, **more):
        """One event of the mouse."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, where):
        """Clicks an element or a point."""
        x, y = self.place(where) if isinstance(where, str) else where
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        self.mouse("mouseReleased", x, y, button="left", clickCount=1)

    def drag(self, start, end, steps=4):
        """Drags from one point to another."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end))
            self.mouse("mouseMoved", x, y, button="left", buttons=1)
        self.mouse("mouseReleased", *end, button="left", clickCount=1)

    def press(self, key, **more):
        """Presses a key: a character, or a name such as ArrowDown."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}
        code = codes.get(key, 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code, **more)

    def write(self, text):
        """Types a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path):
        """What is to be seen, as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    # What the page did.

    def requests(self):
        """Addresses the page asked for, its own left out."""
        sent = self._events("Network.requestWillBeSent")
        return [event["request"]["url"] for event in sent if event["type"] != "Document"]

    def complaints(self):
        """Errors and warnings of the page, its scripts and the browser."""
        thrown = [event["exceptionDetails"]["text"] for event in self._events("Runtime.exceptionThrown")]
        logged = [event["entry"]["text"] for event in self._events("Log.entryAdded")]
        printed = [str(event["args"]) for event in self._events("Runtime.consoleAPICalled")]
        return thrown + logged + printed

    def _events(self, method):
        self.run("0")  # whatever happened before is received before this answer
        return [event["params"] for event in self.browser.events if event["method"] == method]
