/* map_page.js - owns the page: the lists at the side, the keys and the pointer, and what follows from them.
 *
 * SPDX-License-Identifier: MIT */

const LISTED = 300;

const $ = id => document.getElementById(id);
const graph = new Graph(JSON.parse($("data").textContent));
const drawing = new Drawing($("canvas"), graph);
const details = new Details($("body"), graph, {
    choose: node => { choose({node}); centre(node); }, focus, hide, centre,
});
let round = 0; /* of layouts: a later one stops the one under way */

/* ---- layout ---- */

/* Lay out what is shown, a little at a time. */
async function arrange() {
    const mine = ++round, began = performance.now();
    drawing.resize();
    const work = layout(graph.shownNodes, graph.shownLines, drawing.wide / Math.max(1, drawing.high));
    let until = performance.now() + 40, share = 0;
    for (let step = work.next(); !step.done; step = work.next()) {
        share = step.value;
        if (performance.now() < until)
            continue;
        $("status").textContent = "laying out: " + Math.floor(share * 100) + " %";
        await new Promise(done => setTimeout(done, 0));
        if (mine !== round)
            return;
        until = performance.now() + 40;
    }
    drawing.fit();
    drawing.draw();
    window.wherryMap.settled = Math.round(performance.now() - began);
    tell();
}

/* ---- what is shown ---- */

function tell() {
    const nodes = graph.shownNodes.length, all = graph.nodes.length, lines = graph.shownLines.length;
    $("status").textContent = (nodes === all ? nodes + " nodes" : nodes + " of " + all + " nodes") + ", " +
        (lines === graph.lines.length ? lines + " lines" : lines + " of " + graph.lines.length + " lines");
    const empty = $("empty");
    empty.hidden = nodes > 0;
    const nothing = all === 0;
    empty.querySelector("h2").textContent = nothing ? "No two processes share anything" : "Nothing is left to show";
    empty.querySelector("p").textContent = nothing
        ? (graph.data.hidden.length ? "At least none of what could be seen: see at the left what could not." : "")
        : "The filters at the left hide all of it.";
    $("unhide").hidden = graph.hidden.size === 0;
    $("unhide").textContent = "show " + graph.hidden.size + " hidden";
    $("focused").hidden = !graph.focus;
    if (graph.focus)
        $("focused").querySelector("span").textContent = "only " + graph.focus.label + " and its neighbours";
}

/* After a filter: the same places, fewer things; `anew` lays them out afresh. */
function refresh(anew) {
    graph.filter();
    list();
    tell();
    if (anew)
        arrange();
    else
        drawing.later();
}

function choose(chosen) {
    drawing.chosen = chosen;
    $("details").hidden = !chosen;
    if (chosen)
        details.show(chosen);
    mark();
    fitted();
    drawing.later();
}

/* The canvas has another size when the details come or go; what was chosen stays in sight. */
function fitted() {
    const chosen = drawing.chosen;
    drawing.resize();
    if (chosen && window.wherryMap.settled)
        drawing.reveal(chosen.node || chosen.line.a);
    drawing.draw();
}

function centre(node) {
    drawing.show(node);
}

function focus(node) {
    graph.focus = node;
    refresh(true);
    if (node)
        choose({node});
}

function hide(node) {
    graph.hidden.add(node);
    choose(null);
    refresh(false);
}

/* ---- the side ---- */

function listed() {
    const nodes = graph.shownNodes.filter(node => !graph.found || graph.found.has(node));
    if (graph.found)
        nodes.sort((a, b) => graph.rank(a) - graph.rank(b) || a.index - b.index);
    return nodes;
}

function list() {
    const nodes = listed(), rows = [];
    for (const node of nodes.slice(0, LISTED)) {
        const row = button("", () => { choose({node}); centre(node); });
        row.append(make("span", "name", node.name),
                   make("span", "soft", node.process ? node.process.pid : node.object.kind));
        row.dataset.index = node.index;
        rows.push(make("li", "", row));
    }
    if (nodes.length > LISTED)
        rows.push(make("li", "soft", "and " + (nodes.length - LISTED) + " more: search for them"));
    $("list").replaceChildren(...rows);
    $("count").textContent = graph.found ? nodes.length + " found" : "Processes";
    mark();
}

function mark() {
    const index = drawing.chosen && drawing.chosen.node ? String(drawing.chosen.node.index) : "";
    for (const row of $("list").querySelectorAll("button"))
        row.setAttribute("aria-current", row.dataset.index === index ? "true" : "false");
}

function makeKinds() {
    for (const [kind, count] of [...graph.kinds].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))) {
        const box = make("input", "");
        box.type = "checkbox";
        box.checked = true;
        box.value = kind;
        box.addEventListener("change", () => {
            graph.off[box.checked ? "delete" : "add"](kind);
            if (drawing.chosen && drawing.chosen.line && graph.off.has(drawing.chosen.line.kind))
                choose(null);
            refresh(false);
        });
        $("kinds").append(make("label", "", box, swatch(kind), make("span", "", kind), make("span", "", count)));
    }
}

function allKinds(on) {
    for (const box of $("kinds").querySelectorAll("input"))
        if (box.checked !== on)
            box.click();
}

