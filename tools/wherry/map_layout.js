/* map_layout.js - owns where the nodes go: each connected part by forces, then all parts side by side.
 *
 * SPDX-License-Identifier: MIT
 *
 * The same graph gets the same picture each time: nothing here is random.  Forces are Fruchterman and Reingold's
 * (1991), what is far away is taken together as Barnes and Hut (1986) do, so that a step costs n log n. */

const LENGTH = 95; /* of a line, about */

/* A tree of squares: how many points there are in each, and the sums of their coordinates. */
class Quadtree {
    constructor(points) {
        const room = 24 * points + 64;
        this.child = new Int32Array(4 * room);
        this.mass = new Float64Array(room);
        this.sumX = new Float64Array(room);
        this.sumY = new Float64Array(room);
        this.leaf = new Uint8Array(room);
        this.stack = new Int32Array(512);
        this.sizes = new Float64Array(512);
        this.room = room;
    }

    cell(mass, x, y) {
        const cell = this.used++;
        this.child.fill(0, 4 * cell, 4 * cell + 4); /* 0 is the root, which is nobody's child */
        this.mass[cell] = mass;
        this.sumX[cell] = x;
        this.sumY[cell] = y;
        this.leaf[cell] = 1;
        return cell;
    }

    build(x, y) {
        let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
        for (let i = 0; i < x.length; i++) {
            left = Math.min(left, x[i]);
            right = Math.max(right, x[i]);
            top = Math.min(top, y[i]);
            bottom = Math.max(bottom, y[i]);
        }
        this.size = Math.max(right - left, bottom - top, 1);
        this.midX = (left + right) / 2;
        this.midY = (top + bottom) / 2;
        this.used = 0;
        this.cell(1, x[0], y[0]);
        for (let i = 1; i < x.length; i++)
            this.insert(x[i], y[i]);
    }

    insert(x, y) {
        let cell = 0, size = this.size / 4, midX = this.midX, midY = this.midY;
        for (let depth = 0; ; depth++) {
            /* points in one place would be divided for ever */
            if (this.leaf[cell] && depth < 20 && this.used < this.room - 2) {
                const oldX = this.sumX[cell] / this.mass[cell], oldY = this.sumY[cell] / this.mass[cell];
                this.leaf[cell] = 0;
                this.child[4 * cell + (oldX > midX ? 1 : 0) + (oldY > midY ? 2 : 0)] =
                    this.cell(this.mass[cell], this.sumX[cell], this.sumY[cell]);
            }
            this.mass[cell]++;
            this.sumX[cell] += x;
            this.sumY[cell] += y;
            if (this.leaf[cell])
                return;
            const quarter = (x > midX ? 1 : 0) + (y > midY ? 2 : 0);
            const next = this.child[4 * cell + quarter];
            if (!next) {
                this.child[4 * cell + quarter] = this.cell(1, x, y);
                return;
            }
            cell = next;
            midX += x > midX ? size : -size;
            midY += y > midY ? size : -size;
            size /= 2;
        }
    }

    /* What pushes a point at x, y away: into out[0], out[1]. */
    push(x, y, out) {
        let top = 0, forceX = 0, forceY = 0;
        this.stack[top] = 0;
        this.sizes[top++] = this.size;
        while (top > 0) {
            const cell = this.stack[--top], size = this.sizes[top], mass = this.mass[cell];
            const dx = x - this.sumX[cell] / mass, dy = y - this.sumY[cell] / mass, square = dx * dx + dy * dy;
            if (this.leaf[cell] || size * size < 0.8 * square) {
                if (square > 1e-9) {
                    const force = LENGTH * LENGTH * mass / Math.max(square, 1);
                    forceX += dx * force;
                    forceY += dy * force;
                }
                continue;
            }
            for (let quarter = 0; quarter < 4; quarter++) {
                const child = this.child[4 * cell + quarter];
                if (child) {
                    this.stack[top] = child;
                    this.sizes[top++] = size / 2;
                }
            }
        }
        out[0] = forceX;
        out[1] = forceY;
    }
}

/* The connected parts: lists of nodes, breadth first from the one with most neighbours. */
function parts(nodes, near) {
    const seen = new Set(), found = [];
    const order = [...nodes].sort((a, b) => near.get(b).length - near.get(a).length || a.index - b.index);
    for (const start of order) {
        if (seen.has(start))
            continue;
        const part = [start];
        seen.add(start);
        for (let i = 0; i < part.length; i++)
            for (const other of near.get(part[i]))
                if (!seen.has(other)) {
                    seen.add(other);
                    part.push(other);
                }
        found.push(part);
    }
    return found;
}

/* One part, by forces; yields now and then, so that the page stays alive. */
function* settle(part, near) {
    const count = part.length, x = new Float64Array(count), y = new Float64Array(count);
    const moveX = new Float64Array(count), moveY = new Float64Array(count), place = new Map(), out = [0, 0];
    part.forEach((node, i) => {
        place.set(node, i);
        x[i] = LENGTH * 0.6 * Math.sqrt(i) * Math.cos(i * 2.399963);
        y[i] = LENGTH * 0.6 * Math.sqrt(i) * Math.sin(i * 2.399963);
    });
    const lines = [];
    for (const node of part)
        for (const other of near.get(node))
            if (place.get(node) < place.get(other))
                lines.push([place.get(node), place.get(other)]);
    const tree = new Quadtree(count), steps = count > 3 ? (count > 800 ? 200 : 300) : 60;
    for (let step = 0; step < steps; step++) {
        const heat = LENGTH * (0.2 + 0.12 * Math.sqrt(count)) * Math.pow(1 - step / steps, 1.5) + 0.2;
        tree.build(x, y);
        for (let i = 0; i < count; i++) {
            tree.push(x[i], y[i], out);
            moveX[i] = out[0];
            moveY[i] = out[1];
        }
        for (const [a, b] of lines) {
            const dx = x[a] - x[b], dy = y[a] - y[b], pull = Math.sqrt(dx * dx + dy * dy) / LENGTH;
            moveX[a] -= dx * pull;
            moveY[a] -= dy * pull;
            moveX[b] += dx * pull;
            moveY[b] += dy * pull;
        }
        for (let i = 0; i < count; i++) {
            const far = Math.sqrt(moveX[i] * moveX[i] + moveY[i] * moveY[i]) || 1, go = Math.min(far, heat) / far;
            x[i] += moveX[i] * go;
            y[i] += moveY[i] * go;
        }
        if (count > 100)
            yield step / steps;
    }
    part.forEach((node, i) => {
        node.x = x[i];
        node.y = y[i];
    });
}

