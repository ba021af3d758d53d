// Two small decoders of MNIST digits that run in the browser, and the latents of test digits; written by
// bench/learn_digits.py. A model is { name, layers, points }: points are [x, y] of the test digits, as labels.
const TYPES = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array };
let loading = null;

export function loadDigits() {
  return (loading ??= load().catch((error) => { loading = null; throw error; }));
}

async function load() {
  const [description, bytes] = await Promise.all([
    fetch("/page/learn/digits.json").then((answer) => answer.json()),
    fetch("/page/learn/digits.bin").then((answer) => answer.arrayBuffer()),
  ]);
  const array = ({ start, dtype, shape }) => new TYPES[dtype](bytes, start, shape.reduce((product, extent) => product * extent, 1));
  const models = description.models.map(({ name, layers, points }) => {
    const flat = array(points);
    return { name, layers: layers.map((layer) => dense(layer, array)), points: Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]) };
  });
  return { side: description.side, models, labels: array(description.labels) };
}

// The weights of a layer as float32: rows of 8 bits are multiplied by their scales.
function dense({ weight, scale, bias }, array) {
  const [rows, columns] = weight.shape;
  const stored = array(weight);
  const scales = scale ? array(scale) : null;
  return { rows, columns, bias: array(bias), weight: scales ? Float32Array.from(stored, (value, i) => value * scales[Math.floor(i / columns)]) : stored };
}

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

// The gray levels of a decoded digit, from 0 to 1, row by row.
export function decodeDigit({ layers }, [x, y]) {
  let values = Float32Array.of(x, y);
  layers.forEach(({ rows, columns, weight, bias }, number) => {
    const last = number === layers.length - 1;
    const next = new Float32Array(rows);
    for (let row = 0; row < rows; row++) {
      let sum = bias[row];
      for (let column = 0; column < columns; column++) sum += weight[row * columns + column] * values[column];
      next[row] = last ? sigmoid(sum) : sum * sigmoid(sum);
    }
    values = next;
  });
  return values;
}

// Draw digits beside each other, or in a grid of `columns`, white on black.
export function paintDigits(canvas, digits, side, columns = digits.length) {
  Object.assign(canvas, { width: side * columns, height: side * Math.ceil(digits.length / columns) });
  const context = canvas.getContext("2d");
  const tile = context.createImageData(side, side);
  digits.forEach((levels, number) => {
    levels.forEach((level, i) => tile.data.set([255 * level, 255 * level, 255 * level, 255], 4 * i));
    context.putImageData(tile, side * (number % columns), side * Math.floor(number / columns));
  });
}
