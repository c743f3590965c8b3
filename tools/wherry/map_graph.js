/* map_graph.js - owns the graph as the page has it: nodes, lines, what is found by a word, and what is shown.
 *
 * SPDX-License-Identifier: MIT
 *
 * All texts come from other processes: they get into the page as text (textContent, fillText), never as markup. */

const GROUPS = {
    "pipe": "pipe", "fifo": "pipe", "unix": "unix", "tcp": "network", "udp": "network", "socket": "network",
    "posix-shm": "memory", "sysv-shm": "memory", "memfd": "memory", "anonymous": "memory", "ring": "memory",
    "file": "memory", "posix-mq": "queue", "sysv-msg": "queue", "posix-sem": "semaphore", "sysv-sem": "semaphore",
    "lock": "lock",
};

function groupOf(kind) {
    return GROUPS[kind] || "event";
}

/* Control characters, and those that are not seen or turn the direction of what follows, by their numbers. */
function shown(text) {
    const odd = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
    return String(text).replace(odd, character =>
        "\\u" + character.charCodeAt(0).toString(16).padStart(4, "0"));
}

function short(text, most) {
    const characters = [...text];
    return characters.length > most ? characters.slice(0, most - 1).join("") + "…" : text;
}

class Graph {
    constructor(data) {
        this.data = data;
        this.nodes = [];
        this.byPid = new Map();
        this.byHub = new Map();
        data.processes.forEach(process => this.addProcess(process));
        data.hubs.forEach(hub => this.addHub(hub));
        this.lines = [];
        this.addLines();
        this.kinds = new Map();
        for (const line of this.lines)
            this.kinds.set(line.kind, (this.kinds.get(line.kind) || 0) + line.ties.length);
        this.off = new Set(); /* kinds */
        this.hidden = new Set(); /* nodes */
        this.focus = null;
        this.only = false;
        this.words = data.objects.map(object => object.name.toLowerCase());
        this.search("");
    }

    addNode(node) {
        node.index = this.nodes.length;
        node.lines = [];
        node.x = node.y = 0;
        node.label = short(node.name, 18) + (node.process ? " " + node.process.pid : "");
        node.wide = Math.max(44, 7 * [...node.label].length + 14);
        this.nodes.push(node);
        return node;
    }

    addProcess(process) {
        const text = [process.command, process.pid, process.arguments, process.user].join("\n");
        this.byPid.set(process.pid, this.addNode({
            process, name: shown(process.command) || "(no name)", text: text.toLowerCase(),
        }));
    }

    addHub(hub) {
        const object = this.data.objects[hub.object];
        this.byHub.set(hub.object, this.addNode({
            hub, object, name: shown(object.name), text: object.name.toLowerCase(),
        }));
    }

    end(side) {
        return side.pid === undefined ? this.byHub.get(side.hub) : this.byPid.get(side.pid);
    }

    /* All ties of one kind between two nodes are one line. */
    addLines() {
        const found = new Map(), between = new Map();
        for (const tie of this.data.edges) {
            let a = this.end(tie.from), b = this.end(tie.to);
            const turned = a.index > b.index;
            if (turned)
                [a, b] = [b, a];
            const pair = a.index + " " + b.index, key = pair + " " + tie.kind;
            let line = found.get(key);
            if (!line) {
                line = {a, b, kind: tie.kind, group: groupOf(tie.kind), ties: [], toA: false, toB: false};
                found.set(key, line);
                this.lines.push(line);
                a.lines.push(line);
                b.lines.push(line);
                if (!between.has(pair))
                    between.set(pair, []);
                between.get(pair).push(line);
            }
            line.ties.push(tie);
            if (tie.arrow === "both" || (tie.arrow === "to" && turned))
                line.toA = true;
            if (tie.arrow === "both" || (tie.arrow === "to" && !turned))
                line.toB = true;
        }
        for (const lines of between.values())
            lines.forEach((line, i) => { line.bend = i - (lines.length - 1) / 2; });
        for (const node of this.nodes)
            node.central = node.hub || node.lines.length > 2 &&
                node.lines.every(line => this.other(line, node).lines.length < node.lines.length);
    }

    other(line, node) {
        return line.a === node ? line.b : line.a;
    }

    /* Whether one of its ends is a holder of a hub's object, and not at the other end of the socket that it is. */
    ofHolder(line) {
        return line.ties.some(tie => tie.relation !== "peer" && tie.relation !== "queued");
    }

    /* Whom the focus reaches by a hub: those at the other end of a socket are joined to its holders alone. */
    through(hub) {
        const all = hub === this.focus ||
            hub.lines.some(line => this.other(line, hub) === this.focus && this.ofHolder(line));
        return hub.lines.filter(line => all || this.ofHolder(line)).map(line => this.other(line, hub));
    }

    neighbours(node) {
        return new Set(node.lines.map(line => this.other(line, node)));
    }

    /* ---- what is found: null when nothing is looked for ---- */

    search(query) {
        const word = query.trim().toLowerCase();
        this.query = word;
        this.found = word ? new Set() : null;
        if (!word)
            return;
        const objects = new Set();
        this.words.forEach((name, i) => {
            if (name.includes(word))
                objects.add(i);
        });
        for (const node of this.nodes) {
            const holds = node.process ? node.process.holds : [];
            if (node.text.includes(word) || holds.some(hold => objects.has(hold.object)))
                this.found.add(node);
        }
    }

    /* The one whose pid it is comes first, then names, then those that only hold something of that name. */
    rank(node) {
        if (node.process && String(node.process.pid) === this.query)
            return 0;
        return node.text.includes(this.query) ? 1 : 2;
    }

    /* ---- what is shown ---- */

    allowed() {
        const nodes = this.nodes.filter(node => !this.hidden.has(node));
        let kept = null;
        if (this.focus) {
            kept = this.neighbours(this.focus).add(this.focus);
            for (const node of [...kept])
                if (node.hub) /* through it, they are neighbours */
                    this.through(node).forEach(other => kept.add(other));
        }
        if (this.only && this.found) {
            const near = new Set();
            for (const node of this.found) {
                near.add(node);
                this.neighbours(node).forEach(other => near.add(other));
            }
            kept = kept ? new Set([...kept].filter(node => near.has(node))) : near;
        }
        return new Set(kept ? nodes.filter(node => kept.has(node)) : nodes);
    }

    /* Sets this.shownNodes and this.shownLines.  A node all of whose lines are filtered away goes with them. */
    filter() {
        const allowed = this.allowed();
        this.shownLines = this.lines.filter(line =>
            allowed.has(line.a) && allowed.has(line.b) && !this.off.has(line.kind));
        const joined = new Set();
        for (const line of this.shownLines) {
            joined.add(line.a);
            joined.add(line.b);
        }
        this.shownNodes = this.nodes.filter(node => allowed.has(node) && (joined.has(node) || node.lines.length === 0 ||
                                                                          node === this.focus));
    }
}
