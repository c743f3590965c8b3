# tests/cli/map_browser.py - the page of wherry map, in a real browser: search, filter, click, hostile names.
#
# SPDX-License-Identifier: MIT
"""Chromium is driven over the WebDriver protocol, JSON over HTTP: chromedriver listens on a port of loopback."""
import base64
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import tap
from run import same
from tap import wait_for

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from map import actor, exeunt, hostile, leave, pipe_pair  # noqa: E402

PATIENCE = 60  # seconds for one answer of the browser: it starts slowly on a loaded machine
ENTER, ESCAPE = "\ue007", "\ue00c"


class Browser:
    """A Chromium without a window; use it in a with statement."""

    def __init__(self, stage, wide=1400, high=900):
        self.stage, self.size, self.session = stage, (wide, high), None
        for program in ("chromium", "chromedriver"):
            if not shutil.which(program):
                raise tap.Failure(f"{program} is not installed: scripts/install-deps --for=check does it")

    def __enter__(self):
        self.home = str(self.stage.path / "browser")  # all that it writes
        os.mkdir(self.home)
        environment = dict(os.environ, HOME=self.home, TMPDIR=self.home, XDG_RUNTIME_DIR=self.home,
                           XDG_CONFIG_HOME=self.home, XDG_CACHE_HOME=self.home)
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, env=environment, start_new_session=True, bufsize=0)
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self):
        said = b""
        while not (match := re.search(rb"started successfully on port (\d+)", said)):
            data = self.driver.stdout.read(4096)
            if not data:
                raise tap.Failure(f"chromedriver ended: {said!r}")
            said += data
        self.base = f"http://127.0.0.1:{match.group(1).decode()}"
        words = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
                 "--disable-crash-reporter", "--disable-background-networking", "--disable-component-update",
                 "--force-device-scale-factor=1", f"--user-data-dir={self.home}/profile",
                 f"--window-size={self.size[0]},{self.size[1]}"]
        if os.getuid() == 0:
            words.append("--no-sandbox")
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": words, "binary": shutil.which("chromium")},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
        self.session = f"/session/{answer['sessionId']}"
        self.post("/url", {"url": "about:blank"})
        self.complaints()  # of the page that Chromium begins with

    def __exit__(self, *_):
        try:
            if self.session:
                self.ask("DELETE", self.session)
        finally:
            self.session = None
            self.driver.send_signal(signal.SIGTERM)
            self.driver.wait(PATIENCE)
            self.driver.stdout.close()
            wait_for(lambda: not self._left(), "all processes of the browser to end")
            shutil.rmtree(self.home)

    @staticmethod
    def _left():
        """Our children that run, the browser's orphans among them; what has ended is collected, and counts once more:
        its children may be ours since."""
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            children = file.read().split()
        left = []
        for child in children:
            try:
                with open(f"/proc/{child}/comm", encoding="utf-8", errors="replace") as file:
                    name = file.read().strip()
                if name.startswith("chrom"):
                    os.waitpid(int(child), os.WNOHANG)
                    left.append(child)
            except (OSError, ChildProcessError):
                pass
        return left

    def ask(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise tap.Failure(f"{path}: {error.read().decode()[:500]}") from None

    # ---- what a person does ----

    def post(self, path, body=None):
        return self.ask("POST", self.session + path, body)

    def open(self, path):
        self.post("/url", {"url": f"file://{path}"})
        wait_for(lambda: self.script("return window.wherryMap ? window.wherryMap.settled : 0"), "the layout")

    def script(self, text, *words):
        return self.post("/execute/sync", {"script": text, "args": list(words)})

    def element(self, selector):
        return next(iter(self.post("/element", {"using": "css selector", "value": selector}).values()))

    def press(self, selector):
        self.post(f"/element/{self.element(selector)}/click")

    def type(self, selector, text):
        self.post(f"/element/{self.element(selector)}/value", {"text": text})

    def text(self, selector):
        return self.ask("GET", f"{self.session}/element/{self.element(selector)}/text")

    def is_shown(self, selector):
        return self.ask("GET", f"{self.session}/element/{self.element(selector)}/displayed")

    def click(self, place):
        """The mouse, at a place of the canvas."""
        left, top = self.script("const b = document.getElementById('canvas').getBoundingClientRect();"
                                "return [b.left, b.top]")
        at = {"type": "pointerMove", "duration": 0, "x": round(left + place[0]), "y": round(top + place[1])}
        self.post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [
            at, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]}]})

    def key(self, character):
        self.post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": "keyDown", "value": character}, {"type": "keyUp", "value": character}]}]})

    def scheme(self, name):
        self.post("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": name}]}})

    def picture(self, path):
        data = base64.b64decode(self.ask("GET", self.session + "/screenshot"))
        with open(path, "wb") as file:
            file.write(data)
        return data

    # ---- what it did ----

    def complaints(self):
        """What scripts and the policy had to complain of, and all that was asked for, since it was asked last."""
        said = [entry["message"] for entry in self.post("/se/log", {"type": "browser"})]
        for entry in self.post("/se/log", {"type": "performance"}):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                said.append(event["params"]["request"]["url"])
        return said


