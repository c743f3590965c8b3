/* map_draw.js - owns the canvas: where the graph lies on it, how it is drawn, and what is at a point of it.
 *
 * SPDX-License-Identifier: MIT */

const DASHES = {network: [7, 4], semaphore: [2, 4], event: [2, 4], lock: [7, 4]};
const LABEL_FONT = '12px system-ui, "Liberation Sans", "DejaVu Sans", sans-serif';

/* Rectangles of the screen that are taken, in a grid: labels do not lie on each other. */
class Taken {
    constructor() {
        this.cells = new Map();
    }

    under(left, top, right, bottom) {
        const cells = [];
        for (let x = Math.floor(left / 64); x <= Math.floor(right / 64); x++)
            for (let y = Math.floor(top / 32); y <= Math.floor(bottom / 32); y++)
                cells.push(x * 65536 + y);
        return cells;
    }

    add(left, top, right, bottom) {
        for (const cell of this.under(left, top, right, bottom)) {
            if (!this.cells.has(cell))
                this.cells.set(cell, []);
            this.cells.get(cell).push([left, top, right, bottom]);
        }
    }

    isFree(left, top, right, bottom) {
        for (const cell of this.under(left, top, right, bottom))
            for (const box of this.cells.get(cell) || [])
                if (left < box[2] && right > box[0] && top < box[3] && bottom > box[1])
                    return false;
        return true;
    }
}

class Drawing {
    constructor(canvas, graph) {
        this.canvas = canvas;
        this.context = canvas.getContext("2d");
        this.graph = graph;
        this.scale = 1;
        this.x = this.y = 0; /* of the graph's origin on the screen */
        this.chosen = this.over = null;
        this.readColours();
    }

    readColours() {
        const style = getComputedStyle(document.documentElement);
        this.colour = {};
        for (const name of ["back", "text", "soft", "accent", "node", "hub", "hit", "pipe", "unix", "network", "memory",
                            "queue", "semaphore", "event", "lock"])
            this.colour[name] = style.getPropertyValue("--" + name).trim();
    }

    resize() {
        const ratio = window.devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
        this.wide = box.width;
        this.high = box.height;
        this.canvas.width = Math.max(1, Math.round(box.width * ratio));
        this.canvas.height = Math.max(1, Math.round(box.height * ratio));
        this.ratio = ratio;
    }

    /* Soon, and once for however many calls. */
    later() {
        if (!this.waiting)
            this.waiting = requestAnimationFrame(() => {
                this.waiting = 0;
                this.draw();
            });
    }

    /* ---- from the graph to the screen ---- */

    onScreen(node) {
        return [node.x * this.scale + this.x, node.y * this.scale + this.y];
    }

    fit() {
        const nodes = this.graph.shownNodes;
        if (nodes.length === 0)
            return;
        const box = bounds(nodes), top = 52, edge = 34;
        this.scale = Math.min((this.wide - 2 * edge) / Math.max(1, box.right - box.left),
                              (this.high - top - edge) / Math.max(1, box.bottom - box.top), 1.25);
        this.scale = Math.max(this.scale, 0.02);
        this.x = this.wide / 2 - (box.left + box.right) / 2 * this.scale;
        this.y = (this.high + top - edge) / 2 - (box.top + box.bottom) / 2 * this.scale;
        this.later();
    }

    zoom(factor, x = this.wide / 2, y = this.high / 2) {
        const scale = Math.min(8, Math.max(0.01, this.scale * factor));
        this.x = x - (x - this.x) * scale / this.scale;
        this.y = y - (y - this.y) * scale / this.scale;
        this.scale = scale;
        this.later();
    }

    move(dx, dy) {
        this.x += dx;
        this.y += dy;
        this.later();
    }

    /* Bring a node to the middle, near enough to be read. */
    show(node) {
        this.scale = Math.max(this.scale, 0.8);
        this.x = this.wide / 2 - node.x * this.scale;
        this.y = this.high / 2 - node.y * this.scale;
        this.later();
    }