/* Wider than high, as screens are: turned so that the longest way lies flat. */
function turn(part) {
    let xx = 0, yy = 0, xy = 0, midX = 0, midY = 0;
    for (const node of part) {
        midX += node.x / part.length;
        midY += node.y / part.length;
    }
    for (const node of part) {
        xx += (node.x - midX) ** 2;
        yy += (node.y - midY) ** 2;
        xy += (node.x - midX) * (node.y - midY);
    }
    const angle = 0.5 * Math.atan2(2 * xy, xx - yy), cos = Math.cos(angle), sin = Math.sin(angle);
    for (const node of part) {
        const dx = node.x - midX, dy = node.y - midY;
        node.x = dx * cos + dy * sin;
        node.y = dy * cos - dx * sin;
    }
}

/* Nodes with their labels are boxes; those that overlap are pushed apart, the shorter way. */
function spread(part) {
    const wide = 130, high = 46;
    for (let round = 0, moved = true; moved && round < 80; round++) {
        const grid = new Map();
        moved = false;
        for (const node of part) {
            const key = Math.floor(node.x / wide) * 100003 + Math.floor(node.y / high);
            if (!grid.has(key))
                grid.set(key, []);
            grid.get(key).push(node);
        }
        for (const node of part)
            for (let column = -1; column <= 1; column++)
                for (let row = -1; row <= 1; row++)
                    for (const other of grid.get((Math.floor(node.x / wide) + column) * 100003 +
                                                 Math.floor(node.y / high) + row) || []) {
                        if (other.index <= node.index)
                            continue;
                        const dx = other.x - node.x, dy = other.y - node.y;
                        const overX = (node.wide + other.wide) / 2 - Math.abs(dx), overY = high - Math.abs(dy);
                        if (overX <= 0 || overY <= 0)
                            continue;
                        moved = true;
                        if (overX / node.wide < overY / high) {
                            node.x -= (dx < 0 ? -1 : 1) * overX * 0.4;
                            other.x += (dx < 0 ? -1 : 1) * overX * 0.4;
                        } else {
                            node.y -= (dy < 0 ? -1 : 1) * overY * 0.4;
                            other.y += (dy < 0 ? -1 : 1) * overY * 0.4;
                        }
                    }
    }
}

function bounds(nodes) {
    const box = {left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity};
    for (const node of nodes) {
        box.left = Math.min(box.left, node.x - node.wide / 2);
        box.right = Math.max(box.right, node.x + node.wide / 2);
        box.top = Math.min(box.top, node.y - 18);
        box.bottom = Math.max(box.bottom, node.y + 30);
    }
    return box;
}

/* Boxes on shelves no wider than `limit`: gives each its place, and the size of all. */
function shelve(boxes, limit) {
    let x = 0, y = 0, shelf = 0, wide = 0;
    for (const box of boxes) {
        if (x > 0 && x + box.wide > limit) {
            x = 0;
            y += shelf;
            shelf = 0;
        }
        box.x = x;
        box.y = y;
        x += box.wide;
        wide = Math.max(wide, x);
        shelf = Math.max(shelf, box.high);
    }
    return {wide, high: y + shelf};
}

/* The parts on shelves, the highest first, with the width that fills a window of this shape best. */
function pack(list, shape) {
    const boxes = list.map(part => ({part, ...bounds(part)}));
    let area = 0, best = 0, least = Infinity;
    for (const box of boxes) {
        box.wide = box.right - box.left + 50;
        box.high = box.bottom - box.top + 40;
        area += box.wide * box.high;
    }
    boxes.sort((a, b) => b.high - a.high || b.wide - a.wide || a.part[0].index - b.part[0].index);
    for (let share = 0.7; share < 2; share += 0.05) {
        const limit = Math.sqrt(area * shape) * share, size = shelve(boxes, limit);
        const need = Math.max(size.wide / shape, size.high);
        if (need < least) {
            least = need;
            best = limit;
        }
    }
    shelve(boxes, best);
    for (const box of boxes)
        for (const node of box.part) {
            node.x += box.x - box.left;
            node.y += box.y - box.top;
        }
}

/* Give each node its x and y.  `lines` have a and b; `shape` is width by height. */
function* layout(nodes, lines, shape) {
    const near = new Map(nodes.map(node => [node, []])), joined = new Set();
    for (const {a, b} of lines) {
        const key = Math.min(a.index, b.index) + " " + Math.max(a.index, b.index);
        if (joined.has(key) || !near.has(a) || !near.has(b))
            continue;
        joined.add(key);
        near.get(a).push(b);
        near.get(b).push(a);
    }
    const list = parts(nodes, near);
    let done = 0;
    for (const part of list) {
        for (const share of settle(part, near))
            yield (done + share * part.length) / nodes.length;
        turn(part);
        spread(part);
        done += part.length;
        yield done / nodes.length;
    }
    pack(list, shape);
}
