// What is known about a VAE, in words: of an offered one, or of a file that was inspected by its header.
import { element } from "../shared/elements.js";
import { fileSize } from "../parts/numbers.js";

const FP16 = {
  safe: "safe: no value overflows in half precision",
  unsafe: "unsafe: values overflow in half precision, so run it in bf16 or fp32",
  unknown: "not known for these weights",
};
const SHORT = 12;

export function fp16Fact(vae) {
  return ["fp16", FP16[vae.fp16] ?? vae.fp16];
}

// A list of names and values; those without a value are left out.
export function factList(pairs) {
  return element("dl", { className: "facts" }, ...pairs.flatMap(([name, value]) =>
    (value ? [element("dt", {}, name), element("dd", {}, value)] : [])));
}

export function headline(vae) {
  const shape = vae.latent_channels === null ? "latents of unknown shape" : `${vae.latent_channels} channels${vae.factor ? ` at 1/${vae.factor}` : ""}`;
  const less = vae.compression ? `: ${Number(vae.compression.toFixed(1))} times fewer values than the image` : "";
  return `${shape}${less}`;
}

function normalizationText({ normalization, normalization_source }) {
  if (!normalization) return `unknown: ${normalization_source}`;
  const { shift, scale } = normalization;
  const numbers = scale.length > 1 || shift.length > 1 ? "scale and shift per channel" : `scale ${scale[0]}${shift[0] ? `, shift ${shift[0]}`.replace("-", "\u2212") : ""}`;
  return `${numbers} (from ${normalization_source})`;
}

// What people look for first.
export function mainFacts(vae) {
  const models = vae.candidate_models ?? [];
  const size = vae.bytes ? `, ${fileSize(vae.bytes)}` : "";
  const users = (vae.used_by ?? []).length ? `, used by ${vae.used_by.join(", ")}` : "";
  const none = vae.catalog_entry ? "its own" : "none that vaekit knows";
  return [
    ["Latent space", models.length ? models.join(" or ") + users : none],
    ["Weights", `${(vae.parameters / 1e6).toFixed(2)} million parameters, ${vae.dtypes.join(" and ")}${quantizationText(vae)}${size}`],
  ];
}

// What else names and shapes tell.
export function moreFacts(vae) {
  const { geometry } = vae;
  return [
    ["Normalization", normalizationText(vae)],
    ["Images", geometry ? imagesText(geometry) : ""],
    ["Family", [vae.family, vae.layout && `${vae.layout} layout`, vae.format].filter(Boolean).join(", ")],
    ["Halves", vae.halves.length === 1 ? `${vae.halves[0]} only` : ""],
  ];
}

function imagesText({ channels, size, upscale }) {
  const kind = { 1: "gray", 3: "color", 4: "color with transparency" }[channels] ?? `${channels} channels`;
  const extent = size ? `, ${size.join(" \u00d7 ")} pixels only` : ", of any size";
  return `${kind}${extent}${upscale > 1 ? `; decoded ${upscale} times as large` : ""}`;
}

function quantizationText({ quantization }) {
  return quantization?.length ? ` (${quantization.join(", ")})` : "";
}

// The facts that need the weights themselves.
export function factsOfWeights(vae) {
  return [
    ["Known as", vae.catalog_entry ? `${vae.catalog_entry}, ${vae.recognized}` : "not among the known VAEs"],
    ["Fingerprint", vae.fingerprint ? hash(vae.fingerprint) : ""],
    ["SHA-256", vae.sha256 ? hash(vae.sha256) : ""],
  ];
}

function hash(text) {
  return element("code", { className: "hash", title: text, textContent: `${text.slice(0, SHORT)}\u2026` });
}

export function problemList(problems) {
  return problems.length ? [element("ul", { className: "problems" }, ...problems.map((problem) => element("li", {}, problem)))] : [];
}