function makeSide() {
    const data = graph.data;
    $("host").textContent = shown(data.host || "wherry map");
    document.title = "wherry map: " + shown(data.host || "");
    $("about").textContent = data.processes.length + " processes that share something, " +
        data.taken.slice(0, 19).replace("T", " ") + " UTC";
    for (const hidden of data.hidden)
        $("unseen").append(make("p", "",
            "Not seen: " + hidden.count + " " + shown(hidden.what) + "; " + shown(hidden.why)));
    $("unseen").hidden = data.hidden.length === 0;
    makeKinds();
    $("kinds-all").addEventListener("click", () => allKinds(true));
    $("kinds-none").addEventListener("click", () => allKinds(false));
    $("query").addEventListener("input", () => {
        graph.search($("query").value);
        refresh(graph.only);
    });
    $("query").addEventListener("keydown", event => {
        const first = event.key === "Enter" && listed()[0];
        if (first) {
            choose({node: first});
            centre(first);
        }
    });
    $("only").addEventListener("change", () => {
        graph.only = $("only").checked;
        refresh(true);
    });
    $("unhide").addEventListener("click", () => {
        graph.hidden.clear();
        refresh(false);
    });
    $("list").addEventListener("keydown", event => {
        const rows = [...$("list").querySelectorAll("button")], at = rows.indexOf(document.activeElement);
        const next = rows[at + (event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0)];
        if (next && next !== rows[at]) {
            event.preventDefault();
            next.focus();
        }
    });
}

/* ---- the pointer ---- */

function makePointer() {
    const canvas = $("canvas");
    let held = null, moved = false;
    const place = event => {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", event => {
        held = place(event);
        moved = false;
        canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => {
        const [x, y] = place(event);
        if (held) {
            moved = moved || Math.hypot(x - held[0], y - held[1]) > 4;
            if (moved) {
                drawing.move(x - held[0], y - held[1]);
                held = [x, y];
                canvas.classList.add("held");
            }
            return;
        }
        drawing.over = drawing.at(x, y);
        canvas.classList.toggle("over", !!drawing.over);
        drawing.later();
    });
    const release = event => {
        if (held && !moved && event.type === "pointerup")
            choose(drawing.at(...place(event)));
        held = null;
        canvas.classList.remove("held");
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => {
        drawing.over = null;
        drawing.later();
    });
    canvas.addEventListener("dblclick", event => {
        const there = drawing.at(...place(event));
        if (there && there.node)
            focus(there.node);
    });
    canvas.addEventListener("wheel", event => {
        event.preventDefault();
        drawing.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
    }, {passive: false});
}

/* ---- keys ---- */

function step(by) {
    const nodes = listed();
    if (nodes.length === 0)
        return;
    const at = nodes.indexOf(drawing.chosen ? drawing.chosen.node : null);
    const node = nodes[at < 0 ? (by > 0 ? 0 : nodes.length - 1) : (at + by + nodes.length) % nodes.length];
    choose({node});
    centre(node);
}

function letGo() {
    if (drawing.chosen)
        choose(null);
    else if (graph.focus)
        focus(null);
    else if ($("query").value) {
        $("query").value = "";
        graph.search("");
        refresh(graph.only);
    }
}

const KEYS = {
    "/": () => $("query").focus(), "?": () => $("keys").showModal(), "0": () => drawing.fit(), "t": () => arrange(),
    "+": () => drawing.zoom(1.25), "=": () => drawing.zoom(1.25), "-": () => drawing.zoom(0.8),
    "n": () => step(1), "p": () => step(-1), "Escape": letGo,
    "o": () => drawing.chosen && drawing.chosen.node &&
        focus(graph.focus === drawing.chosen.node ? null : drawing.chosen.node),
    "h": () => drawing.chosen && drawing.chosen.node && hide(drawing.chosen.node),
    "ArrowLeft": () => drawing.move(60, 0), "ArrowRight": () => drawing.move(-60, 0),
    "ArrowUp": () => drawing.move(0, 60), "ArrowDown": () => drawing.move(0, -60),
};

function makeKeys() {
    document.addEventListener("keydown", event => {
        const typing = event.target.tagName === "INPUT" && event.target.type === "search";
        const moving = event.key.startsWith("Arrow") && event.target !== $("canvas") && event.target !== document.body;
        if (event.ctrlKey || event.altKey || event.metaKey || $("keys").open || moving ||
            (typing && event.key !== "Escape") || !Object.hasOwn(KEYS, event.key))
            return;
        event.preventDefault();
        KEYS[event.key]();
    });
    $("fit").addEventListener("click", () => drawing.fit());
    $("larger").addEventListener("click", () => drawing.zoom(1.25));
    $("smaller").addEventListener("click", () => drawing.zoom(0.8));
    $("tidy").addEventListener("click", () => arrange());
    $("help").addEventListener("click", () => $("keys").showModal());
    $("close").addEventListener("click", () => choose(null));
    $("focused").querySelector("button").addEventListener("click", () => focus(null));
    window.addEventListener("resize", fitted);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
        drawing.readColours();
        drawing.later();
    });
}

/* For a console, and for tests: where things are on the canvas, how long the layout took (ms; 0: it is under way). */
window.wherryMap = {
    settled: 0,
    still: () => !drawing.waiting,
    place: pid => drawing.onScreen(graph.byPid.get(pid)),
    between: (one, other, kind) => {
        const line = graph.lines.find(l => l.kind === kind && [l.a, l.b].includes(graph.byPid.get(one)) &&
                                           [l.a, l.b].includes(graph.byPid.get(other)));
        const {ax, ay, bx, by, midX, midY} = drawing.curve(line);
        return [(ax + 2 * midX + bx) / 4, (ay + 2 * midY + by) / 4];
    },
    shown: () => ({
        pids: graph.shownNodes.filter(node => node.process).map(node => node.process.pid),
        kinds: [...new Set(graph.shownLines.map(line => line.kind))].sort(),
    }),
};

makeSide();
makePointer();
makeKeys();
refresh(true);
