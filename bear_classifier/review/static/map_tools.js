// How points of the map are chosen and how it is moved: mouse, fingers and keys.

const STEP = 40; // pixels an arrow key moves the map or the box by

/** Tools over the map. stage: the element above the canvas; scatter(): the points; chose(numbers, add):
 * after points were chosen. */
export class MapTools {
  constructor(stage, scatter, chose) {
    Object.assign(this, { stage, scatter, chose, mode: "move", line: null, box: null, pointers: new Map() });
    this.shape = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("aria-hidden", "true");
    svg.append(this.shape);
    stage.append(svg);
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.up(event));
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scatter().zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...this.at(event));
    }, { passive: false });
  }

  at(event) {
    const { left, top } = this.stage.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  down(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.travelled = 0;
    this.add = event.ctrlKey || event.metaKey;
    const lasso = this.mode === "lasso" || (this.mode === "move" && event.shiftKey);
    this.line = this.pointers.size > 1 ? null : lasso || this.mode === "box" ? [this.at(event)] : null;
    this.rectangle = this.mode === "box";
    this.hideBox();
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event), [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    this.travelled += Math.abs(dx) + Math.abs(dy);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) { // two fingers
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      this.scatter().zoom(apart(now) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      this.scatter().pan(dx / 2, dy / 2);
    } else if (this.line) {
      if (this.rectangle) this.line = corners(this.line[0], now);
      else this.line.push(now);
      this.draw(this.line);
    } else this.scatter().pan(dx, dy);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const { line } = this;
    this.line = null;
    this.draw([]);
    if (event.type === "pointercancel") return;
    if (this.travelled < 6 && !this.pointers.size) {
      const one = this.scatter().nearest(...this.at(event));
      if (one >= 0) this.chose([one], true);
    } else if (line?.length > 2) this.chose(this.scatter().inside(line), this.add);
  }

  draw(line) { this.shape.setAttribute("points", line.map((p) => p.join()).join(" ")); }

  // the box of the keyboard --------------------------------------------------------------------

  /** Show a box in the middle, which arrow keys move and, with shift, make larger or smaller. */
  showBox() {
    const { width, height } = this.scatter();
    if (!width) return;
    this.box = { x: width / 2, y: height / 2, w: width / 3, h: height / 3 };
    this.drawBox();
  }

  hideBox() {
    this.box = null;
    this.draw([]);
  }

  drawBox() {
    const { x, y, w, h } = this.box;
    this.draw(corners([x - w / 2, y - h / 2], [x + w / 2, y + h / 2]));
  }

  /** What is inside the box is chosen. */
  takeBox() {
    const { x, y, w, h } = this.box;
    const found = this.scatter().inside(corners([x - w / 2, y - h / 2], [x + w / 2, y + h / 2]));
    this.hideBox();
    this.chose(found, false);
  }

  arrow(key, shift) {
    const [dx, dy] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[key];
    if (!this.box) { this.scatter().pan(-dx, -dy); return; }
    const { width, height } = this.scatter(), { box } = this;
    if (shift) Object.assign(box, { w: Math.max(STEP / 2, box.w + dx), h: Math.max(STEP / 2, box.h - dy) });
    else Object.assign(box, { x: Math.max(0, Math.min(width, box.x + dx)), y: Math.max(0, Math.min(height, box.y + dy)) });
    this.drawBox();
  }
}

const corners = ([ax, ay], [bx, by]) => [[ax, ay], [bx, ay], [bx, by], [ax, by]];