    /* Move as little as it takes for a node to be seen. */
    reveal(node) {
        const [x, y] = this.onScreen(node), edge = 60;
        this.move(Math.min(this.wide - edge, Math.max(edge, x)) - x, Math.min(this.high - edge, Math.max(edge, y)) - y);
    }

    radius(node) {
        const size = 5.5 + Math.min(9, 1.6 * Math.log2(1 + node.lines.length));
        return size * Math.min(1, Math.max(0.35, Math.sqrt(this.scale)));
    }

    /* The line's ends and the point that it bends to. */
    curve(line) {
        const [ax, ay] = this.onScreen(line.a), [bx, by] = this.onScreen(line.b);
        const dx = bx - ax, dy = by - ay, length = Math.hypot(dx, dy) || 1;
        const bend = line.bend * Math.min(56, 0.5 * length);
        const midX = (ax + bx) / 2 - dy / length * bend, midY = (ay + by) / 2 + dx / length * bend;
        return {ax, ay, bx, by, length, midX, midY};
    }

    /* ---- what is at a point ---- */

    at(x, y) {
        let best = null, least = 10;
        for (const node of this.graph.shownNodes) {
            const [nodeX, nodeY] = this.onScreen(node), away = Math.hypot(x - nodeX, y - nodeY) - this.radius(node);
            if (away < least && away < 5) {
                best = node;
                least = away;
            }
        }
        if (best)
            return {node: best};
        least = 6;
        for (const line of this.graph.shownLines) {
            const away = this.away(line, x, y, least);
            if (away < least) {
                best = line;
                least = away;
            }
        }
        return best ? {line: best} : null;
    }

    away(line, x, y, enough) {
        const {ax, ay, bx, by, midX, midY} = this.curve(line);
        if (x < Math.min(ax, bx, midX) - enough || x > Math.max(ax, bx, midX) + enough ||
            y < Math.min(ay, by, midY) - enough || y > Math.max(ay, by, midY) + enough)
            return Infinity;
        let least = Infinity, fromX = ax, fromY = ay;
        for (let i = 1; i <= 12; i++) {
            const t = i / 12, s = 1 - t;
            const toX = s * s * ax + 2 * s * t * midX + t * t * bx, toY = s * s * ay + 2 * s * t * midY + t * t * by;
            const dx = toX - fromX, dy = toY - fromY, square = dx * dx + dy * dy || 1;
            const share = Math.min(1, Math.max(0, ((x - fromX) * dx + (y - fromY) * dy) / square));
            least = Math.min(least, Math.hypot(x - fromX - share * dx, y - fromY - share * dy));
            fromX = toX;
            fromY = toY;
        }
        return least;
    }

    /* ---- how strongly each thing is drawn ---- */

    emphasis() {
        const node = this.chosen && this.chosen.node, line = this.chosen && this.chosen.line;
        this.bright = null;
        if (node)
            this.bright = this.graph.neighbours(node).add(node);
        else if (line)
            this.bright = new Set([line.a, line.b]);
    }

    strengthOfNode(node) {
        if (this.bright)
            return this.bright.has(node) ? 1 : 0.22;
        return this.graph.found && !this.graph.found.has(node) ? 0.25 : 1;
    }

    strengthOfLine(line) {
        if (this.chosen && this.chosen.line)
            return line === this.chosen.line ? 1 : 0.12;
        if (this.chosen && this.chosen.node)
            return line.a === this.chosen.node || line.b === this.chosen.node ? 1 : 0.12;
        if (this.graph.found)
            return this.graph.found.has(line.a) || this.graph.found.has(line.b) ? 0.75 : 0.15;
        return 0.85;
    }

    stands(thing) {
        return [this.chosen, this.over].some(one => one && (one.node === thing || one.line === thing));
    }

