/* map_details.js - owns what the page says of a process, a hub or a line that was chosen.
 *
 * SPDX-License-Identifier: MIT */

const MOST = 400; /* rows of a list; a button shows the rest */

/* An element with a class, and texts and elements within. */
function make(tag, style, ...inside) {
    const element = document.createElement(tag);
    if (style)
        element.className = style;
    element.append(...inside.filter(part => part !== null && part !== undefined));
    return element;
}

function nameOf(text) {
    return make("span", "name", shown(text));
}

function button(text, act) {
    const element = make("button", "", text);
    element.type = "button";
    element.addEventListener("click", act);
    return element;
}

function swatch(kind) {
    return make("span", "swatch " + groupOf(kind));
}

function bytes(count) {
    const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    for (; count >= 1024 && unit < units.length - 1; unit++)
        count /= 1024;
    return (unit && count % 1 ? count.toFixed(1) : count) + " " + units[unit];
}

class Details {
    constructor(body, graph, act) {
        this.body = body;
        this.graph = graph;
        this.act = act; /* choose(node), focus(node), hide(node), centre(node) */
    }

    show(chosen) {
        this.body.replaceChildren();
        if (chosen.line)
            this.ofLine(chosen.line);
        else if (chosen.node.process)
            this.ofProcess(chosen.node);
        else
            this.ofHub(chosen.node);
    }

    facts(pairs) {
        const list = make("dl", "");
        for (const [term, text] of pairs)
            if (text !== undefined && text !== null && text !== "")
                list.append(make("dt", "", term), make("dd", "", text));
        this.body.append(list);
    }

    /* A list of which so many are made at once. */
    many(holder, things, one) {
        let made = 0;
        const more = button("", () => add());
        const add = () => {
            more.remove();
            for (const end = Math.min(made + MOST, things.length); made < end; made++)
                holder.append(one(things[made]));
            if (made < things.length) {
                more.textContent = "show more of the other " + (things.length - made);
                this.body.append(more);
            }
        };
        this.body.append(holder);
        add();
    }

    nodeButton(node) {
        const text = node.process ? node.process.pid + " " + node.name : short(node.name, 60);
        return button(text, () => this.act.choose(node));
    }

    actions(node) {
        const unfocus = this.graph.focus === node;
        this.body.append(make("div", "actions",
            button(unfocus ? "show all" : "only its neighbours", () => this.act.focus(unfocus ? null : node)),
            button("hide", () => this.act.hide(node)),
            button("centre", () => this.act.centre(node))));
    }

    holds(side) {
        return side.holds.map(hold => hold.text).join(", ");
    }

    arrow(tie, turned) {
        if (tie.arrow === "both")
            return " ↔ ";
        return tie.arrow === "none" ? " – " : turned ? " ← " : " → ";
    }

    /* One tie with its evidence, seen from `node` (or from where it begins). */
    tie(tie, node) {
        const turned = node !== null && this.graph.end(tie.to) === node, here = turned ? tie.to : tie.from;
        const there = turned ? tie.from : tie.to, objects = this.graph.data.objects;
        const names = [nameOf(objects[here.object !== undefined ? here.object : tie.object].name)];
        if (there.object !== undefined && here.object !== undefined && there.object !== here.object)
            names.push(this.arrow(tie, turned), nameOf(objects[there.object].name));
        const evidence = [this.holds(here), this.holds(there)].filter(text => text).join(this.arrow(tie, turned));
        const said = {queued: "not accepted yet", watches: turned ? "watched by a pidfd" : "watches it by a pidfd",
                      wait: turned ? "waited for" : "waits for it"}[tie.relation];
        return make("li", "tie", swatch(tie.kind), make("strong", "", tie.kind), " ", ...names,
            make("div", "evidence", evidence),
            make("div", "soft", [said, tie.detail && shown(tie.detail)].filter(text => text).join("; ")));
    }

    ofProcess(node) {
        const process = node.process, parent = this.graph.byPid.get(process.parent), lines = new Map();
        this.body.append(make("h2", "", nameOf(process.command)));
        this.facts([
            ["pid", process.pid], ["user", (process.user || "") + " (uid " + process.uid + ")"],
            ["started", process.started],
            ["parent", parent ? this.nodeButton(parent) : process.parent],
            ["command line", process.arguments === undefined ? make("span", "soft", "left out: made without --args")
                : process.arguments ? nameOf(process.arguments) : make("span", "soft", "none")],
            ["hidden", process.hidden ? "its descriptors or mappings could not be read" : ""],
        ]);
        this.actions(node);
        for (const line of node.lines) {
            const other = this.graph.other(line, node);
            lines.set(other, (lines.get(other) || []).concat(line.ties));
        }
        this.body.append(make("h3", "", "Joined to " + lines.size));
        this.many(make("ul", ""), [...lines], ([other, ties]) =>
            make("li", "neighbour", this.nodeButton(other), make("ul", "", ...ties.map(tie => this.tie(tie, node)))));
        this.body.append(make("h3", "", "Holds " + process.holds.length));
        const objects = this.graph.data.objects;
        this.many(make("table", ""), process.holds, hold => make("tr", "",
            make("td", "", nameOf(objects[hold.object].name)), make("td", "", hold.text)));
    }

    object(object) {
        this.facts([
            ["kind", object.kind], ["state", object.state + (object.reason ? ": " + shown(object.reason) : "")],
            ["owner", object.owner], ["size", object.size === undefined ? "" : bytes(object.size)],
            ["in it", object.used === undefined ? "" : bytes(object.used)], ["messages", object.messages],
            ["name", object.deleted ? "removed" : ""], ["since", object.since],
            ["detail", object.detail ? shown(object.detail) : ""],
        ]);
    }

    ofHub(node) {
        this.body.append(make("h2", "", nameOf(node.object.name)));
        this.object(node.object);
        this.actions(node);
        const shares = node.lines.filter(line => this.graph.ofHolder(line));
        const beyond = node.lines.filter(line => !this.graph.ofHolder(line));
        const one = line => make("li", "neighbour", this.nodeButton(this.graph.other(line, node)),
            make("span", "soft", " " + line.ties.map(tie => this.holds(tie.from) || this.holds(tie.to)).join(", ")));
        this.body.append(make("h3", "", node.hub.processes + " processes hold it"));
        this.many(make("ul", ""), shares, one);
        if (beyond.length > 0) {
            this.body.append(make("h3", "", beyond.length + " at the other end"));
            this.many(make("ul", ""), beyond, one);
        }
    }

    ofLine(line) {
        this.body.append(make("h2", "", swatch(line.kind), " " + line.kind));
        this.body.append(make("div", "actions", this.nodeButton(line.a),
            line.toA ? (line.toB ? " ↔ " : " ← ") : line.toB ? " → " : " – ", this.nodeButton(line.b)));
        this.many(make("ul", ""), line.ties, tie => this.tie(tie, line.a));
        const object = this.graph.data.objects[line.ties[0].object];
        if (line.ties.length === 1) {
            this.body.append(make("h3", "", nameOf(object.name)));
            this.object(object);
        }
    }
}
