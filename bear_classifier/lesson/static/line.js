"use strict";
// Points and a line, whose step is chosen or played.
(() => {
  const box = document.getElementById("line");
  const values = JSON.parse(box.querySelector("script").textContent);
  const [svg, range, button, output] = ["svg", "input", "button", "output"].map(q => box.querySelector(q));
  const at = (x, y) => [300 + 270 * x, 250 - 33 * y];
  const make = (kind, fields) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(fields)) element.setAttribute(name, value);
    return svg.appendChild(element);
  };
  values.x.forEach((x, i) => {
    const [cx, cy] = at(x, values.y[i]);
    make("circle", { cx, cy, r: 3, fill: "#888" });
  });
  const line = make("line", { stroke: "#d1701f", "stroke-width": 3 });
  const show = () => {
    const k = Number(range.value), [a1, a2] = values.path[k];
    const [x1, y1] = at(-1, a2 - a1), [x2, y2] = at(1, a2 + a1);
    for (const [name, value] of Object.entries({ x1, y1, x2, y2 })) line.setAttribute(name, value);
    output.textContent = `${k}, loss ${values.losses[k].toFixed(3)}`;
  };
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(range.value) === values.path.length - 1) range.value = 0;
    button.textContent = "Stop";
    timer = setInterval(() => {
      range.value = Number(range.value) + 1;
      show();
      if (Number(range.value) === values.path.length - 1) stop();
    }, 80);
  });
  range.max = values.path.length - 1;
  range.addEventListener("input", () => { stop(); show(); });
  show();
})();
