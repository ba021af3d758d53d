// Drawings of fine strokes whose places are not known exactly, as gray levels.
const WIDTH = 96;
const HEIGHT = 72;
const [PAPER, INK] = [222, 40];
const COUNT = 26;

function randomOf(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

class Drawing {
  constructor(levels) {
    this.levels = levels;
  }

  draw(canvas) {
    Object.assign(canvas, { width: WIDTH, height: HEIGHT });
    const context = canvas.getContext("2d");
    const painted = context.createImageData(WIDTH, HEIGHT);
    this.levels.forEach((level, i) => painted.data.set([level, level, level, 255], 4 * i));
    context.putImageData(painted, 0, 0);
  }
}

// Possible drawings: each stroke has its own place in each of them, up to `pixels` from the mean. The same for the same
// arguments.
export function strokes(count, pixels) {
  const common = randomOf(11);
  const all = Array.from({ length: COUNT }, (_, i) => ({ x: (WIDTH * (i + 0.2 + 0.6 * common())) / COUNT, bend: 16 * (common() - 0.5), width: 0.7 + 0.5 * common() }));
  return Array.from({ length: count }, (_, version) => {
    const own = randomOf(101 + 17 * version);
    for (let i = 0; i < 5; i++) own();
    const shifts = all.map(() => 2 * pixels * (own() - 0.5));
    const levels = new Float32Array(WIDTH * HEIGHT).fill(PAPER);
    for (let row = 0; row < HEIGHT; row++) {
      const down = row / HEIGHT;
      all.forEach(({ x, bend, width }, i) => {
        const center = x + shifts[i] + bend * down * down;
        for (let column = Math.max(0, Math.floor(center - 3)); column <= Math.min(WIDTH - 1, Math.ceil(center + 3)); column++) {
          const cover = Math.max(0, Math.min(1, width + 0.5 - Math.abs(column - center)));
          levels[row * WIDTH + column] += cover * (INK - levels[row * WIDTH + column]);
        }
      });
    }
    return new Drawing(levels);
  });
}

export function average(drawings) {
  return new Drawing(drawings[0].levels.map((_, i) => drawings.reduce((sum, { levels }) => sum + levels[i], 0) / drawings.length));
}

export function meanSquaredError(one, other) {
  return one.levels.reduce((sum, level, i) => sum + (level - other.levels[i]) ** 2, 0) / one.levels.length;
}
