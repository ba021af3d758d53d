// List the offered VAEs.
const answer = await fetch("/api/vaes");
const { vaes } = answer.ok ? await answer.json() : { vaes: [] };
for (const vae of vaes) {
  const item = document.createElement("li");
  item.textContent = `${vae.name}: ${vae.family}, ${vae.latent_channels} channels at 1/${vae.factor}`;
  document.getElementById("vaes").append(item);
}