# ---- what the cases share ----

def page(stage, *words):
    """The page as the command writes it now."""
    path = stage.mine("page.html")
    process = stage.run_wherry("map", "-q", f"--html={path}", *words, code=None)
    if process.popen.returncode not in (0, 4):
        raise tap.Failure(f"{process}: {process.err!r}")
    return path


def with_data(stage, data):
    """The page with other data in it: for graphs larger than a test can make of processes, or of none."""
    path = page(stage, "pidfd")
    text = path.read_text()
    start = text.index('id="data">') + len('id="data">')
    end = text.index("</script>", start)
    path.write_text(text[:start] + json.dumps(data).replace("<", "\\u003c") + text[end:])
    return path


def fine(browser, path):
    """No script failed, the policy refused nothing, and nothing but the page was asked for."""
    same(browser.complaints(), [f"file://{path}"], "what the browser has to say")


def listed(browser):
    return browser.script("return [...document.querySelectorAll('#list button')]"
                          ".map(b => b.innerText.split('\\n').join(' '))")


def brightness(browser):
    """Of the page's own ground, the canvas's, and the text: 0 to 255."""
    return browser.script("""
        const light = c => 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
        const of = (e, p) => light(getComputedStyle(e)[p].match(/[\\d.]+/g).map(Number));
        const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        copy.drawImage(document.getElementById('canvas'), 0, 0);
        return [of(document.body, 'backgroundColor'), light(copy.getImageData(1, 1, 1, 1).data),
                of(document.body, 'color')]""")


def keep(stage, browser, name):
    """A picture, for a person to look at: in the directory of the build."""
    path = stage.helpers / name
    data = browser.picture(path)
    same(data[:8], b"\x89PNG\r\n\x1a\n", "the picture's beginning")
    print(f"# {path}", flush=True)
    return data


# ---- cases ----

