// The function `use(vae, longest)` of a part: the first time, its inputs take samples, which encodes them; later on, what
// they hold is encoded again.
import { SAMPLES } from "../parts/samples.js";

export function withSamples(state, inputs, encode) {
  let started = false;
  return async (vae, longest) => {
    Object.assign(state, { vae, longest });
    if (started) return encode();
    started = true;
    for (const [i, input] of inputs.entries()) await input.take(await SAMPLES[i][1](), SAMPLES[i][0]);
    return undefined;
  };
}
