"use strict";
// Photos as points: to turn, to filter, to look at. Every text is set as text, never as HTML.
(() => {
  const box = document.getElementById("cloud");
  const values = JSON.parse(box.querySelector("script").textContent);
  const find = (name) => box.querySelector(`.${name}`);
  const [canvas, range, output] = ["canvas", "input[type=range]", "output"].map((q) => box.querySelector(q));
  const [map, side, mistakes, picture, link] = ["map", "side", "mistakes", "picture", "link"].map(find);
  const pen = canvas.getContext("2d"), middle = [canvas.width / 2, canvas.height / 2];
  const all = values.label.map((_, i) => i);
  const wrong = (i) => values.said[i] !== values.label[i];
  let turn = -0.6, tilt = 0.35, zoom = 1, centre = [0, 0, 0]; // centre: what stays in the middle
  let shown = [], spots = [], chosen = -1, held = false, from = null, moved = false;
  const points = () => values.maps[map.value];
  const solid = () => points()[0].length > 2;

  // -- where a point is seen -------------------------------------------------------------------

  const widest = (axis) => Math.max(...points().map((at) => Math.abs(at[axis])), 1e-9);
  let size = 1;
  const measure = () => { size = solid() ? 0.47 * canvas.height : Math.min(0.46 * canvas.width / widest(0), 0.46 * canvas.height / widest(1)); };
  const seen = (at) => {
    const [x, y, z] = [0, 1, 2].map((axis) => (at[axis] || 0) - centre[axis]);
    if (!solid()) return [middle[0] + size * zoom * x, middle[1] - size * zoom * y, 0];
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    const [across, away] = [c * x - s * y, s * x + c * y];
    const up = z * Math.cos(tilt) + away * Math.sin(tilt);
    return [middle[0] + size * zoom * across, middle[1] - size * zoom * up, away * Math.cos(tilt) - z * Math.sin(tilt)];
  };

  // -- drawing ---------------------------------------------------------------------------------

  const outline = (on, x, y, radius, [corners, begin, inner]) => { // with corners in turn far and near
    on.beginPath();
    if (!corners) return on.arc(x, y, radius, 0, 7);
    for (let k = 0; k < corners; k++) {
      const angle = (begin + 360 * k / corners) * Math.PI / 180, far = radius * 1.2 * (k % 2 ? inner : 1);
      on.lineTo(x + far * Math.cos(angle), y + far * Math.sin(angle));
    }
    on.closePath();
  };
  const mark = (on, label, x, y, radius, faint) => {
    outline(on, x, y, radius, values.shapes[label % values.shapes.length]);
    on.globalAlpha = faint ? 0.5 : 1;
    on.fillStyle = values.colours[label % values.colours.length];
    on.fill();
    on.globalAlpha = 1;
    on.strokeStyle = "#fff"; on.lineWidth = 1; on.stroke();
  };
  const axes = () => {
    pen.strokeStyle = "#d5d5d5"; pen.lineWidth = 2; pen.fillStyle = "#777"; pen.font = "20px system-ui, sans-serif"; pen.textAlign = "center";
    for (const axis of [0, 1, 2]) {
      const [a, b] = [-1, 1].map((end) => seen([0, 1, 2].map((k) => (k === axis ? end : 0))));
      pen.beginPath(); pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]); pen.stroke();
      pen.fillText(String(axis + 1), b[0], b[1] - 6);
    }
  };
  const label = (i) => {
    const [x, y] = spots[i];
    pen.strokeStyle = "#000"; pen.lineWidth = 3; pen.beginPath(); pen.arc(x, y, 17, 0, 7); pen.stroke();
    const left = x > canvas.width - 330 ? x - 325 : x + 25, top = Math.min(Math.max(y - 60, 5), canvas.height - 125);
    pen.fillStyle = "#fffffff2"; pen.strokeStyle = "#888"; pen.lineWidth = 1;
    pen.fillRect(left, top, 300, 120); pen.strokeRect(left, top, 300, 120);
    if (picture.complete && picture.naturalWidth) pen.drawImage(picture, left + 4, top + 4, 112, 112);
    pen.fillStyle = "#222"; pen.font = "20px system-ui, sans-serif"; pen.textAlign = "left";
    const words = [values.labels[values.label[i]], wrong(i) ? `said ${values.labels[values.said[i]]}` : "said so too", values.side[i]];
    words.forEach((word, k) => pen.fillText(word, left + 126, top + 34 + 34 * k, 168));
  };
  const draw = () => {
    pen.fillStyle = "#fff"; pen.fillRect(0, 0, canvas.width, canvas.height);
    if (solid()) axes();
    for (const i of shown) spots[i] = seen(points()[i]);
    const order = [...shown].sort((a, b) => wrong(a) - wrong(b) || spots[b][2] - spots[a][2]); // mistakes last, so on top
    for (const i of order) {
      const [x, y, depth] = spots[i], radius = 8 * (1 - 0.25 * depth);
      mark(pen, values.label[i], x, y, radius, values.side[i] === "train" && !wrong(i));
      if (!wrong(i)) continue;
      pen.strokeStyle = "#000"; pen.lineWidth = 2.5; pen.beginPath(); pen.arc(x, y, radius + 4, 0, 7); pen.stroke();
    }
    if (chosen >= 0) label(chosen);
  };

  // -- one photo -------------------------------------------------------------------------------

  const choose = (i) => {
    if (i === chosen) return;
    chosen = i;
    find("about").hidden = i < 0;
    if (i < 0) return draw();
    const [is, said] = [values.labels[values.label[i]], values.labels[values.said[i]]];
    picture.removeAttribute("src");
    picture.alt = values.thumb[i] ? `photo labelled ${is}` : "this photo cannot be shown";
    if (values.thumb[i]) picture.src = `data:image/jpeg;base64,${values.thumb[i]}`;
    find("words").textContent = `Labelled ${is}; the model said ${said}${wrong(i) ? ", a mistake" : ""}; ${values.side[i]} side. ${values.file[i]}`;
    link.href = values.review + values.sha[i];
    range.value = shown.indexOf(i);
    draw();
  };
  picture.addEventListener("load", draw);
  const near = (x, y) => {
    let best = -1, least = 22 ** 2;
    for (const i of shown) {
      const far = (spots[i][0] - x) ** 2 + (spots[i][1] - y) ** 2;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  };
  const next = (dx, dy) => { // the nearest one that lies more this way than across
    const [x, y] = chosen >= 0 ? spots[chosen] : middle;
    let best = chosen, least = Infinity;
    for (const i of shown) {
      const [right, down] = [spots[i][0] - x, spots[i][1] - y], ahead = dx * right + dy * down;
      const across = Math.abs(dx ? down : right), far = ahead + 2 * across;
      if (i !== chosen && ahead > 0.5 && across <= ahead && far < least) [best, least] = [i, far];
    }
    return best;
  };

  // -- what is shown ---------------------------------------------------------------------------

  const filter = () => {
    const off = new Set([...box.querySelectorAll(".classes input")].filter((one) => !one.checked).map((one) => Number(one.value)));
    shown = all.filter((i) => !off.has(values.label[i]) && (!side.value || values.side[i] === side.value) && (!mistakes.checked || wrong(i)));
    const failed = shown.filter(wrong).length;
    output.textContent = `${shown.length} shown, ${failed} ${failed === 1 ? "mistake" : "mistakes"}`;
    range.max = Math.max(shown.length - 1, 0); range.disabled = !shown.length;
    if (chosen >= 0 && !shown.includes(chosen)) { held = false; choose(-1); }
    else if (chosen >= 0) range.value = shown.indexOf(chosen);
    draw();
  };
  const whole = () => { zoom = 1; centre = [0, 0, 0]; draw(); };
  const enlarge = (times) => {
    zoom = Math.min(40, Math.max(0.5, zoom * times));
    if (chosen >= 0) centre = [0, 1, 2].map((axis) => points()[chosen][axis] || 0);
    draw();
  };
  const option = (select, value, words) => {
    const one = document.createElement("option");
    one.value = value; one.textContent = words;
    select.append(one);
  };
  Object.keys(values.maps).forEach((name) => option(map, name, name));
  [["", "all"], ...[...new Set(values.side)].map((name) => [name, name])].forEach(([value, words]) => option(side, value, words));
  values.labels.forEach((name, number) => {
    const [row, tick, swatch] = ["label", "input", "canvas"].map((tag) => document.createElement(tag));
    Object.assign(tick, { type: "checkbox", checked: true, value: number });
    Object.assign(swatch, { width: 40, height: 40 });
    Object.assign(swatch.style, { width: "20px", height: "20px" });
    swatch.setAttribute("aria-hidden", "true");
    mark(swatch.getContext("2d"), number, 20, 20, 13, false);
    tick.addEventListener("change", filter);
    row.append(tick, swatch, name);
    find("classes").append(row);
  });
  map.addEventListener("change", () => { measure(); whole(); });
  [side, mistakes].forEach((one) => one.addEventListener("change", filter));
  const follow = () => { held = true; choose(shown[Number(range.value)]); };
  range.addEventListener("input", follow);
  range.addEventListener("focus", () => { if (chosen < 0) follow(); });
  find("closer").addEventListener("click", () => enlarge(1.5));
  find("farther").addEventListener("click", () => enlarge(1 / 1.5));
  find("whole").addEventListener("click", whole);

  // -- by pointer and by key -------------------------------------------------------------------

  const at = (event) => {
    const place = canvas.getBoundingClientRect();
    return [(event.clientX - place.left) * canvas.width / place.width, (event.clientY - place.top) * canvas.height / place.height];
  };
  canvas.addEventListener("pointerdown", (event) => { from = at(event); moved = false; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointercancel", () => { from = null; });
  canvas.addEventListener("pointerup", (event) => {
    if (from && !moved) { const i = near(...at(event)); held = i >= 0; choose(i); }
    from = null;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (!from) { const i = held ? -1 : near(x, y); if (i >= 0) choose(i); return; }
    const [right, down] = [x - from[0], y - from[1]];
    if (!moved && Math.hypot(right, down) < 6) return;
    moved = true; from = [x, y];
    if (solid()) { turn += right / 250; tilt = Math.min(1.5, Math.max(-1.5, tilt + down / 300)); }
    else centre = [centre[0] - right / (size * zoom), centre[1] + down / (size * zoom), 0];
    draw();
  });
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = ways[event.key];
    if (way && solid()) { turn += 0.1 * way[0]; tilt = Math.min(1.5, Math.max(-1.5, tilt + 0.1 * way[1])); draw(); }
    else if (way) { held = true; choose(next(...way)); }
    else if (event.key === "+") enlarge(1.5);
    else if (event.key === "-") enlarge(1 / 1.5);
    else if (event.key === "0") whole();
    else if (event.key === "Escape") { held = false; choose(-1); }
    else if (event.key === "Enter" && chosen >= 0) link.click();
    else return;
    event.preventDefault();
  });
  measure();
  filter();
})();