def test_search_filter_click(stage):
    """a search finds a process, a filter hides a kind, a click shows what joins two; by day and at night"""
    writer, reader, name, read, write = pipe_pair(stage, "the-writer", "the-reader")
    memory = os.memfd_create("wherry-map-table")
    os.truncate(memory, 8192)
    one, two = actor(stage, "table-one", fds=(memory,)), actor(stage, "table-two", fds=(memory,))
    os.close(memory)
    ours, theirs = socket.socketpair()
    left, right = actor(stage, "the-left", fds=(ours.fileno(),)), actor(stage, "the-right", fds=(theirs.fileno(),))
    ours.close()
    theirs.close()
    path = page(stage)
    with Browser(stage) as browser:
        browser.open(path)
        shown = browser.script("return window.wherryMap.shown()")
        same({p.pid for p in (writer, reader, one, two, left, right)} <= set(shown["pids"]), True, "all are shown")
        keep(stage, browser, "map-light.png")
        # search: by name, by object, by pid
        browser.type("#query", "the-read")
        same(listed(browser), [f"the-reader {reader.pid}"], "found by name")
        browser.type("#query", ENTER)
        same(browser.text("#body h2"), "the-reader", "the details' heading")
        for word in (str(reader.pid), "the-writer", name, f"fd {read} r", "left out: made without --args"):
            if word not in browser.text("#details"):
                raise tap.Failure(f"the details do not say {word!r}: {browser.text('#details')!r}")
        browser.type("#query", "\ue009a\ue000wherry-map-table")  # Ctrl-A and over it
        same(sorted(listed(browser)), sorted([f"table-one {one.pid}", f"table-two {two.pid}"]), "found by object")
        browser.press("#only")
        wait_for(lambda: browser.script("return window.wherryMap.shown()")["pids"] == sorted([one.pid, two.pid]),
                 "only what is found to be shown")
        browser.press("#only")
        browser.type("#query", f"\ue009a\ue000{left.pid}")
        same(listed(browser)[0], f"the-left {left.pid}", "found by pid")
        browser.press("#close")
        browser.type("#query", "\ue009a\ue000\ue003")  # and away with it
        # a click on a line, and on a process
        browser.press("#fit")
        wait_for(lambda: browser.script("return window.wherryMap.still()"), "the picture to be drawn")
        browser.click(browser.script("return window.wherryMap.between(...arguments)", writer.pid, reader.pid, "pipe"))
        same(browser.is_shown("#details"), True, "details after a click on a line")
        for word in ("pipe", name, f"fd {write} w → fd {read} r", "the-writer", "the-reader"):
            if word not in browser.text("#details"):
                raise tap.Failure(f"the line's details do not say {word!r}: {browser.text('#details')!r}")
        browser.press("#close")
        browser.click(browser.script("return window.wherryMap.place(arguments[0])", right.pid))
        same(browser.text("#body h2"), "the-right", "the process clicked on")
        same("the-left" in browser.text("#details"), True, "its neighbour")
        browser.press("#close")
        # a filter
        same("pipe" in shown["kinds"], True, "pipes before")
        browser.press("#kinds input[value=pipe]")
        after = browser.script("return window.wherryMap.shown()")
        same(("pipe" in after["kinds"], reader.pid in after["pids"], one.pid in after["pids"]), (False, False, True),
             "without pipes")
        browser.press("#kinds-none")
        same(browser.text("#empty h2"), "Nothing is left to show", "without anything")
        browser.press("#kinds-all")
        # light and dark
        ground, canvas, ink = brightness(browser)
        same((ground > 200, canvas > 200, ink < 60), (True, True, True), f"by day: {ground}, {canvas}, {ink}")
        browser.scheme("dark")
        wait_for(lambda: brightness(browser)[1] < 60, "the canvas to be dark")
        ground, canvas, ink = brightness(browser)
        same((ground < 60, canvas < 60, ink > 200), (True, True, True), f"at night: {ground}, {canvas}, {ink}")
        keep(stage, browser, "map-dark.png")
        fine(browser, path)
    exeunt(writer, reader, one, two, left, right)


