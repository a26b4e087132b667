"use strict";
// A line that is moved by hand or by gradient descent, with its mean squared error.
(() => {
  const box = document.getElementById("sliders");
  const values = JSON.parse(box.querySelector("script").textContent);
  const svg = box.querySelector("svg"), ranges = [...box.querySelectorAll("input")];
  const [slope, height, lossShown] = box.querySelectorAll("output"), said = box.querySelector(".said");
  const n = values.x.length, best = values.least;
  let a = [...values.guess], steps = 0, timer = 0;
  const at = (x, y) => [300 + 270 * x, 260 - 34 * y];
  const make = (kind, fields) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(fields)) element.setAttribute(name, value);
    return svg.appendChild(element);
  };
  const rest = values.x.map(() => make("line", { stroke: "#d8b394", "stroke-width": 1 }));
  values.x.forEach((x, i) => { const [cx, cy] = at(x, values.y[i]); make("circle", { cx, cy, r: 3, fill: "#888" }); });
  const line = make("line", { stroke: "#d1701f", "stroke-width": 3 });
  const error = i => a[0] * values.x[i] + a[1] - values.y[i];
  const loss = () => values.x.reduce((sum, _, i) => sum + error(i) ** 2, 0) / n;
  const set = (element, x1, y1, x2, y2) => {
    for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) element.setAttribute(name, value);
  };
  const show = () => {
    set(line, ...at(-1, a[1] - a[0]), ...at(1, a[1] + a[0]));
    values.x.forEach((x, i) => set(rest[i], ...at(x, values.y[i]), ...at(x, values.y[i] + error(i))));
    slope.textContent = a[0].toFixed(2);
    height.textContent = a[1].toFixed(2);
    lossShown.textContent = loss().toFixed(4);
    const near = loss() < 1.01 * best;
    said.textContent = (steps ? `${steps} ${steps === 1 ? "step" : "steps"} of descent. ` : "") +
      (near ? "That is within a hundredth of the best." : `The best line has ${best.toFixed(4)}.`);
  };
  const follow = () => { ranges.forEach((range, j) => { range.value = a[j]; }); show(); };
  const step = () => {
    const slopes = [0, 0];
    values.x.forEach((x, i) => { slopes[0] += 2 * error(i) * x / n; slopes[1] += 2 * error(i) / n; });
    a = a.map((value, j) => value - values.rate * slopes[j]);
    steps += 1;
  };
  const stop = () => { clearInterval(timer); timer = 0; };
  ranges.forEach((range, j) => {
    [range.min, range.max] = values.range;
    range.addEventListener("input", () => { stop(); steps = 0; a[j] = Number(range.value); show(); });
  });
  box.querySelector(".one").addEventListener("click", () => { stop(); step(); follow(); });
  box.querySelector(".all").addEventListener("click", () => {
    stop();
    let left = values.steps;
    timer = setInterval(() => { step(); follow(); left -= 1; if (!left) stop(); }, 30);
  });
  box.querySelector(".again").addEventListener("click", () => { stop(); a = [...values.guess]; steps = 0; follow(); });
  follow();
})();
