// Points on a canvas, drawn by three.js (WebGL): places, colours, zoom and pan.
import {
  BufferAttribute, BufferGeometry, ColorManagement, LinearSRGBColorSpace, OrthographicCamera, Points,
  CanvasTexture, PointsMaterial, Scene, WebGLRenderer,
} from "./vendor/three-0.185.1/three.module.min.js";

ColorManagement.enabled = false; // colours are those of the style sheet, as they are
const CLOSEST = 400, FARTHEST = 0.7; // zoom
const ROUND = 5000; // points; more of them are squares, which are drawn faster

function disc() { // what a point looks like
  const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.arc(16, 16, 15, 0, 2 * Math.PI);
  pen.fill();
  return new CanvasTexture(canvas);
}

export const hasWebGL = () => Boolean(document.createElement("canvas").getContext("webgl2"));

/** n points between -1 and 1. Throws Error where WebGL is missing. background: a colour of CSS;
 * onDraw: after each frame. */
export class Scatter {
  constructor(canvas, background, onDraw) {
    this.canvas = canvas;
    this.onDraw = onDraw;
    this.renderer = new WebGLRenderer({ canvas, antialias: false, depth: false, stencil: false });
    this.renderer.setClearColor(background);
    this.renderer.outputColorSpace = LinearSRGBColorSpace;
    this.camera = new OrthographicCamera(-1, 1, 1, -1, -1, 1);
    this.scene = new Scene();
    this.geometry = new BufferGeometry();
    this.marks = new BufferGeometry(); // the chosen points once more, larger
    const shape = { sizeAttenuation: false, depthTest: false, depthWrite: false };
    this.points = new Points(this.geometry, new PointsMaterial({ ...shape, size: 4, vertexColors: true }));
    this.chosen = new Points(this.marks, new PointsMaterial({ ...shape, size: 7 }));
    this.chosen.renderOrder = -1; // below their points, as rings
    for (const one of [this.points, this.chosen]) { one.frustumCulled = false; this.scene.add(one); }
    this.waiting = 0;
  }

  /** x, y: (n,) from -1 to 1. */
  place(x, y) {
    this.x = x;
    this.y = y;
    const look = x.length > ROUND ? { map: null, alphaTest: 0 } : { map: disc(), alphaTest: 0.5 };
    Object.assign(this.points.material, look);
    Object.assign(this.chosen.material, look);
    const at = new Float32Array(3 * x.length);
    for (let i = 0; i < x.length; i += 1) { at[3 * i] = x[i]; at[3 * i + 1] = y[i]; }
    const places = new BufferAttribute(at, 3);
    this.geometry.setAttribute("position", places);
    this.marks.setAttribute("position", places);
    this.redraw();
  }

  /** rgb: (3 n,) from 0 to 255. */
  colour(rgb) {
    this.geometry.setAttribute("color", new BufferAttribute(rgb, 3, true));
    this.redraw();
  }

  /** Numbers of the points that are drawn, and of the chosen ones. colour: theirs, of CSS. */
  show(numbers, chosen, colour) {
    this.shown = numbers;
    this.geometry.setIndex(new BufferAttribute(Uint32Array.from(numbers), 1));
    this.marks.setIndex(new BufferAttribute(Uint32Array.from(chosen), 1));
    this.chosen.visible = chosen.length > 0;
    this.chosen.material.color.set(colour);
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.width = clientWidth;
    this.height = clientHeight;
    const ratio = Math.min(window.devicePixelRatio, 2);
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(clientWidth, clientHeight);
    const narrow = Math.min(clientWidth, clientHeight) * 0.94; // the whole map and a margin
    Object.assign(this.camera, { left: -clientWidth / narrow, right: clientWidth / narrow,
      top: clientHeight / narrow, bottom: -clientHeight / narrow });
    this.redraw();
  }

  /** Pixels for a unit of the map. */
  get scale() { return (this.camera.zoom * this.width) / (this.camera.right - this.camera.left); }

  toScreen(i) {
    const { scale, camera: { position } } = this;
    return [this.width / 2 + (this.x[i] - position.x) * scale, this.height / 2 - (this.y[i] - position.y) * scale];
  }

  pan(dx, dy) {
    const limit = (value) => Math.max(-1.2, Math.min(1.2, value));
    this.camera.position.x = limit(this.camera.position.x - dx / this.scale);
    this.camera.position.y = limit(this.camera.position.y + dy / this.scale);
    this.redraw();
  }

  /** Zoom by a factor; what is at this pixel stays there. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const before = this.scale;
    this.camera.zoom = Math.max(FARTHEST, Math.min(CLOSEST, this.camera.zoom * factor));
    const grown = this.scale / before;
    this.pan((px - this.width / 2) * (1 - grown), (py - this.height / 2) * (1 - grown));
  }

  fit() {
    this.camera.zoom = 1;
    this.camera.position.set(0, 0, 0);
    this.redraw();
  }

  /** Give the canvas back: a browser keeps few of them. */
  end() {
    cancelAnimationFrame(this.waiting);
    this.waiting = -1; // nothing is drawn any more
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }

  redraw() { // at most once a frame
    this.waiting = this.waiting || requestAnimationFrame(() => {
      this.waiting = 0;
      if (!this.width || !this.shown) return;
      const ratio = this.renderer.getPixelRatio();
      const size = Math.max(3, Math.min(9, 3 + Math.log2(this.camera.zoom) + (this.shown.length < 3000 ? 2 : 0)));
      this.points.material.size = size * ratio;
      this.chosen.material.size = (size + 4) * ratio;
      this.camera.updateProjectionMatrix();
      this.renderer.render(this.scene, this.camera);
      this.onDraw();
      if (!this.drawn) requestAnimationFrame(() => performance.mark("map drawn")); // the frame is there
      this.drawn = true;
    });
  }

  /** Shown points inside the window, at most so many; null if there are more. */
  inWindow(most) {
    const { x, y, scale, camera: { position } } = this, found = [];
    const wide = this.width / 2 / scale, high = this.height / 2 / scale;
    for (const i of this.shown) {
      if (Math.abs(x[i] - position.x) > wide || Math.abs(y[i] - position.y) > high) continue;
      if (found.length === most) return null;
      found.push(i);
    }
    return found;
  }

  /** Shown points inside a closed line of pixels [[x, y], ...], by the even-odd rule. */
  inside(line) {
    return this.shown.filter((i) => {
      const [px, py] = this.toScreen(i);
      let odd = false;
      for (let a = 0, b = line.length - 1; a < line.length; b = a, a += 1) {
        const [ax, ay] = line[a], [bx, by] = line[b];
        if ((ay > py) !== (by > py) && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
      }
      return odd;
    });
  }

  /** The shown point nearest to this pixel, not farther than `most` pixels; or -1. */
  nearest(px, py, most = 10) {
    let best = -1, least = most * most;
    for (const i of this.shown) {
      const [x, y] = this.toScreen(i), d = (x - px) ** 2 + (y - py) ** 2;
      if (d <= least) { best = i; least = d; }
    }
    return best;
  }
}