def test_hostile_names(stage):
    """names that are markup and scripts appear as text, and run nothing; the page can load nothing"""
    actors, fifo = hostile(stage)
    path = page(stage, "--args", "fifo")
    with Browser(stage) as browser:
        browser.open(path)
        for process, name in zip(actors, ("</script ><b>x", "<!--<script x>", '"; \\u000a\\N\\', "\\xff\\xfe\\x80bad",
                                          "\\u202e\\u2028x", "&lt;&#x3c;", "\\u001b[31mred", "'${x}`")):
            browser.click(browser.script("return window.wherryMap.place(arguments[0])", process.pid))
            same(browser.script("return document.querySelector('#body h2').textContent"), name, "a hostile name")
            words = browser.script("return document.getElementById('details').textContent")
            for word in ("</script><img src=x onerror=alert(1)>", "</script><script>window.hacked = 1</script>",
                         "\\u2028<!--&quot;"):
                if word not in words:
                    raise tap.Failure(f"{word!r} is not in the details: {words[:600]!r}")
            browser.press("#close")
        same(browser.script("return [document.images.length, document.scripts.length,"
                            " document.querySelectorAll('b').length, typeof window.hacked]"),
             [0, 2, 0, "undefined"], "what became of them")
        fine(browser, path)
        # the policy, which would hold if all else failed: nobody comes to this door
        with socket.create_server(("127.0.0.1", 0)) as door:
            door.setblocking(False)
            browser.script("""
                const image = document.createElement('img');
                image.src = arguments[0];
                document.body.append(image);
                fetch(arguments[0]).catch(() => { window.refused = true; });
                try { const s = document.createElement('script'); s.textContent = 'window.hacked = 2';
                      document.body.append(s); } catch (e) {}
                try { document.body.innerHTML = '<p>x'; window.hacked = 3; } catch (e) {}""",
                           f"http://127.0.0.1:{door.getsockname()[1]}/x")
            wait_for(lambda: browser.script("return window.refused"), "the policy to refuse what is fetched")
            refused = "\n".join(browser.complaints())
            for word in ("img-src", "connect-src", "TrustedScript", "TrustedHTML"):
                same(word in refused, True, f"{word} among what was refused: {refused}")
            same(browser.script("return typeof window.hacked"), "undefined", "what the attack left")
            try:
                door.accept()[0].close()
                raise tap.Failure("the page got out")
            except BlockingIOError:
                pass
    leave(stage, actors, fifo)


def test_keys(stage):
    """all of it with the keyboard: search, next, only the neighbours, hide, zoom, the list of keys, let go"""
    writer, reader, _, _, _ = pipe_pair(stage, "the-writer", "the-reader")
    path = page(stage, "pipe")
    with Browser(stage) as browser:
        browser.open(path)
        browser.key("/")
        same(browser.script("return document.activeElement.id"), "query", "what / leads to")
        browser.type("#query", "the-" + ENTER)
        first = browser.text("#body h2")
        browser.script("document.activeElement.blur()")
        browser.key("n")
        same({first, browser.text("#body h2")}, {"the-writer", "the-reader"}, "the first and the next")
        browser.key("o")
        same(sorted(browser.script("return window.wherryMap.shown()")["pids"]), sorted([writer.pid, reader.pid]),
             "only it")
        same(browser.is_shown("#focused"), True, "a note that this is not all")
        browser.key("o")
        same(browser.is_shown("#focused"), False, "the note")
        chosen = browser.text("#body h2")
        browser.key("h")
        gone = {"the-writer": writer, "the-reader": reader}[chosen].pid
        same(gone in browser.script("return window.wherryMap.shown()")["pids"], False, "the hidden one")
        browser.press("#unhide")
        same(gone in browser.script("return window.wherryMap.shown()")["pids"], True, "shown again")
        browser.script("document.activeElement.blur()")
        before = browser.script("return window.wherryMap.between(...arguments)", writer.pid, reader.pid, "pipe")
        browser.key("+")
        browser.key("\ue012")  # left
        if browser.script("return window.wherryMap.between(...arguments)", writer.pid, reader.pid, "pipe") == before:
            raise tap.Failure("plus and the left arrow moved nothing")
        browser.key("?")
        same(browser.script("return document.getElementById('keys').open"), True, "the list of keys")
        browser.key(ESCAPE)
        same(browser.script("return document.getElementById('keys').open"), False, "the list after Escape")
        fine(browser, path)
    exeunt(writer, reader)


