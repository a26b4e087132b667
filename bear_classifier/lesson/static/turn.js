"use strict";
// A surface over a grid, a path on it, and points, that one can turn.
(() => {
  const box = document.getElementById("turn");
  const values = JSON.parse(box.querySelector("script").textContent);
  const [canvas, range, button, output] = ["canvas", "input", "button", "output"].map(q => box.querySelector(q));
  const pen = canvas.getContext("2d");
  const ends = values => [Math.min(...values), Math.max(...values)];
  const [xs, ys, zs] = [ends(values.x), ends(values.y), ends(values.z.flat())];
  const scaled = (value, [low, high]) => 2 * (value - low) / (high - low) - 1;
  const place = (x, y, z) => [scaled(x, xs), scaled(y, ys), 0.8 * scaled(z, zs)];
  let turn = -1.05, tilt = 0.55, timer = 0;
  const seen = ([x, y, z]) => {
    const [c, s] = [Math.cos(turn), Math.sin(turn)];
    const [across, away] = [c * x - s * y, s * x + c * y];
    return [600 + 300 * across, 390 - 300 * (z * Math.cos(tilt) + away * Math.sin(tilt)), away * Math.cos(tilt) - z * Math.sin(tilt)];
  };
  const line = (points, style, width) => {
    pen.strokeStyle = style; pen.lineWidth = width; pen.beginPath();
    points.forEach(([x, y], i) => i ? pen.lineTo(x, y) : pen.moveTo(x, y));
    pen.stroke();
  };
  const draw = () => {
    pen.fillStyle = "#fff"; pen.fillRect(0, 0, canvas.width, canvas.height);
    const corners = values.z.map((row, j) => row.map((z, i) => seen(place(values.x[i], values.y[j], z))));
    const faces = [];
    for (let j = 0; j + 1 < corners.length; j++) for (let i = 0; i + 1 < corners[j].length; i++) {
      const four = [corners[j][i], corners[j][i + 1], corners[j + 1][i + 1], corners[j + 1][i]];
      faces.push([four.reduce((sum, corner) => sum + corner[2], 0), four, values.z[j][i]]);
    }
    for (const [, four, z] of faces.sort((a, b) => b[0] - a[0])) {
      const light = 92 - 45 * (scaled(z, zs) + 1) / 2;
      pen.fillStyle = `hsla(208, 60%, ${light}%, .82)`; pen.strokeStyle = "#8fb0cf"; pen.lineWidth = .6;
      pen.beginPath(); four.forEach(([x, y], i) => i ? pen.lineTo(x, y) : pen.moveTo(x, y));
      pen.closePath(); pen.fill(); pen.stroke();
    }
    const shown = values.path.slice(0, Number(range.value) + 1).map(([x, y, z]) => seen(place(x, y, z)));
    line(shown, "#d1701f", 4);
    pen.fillStyle = "#d1701f";
    for (const [x, y] of shown) { pen.beginPath(); pen.arc(x, y, 6, 0, 7); pen.fill(); }
    pen.fillStyle = "#444"; pen.font = "24px system-ui, sans-serif"; pen.textAlign = "center";
    [[0, -1.15, -.8], [1.15, 0, -.8], [-1.1, -1.1, .2]].forEach((at, i) => {
      const [x, y] = seen(at); pen.fillText(values.names[i], x, y);
    });
    const k = Number(range.value), [a1, a2, loss] = values.path[k];
    output.textContent = `${k}: a = (${a1.toFixed(2)}, ${a2.toFixed(2)}), loss ${loss.toFixed(3)}`;
  };
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Turn"; };
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.textContent = "Stop";
    timer = setInterval(() => { turn += 0.02; draw(); }, 40);
  });
  let from = null;
  canvas.addEventListener("pointerdown", e => { stop(); from = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointerup", () => { from = null; });
  canvas.addEventListener("pointermove", e => {
    if (!from) return;
    turn += (e.clientX - from[0]) / 150;
    tilt = Math.min(1.5, Math.max(0, tilt + (e.clientY - from[1]) / 200));
    from = [e.clientX, e.clientY];
    draw();
  });
  const keys = { ArrowLeft: [-.1, 0], ArrowRight: [.1, 0], ArrowUp: [0, -.1], ArrowDown: [0, .1] };
  canvas.addEventListener("keydown", e => {
    if (!keys[e.key]) return;
    e.preventDefault(); stop();
    turn += keys[e.key][0]; tilt = Math.min(1.5, Math.max(0, tilt + keys[e.key][1]));
    draw();
  });
  range.max = values.path.length - 1; range.value = range.max;
  range.addEventListener("input", draw);
  draw();
})();