    /* ---- drawing ---- */

    draw() {
        const context = this.context;
        context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
        context.fillStyle = this.colour.back;
        context.fillRect(0, 0, this.wide, this.high);
        this.emphasis();
        for (const line of this.graph.shownLines)
            this.drawLine(line);
        for (const node of this.graph.shownNodes)
            this.drawNode(node);
        context.globalAlpha = 1;
        this.drawLabels();
    }

    drawLine(line) {
        const context = this.context, curve = this.curve(line), {ax, ay, bx, by, midX, midY} = curve;
        if (Math.max(ax, bx, midX) < 0 || Math.min(ax, bx, midX) > this.wide ||
            Math.max(ay, by, midY) < 0 || Math.min(ay, by, midY) > this.high)
            return;
        context.globalAlpha = this.strengthOfLine(line);
        context.strokeStyle = context.fillStyle = this.colour[line.group];
        context.lineWidth = (1.1 + 0.5 * Math.log2(line.ties.length)) * (this.scale < 0.4 ? 0.7 : 1) +
                            (this.stands(line) ? 1.6 : 0);
        context.setLineDash(this.scale > 0.3 && DASHES[line.group] || []);
        context.beginPath();
        context.moveTo(ax, ay);
        if (line.bend)
            context.quadraticCurveTo(midX, midY, bx, by);
        else
            context.lineTo(bx, by);
        context.stroke();
        context.setLineDash([]);
        if (this.scale < 0.25 && !this.stands(line))
            return;
        if (line.toB)
            this.drawArrow(midX, midY, bx, by, this.radius(line.b));
        if (line.toA)
            this.drawArrow(midX, midY, ax, ay, this.radius(line.a));
    }

    drawArrow(fromX, fromY, toX, toY, radius) {
        const context = this.context, length = Math.hypot(toX - fromX, toY - fromY);
        const size = 3 + 6 * Math.min(1, this.scale);
        if (length < radius + 1.5 * size)
            return;
        const dx = (toX - fromX) / length, dy = (toY - fromY) / length;
        const tipX = toX - dx * (radius + 1.5), tipY = toY - dy * (radius + 1.5);
        context.beginPath();
        context.moveTo(tipX, tipY);
        context.lineTo(tipX - dx * size - dy * size * 0.42, tipY - dy * size + dx * size * 0.42);
        context.lineTo(tipX - dx * size + dy * size * 0.42, tipY - dy * size - dx * size * 0.42);
        context.fill();
    }

    drawNode(node) {
        const context = this.context, [x, y] = this.onScreen(node), radius = this.radius(node);
        if (x < -40 || y < -40 || x > this.wide + 40 || y > this.high + 40)
            return;
        context.globalAlpha = this.strengthOfNode(node);
        context.beginPath();
        if (node.hub)
            context.roundRect(x - radius, y - radius, 2 * radius, 2 * radius, 2);
        else
            context.arc(x, y, radius, 0, 2 * Math.PI);
        context.fillStyle = node.hub ? this.colour.hub : this.colour.node;
        context.fill();
        context.lineWidth = 2;
        context.strokeStyle = node.hub ? this.colour[groupOf(node.object.kind)] : this.colour.back;
        context.stroke();
        const isFound = this.graph.found && this.graph.found.has(node);
        const ring = this.stands(node) ? this.colour.accent : isFound ? this.colour.hit : null;
        if (ring) {
            context.globalAlpha = 1;
            context.beginPath();
            context.arc(x, y, radius + 4, 0, 2 * Math.PI);
            context.lineWidth = 2.5;
            context.strokeStyle = ring;
            context.stroke();
        }
    }

