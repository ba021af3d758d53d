"use strict";
// Plays an item and its reconstructions from one clock, so that switching between them keeps the position exactly.
// Without this script, or where the browser cannot decode a sound, each has a player of its own.
(() => {
  const FADE = 0.005; // Seconds: a switch makes no click.
  const all = (selector, root) => [...root.querySelectorAll(selector)];
  const one = (selector, root) => root.querySelector(selector);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const time = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  let context = null;
  let stopOther = () => {};

  async function decoded(audio) {
    const text = atob(audio.src.slice(audio.src.indexOf(",") + 1));
    return context.decodeAudioData(Uint8Array.from(text, (letter) => letter.charCodeAt(0)).buffer);
  }

  function prepare(article, number) {
    const tracks = all(".track", article);
    const state = { heard: Math.min(1, tracks.length - 1), position: 0, length: 0, started: null, sources: [], gains: [], buffers: null };
    const play = element("button", { type: "button", className: "play", textContent: "Play" });
    const seek = element("input", { type: "range", className: "seek", min: 0, max: 1000, step: 1, value: 0, ariaLabel: "Position" });
    const clock = element("output", { className: "clock" });
    const labels = tracks.map((track, i) => {
      const input = element("input", { type: "radio", name: `heard-${number}`, value: i, checked: i === state.heard });
      input.addEventListener("change", () => hear(i));
      return element("label", {}, input, element("span", {}, track.dataset.title));
    });
    const choices = element("fieldset", { className: "choices" }, element("legend", {}, "Hear"), ...labels);
    one(".controls", article).append(play, choices, seek, clock);
    state.length = Number(article.dataset.seconds);
    for (const track of tracks) {
      const audio = one("audio", track);
      audio.hidden = true;
      const timeline = one(".timeline", track);
      timeline.append(element("i", { className: "playhead" }));
      timeline.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        const box = timeline.getBoundingClientRect();
        moveTo((state.length * (event.clientX - box.left)) / box.width);
      });
    }
    article.classList.add("ready");

    const now = () => (state.started === null ? state.position : clamp(state.position + context.currentTime - state.started, 0, state.length));

    function show() {
      const position = now();
      article.style.setProperty("--position", position / state.length);
      seek.value = Math.round((1000 * position) / state.length);
      seek.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${state.length.toFixed(1)} seconds`);
      clock.textContent = `${time(position)} / ${time(state.length)}`;
    }

    function follow() {
      if (state.started === null) return;
      if (now() >= state.length) {
        stop();
        state.position = 0;
        show();
        return;
      }
      show();
      requestAnimationFrame(follow);
    }

    function hear(i) {
      state.heard = i;
      tracks.forEach((track, each) => track.classList.toggle("heard", each === i));
      state.gains.forEach((gain, each) => gain.gain.setTargetAtTime(each === i ? 1 : 0, context.currentTime, FADE));
    }

    function silence() {
      state.sources.forEach((source) => source.stop());
      [state.sources, state.gains] = [[], []];
    }

    function stop() {
      if (state.started === null) return;
      state.position = now();
      state.started = null;
      silence();
      play.textContent = "Play";
      show();
    }

    function start() {
      stopOther();
      stopOther = stop;
      const at = context.currentTime + 0.02;
      state.gains = state.buffers.map((_, i) => new GainNode(context, { gain: i === state.heard ? 1 : 0 }));
      state.sources = state.buffers.map((buffer, i) => {
        const source = new AudioBufferSourceNode(context, { buffer });
        source.connect(state.gains[i]).connect(context.destination);
        source.start(at, Math.min(state.position, buffer.duration));
        return source;
      });
      state.started = at;
      play.textContent = "Pause";
      requestAnimationFrame(follow);
    }

    function moveTo(seconds) {
      const playing = state.started !== null;
      if (playing) stop();
      state.position = clamp(seconds, 0, state.length);
      if (playing) start();
      show();
    }

    async function toggle() {
      if (state.started !== null) return stop();
      context ??= new AudioContext();
      const audios = tracks.map((track) => one("audio", track));
      try {
        const resumed = context.resume();
        state.buffers ??= await Promise.all(audios.map(decoded));
        await resumed;
        if (state.started === null) start();
      } catch {
        one(".controls", article).replaceChildren(element("p", { className: "failed", textContent: "This browser cannot decode the sounds together: use the players." }));
        for (const audio of audios) audio.hidden = false;
      }
    }

    play.addEventListener("click", toggle);
    seek.addEventListener("input", () => moveTo((state.length * seek.value) / 1000));
    hear(state.heard);
    show();
  }

  all(".listening", document).forEach(prepare);
})();
