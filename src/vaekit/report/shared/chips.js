// The chips of defects show their evidence while they have the focus; Escape takes it away.
export function closeChipsOnEscape() {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.activeElement?.matches(".chip")) document.activeElement.blur();
  });
}