    /* Those that matter most get their place first; of the rest, the best joined. */
    drawLabels() {
        const context = this.context, nodes = new Taken(), labels = new Taken(), found = this.graph.found;
        const weight = node => (this.stands(node) ? 4e6 : 0) + (this.bright && this.bright.has(node) ? 2e6 : 0) +
                               (found && found.has(node) ? 1e6 : 0) + node.lines.length;
        const order = this.graph.shownNodes.map(node => [weight(node), node]);
        order.sort((a, b) => b[0] - a[0] || a[1].index - b[1].index);
        context.font = LABEL_FONT;
        context.textAlign = "center";
        context.textBaseline = "top";
        context.lineJoin = "round";
        /* where there is much, what is dimmed is not named, and may be covered */
        const many = order.length > 60, counts = order.filter(([, node]) => !many || this.strengthOfNode(node) === 1);
        for (const [, node] of counts) {
            const [x, y] = this.onScreen(node), radius = this.radius(node);
            nodes.add(x - radius, y - radius, x + radius, y + radius);
        }
        labels.add(this.wide - 240, 0, this.wide, 44); /* the buttons, and the line at the bottom */
        labels.add(0, this.high - 30, 260, this.high);
        let drawn = 0;
        for (const [heavy, node] of counts) {
            if (drawn > 400 && heavy < 1e6)
                break;
            drawn += this.drawLabel(node, nodes, labels) ? 1 : 0;
        }
        const lines = this.graph.shownLines.filter(line => this.stands(line) || (this.bright && this.chosen.node &&
            (line.a === this.chosen.node || line.b === this.chosen.node)));
        const few = this.graph.shownLines.length <= 60 && this.scale > 0.6 && !this.bright && !found;
        for (const line of few ? this.graph.shownLines : lines.slice(0, 60))
            this.drawLineLabel(line, nodes, labels);
    }

    /* Below the node; if that is taken above it, or at a side. */
    drawLabel(node, nodes, labels) {
        const [x, y] = this.onScreen(node), away = this.radius(node) + 3, strong = this.stands(node);
        if (x < -80 || y < -40 || x > this.wide + 80 || y > this.high + 20)
            return false;
        const half = this.context.measureText(node.label).width / 2 + 2;
        const places = [[x, y + away], [x, y - away - 14], [x + away + half, y - 7], [x - away - half, y - 7]]
            .map(([middle, top]) => [middle - half, top, middle + half, top + 14])
            .filter(box => box[0] >= 0 && box[2] <= this.wide && box[1] >= 0 && box[3] <= this.high);
        /* what the others gather round is named even if that hides a node or two */
        const place = places.find(box => labels.isFree(...box) && nodes.isFree(...box)) ||
                      (node.central && places.find(box => labels.isFree(...box))) || (strong && places[0]);
        if (!place)
            return false;
        labels.add(...place);
        this.context.globalAlpha = Math.max(0.35, this.strengthOfNode(node));
        this.write(node.label, place[0] + half, place[1], this.colour.text);
        return true;
    }

    drawLineLabel(line, nodes, labels) {
        const {ax, ay, bx, by, midX, midY, length} = this.curve(line);
        const text = line.kind + (line.ties.length > 1 ? " ×" + line.ties.length : "");
        const x = (ax + 2 * midX + bx) / 4, y = (ay + 2 * midY + by) / 4 - 7;
        const half = this.context.measureText(text).width / 2 + 2;
        const box = [x - half, y, x + half, y + 14];
        if (length < 2 * half + 20 || !nodes.isFree(...box) || !labels.isFree(...box))
            return;
        labels.add(...box);
        this.context.globalAlpha = 1;
        this.context.fillStyle = this.colour.back;
        this.context.fillRect(box[0], y, 2 * half, 14);
        this.write(text, x, y, this.colour[line.group]);
    }

    /* With a rim in the colour of the ground, so that it can be read across lines. */
    write(text, x, y, colour) {
        const context = this.context;
        context.lineWidth = 4;
        context.strokeStyle = this.colour.back;
        context.strokeText(text, x, y);
        context.fillStyle = colour;
        context.fillText(text, x, y);
    }
}
