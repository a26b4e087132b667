// The centre square of a picture as the model sees it: cut and resized number for number as Pillow's
// Image.resize does (libImaging/Resample.c: weights of 22 bits, first across, then down, on bytes), by
// bands of rows: a second whole copy of a large photo would take too much memory, and the memory of
// WebAssembly never shrinks.
const BITS = 22, HALF = 1 << (BITS - 1), BAND = 256;
const A = -0.5; // Pillow's coefficient of bicubic interpolation
const FILTERS = { // how far it reaches, and its weight at a distance
  bilinear: [1, (x) => (x < 1 ? 1 - x : 0)],
  bicubic: [2, (x) => (x < 1 ? ((A + 2) * x - (A + 3)) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * A : 0)],
};
const paper = { alpha: false, willReadFrequently: true };
const byte = (sum) => Math.min(255, Math.max(0, sum >> BITS));

/** Where the centre square begins and how long it is, as the decoder has it. share: of the side that
 * is kept; size: pixels that it is resized to. */
export function squareOf(width, height, size, share) {
  const side = Math.max(1, Math.trunc(Math.min(width / size, height / size) * size * share));
  return { left: Math.trunc(0.5 * (width - side)), top: Math.trunc(0.5 * (height - side)), side };
}

/** For each pixel of `to`: the first of `from` that counts, how many do, and their weights. */
function weightsOf(from, to, interpolation) {
  const [reach, weight] = FILTERS[interpolation];
  const scale = from / to, wide = Math.max(scale, 1), support = reach * wide, most = 2 * Math.ceil(support) + 1;
  const first = new Int32Array(to), count = new Int32Array(to), weights = new Int32Array(to * most);
  for (let at = 0; at < to; at += 1) {
    const centre = (at + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5)), end = Math.min(from, Math.trunc(centre + support + 0.5));
    const exact = Array.from({ length: end - start }, (_, n) => weight(Math.abs((n + start - centre + 0.5) * (1 / wide))));
    const sum = exact.reduce((total, one) => total + one, 0);
    exact.forEach((one, n) => {
      const share = sum === 0 ? one : one / sum;
      weights[at * most + n] = Math.trunc((share < 0 ? -0.5 : 0.5) + share * (1 << BITS));
    });
    first[at] = start;
    count[at] = end - start;
  }
  return { first, count, weights, most };
}

/** Rows of RGBA (from the canvas) to rows of RGB of the new width, into `out` from byte `to` on. */
function across(rgba, rows, side, size, { first, count, weights, most }, out, to) {
  for (let row = 0; row < rows; row += 1) {
    for (let x = 0; x < size; x += 1, to += 3) {
      let red = HALF, green = HALF, blue = HALF;
      let from = 4 * (row * side + first[x]);
      const end = x * most + count[x];
      for (let k = x * most; k < end; k += 1, from += 4) {
        const w = weights[k];
        red += rgba[from] * w;
        green += rgba[from + 1] * w;
        blue += rgba[from + 2] * w;
      }
      out[to] = byte(red);
      out[to + 1] = byte(green);
      out[to + 2] = byte(blue);
    }
  }
}

function down(narrow, size, { first, count, weights, most }) {
  const out = new Uint8Array(3 * size * size), stride = 3 * size;
  const sums = new Float64Array(stride);
  for (let y = 0; y < size; y += 1) {
    sums.fill(HALF);
    for (let n = 0; n < count[y]; n += 1) {
      const w = weights[y * most + n], from = (first[y] + n) * stride;
      for (let x = 0; x < stride; x += 1) sums[x] += narrow[from + x] * w;
    }
    for (let x = 0; x < stride; x += 1) out[y * stride + x] = byte(sums[x]);
  }
  return out;
}

/** The square, RGB of size x size, of an ImageBitmap or a canvas; what is clear is white. */
export function fitSquare(picture, { size, crop, interpolation }) {
  const { left, top, side } = squareOf(picture.width, picture.height, size, crop);
  const weights = weightsOf(side, size, interpolation), narrow = new Uint8Array(3 * size * side);
  const canvas = new OffscreenCanvas(side, Math.min(BAND, side)), pen = canvas.getContext("2d", paper);
  pen.fillStyle = "white";
  for (let row = 0; row < side; row += BAND) {
    const rows = Math.min(BAND, side - row);
    pen.fillRect(0, 0, side, rows);
    pen.drawImage(picture, -left, -top - row);
    across(pen.getImageData(0, 0, side, rows).data, rows, side, size, weights, narrow, 3 * size * row);
  }
  return down(narrow, size, weights);
}

/** The square in the middle of so many black pixels that the model, which cuts again, cuts just it. */
export function pixelsOf(square, { size, crop }) {
  let around = size;
  while (squareOf(around, around, size, crop).side < size) around += 1;
  const { left, top } = squareOf(around, around, size, crop), rgb = new Uint8Array(3 * around * around);
  for (let row = 0; row < size; row += 1) rgb.set(square.subarray(3 * size * row, 3 * size * (row + 1)), 3 * ((top + row) * around + left));
  return { rgb, dims: [around, around, 3] };
}

/** The square as a canvas. */
export function squareCanvas(square, size) {
  const canvas = new OffscreenCanvas(size, size), pen = canvas.getContext("2d", paper), image = pen.createImageData(size, size);
  for (let from = 0, to = 0; from < square.length; from += 3, to += 4) {
    image.data.set(square.subarray(from, from + 3), to);
    image.data[to + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