def test_a_hub_of_sockets(stage):
    """a client's neighbours are the hub's holders and no other client; the hub's details tell the two apart"""
    def edge(pid, relation, of):
        return {"kind": "unix", "relation": relation, "arrow": "none", "object": of,
                "from": {"pid": pid, "object": of, "holds": [{"text": "fd 3 rw"}]}, "to": {"hub": 0, "holds": []}}
    workers, clients = list(range(101, 114)), [201, 202]
    data = {"schema": 1, "taken": "2026-01-01T00:00:00Z", "hidden": [], "quiet_files": 0,
            "objects": [{"name": name, "kind": "unix", "state": "live"}
                        for name in ("unix:/sock", "unix:[1]", "unix:[2]")],
            "processes": [{"pid": pid, "uid": 0, "command": "one", "holds": []} for pid in workers + clients],
            "hubs": [{"object": 0, "processes": len(workers)}],
            "edges": [edge(pid, "shared", 0) for pid in workers] + [edge(201, "queued", 1), edge(202, "queued", 2)]}
    path = with_data(stage, data)
    with Browser(stage) as browser:
        browser.open(path)
        for pid, there in ((201, [*workers, 201]), (101, workers + clients)):
            browser.type("#query", f"\ue009a\ue000{pid}")
            browser.type("#query", ENTER)
            browser.press("#body .actions button")
            wait_for(lambda: sorted(browser.script("return window.wherryMap.shown()")["pids"]) == there,
                     f"the neighbours of {pid}")
        browser.press("#body .neighbour button")
        heads = browser.script("return [...document.querySelectorAll('#body h3')].map(h => h.innerText.toLowerCase())")
        same(heads, ["13 processes hold it", "2 at the other end"], "of the hub")
        fine(browser, path)


def test_sizes(stage):
    """2,000 processes: laid out within seconds, twice the same; none at all: the page says so"""
    dice = random.Random(7)
    ends, edges = [1, 2], []
    for pid in range(3, 2001):
        for other in {dice.choice(ends) for _ in range(dice.choice((1, 1, 1, 2, 3)))}:
            edges.append({"kind": dice.choice(("pipe", "unix", "tcp", "memfd")), "relation": "flow", "arrow": "to",
                          "object": 0, "from": {"pid": pid, "object": 0, "holds": [{"text": "fd 1 w"}]},
                          "to": {"pid": other, "object": 0, "holds": [{"text": "fd 0 r"}]}})
            ends += [pid, other]
    holds = [{"object": 0, "how": "open", "fd": fd, "text": f"fd {fd} rw"} for fd in range(20)]
    data = {"schema": 1, "taken": "2026-01-01T00:00:00Z",
            "objects": [{"name": "pipe:[1]", "kind": "pipe", "state": "live"}],
            "processes": [{"pid": pid, "uid": 0, "command": f"process-{pid % 50}", "holds": holds}
                          for pid in range(1, 2001)],
            "hubs": [], "edges": edges, "hidden": [], "quiet_files": 0}
    large = with_data(stage, data)
    places = "return [1, 2, 3, 1000, 2000].map(pid => window.wherryMap.place(pid))"
    with Browser(stage) as browser:
        browser.open(large)
        took, first = browser.script("return window.wherryMap.settled"), browser.script(places)
        print(f"# 2,000 processes, {len(edges)} ties, {large.stat().st_size} bytes: laid out in {took} ms", flush=True)
        same(took < 20000, True, f"seconds, not {took} ms")
        keep(stage, browser, "map-2000.png")
        browser.open(large)
        same(browser.script(places), first, "the second time")
        fine_twice = browser.complaints()
        same(fine_twice, [f"file://{large}"] * 2, "what the browser has to say")
        empty = with_data(stage, dict(data, processes=[], edges=[], objects=[]))
        browser.open(empty)
        same(browser.text("#empty h2"), "No two processes share anything", "of nothing")
        fine(browser, empty)
